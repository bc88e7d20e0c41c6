//! A span around every attempt whose trace is sampled.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use pelton_resources::contracts::{Delivery, Outcome, Sender};
use pelton_runtime::telemetry::{Span, SpanKind, Tracer};

/// Sends through `sender`, and makes each attempt a span of the event's trace, below which the subscriber works.
///
/// Whether a trace is sampled was decided when the event came in: an event without a trace gets none here.
#[derive(Debug)]
pub struct TracedSender {
    sender: Arc<dyn Sender>,
    tracer: Tracer,
}

impl TracedSender {
    /// `sender` with spans of `tracer`.
    #[must_use]
    pub fn new(sender: Arc<dyn Sender>, tracer: Tracer) -> Self {
        Self { sender, tracer }
    }

    fn begin(&self, delivery: &mut Delivery) -> Option<Span> {
        let trace = delivery.trace.as_mut().filter(|trace| !trace.parent.is_empty())?;
        let mut span = self.tracer.begin(SpanKind::Client, "deliver", (&trace.parent, &trace.state))?;
        trace.parent = span.parent().into();
        let (trigger, event) = (&delivery.trigger, &delivery.event);
        span.set_event(trigger.broker.as_str(), event.id(), event.source(), event.event_type());
        span.set_text("messaging.consumer.group.name", trigger.name.as_str());
        span.set_number("http.request.resend_count", delivery.attempts);
        Some(span)
    }
}

impl Sender for TracedSender {
    fn send(&self, mut deliveries: Vec<Delivery>) -> BoxFuture<'_, Vec<Outcome>> {
        Box::pin(async move {
            let spans: Vec<_> = deliveries.iter_mut().map(|delivery| self.begin(delivery)).collect();
            let outcomes = self.sender.send(deliveries).await;
            for (span, outcome) in spans.into_iter().zip(&outcomes) {
                if let Some(mut span) = span {
                    note(&mut span, outcome);
                    span.end();
                }
            }
            outcomes
        })
    }
}

/// What came of the attempt, as OpenTelemetry's conventions for HTTP clients write it.
fn note(span: &mut Span, outcome: &Outcome) {
    match outcome {
        Outcome::Response(response) => {
            span.set_number("http.response.status_code", response.status);
            if !(200..300).contains(&response.status) {
                span.fail(&response.status.to_string());
            } else if response.reply.is_err() {
                span.fail("invalid_reply");
            }
        }
        Outcome::TimedOut => span.fail("timeout"),
        Outcome::Unreachable { .. } => span.fail("unreachable"),
        Outcome::Forbidden { .. } => span.fail("forbidden"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pelton_event::TraceContext;
    use pelton_resources::Destination;
    use pelton_runtime::client::{Call, CallError, HttpClient};
    use pelton_runtime::telemetry::Traces;

    use super::*;
    use crate::testing::{FakeSender, delivery, event, response};

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    /// A collector that takes everything.
    struct Collector;

    impl HttpClient for Collector {
        async fn call(&self, _: Call) -> Result<http::Response<Bytes>, CallError> {
            Ok(http::Response::new(Bytes::new()))
        }
    }

    /// What a subscriber is told of the trace when the event came with `trace`.
    async fn told(trace: Option<TraceContext>) -> Option<TraceContext> {
        let traces = Traces::over(Collector, "http://collector", 1).unwrap();
        let inner = FakeSender::statuses(&[200]);
        let sender = TracedSender::new(inner.clone(), traces.tracer());
        let sent = Delivery { trace, ..delivery(event("1"), Destination::Uri("http://a/".into())) };
        assert_eq!(sender.send(vec![sent]).await, [response(200)]);
        traces.close().await;
        inner.sent.lock().unwrap()[0].trace.clone()
    }

    #[tokio::test]
    async fn a_subscriber_works_below_the_attempt() {
        let came = TraceContext::with_baggage(TraceContext::parse(SAMPLED, "vendor=a"), "user=1").unwrap();
        let told = told(Some(came.clone())).await.unwrap();
        assert_eq!((told.state, told.baggage), (came.state, came.baggage));
        assert_eq!((&told.parent[..36], &told.parent[52..]), (&SAMPLED[..36], "-01"), "{}", told.parent);
        assert_ne!(told.parent[36..52], SAMPLED[36..52]);
    }

    #[tokio::test]
    async fn without_a_sampled_trace_the_subscriber_is_told_what_came() {
        let baggage = TraceContext::with_baggage(None, "user=1");
        for came in [None, baggage, TraceContext::parse(NOT_SAMPLED, "vendor=a")] {
            assert_eq!(told(came.clone()).await, came);
        }
    }
}
