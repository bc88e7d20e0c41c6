//! The answers that are no refusals.

use bytes::Bytes;
use http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::refusal::ALLOWED;

const PROBE: HeaderName = HeaderName::from_static("k-network-probe");
const PROBE_HASH: HeaderName = HeaderName::from_static("k-network-hash");
const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Every event of the request is durable. The body is empty: a body would be a reply.
pub(crate) fn accepted() -> Response<Full<Bytes>> {
    empty(StatusCode::ACCEPTED)
}

/// The validation of a webhook (CloudEvents "HTTP 1.1 Web Hooks" 1.0.2, section 4): the origin that asked may send, at any
/// rate; who asks without an origin just learns the methods.
pub(crate) fn options(request: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ALLOW, ALLOWED);
    if let Some(origin) = request.get(REQUEST_ORIGIN) {
        headers.insert(ALLOWED_ORIGIN, origin.clone());
        headers.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    response
}

/// Whether the request is a probe of Knative's networking layer.
pub(crate) fn is_network_probe(request: &HeaderMap) -> bool {
    request.get(PROBE).is_some_and(|value| value == "probe")
}

/// The answer to such a probe: its hash comes back.
pub(crate) fn network_probe(request: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::OK);
    if let Some(hash) = request.get(PROBE_HASH) {
        response.headers_mut().insert(PROBE_HASH, hash.clone());
    }
    response
}

/// The answer to `/healthz` and `/readyz`.
pub(crate) fn health(well: Result<(), String>) -> Response<Full<Bytes>> {
    match well {
        Ok(()) => {
            let mut response = empty(StatusCode::OK);
            *response.body_mut() = Full::new(Bytes::from_static(b"ok\n"));
            response
        }
        Err(reason) => {
            let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
            *response.body_mut() = Full::new(Bytes::from(format!("{reason}\n")));
            response
        }
    }
}
