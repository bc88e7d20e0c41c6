//! What an outcome means: Knative's data-plane specification, "Event Acknowledgement and Delivery Retry".

use std::time::Duration;

use bytes::Bytes;
use pelton_event::{DeadLetterReason, Event, Failure};
use pelton_resources::contracts::{Outcome, Response};
use pelton_resources::{DeliveryPolicy, Destination};

use crate::schedule;

/// What is to be done with a delivery after an attempt, and what the attempt says about the destination.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// What is to be done.
    pub verdict: Verdict,
    /// What it says about the destination.
    pub signal: Signal,
    /// What went wrong, for people; empty after a success.
    pub error: Box<str>,
}

/// What is to be done with a delivery.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It was taken; the destination may have replied.
    Delivered(Option<Event>),
    /// It is tried again after this time.
    Retry(Duration),
    /// It failed for good.
    Failed(Box<Failure>),
}

/// What an attempt says about a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It works.
    Works,
    /// It works, but did not want this event.
    Refuses,
    /// It gets more than it can take.
    Overloaded,
    /// It does not work.
    Fails,
}

/// Judges the `attempts`-th attempt (from 1) at `destination`. `jitter` is drawn evenly from 0 to 1.
pub(crate) fn judge(
    outcome: Outcome,
    policy: &DeliveryPolicy,
    destination: &Destination,
    attempts: u32,
    jitter: f64,
) -> Judgement {
    let (signal, retry, facts) = match outcome {
        Outcome::Response(response) => match classify(response) {
            Class::Taken(reply) => {
                return Judgement {
                    verdict: Verdict::Delivered(reply),
                    signal: Signal::Works,
                    error: "".into(),
                };
            }
            Class::Failed { signal, retry, facts } => (signal, retry, facts),
        },
        Outcome::TimedOut => {
            (Signal::Fails, Again::Yes(None), Facts::without_response("no response within the time-out"))
        }
        Outcome::Unreachable { message } => {
            (Signal::Fails, Again::Yes(None), Facts::without_response(message))
        }
        Outcome::Forbidden { message } => {
            let facts = Facts { reason: DeadLetterReason::Forbidden, ..Facts::without_response(message) };
            (Signal::Refuses, Again::No, facts)
        }
    };
    let error = facts.message.clone();
    let verdict = match retry {
        Again::Yes(retry_after) if attempts <= policy.retry => {
            Verdict::Retry(schedule::wait(policy, attempts, jitter, retry_after))
        }
        _ => Verdict::Failed(Box::new(facts.into_failure(destination))),
    };
    Judgement { verdict, signal, error }
}

enum Class {
    Taken(Option<Event>),
    Failed { signal: Signal, retry: Again, facts: Facts },
}

/// Whether another attempt may do better, and how long the destination asked to be left alone.
enum Again {
    Yes(Option<Duration>),
    No,
}

fn classify(response: Response) -> Class {
    let Response { status, retry_after, reply, body } = response;
    let failed = |signal, retry, reason, message: Box<str>| Class::Failed {
        signal,
        retry,
        facts: Facts { reason, status, message, body },
    };
    let said = |what: &str| format!("response {status}: {what}").into_boxed_str();
    use DeadLetterReason::{BadReply, Exhausted, Rejected};
    match status {
        // Only a 200 may carry a reply; the body of a 202 is none.
        200 => match reply {
            Ok(reply) => Class::Taken(reply),
            Err(why) => failed(
                Signal::Works,
                Again::Yes(None),
                BadReply,
                said(&format!("the reply is not an event: {why}")),
            ),
        },
        201..=299 => Class::Taken(None),
        429 | 503 => failed(
            Signal::Overloaded,
            Again::Yes(retry_after),
            Exhausted,
            said("it cannot take more at the moment"),
        ),
        404 | 408 | 409 | 500..=599 => {
            failed(Signal::Fails, Again::Yes(None), Exhausted, said("it may take the event later"))
        }
        100..=199 | 300..=499 => failed(Signal::Refuses, Again::No, Rejected, said("it refuses the event")),
        // Codes that HTTP does not know should be retried, says the specification.
        _ => failed(Signal::Fails, Again::Yes(None), Exhausted, said("not a known status")),
    }
}

/// What is known about a failed attempt.
struct Facts {
    reason: DeadLetterReason,
    status: u16,
    message: Box<str>,
    body: Bytes,
}

impl Facts {
    fn without_response(message: impl Into<Box<str>>) -> Self {
        Self { reason: DeadLetterReason::Exhausted, status: 0, message: message.into(), body: Bytes::new() }
    }

    fn into_failure(self, destination: &Destination) -> Failure {
        let body = self.body.get(..pelton_event::limits::FAILURE_BODY_BYTES_MAX).unwrap_or(&self.body);
        Failure {
            reason: self.reason,
            destination: address(destination).into(),
            status: self.status,
            message: self.message,
            body: Bytes::copy_from_slice(body),
        }
    }
}

