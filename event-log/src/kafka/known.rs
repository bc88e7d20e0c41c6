//! Which incarnation of a topic positions are of, for partitions that somebody else owns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::cluster::Cluster;
use super::incarnation::Identities;
use super::take_over::identities_of_others;
use super::topics::ids_of_both;
use crate::limits::KAFKA_IDENTITY_INTERVAL;
use crate::{LogError, Partition, TopicName};

/// What was found out a moment ago.
#[derive(Debug, Default)]
pub(super) struct KnownIdentities(Mutex<HashMap<(TopicName, Partition), (Identities, Instant)>>);

impl KnownIdentities {
    /// The topics as the next owner of the partition would know them.
    pub(super) async fn of(
        &self,
        cluster: &Arc<Cluster>,
        events: &TopicName,
        partition: Partition,
    ) -> Result<Identities, LogError> {
        let place = (events.clone(), partition);
        let known = self.known().get(&place).cloned();
        if let Some((identities, at)) = &known
            && at.elapsed() < KAFKA_IDENTITY_INTERVAL
        {
            return Ok(identities.clone());
        }
        let ids = ids_of_both(cluster, events).await?;
        let ids = ids.map(Option::unwrap_or_default);
        let identities = match known {
            Some((known, _)) if known.now(&ids) == known => known,
            // What is not there is known to nobody: it is not waited for.
            _ => identities_of_others(cluster, events, partition).await?.now(&ids),
        };
        self.known().insert(place, (identities.clone(), Instant::now()));
        Ok(identities)
    }

    /// Forgets what belongs to a topic that goes.
    pub(super) fn forget(&self, events: &TopicName) {
        self.known().retain(|(topic, _), _| topic != events);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(TopicName, Partition), (Identities, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
