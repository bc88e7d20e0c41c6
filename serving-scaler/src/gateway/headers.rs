//! What changes in the head of a request and of an answer on the way through.

use std::net::IpAddr;

use http::header::{CONNECTION, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use pelton_resources::Protocol;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The protocol that a client wants to change to, if it does (RFC 9110, 7.8).
pub(super) fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers.get_all(CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    if asks { headers.get(UPGRADE).cloned() } else { None }
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(token)))
}

/// Takes out what is meant for this connection alone (RFC 9110, 7.6.1).
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers.get(CONNECTION).cloned() {
        for name in named.to_str().unwrap_or_default().split(',') {
            if let Ok(name) = HeaderName::try_from(name.trim()) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// Makes a request of a client one to a replica: what stays on this side is taken out, who asked and for whom is told.
pub(super) fn to_replica<B>(
    request: &mut Request<B>,
    protocol: Protocol,
    replica: &str,
    path: Option<PathAndQuery>,
    client: &Client,
    upgrade: Option<&HeaderValue>,
) {
    let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let host = host.and_then(Result::ok).or_else(|| request.headers().get(HOST).cloned());
    let wants_trailers = request.headers().get_all(TE).iter().any(|value| has_token(value, "trailers"));
    let path = path.or_else(|| request.uri().path_and_query().cloned());
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let headers = request.headers_mut();
    strip_hop_by_hop(headers);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    forwarded(headers, client);
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path);
    match protocol {
        Protocol::Http1 => {
            if let Some(upgrade) = upgrade {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, upgrade.clone());
            }
            if let Some(host) = host {
                headers.insert(HOST, host);
            }
            *request.version_mut() = Version::HTTP_11;
        }
        Protocol::H2c => {
            let asked = headers.remove(HOST).or(host);
            let asked = asked.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            parts.authority = asked.or_else(|| Authority::try_from(replica).ok());
            parts.scheme = Some(Scheme::HTTP);
            *request.version_mut() = Version::HTTP_2;
        }
    }
    // All parts come from a URI or were checked above.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// Adds the client to those that the request went through. (The host that it asked for is told as it was, in `Host`.)
fn forwarded(headers: &mut HeaderMap, client: &Client) {
    let through = match headers.get(FORWARDED_FOR) {
        None => client.address.clone(),
        Some(_) => {
            let known = headers.get_all(FORWARDED_FOR).iter().chain([&client.address]);
            let known: Vec<&[u8]> = known.map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&known.join(&b", "[..])).unwrap_or_else(|_| client.address.clone())
        }
    };
    headers.insert(FORWARDED_FOR, through);
    headers.entry(FORWARDED_PROTO).or_insert_with(|| client.scheme.clone());
}

/// A client, as replicas are told of it.
#[derive(Debug, Clone)]
pub struct Client {
    address: HeaderValue,
    scheme: HeaderValue,
}

impl Client {
    /// A client at this address, which speaks TLS or not.
    #[must_use]
    pub fn new(address: IpAddr, is_tls: bool) -> Self {
        let address = HeaderValue::try_from(address.to_canonical().to_string());
        Self {
            // An address has only characters that a header may have.
            address: address.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            scheme: HeaderValue::from_static(if is_tls { "https" } else { "http" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::new(std::net::Ipv4Addr::LOCALHOST.into(), false)
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn value<'a>(request: &'a Request<()>, name: &str) -> Option<&'a str> {
        request.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn what_is_for_one_connection_stays_there() {
        let mut request = request(
            "/path?query",
            &[
                ("host", "model.default.localhost:8081"),
                ("connection", "keep-alive, X-Mine"),
                ("x-mine", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "gzip, trailers"),
                ("transfer-encoding", "chunked"),
                ("x-theirs", "2"),
            ],
        );
        to_replica(&mut request, Protocol::Http1, "127.0.0.1:20000", None, &client(), None);
        for gone in ["connection", "x-mine", "keep-alive", "transfer-encoding"] {
            assert_eq!(value(&request, gone), None, "{gone}");
        }
        assert_eq!(value(&request, "te"), Some("trailers"));
        assert_eq!(value(&request, "x-theirs"), Some("2"));
        assert_eq!(
            value(&request, "host"),
            Some("model.default.localhost:8081"),
            "the replica sees what was asked for"
        );
        assert_eq!(request.uri(), "/path?query");
        assert_eq!(value(&request, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(value(&request, "x-forwarded-proto"), Some("http"));
    }

    #[test]
    fn who_was_there_before_stays_in_the_list() {
        let mut request = request("/", &[("x-forwarded-for", "10.1.1.1"), ("x-forwarded-proto", "https")]);
        to_replica(&mut request, Protocol::Http1, "127.0.0.1:1", None, &client(), None);
        assert_eq!(value(&request, "x-forwarded-for"), Some("10.1.1.1, 127.0.0.1"));
        assert_eq!(value(&request, "x-forwarded-proto"), Some("https"));
    }

    #[test]
    fn from_http2_to_http1_and_back() {
        let mut one = request("http://model.default.localhost:8081/a", &[]);
        to_replica(
            &mut one,
            Protocol::Http1,
            "127.0.0.1:20000",
            Some(PathAndQuery::from_static("/b")),
            &client(),
            None,
        );
        assert_eq!(
            (one.uri().to_string().as_str(), value(&one, "host")),
            ("/b", Some("model.default.localhost:8081"))
        );
        to_replica(&mut one, Protocol::H2c, "127.0.0.1:20000", None, &client(), None);
        assert_eq!(
            (one.uri().to_string().as_str(), value(&one, "host")),
            ("http://model.default.localhost:8081/b", None)
        );
        let mut nameless = request("/a", &[]);
        to_replica(&mut nameless, Protocol::H2c, "127.0.0.1:20000", None, &client(), None);
        assert_eq!(nameless.uri(), "http://127.0.0.1:20000/a");
    }

    #[test]
    fn an_upgrade_is_passed_on() {
        let asks = [("connection", "Keep-Alive, Upgrade"), ("upgrade", "websocket")];
        let mut one = request("/", &asks);
        let upgrade = upgrade_of(one.headers());
        assert_eq!(upgrade.as_ref().unwrap(), "websocket");
        to_replica(&mut one, Protocol::Http1, "127.0.0.1:1", None, &client(), upgrade.as_ref());
        assert_eq!((value(&one, "connection"), value(&one, "upgrade")), (Some("upgrade"), Some("websocket")));
        assert_eq!(upgrade_of(request("/", &asks[1..]).headers()), None, "it must be asked for");
    }
}
