//! A URL, parsed once and ready to be called many times.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use rustls_pki_types::ServerName;

use super::CallError;
use crate::limits::URL_BYTES_MAX;

/// Where calls go. A clone is a reference count.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    /// `scheme://host:port` in lower case with the port always there: what connections are pooled by.
    pool_key: String,
    host: Host,
    port: u16,
    server_name: Option<ServerName<'static>>,
    /// Path and query only, as HTTP/1.1 sends it.
    origin_form: Uri,
    /// The whole URI, as HTTP/2 wants it.
    absolute_form: Uri,
    host_header: HeaderValue,
    /// Whether the address comes from Pelton itself, so that the egress rules have nothing to say about it.
    is_replica: bool,
}

/// The host of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address; nothing to resolve.
    Ip(IpAddr),
    /// A name, in lower case.
    Name(String),
}

impl Target {
    /// Parses an absolute `http` or `https` URL.
    ///
    /// # Errors
    /// [`CallError::InvalidUrl`], saying what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, CallError> {
        let invalid = |problem: &'static str| CallError::InvalidUrl { problem };
        if url.len() > URL_BYTES_MAX {
            return Err(invalid("it is longer than 8192 bytes"));
        }
        let uri: Uri = url.parse().map_err(|_| invalid("it cannot be parsed"))?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(invalid("it does not start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it names no host"))?;
        // An unguarded password would travel into logs and status; authentication has its own places.
        if authority.as_str().contains('@') {
            return Err(invalid("it holds a user name or password, which are not supported in a URL"));
        }
        let host = parse_host(authority).ok_or_else(|| invalid("it names no host"))?;
        let port = parse_port(authority, https)
            .ok_or_else(|| invalid("its port is not a number from 1 to 65535"))?;
        let server_name = if https {
            Some(host.server_name().ok_or_else(|| invalid("its host is neither a DNS name nor an address"))?)
        } else {
            None
        };
        let mut origin = http::uri::Parts::default();
        origin.path_and_query = uri.path_and_query().cloned();
        let origin_form = Uri::from_parts(origin).map_err(|_| invalid("its path cannot be parsed"))?;
        let default_port = if https { 443 } else { 80 };
        let host_text = host.to_string();
        let host_header =
            if port == default_port { host_text.clone() } else { format!("{host_text}:{port}") };
        let host_header =
            HeaderValue::try_from(host_header).map_err(|_| invalid("its host cannot be parsed"))?;
        let pool_key = format!("{}://{host_text}:{port}", if https { "https" } else { "http" });
        let absolute_form = uri;
        Ok(Self(Arc::new(Parts {
            pool_key,
            host,
            port,
            server_name,
            origin_form,
            absolute_form,
            host_header,
            is_replica: false,
        })))
    }

    /// `url` as served by the replica at `authority` (`host:port`): calls connect to the replica and name the host of `url`.
    /// The egress rules do not apply, since Pelton itself says where a replica is.
    ///
    /// # Errors
    /// [`CallError::InvalidUrl`] for a URL that is not a plain `http` one, or a replica that is not `host:port`.
    pub fn on_replica(url: &str, authority: &str) -> Result<Self, CallError> {
        let invalid = |problem: &'static str| CallError::InvalidUrl { problem };
        let parsed = Self::parse(url)?;
        if parsed.is_https() {
            return Err(invalid("a replica is called over http"));
        }
        let authority: Authority = authority.parse().map_err(|_| invalid("its replica is not host:port"))?;
        let host = parse_host(&authority).ok_or_else(|| invalid("its replica names no host"))?;
        let port = parse_port(&authority, false)
            .ok_or_else(|| invalid("its replica's port is not a number from 1 to 65535"))?;
        Ok(Self(Arc::new(Parts {
            // Connections that skipped the egress rules are never lent to calls that are under them.
            pool_key: format!("replica http://{host}:{port}"),
            host,
            port,
            server_name: None,
            origin_form: parsed.origin_form(),
            absolute_form: parsed.absolute_form(),
            host_header: parsed.host_header(),
            is_replica: true,
        })))
    }

    /// `scheme://host:port`: safe to show, and what connections are pooled by.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.0.pool_key
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// The port, the scheme's own if the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// True for `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.server_name.is_some()
    }

    /// Path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.0.origin_form.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    pub(super) fn is_replica(&self) -> bool {
        self.0.is_replica
    }

    pub(super) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.0.server_name.as_ref()
    }

    pub(super) fn origin_form(&self) -> Uri {
        self.0.origin_form.clone()
    }

    pub(super) fn absolute_form(&self) -> Uri {
        self.0.absolute_form.clone()
    }

    pub(super) fn host_header(&self) -> HeaderValue {
        self.0.host_header.clone()
    }
}

