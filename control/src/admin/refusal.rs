//! Why a request is not answered as asked.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use pelton_event_log::{AppendError, LogError};
use pelton_resources::contracts::{HandBackError, WriteError};
use pelton_resources::{Kind, NamespacedName, Problem};
use serde_json::json;

use crate::limits;

/// Why a request is not answered as asked; each has a page in `docs/errors/`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is nothing at this path; docs/admin-api.md lists the paths")]
    NoSuchPath,
    #[error("a {0} serves Brokers and is not shown; it can be applied and deleted")]
    NotShown(Kind),
    #[error("there is no {0} {1}")]
    NoSuchResource(Kind, NamespacedName),
    #[error("there is no {0} {1}; `pelton get {0}s` lists those there are")]
    NothingServed(&'static str, NamespacedName),
    #[error(
        "this process runs no Services; ask the Pelton that does, which is one that `pelton run` started"
    )]
    NothingRuns,
    #[error("{0}")]
    Traffic(String),
    #[error(
        "Service {0} has no other revision that is ready, so there is none to go back to; `pelton get revisions` lists them"
    )]
    NothingBefore(NamespacedName),
    #[error("{kind} {name} is defined in {file}; change it there")]
    Foreign { kind: Kind, name: NamespacedName, file: String },
    #[error("{}", first(.0))]
    Invalid(Vec<Problem>),
    #[error("the body is larger than {} bytes; send less at once", limits::BODY_BYTES_MAX)]
    TooLarge,
    #[error(
        "this needs the admin token, and none was presented; send Authorization: Bearer TOKEN (the command line takes it from PELTON_ADMIN_TOKEN)"
    )]
    NoToken,
    #[error(
        "the token that was presented is not the admin token; send the value of admin.token (the command line takes it from PELTON_ADMIN_TOKEN)"
    )]
    WrongToken,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    BadRequest(String),
    #[error("the change could not be stored: {0}")]
    Storage(String),
    #[error("the log did not answer: {0}")]
    Log(String),
    #[error("this path takes another method; docs/admin-api.md lists them")]
    Method,
    #[error("{} tails run already; end one, or wait", limits::TAILS_MAX)]
    TooManyTails,
    #[error(transparent)]
    NotHandedBack(HandBackError),
    #[error("there is no open dead letter {0}; it may have been replayed, discarded, or have grown too old")]
    NoSuchLetter(String),
}

fn first(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == pelton_resources::Severity::Error);
    let mut texts = errors.map(ToString::to_string);
    let first = texts.next().unwrap_or_else(|| "the documents are not valid".to_owned());
    match texts.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

impl Refusal {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchPath | Self::NotShown(_) => "PEL-1601",
            Self::NoSuchResource(..) | Self::NothingServed(..) => "PEL-1602",
            Self::Foreign { .. } => "PEL-1603",
            Self::Invalid(_) => "PEL-1604",
            Self::TooLarge => "PEL-1605",
            Self::NoToken | Self::WrongToken => "PEL-1606",
            Self::Forbidden(_) => "PEL-1607",
            Self::BadRequest(_) => "PEL-1608",
            Self::Storage(_) => "PEL-1609",
            Self::Log(_) => "PEL-1610",
            Self::Method => "PEL-1611",
            Self::TooManyTails => "PEL-1612",
            Self::NoSuchLetter(_) => "PEL-1613",
            Self::NotHandedBack(_) => "PEL-1614",
            Self::NothingRuns => "PEL-1615",
            Self::Traffic(_) => "PEL-1616",
            Self::NothingBefore(_) => "PEL-1617",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath
            | Self::NotShown(_)
            | Self::NoSuchResource(..)
            | Self::NothingServed(..)
            | Self::NothingRuns
            | Self::NoSuchLetter(_) => StatusCode::NOT_FOUND,
            Self::Foreign { .. } | Self::NothingBefore(_) => StatusCode::CONFLICT,
            Self::Invalid(_) | Self::Traffic(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Storage(_) | Self::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyTails => StatusCode::TOO_MANY_REQUESTS,
            Self::NotHandedBack(HandBackError::Log(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotHandedBack(HandBackError::NotFound(_)) => StatusCode::NOT_FOUND,
            Self::NotHandedBack(_) => StatusCode::CONFLICT,
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::NoSuchPath | Self::NotShown(_) => "No such path",
            Self::NoSuchResource(..) | Self::NothingServed(..) => "No such resource",
            Self::NothingRuns => "No Services here",
            Self::Traffic(_) => "Traffic not possible",
            Self::NothingBefore(_) => "Nothing to go back to",
            Self::Foreign { .. } => "Defined in a file",
            Self::Invalid(_) => "Documents not valid",
            Self::TooLarge => "Body too large",
            Self::NoToken => "Token needed",
            Self::WrongToken => "Wrong token",
            Self::Forbidden(_) => "Not from here",
            Self::BadRequest(_) => "Bad request",
            Self::Storage(_) => "Not stored",
            Self::Log(_) => "Log not available",
            Self::Method => "Method not allowed",
            Self::TooManyTails => "Too many tails",
            Self::NoSuchLetter(_) => "No such dead letter",
            Self::NotHandedBack(_) => "Not handed back",
        }
    }
}

impl IntoResponse for Refusal {
    /// `application/problem+json` (RFC 9457).
    fn into_response(self) -> Response {
        let status = self.status();
        let mut problem = json!({
            "type": format!("urn:pelton:error:{}", self.code()),
            "title": self.title(),
            "status": status.as_u16(),
            "detail": self.to_string(),
            "code": self.code(),
        });
        if let Self::Invalid(problems) = &self {
            problem["problems"] = json!(problems);
        }
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::NoToken | Self::WrongToken => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Storage(_) | Self::Log(_) | Self::TooManyTails => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<HandBackError> for Refusal {
    fn from(error: HandBackError) -> Self {
        Self::NotHandedBack(error)
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Invalid(problems) => Self::Invalid(problems),
            WriteError::NotFound(kind, name) => Self::NoSuchResource(kind, name),
            WriteError::Foreign { kind, name, file } => Self::Foreign { kind, name, file },
            WriteError::Storage(why) => Self::Storage(why),
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::Log(format!("{error} ({})", error.code()))
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::Log(format!("{error} ({})", error.code()))
    }
}
