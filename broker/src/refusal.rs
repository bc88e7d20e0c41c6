//! Why a request was not accepted: status, code and an RFC 9457 problem that says what to do.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use pelton_event::EventError;
use pelton_event_log::AppendError;
use pelton_resources::NamespacedName;

use crate::limits;

/// The methods a broker's path takes, for `Allow`.
pub(crate) const ALLOWED: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Why a request was not accepted. Nothing of it was stored, except perhaps after [`Refusal::Log`] with an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A method other than POST and OPTIONS.
    #[error("send events with POST; this path takes POST and OPTIONS only")]
    Method,
    /// Neither path nor Host names a broker.
    #[error("there is no broker at {path}; events go to /NAMESPACE/BROKER")]
    NoSuchBroker {
        /// The path that was asked for, shortened.
        path: String,
    },
    /// The request is not a CloudEvent.
    #[error("{0}")]
    NotAnEvent(String),
    /// The event has no hops left, or they are no number.
    #[error("{0}")]
    Hops(EventError),
    /// The body is too large.
    #[error("the body is larger than {max} bytes; keep large data elsewhere and send a reference to it")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// An event of a batch has too much data.
    #[error(
        "event {index} of the batch (the first is 0) has more than {max} bytes of data; keep large data elsewhere and send a reference to it"
    )]
    EventTooLarge {
        /// Its place in the batch, from 0.
        index: usize,
        /// The limit.
        max: u64,
    },
    /// The batch has too many events.
    #[error("the batch has {events} events, more than {max}; split it")]
    BatchTooLarge {
        /// Its events.
        events: usize,
        /// The limit.
        max: usize,
    },
    /// The body's media type is one of CloudEvents, but not one that is read here.
    #[error("{0}")]
    MediaType(String),
    /// The body is compressed.
    #[error("the content coding `{0}` is not read here; send the body as it is")]
    ContentCoding(String),
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} s", .0.as_secs())]
    BodyTimeout(Duration),
    /// The body broke off.
    #[error("the body could not be read: {0}")]
    Body(String),
    /// The client's share of the bytes in flight is spent.
    #[error("this client has too many events under way; send fewer at a time")]
    ClientShare,
    /// The broker's share of the bytes in flight is spent.
    #[error("broker {0} has too many events under way; send fewer at a time")]
    BrokerShare(NamespacedName),
    /// All bytes in flight are spent.
    #[error("too many events are under way; send fewer at a time")]
    Overload,
    /// The broker exists but takes no events at the moment.
    #[error("broker {name} takes no events at the moment: {reason}")]
    NotReady {
        /// The broker.
        name: NamespacedName,
        /// Why.
        reason: String,
    },
    /// The resources are not loaded yet.
    #[error("Pelton is starting; its brokers are not loaded yet")]
    Starting,
    /// The log did not store the event, or is not known to have done so.
    #[error("the event is not known to be stored: {0}")]
    Log(#[from] AppendError),
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoSuchBroker { .. } => StatusCode::NOT_FOUND,
            Self::NotAnEvent(_) | Self::Hops(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. }
            | Self::EventTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::Log(AppendError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType(_) | Self::ContentCoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::ClientShare | Self::BrokerShare(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Overload | Self::NotReady { .. } | Self::Starting | Self::Log(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The stable code (`docs/errors/`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Method => "PEL-1001",
            Self::NoSuchBroker { .. } => "PEL-1002",
            Self::NotAnEvent(_) => "PEL-1003",
            Self::Hops(_) => "PEL-1004",
            Self::TooLarge { .. } | Self::EventTooLarge { .. } => "PEL-1005",
            Self::BatchTooLarge { .. } => "PEL-1017",
            Self::MediaType(_) => "PEL-1006",
            Self::ContentCoding(_) => "PEL-1007",
            Self::BodyTimeout(_) => "PEL-1008",
            Self::Body(_) => "PEL-1009",
            Self::ClientShare => "PEL-1010",
            Self::BrokerShare(_) => "PEL-1011",
            Self::Overload => "PEL-1012",
            Self::NotReady { .. } => "PEL-1013",
            Self::Starting => "PEL-1014",
            Self::Log(error) => error.code(),
        }
    }

    /// How long the client should wait, where waiting helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ClientShare
            | Self::BrokerShare(_)
            | Self::Overload
            | Self::NotReady { .. }
            | Self::Starting => Some(limits::RETRY_AFTER_SHARE),
            Self::Log(AppendError::Full { .. } | AppendError::DiskFull) => Some(limits::RETRY_AFTER_FULL),
            Self::Log(AppendError::TooLarge { .. }) => None,
            Self::Log(_) => Some(limits::RETRY_AFTER_LOG),
            _ => None,
        }
    }

    /// A few words that do not change from case to case (RFC 9457 `title`).
    const fn title(&self) -> &'static str {
        match self {
            Self::Method => "Method not allowed",
            Self::NoSuchBroker { .. } => "No such broker",
            Self::NotAnEvent(_) => "Not a CloudEvent",
            Self::Hops(_) => "Hop count spent or not valid",
            Self::TooLarge { .. } | Self::EventTooLarge { .. } | Self::Log(AppendError::TooLarge { .. }) => {
                "Event too large"
            }
            Self::BatchTooLarge { .. } => "Batch too large",
            Self::MediaType(_) => "Event format not supported",
            Self::ContentCoding(_) => "Content coding not supported",
            Self::BodyTimeout(_) => "Body timed out",
            Self::Body(_) => "Body broken off",
            Self::ClientShare | Self::BrokerShare(_) => "Too many events under way",
            Self::Overload => "Overloaded",
            Self::NotReady { .. } => "Broker not ready",
            Self::Starting => "Starting",
            Self::Log(_) => "Not stored",
        }
    }

    /// The response: `application/problem+json` (RFC 9457) with the members `type`, `title`, `status`, `detail` and `code`.
    #[must_use]
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let status = self.status();
        let problem = serde_json::json!({
            "type": format!("urn:pelton:error:{}", self.code()),
            "title": self.title(),
            "status": status.as_u16(),
            "detail": self.to_string(),
            "code": self.code(),
        });
        let mut response = Response::new(Full::new(Bytes::from(problem.to_string())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self == Self::Method {
            headers.insert(ALLOW, ALLOWED);
        }
        if matches!(self, Self::ContentCoding(_)) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response
    }
}
