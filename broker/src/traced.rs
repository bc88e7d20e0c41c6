//! A span for every event whose trace is sampled: from the decoded request to the event's being durable.

use pelton_event::TraceContext;
use pelton_event_log::{AppendError, Batch, Stored};
use pelton_resources::NamespacedName;
use pelton_runtime::telemetry::{Span, SpanKind, Tracer};

/// Begins the spans of a batch. Each record then carries its span on, so that deliveries are below it.
pub(crate) fn begin(tracer: &Tracer, batch: &mut Batch, broker: &NamespacedName) -> Vec<Span> {
    if tracer.is_off() {
        return Vec::new();
    }
    let records = batch.records.iter_mut().map(|(_, _, record)| record);
    records
        .filter_map(|record| {
            let event = record.event.as_ref()?;
            let trace = record.envelope.trace.as_ref();
            let parent = trace.map_or(("", ""), |trace| (&trace.parent, &trace.state));
            let mut span = tracer.begin(SpanKind::Server, "receive", parent)?;
            span.set_event(broker.as_str(), event.id(), event.source(), event.event_type());
            let parent = span.parent().into();
            let trace = record.envelope.trace.take().unwrap_or_default();
            record.envelope.trace = Some(TraceContext { parent, ..trace });
            Some(span)
        })
        .collect()
}

/// Ends the spans with what came of the append.
pub(crate) fn end(spans: Vec<Span>, appended: Result<Stored, AppendError>) -> Result<Stored, AppendError> {
    for mut span in spans {
        if let Err(error) = &appended {
            span.fail(error.code());
        }
        span.end();
    }
    appended
}
