//! Returning a Broker's work to Knative.

use std::fmt;

use futures_core::future::BoxFuture;

use crate::name::NamespacedName;

/// Returns the work of a Broker that was taken over from Knative.
pub trait HandBack: Send + Sync + fmt::Debug {
    /// Waits until nobody dispatches the Broker any more, sets the consumer group of each of its Triggers to the lowest
    /// offset without an end, and forgets what Pelton knew. The Broker must be marked as handed back before. What was handed
    /// back already is left alone: the answer names no Trigger then. `again`: it was marked before this command, which may
    /// follow on one that failed half-way; no group is set to a later offset than it has.
    fn hand_back<'a>(
        &'a self,
        broker: &'a NamespacedName,
        again: bool,
    ) -> BoxFuture<'a, Result<Vec<HandedBack>, HandBackError>>;

    /// Sees to it that a Broker which was handed back goes on where its groups have stopped once it is not marked any more:
    /// what a command that failed half-way has left of Pelton's progress says that retries are under way which are gone.
    fn complete<'a>(&'a self, broker: &'a NamespacedName) -> BoxFuture<'a, Result<(), HandBackError>>;
}

/// A Trigger whose consumer group is where the Trigger was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedBack {
    /// The Trigger.
    pub trigger: NamespacedName,
    /// Its consumer group.
    pub group: String,
    /// Partition and committed offset, in order.
    pub offsets: Vec<(u32, u64)>,
}

/// Why a Broker is not handed back. Nothing is lost; the command can be given again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandBackError {
    /// There is no such Broker.
    #[error("there is no Broker {0}")]
    NotFound(NamespacedName),
    /// Its events are not on Kafka.
    #[error("the events of Broker {0} are in the embedded log, which nobody else can continue")]
    NotOnKafka(NamespacedName),
    /// Some process still dispatches it.
    #[error(
        "Broker {broker} is still dispatched by {hosts}; stop them, or see that they read the same resources, and give the \
         command again"
    )]
    StillDispatched {
        /// The Broker.
        broker: NamespacedName,
        /// Where they run.
        hosts: String,
    },
    /// Kafka did not take or tell something.
    #[error("{0}; the Broker delivers nothing until the command is given again, or `--undo`")]
    Log(String),
}
