//! One event to the ingress, again and again where the ingress asks for it.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use pelton_event::Event;
use pelton_event::http::{Mode, Options, encode};

use crate::api::connection::{Connection, Endpoint};
use crate::failure::Failure;

/// No answer may ask for a longer wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The wait after a connection that broke.
const WAIT_BROKEN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) enum Outcome {
    Accepted,
    /// It is not stored; `code` is that of the broker's answer.
    Refused {
        code: String,
        message: String,
    },
    /// An answer broke off and none came after it: the event may be stored.
    Unknown {
        message: String,
    },
}

/// Nobody listens: then no other event will do better.
#[derive(Debug)]
pub(super) struct GaveUp {
    pub(super) failure: Failure,
    /// The event was sent before that, and the answer broke off.
    pub(super) may_be_stored: bool,
}

/// Sends over one connection, which is opened again when it breaks.
pub(super) struct Poster {
    endpoint: Endpoint,
    path: Uri,
    retries: u32,
    connection: Option<Connection>,
}

enum Attempt {
    Accepted,
    Refused(Refusal),
    /// It is refused for now.
    Later {
        after: Duration,
        refusal: Refusal,
    },
    /// The connection broke before the answer was whole.
    Broken {
        message: String,
    },
}

struct Refusal {
    code: String,
    message: String,
}

impl Poster {
    pub(super) fn new(endpoint: Endpoint, path: Uri, retries: u32) -> Self {
        Self { endpoint, path, retries, connection: None }
    }

    /// # Errors
    /// When nobody listens.
    pub(super) async fn post(&mut self, event: &Event) -> Result<Outcome, GaveUp> {
        let mut may_be_stored = false;
        let mut left = self.retries;
        loop {
            let attempt = self.attempt(event).await;
            match attempt.map_err(|failure| GaveUp { failure, may_be_stored })? {
                Attempt::Accepted => return Ok(Outcome::Accepted),
                Attempt::Refused(refusal) => return Ok(refused(refusal, may_be_stored)),
                Attempt::Later { refusal, .. } if left == 0 => return Ok(refused(refusal, may_be_stored)),
                Attempt::Later { after, .. } => tokio::time::sleep(after).await,
                Attempt::Broken { message } if left == 0 => return Ok(Outcome::Unknown { message }),
                Attempt::Broken { .. } => {
                    may_be_stored = true;
                    tokio::time::sleep(WAIT_BROKEN).await;
                }
            }
            left -= 1;
        }
    }

    async fn attempt(&mut self, event: &Event) -> Result<Attempt, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.endpoint.connect().await.map_err(|error| self.unreachable(&error))?,
        };
        let mut headers = HeaderMap::new();
        let body = encode(event, Mode::Binary, Options::default(), &mut headers);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.headers_mut() = headers;
        *request.uri_mut() = self.path.clone();
        let answer = async {
            let response = connection.send(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        match answer.await {
            Ok((head, body)) => {
                self.connection = Some(connection);
                Ok(judge(head.status, &head.headers, &body))
            }
            Err(error) => {
                Ok(Attempt::Broken { message: format!("no answer from {}: {error}", self.endpoint.url) })
            }
        }
    }

    fn unreachable(&self, error: &std::io::Error) -> Failure {
        let url = &self.endpoint.url;
        Failure::unreachable(
            "PEL-1701",
            format!(
                "no Pelton takes events at {url} ({error}); start one with `pelton run`, or set --ingress"
            ),
        )
    }
}

/// A refusal says nothing about an earlier attempt whose answer broke off.
fn refused(refusal: Refusal, may_be_stored: bool) -> Outcome {
    let Refusal { code, message } = refusal;
    if may_be_stored { Outcome::Unknown { message } } else { Outcome::Refused { code, message } }
}

fn judge(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Attempt {
    if status.is_success() {
        return Attempt::Accepted;
    }
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match (problem["code"].as_str(), problem["detail"].as_str()) {
        (Some(code), Some(detail)) => format!("{status} {code}: {detail}"),
        _ => format!("{status}: {}", String::from_utf8_lossy(body).trim()),
    };
    let refusal = Refusal { code: problem["code"].as_str().unwrap_or_default().to_owned(), message };
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return Attempt::Refused(refusal);
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let after = seconds.map_or(Duration::from_secs(1), Duration::from_secs);
    Attempt::Later { after: after.min(WAIT_MAX), refusal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_broken_answer_a_refusal_is_not_the_whole_truth() {
        let refusal = || Refusal { code: "PEL-1002".to_owned(), message: "no".to_owned() };
        assert!(matches!(refused(refusal(), false), Outcome::Refused { code, .. } if code == "PEL-1002"));
        assert!(matches!(refused(refusal(), true), Outcome::Unknown { .. }));
    }

    #[test]
    fn only_what_waiting_helps_is_sent_again() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, 7.into());
        for (status, again) in
            [(202, false), (400, false), (404, false), (413, false), (429, true), (503, true)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let attempt =
                judge(status, &headers, &Bytes::from_static(b"{\"code\":\"PEL-1003\",\"detail\":\"x\"}"));
            match attempt {
                Attempt::Accepted => assert_eq!(status, 202),
                Attempt::Refused(Refusal { code, message }) => {
                    assert!(!again && code == "PEL-1003" && message.contains("PEL-1003: x"), "{message}");
                }
                Attempt::Later { after, .. } => assert!(again && after == Duration::from_secs(7), "{status}"),
                Attempt::Broken { message } => panic!("{message}"),
            }
        }
    }
}
