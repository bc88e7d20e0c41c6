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
    fn charge(&self, bytes: usize) -> Option<Charge> {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Charge { bytes, budget: self.clone() })
    }

    /// Charges `bytes` even beyond the limit.
    pub(crate) fn charge_anyway(&self, bytes: usize) -> Charge {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { bytes, budget: self.clone() }
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_spent(&self) -> bool {
        self.used() >= self.0.limit
    }

    /// Whether more is in use than it has.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used() > self.0.limit
    }

    /// The body of `record`, charged; `None` if the budget is spent.
    pub(crate) fn take(&self, record: &Record) -> Option<Body> {
        self.charge(cost(record)).map(|charge| Body::new(record, charge))
    }

    /// The body of `record`, charged even beyond the limit: for the one that each lane may have on its way in any case.
    pub(crate) fn take_anyway(&self, record: &Record) -> Body {
        Body::new(record, self.charge_anyway(cost(record)))
    }
}

/// A share of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    bytes: usize,
    budget: BodyBudget,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
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
    charge: Charge,
}

impl Body {
    fn new(record: &Record, charge: Charge) -> Self {
        // A small record is copied out of the buffer it was read into, so that it does not keep the whole of it.
        let is_small = charge.bytes <= limits::BODY_COPY_BYTES_MAX;
        let record = if is_small { record.detached() } else { record.clone() };
        Self(Arc::new(Charged { record, charge }))
    }

    /// The record.
    pub(crate) fn record(&self) -> &Record {
        &self.0.record
    }

    /// Bytes charged for it.
    pub(crate) fn bytes(&self) -> usize {
        self.0.charge.bytes
    }
}
