//! Who may call: the token, and for a loopback address only callers that mean it.
//!
//! A web page can make a browser call a loopback address, under a name of its own that resolves there (DNS rebinding), or
//! blindly from another site. So `Host` must be loopback, and what changes something must not come from another origin.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use http::uri::Authority;
use http::{Method, Uri};

use super::Admin;
use super::refusal::Refusal;

pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if admin.config.address.ip().is_loopback() {
        check_caller(request.method(), request.uri(), request.headers())?;
    }
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    if let (Some(token), false) = (admin.config.token.reveal(), is_probe)
        && !has_token(request.headers(), token)
    {
        let presented = request.headers().contains_key(AUTHORIZATION);
        return Err(if presented { Refusal::WrongToken } else { Refusal::NoToken });
    }
    Ok(next.run(request).await)
}

fn check_caller(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let host = match headers.get(HOST) {
        Some(host) => host.to_str().unwrap_or_default(),
        None => uri.authority().map_or("localhost", Authority::as_str),
    };
    if !is_loopback(host) {
        return Err(Refusal::Forbidden(
            "this address answers requests to localhost only; use http://127.0.0.1 or http://localhost",
        ));
    }
    if method.is_safe() {
        return Ok(());
    }
    // Browsers send it with every request that changes something.
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    match origin {
        Some(origin) if origin.split_once("://").is_none_or(|(_, authority)| authority != host) => {
            Err(Refusal::Forbidden("a page of another site cannot change anything here"))
        }
        _ => Ok(()),
    }
}

/// Whether the authority (`host` or `host:port`) is this machine.
fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
    }
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let presented = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let (scheme, credentials) = presented.split_at(presented.len().min("Bearer ".len()));
    scheme.eq_ignore_ascii_case(b"Bearer ") && same(credentials, token.as_bytes())
}

/// Compares in a time that tells nothing but the length of `secret`.
fn same(presented: &[u8], secret: &[u8]) -> bool {
    let mut difference = u8::from(presented.len() != secret.len());
    for (index, byte) in secret.iter().enumerate() {
        difference |= byte ^ presented.get(index).copied().unwrap_or(!byte);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_loopback_hosts_are_answered() {
        for host in
            ["localhost", "localhost:9090", "127.0.0.1:1", "127.3.2.1", "[::1]:9090", "[::1]", "a.localhost"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9090",
            "10.0.0.1",
            "localhost.evil.example",
            "",
            "127.0.0.1.nip.io",
            "[::2]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let check = |method: Method, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:9090"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            check_caller(&method, &Uri::from_static("/api/v1/apply"), &headers).is_ok()
        };
        assert!(check(Method::POST, None));
        assert!(check(Method::POST, Some("http://localhost:9090")));
        assert!(check(Method::GET, Some("http://evil.example")));
        for origin in ["http://evil.example", "null", "http://localhost:3000", "http://localhost"] {
            assert!(!check(Method::POST, Some(origin)), "{origin}");
            assert!(!check(Method::DELETE, Some(origin)), "{origin}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        let with =
            |value: &'static str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        for right in ["Bearer s3cret", "bearer s3cret"] {
            assert!(has_token(&with(right), "s3cret"), "{right}");
        }
        for wrong in [
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer ",
            "Bearer",
            "",
            "Basic s3cret",
            "s3cret",
            "Bearer S3cret",
        ] {
            assert!(!has_token(&with(wrong), "s3cret"), "{wrong}");
        }
        assert!(!has_token(&HeaderMap::new(), "s3cret"));
    }
}
