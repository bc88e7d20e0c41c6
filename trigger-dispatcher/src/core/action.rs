//! What the core asks the shell to do, and the names by which the shell answers.
//!
//! Every input is a method of [`BrokerCore`](super::BrokerCore) that takes a [`Turn`]: the time, the process-wide share of
//! deliveries, and the list that receives the [`Action`]s. The shell runs them in order and feeds what comes of them back.

use std::sync::Arc;

use pelton_event::{Event, Timestamp, TraceContext};
use pelton_event_log::{Batch, Offset, Partition};
use pelton_resources::{Destination, NamespacedName, Start, Trigger};

use super::body::Body;

/// What an input comes with.
pub(crate) struct Turn<'a> {
    /// The time now. It never goes back.
    pub now: Timestamp,
    /// The process-wide share of deliveries in flight.
    pub admission: &'a mut dyn Admission,
    /// Receives what is to be done; the core only adds.
    pub actions: &'a mut Vec<Action>,
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn")
            .field("now", &self.now)
            .field("actions", &self.actions.len())
            .finish_non_exhaustive()
    }
}

/// The process-wide share of deliveries in flight, as the core sees it. After a refusal the shell calls
/// [`BrokerCore::admission_room`](super::BrokerCore::admission_room) once there is room again.
pub(crate) trait Admission {
    /// Starts a delivery of a trigger that has `of_trigger` under way, if there is room for it.
    fn try_start(&mut self, of_trigger: u32) -> bool;
    /// Ends `ended` deliveries.
    fn end(&mut self, ended: u32);
}

/// Something for the shell to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Read the events topic from `from` on, waiting at the end → `head_read`. One at a time per partition, never stops.
    ReadHead {
        /// The partition.
        partition: Partition,
        /// The first offset wanted.
        from: Offset,
    },
    /// Read the retry topic from `from` on, waiting at the end → `retry_read`. One at a time per partition.
    ReadRetry {
        /// The partition.
        partition: Partition,
        /// The first offset wanted.
        from: Offset,
    },
    /// Read the events topic from `from`, without waiting → `sweep_read`.
    Sweep {
        /// Names the sweep.
        sweep: SweepId,
        /// The first offset wanted.
        from: Offset,
        /// Entries that can be used, about: more would be read for nothing.
        entries: usize,
    },
    /// Read one entry → `fetched`, with `None` if nothing is kept at the offset any more.
    Fetch(FetchId),
    /// Find the offset at which a trigger starts → `resolved`.
    Resolve {
        /// Names the request.
        resolve: ResolveId,
        /// Its consumer group, where it goes on where that has stopped; it may take until the members of the group are gone.
        group: Option<Arc<str>>,
        /// Where it starts otherwise.
        start: Start,
    },
    /// Make an attempt → `attempt_ended`, and before, if the destination is a Service, `attempt_started` once the slot is
    /// granted and the request goes out. A [`NoSlot`](pelton_resources::contracts::NoSlot) is an `Outcome::Unreachable`.
    Attempt(Attempt),
    /// Append the batch → `saved` or `save_failed`. One at a time per partition.
    Save {
        /// Names the save.
        save: SaveId,
        /// Its content. Topics, partition, epoch and urgency are set.
        batch: Batch,
    },
    /// The log has let go of events before their end: say so.
    Expired(Expired),
    /// Call `tick` at this time, or soon after. Replaces the one before.
    WakeAt(Timestamp),
    /// The partition was told to stop, has nothing in flight any more, and all its progress is durable: give it up.
    Stopped(Partition),
    /// The partition belongs to somebody else (a save was fenced): the core has dropped it; start nothing more for it and
    /// drop what is under way.
    Lost(Partition),
}

/// Events that the log has let go before their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Whose; `None`: nobody has read them yet, so they may be anybody's.
    pub trigger: Option<NamespacedName>,
    /// The partition.
    pub partition: Partition,
    /// Their offsets; some of them the trigger may not have wanted.
    pub offsets: std::ops::Range<Offset>,
}

/// One attempt to deliver one event.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Names the attempt.
    pub id: AttemptId,
    /// On whose behalf, as it is now.
    pub trigger: Arc<Trigger>,
    /// Where to.
    pub destination: Target,
    /// The event as it is to be sent.
    pub event: Event,
    /// The record it comes from; holds its share of the budget for bodies.
    pub body: Body,
    /// Attempts made before this one.
    pub attempts: u32,
}

impl Attempt {
    /// Where to.
    pub(crate) fn destination(&self) -> &Destination {
        self.destination
            .of(&self.trigger)
            .expect("an attempt is only made towards a destination that the trigger has")
    }

    /// The trace the event belongs to.
    pub(crate) fn trace(&self) -> Option<&TraceContext> {
        self.body.record().envelope.trace.as_ref()
    }

    /// Hops left; told to other brokers.
    pub(crate) fn hops(&self) -> u8 {
        self.body.record().envelope.hops
    }
}

/// Which of a trigger's destinations an attempt goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The subscriber.
    Subscriber,
    /// The dead letter sink.
    DeadLetterSink,
}

impl Target {
    /// This destination of `trigger`, if it has one.
    pub(super) fn of(self, trigger: &Trigger) -> Option<&Destination> {
        match self {
            Self::Subscriber => trigger.subscriber.as_ref(),
            Self::DeadLetterSink => trigger.delivery.dead_letter_sink.as_ref(),
        }
    }
}

/// Names a trigger for as long as the core lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TriggerId(pub(super) u32);

/// Names a lane within its partition: a trigger's, or that of one of its replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneKey {
    pub(super) trigger: TriggerId,
    /// The id of the replay; `None` for what flows live.
    pub(super) replay: Option<u64>,
}

/// Which topic holds the record of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// The events topic.
    Events,
    /// The retry topic.
    Retry,
}

/// Names an attempt. Stale ones are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AttemptId {
    /// The partition.
    pub partition: Partition,
    pub(super) lane: LaneKey,
    pub(super) source: Source,
    pub(super) offset: Offset,
    pub(super) sequence: u64,
}

/// Names a fetch, and says what is to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FetchId {
    /// The partition.
    pub partition: Partition,
    /// The topic.
    pub source: Source,
    /// The offset.
    pub offset: Offset,
    pub(super) lane: LaneKey,
    pub(super) sequence: u64,
}

/// Names a catch-up reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SweepId {
    /// The partition.
    pub partition: Partition,
    pub(super) sequence: u64,
}

/// Names a request for the offset of a point in time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ResolveId {
    /// The partition.
    pub partition: Partition,
    /// The trigger that starts there.
    pub trigger: NamespacedName,
    pub(super) sequence: u64,
}

/// Names a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SaveId {
    /// The partition.
    pub partition: Partition,
    pub(super) sequence: u64,
}
