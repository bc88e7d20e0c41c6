//! Why a request got no answer of a replica: status, code, and what to do.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use pelton_resources::NamespacedName;

use super::body::ResponseBody;
use crate::limits::RETRY_AFTER_BUSY;
use crate::queue::{Closed, NoPlace};

/// Why a request got no answer of a replica. The statuses are those of Knative's activator and queue-proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither host nor path names a Service.
    #[error("there is no Service at {0}; they are at NAME.NAMESPACE.localhost and at /-/NAMESPACE/NAME/")]
    NoSuchService(String),
    /// The Service has no revision that takes requests.
    #[error("service {service} takes no requests: {reason}")]
    NotReady {
        /// The Service.
        service: NamespacedName,
        /// Why.
        reason: String,
    },
    /// There is no place, or there never will be.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// The request took too long; nothing of an answer came.
    #[error("request timeout: no answer within {0:?}")]
    Timeout(Duration),
    /// No replica could be reached.
    #[error("no replica took the request: {0}")]
    Unreachable(String),
    /// The connection to the replica broke after the request was sent.
    #[error("the replica gave no answer: {0}")]
    Broken(String),
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchService(_) => StatusCode::NOT_FOUND,
            Self::NotReady { .. } | Self::NoPlace(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Unreachable(_) | Self::Broken(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The stable code (`docs/errors/`).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchService(_) => "PEL-1801",
            Self::NotReady { .. } => "PEL-1802",
            Self::NoPlace(NoPlace::Full) => "PEL-1803",
            Self::NoPlace(NoPlace::Closed(Closed::Gone)) => "PEL-1804",
            Self::NoPlace(NoPlace::Closed(Closed::DoesNotStart(_))) => "PEL-1805",
            Self::Timeout(_) => "PEL-1806",
            Self::Unreachable(_) => "PEL-1807",
            Self::Broken(_) => "PEL-1808",
        }
    }

    /// The answer: an RFC 9457 problem; with `Retry-After` where a later try may succeed.
    #[must_use]
    pub fn response(&self) -> Response<ResponseBody> {
        let status = self.status();
        let problem = serde_json::json!({
            "type": format!("urn:pelton:error:{}", self.code()),
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
            "code": self.code(),
        });
        let mut response = Response::new(ResponseBody::Own(Full::new(Bytes::from(problem.to_string()))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_BUSY.as_secs()));
        }
        response
    }
}
