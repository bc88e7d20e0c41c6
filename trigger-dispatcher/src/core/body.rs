//! Bodies in memory, and the budget they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton_event::Record;

use crate::limits;

/// The process-wide budget for the bodies of events. A clone is the same budget.
#[derive(Debug, Clone)]
pub(crate) struct BodyBudget(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    limit: usize,
    used: AtomicUsize,
}

impl BodyBudget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Counters { limit, used: AtomicUsize::new(0) }))
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes it has.
    pub(crate) fn limit(&self) -> usize {
        self.0.limit
    }

    /// Whether the body of `record` fits.
    pub(crate) fn fits(&self, record: &Record) -> bool {
        self.used().saturating_add(cost(record)) <= self.0.limit
    }

    /// Charges `bytes` if they fit.
    fn charge(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// The body of `record`, charged; `None` if the budget is spent.
    pub(crate) fn take(&self, record: &Record) -> Option<Body> {
        let bytes = cost(record);
        self.charge(bytes).then(|| self.body(record, bytes))
    }

    /// The body of `record`, charged even beyond the limit: for what is about to be sent, whose number is bounded.
    pub(crate) fn take_anyway(&self, record: &Record) -> Body {
        let bytes = cost(record);
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        self.body(record, bytes)
    }

    fn body(&self, record: &Record, bytes: usize) -> Body {
        // A small record is copied out of the buffer it was read into, so that it does not keep the whole of it.
        let record = if bytes <= limits::BODY_COPY_BYTES_MAX { record.detached() } else { record.clone() };
        Body(Arc::new(Charged { record, bytes, budget: self.clone() }))
    }
}

fn cost(record: &Record) -> usize {
    record.event.as_ref().map_or(0, pelton_event::Event::size) + limits::BODY_OVERHEAD_BYTES
}

/// A record in memory, charged to the budget until the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Body(Arc<Charged>);

#[derive(Debug)]
struct Charged {
    record: Record,
    bytes: usize,
    budget: BodyBudget,
}

impl Body {
    /// The record.
    pub(crate) fn record(&self) -> &Record {
        &self.0.record
    }

    /// Bytes charged for it.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