/// A destination as a URL, as dead letters name it (`knativeerrordest`).
pub(crate) fn address(destination: &Destination) -> String {
    match destination {
        Destination::Uri(uri) => uri.clone(),
        Destination::Service { name, path } => {
            format!("http://{}.{}.svc.cluster.local{path}", name.name(), name.namespace())
        }
        Destination::Broker(name) => {
            format!(
                "http://broker-ingress.knative-eventing.svc.cluster.local/{}/{}",
                name.namespace(),
                name.name()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(retry: u32) -> DeliveryPolicy {
        DeliveryPolicy {
            retry,
            backoff_policy: pelton_resources::BackoffPolicy::Linear,
            ..DeliveryPolicy::default()
        }
    }

    fn response(status: u16) -> Response {
        Response {
            status,
            retry_after: Some(Duration::from_secs(60)),
            reply: Ok(None),
            body: Bytes::from_static(b"why"),
        }
    }

    fn judged(outcome: Outcome, retry: u32, attempts: u32) -> Judgement {
        judge(outcome, &policy(retry), &Destination::Uri("http://there/".into()), attempts, 1.0)
    }

    fn event() -> Event {
        let mut builder = pelton_event::EventBuilder::new(pelton_event::SpecVersion::V1_0);
        for name in ["id", "source", "type"] {
            builder.attribute(name, "x", pelton_event::Kind::String).unwrap();
        }
        builder.build(None).unwrap()
    }

    #[test]
    fn every_status_has_its_meaning() {
        use Signal::{Fails, Overloaded, Refuses, Works};
        let retried = [
            (404, Fails),
            (408, Fails),
            (409, Fails),
            (429, Overloaded),
            (500, Fails),
            (503, Overloaded),
            (599, Fails),
            (600, Fails),
            (999, Fails),
            (0, Fails),
        ];
        for (status, signal) in retried {
            let judgement = judged(Outcome::Response(response(status)), 3, 3);
            let wait =
                if signal == Overloaded { Duration::from_secs(60) } else { Duration::from_millis(200) };
            assert!(matches!(judgement.verdict, Verdict::Retry(w) if w == wait), "{status}: {judgement:?}");
            assert_eq!(judgement.signal, signal, "{status}");
            let judgement = judged(Outcome::Response(response(status)), 3, 4);
            let Verdict::Failed(failure) = judgement.verdict else { panic!("{status}: {judgement:?}") };
            assert_eq!((failure.reason, failure.status), (DeadLetterReason::Exhausted, status));
            assert_eq!(&failure.body[..], b"why");
        }
        for status in [100, 101, 199, 300, 301, 307, 399, 400, 401, 403, 405, 410, 422, 428, 430, 499] {
            let judgement = judged(Outcome::Response(response(status)), 3, 1);
            let Verdict::Failed(failure) = judgement.verdict else { panic!("{status}: {judgement:?}") };
            assert_eq!(
                (failure.reason, failure.status, judgement.signal),
                (DeadLetterReason::Rejected, status, Refuses)
            );
            assert_eq!(&*failure.destination, "http://there/");
        }
        for status in [200, 201, 202, 204, 206, 299] {
            let judgement = judged(Outcome::Response(response(status)), 0, 1);
            assert!(matches!(judgement.verdict, Verdict::Delivered(None)), "{status}: {judgement:?}");
            assert_eq!((judgement.signal, &*judgement.error), (Works, ""), "{status}");
        }
    }

    #[test]
    fn only_a_200_replies() {
        let with = |status, reply| Outcome::Response(Response { reply, ..response(status) });
        assert!(matches!(judged(with(200, Ok(Some(event()))), 0, 1).verdict, Verdict::Delivered(Some(_))));
        for status in [201, 202, 204] {
            assert!(
                matches!(judged(with(status, Ok(Some(event()))), 0, 1).verdict, Verdict::Delivered(None)),
                "{status}"
            );
            assert!(matches!(
                judged(with(status, Err("not an event".into())), 0, 1).verdict,
                Verdict::Delivered(None)
            ));
        }
    }

    #[test]
    fn a_malformed_reply_is_a_failed_delivery_of_a_working_subscriber() {
        let outcome = || Outcome::Response(Response { reply: Err("no id".into()), ..response(200) });
        let judgement = judged(outcome(), 1, 1);
        assert!(matches!(judgement.verdict, Verdict::Retry(_)), "{judgement:?}");
        assert_eq!(judgement.signal, Signal::Works);
        let Verdict::Failed(failure) = judged(outcome(), 1, 2).verdict else { panic!("not failed") };
        assert_eq!((failure.reason, failure.status), (DeadLetterReason::BadReply, 200));
        assert!(failure.message.contains("no id"), "{}", failure.message);
    }

    #[test]
    fn no_response_is_retried_and_what_is_forbidden_is_not() {
        let unreachable = || Outcome::Unreachable { message: "refused".into() };
        for outcome in [Outcome::TimedOut, unreachable()] {
            assert!(matches!(judged(outcome.clone(), 1, 1).verdict, Verdict::Retry(_)));
            let Verdict::Failed(failure) = judged(outcome, 1, 2).verdict else { panic!("not failed") };
            assert_eq!((failure.reason, failure.status), (DeadLetterReason::Exhausted, 0));
        }
        let Verdict::Failed(failure) = judged(Outcome::Forbidden { message: "private".into() }, 9, 1).verdict
        else {
            panic!("not failed")
        };
        assert_eq!((failure.reason, &*failure.message), (DeadLetterReason::Forbidden, "private"));
    }

    #[test]
    fn no_retries_means_one_attempt() {
        assert!(matches!(judged(Outcome::TimedOut, 0, 1).verdict, Verdict::Failed(_)));
    }

    #[test]
    fn long_bodies_are_cut() {
        let body = Bytes::from(vec![7; 5_000]);
        let outcome = Outcome::Response(Response { body, ..response(400) });
        let Verdict::Failed(failure) = judged(outcome, 0, 1).verdict else { panic!("not failed") };
        assert_eq!(failure.body.len(), pelton_event::limits::FAILURE_BODY_BYTES_MAX);
    }
}