fn parse_host(authority: &Authority) -> Option<Host> {
    let text = authority.host();
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse().ok().map(Host::Ip);
    }
    if text.is_empty() {
        return None;
    }
    Some(text.parse().map_or_else(|_| Host::Name(text.to_ascii_lowercase()), Host::Ip))
}

fn parse_port(authority: &Authority, https: bool) -> Option<u16> {
    let after_host = &authority.as_str()[authority.host().len()..];
    match after_host.strip_prefix(':') {
        None | Some("") => Some(if https { 443 } else { 80 }),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    }
}

impl Host {
    fn server_name(&self) -> Option<ServerName<'static>> {
        match self {
            Self::Ip(ip) => Some(ServerName::IpAddress((*ip).into())),
            Self::Name(name) => ServerName::try_from(name.clone()).ok(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Target {
    /// The origin only: paths and queries of webhooks hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url() {
        for (url, origin, host_header, path) in [
            ("http://Example.com/a?b=c", "http://example.com:80", "example.com", "/a?b=c"),
            ("https://example.com", "https://example.com:443", "example.com", "/"),
            ("http://example.com:8080/", "http://example.com:8080", "example.com:8080", "/"),
            ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443", "[2001:db8::1]:8443", "/x"),
            ("http://127.0.0.1:9/?q", "http://127.0.0.1:9", "127.0.0.1:9", "/?q"),
        ] {
            let target = Target::parse(url).unwrap();
            let host = target.host_header();
            assert_eq!((target.origin(), host.to_str().unwrap()), (origin, host_header), "{url}");
            assert_eq!(target.path_and_query(), path, "{url}");
        }
    }

    #[test]
    fn wrong_urls_are_refused() {
        for url in [
            "",
            "/path",
            "example.com",
            "ftp://example.com",
            "http://",
            "http:///path",
            "http://user:secret@example.com/",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://[::1/",
            "https://bad_$name$/",
            "http://a b/",
        ] {
            assert!(matches!(Target::parse(url), Err(CallError::InvalidUrl { .. })), "{url}");
        }
        assert!(Target::parse(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX))).is_err());
    }

    #[test]
    fn a_replica_is_connected_to_and_the_service_is_named() {
        let target =
            Target::on_replica("http://shop.default.svc.cluster.local/orders?x=1", "127.0.0.1:20001")
                .unwrap();
        assert_eq!(target.host().to_string(), "127.0.0.1");
        assert_eq!((target.port(), target.path_and_query()), (20001, "/orders?x=1"));
        assert_eq!(target.host_header(), "shop.default.svc.cluster.local");
        assert!(target.is_replica());
        assert_ne!(
            target.origin(),
            Target::parse("http://127.0.0.1:20001/").unwrap().origin(),
            "pools apart"
        );
        for replica in ["", "127.0.0.1:0", "a b", ":80"] {
            assert!(Target::on_replica("http://shop/", replica).is_err(), "{replica:?}");
        }
        assert!(Target::on_replica("https://shop/", "127.0.0.1:1").is_err());
    }

    #[test]
    fn debug_text_hides_the_path() {
        let target = Target::parse("https://hooks.example.com/T000/SECRET?token=1").unwrap();
        assert_eq!(format!("{target:?}"), "Target(https://hooks.example.com:443)");
    }
}
