//! Which topic is on which cluster, and how long a cluster is kept.

use std::sync::{Arc, PoisonError, Weak};

use tokio::time::{MissedTickBehavior, interval};

use super::cluster::Cluster;
use super::config::Connection;
use super::engine::{Shared, lock};
use crate::limits::KAFKA_TIDY_INTERVAL;
use crate::{LogError, TopicName};

impl Shared {
    /// The cluster at `connection`; one for all topics on it.
    pub(super) fn cluster(self: &Arc<Self>, connection: &Connection) -> Result<Arc<Cluster>, LogError> {
        self.open()?;
        let mut clusters = lock(&self.clusters);
        if let Some(cluster) = clusters.get(connection) {
            return Ok(cluster.clone());
        }
        let cluster = Arc::new(Cluster::new(connection.clone(), self.config.clone())?);
        clusters.insert(connection.clone(), cluster.clone());
        self.runtime.spawn(watch_over(Arc::downgrade(&cluster)));
        Ok(cluster)
    }

    /// Gives the clusters up that no topic is on any more, with their clients and threads: each login that was changed or
    /// mistyped had one. The default one stays, for topics that are not seen to yet.
    pub(super) fn give_up_clusters(&self) {
        let mut in_use: Vec<_> = lock(&self.owners).values().map(|owner| owner.cluster.clone()).collect();
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        in_use.extend(routes.values().cloned());
        let mut clusters = lock(&self.clusters);
        let is_unused = |connection: &Connection, cluster: &mut Arc<Cluster>| {
            *connection != self.config.connection && !in_use.iter().any(|used| Arc::ptr_eq(used, cluster))
        };
        let unused: Vec<_> = clusters.extract_if(is_unused).collect();
        drop((clusters, routes));
        for (connection, _) in &unused {
            tracing::debug!(?connection, "no topic is there any more");
        }
        // Clients wait for their threads when they end.
        drop(self.runtime.spawn_blocking(move || drop(unused)));
    }

    /// The cluster that `topic` is on.
    pub(super) fn route(self: &Arc<Self>, topic: &TopicName) -> Result<Arc<Cluster>, LogError> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = routes.get(topic).or_else(|| routes.get(&topic.events())) {
            return Ok(cluster.clone());
        }
        drop(routes);
        self.cluster(&self.config.connection)
    }

    /// `events` is on `cluster` from now on.
    pub(super) fn set_route(&self, events: &TopicName, cluster: Arc<Cluster>) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        // It may have been given up while the topic was made: nobody was there yet.
        let cluster = lock(&self.clusters).entry(cluster.connection.clone()).or_insert(cluster).clone();
        let was = routes.insert(events.clone(), cluster.clone());
        drop(routes);
        if was.is_none_or(|was| !Arc::ptr_eq(&was, &cluster)) {
            self.give_up_clusters();
        }
    }

    /// All routes, those first whose cluster is known to answer.
    pub(super) fn routes_by_health(&self) -> Vec<(TopicName, Arc<Cluster>)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            routes.iter().map(|(topic, cluster)| (topic.clone(), cluster.clone())).collect();
        drop(routes);
        all.sort_by_key(|(_, cluster)| cluster.health.is_down());
        all
    }

    /// Forgets the way to a topic that is gone, unless that alone tells on which cluster it is to be made again.
    pub(super) fn forget_route(&self, events: &TopicName, cluster: &Arc<Cluster>) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let is_default = cluster.connection == self.config.connection;
        if is_default && routes.get(events).is_some_and(|known| Arc::ptr_eq(known, cluster)) {
            routes.remove(events);
        }
    }
}

/// Sees to a cluster until nobody uses it any more.
async fn watch_over(cluster: Weak<Cluster>) {
    let mut tick = interval(KAFKA_TIDY_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let Some(cluster) = cluster.upgrade() else { return };
        let suspicion = tokio::select! {
            _ = tick.tick() => cluster.health.trouble().map(|trouble| trouble.reason().into()),
            reason = cluster.health.suspected() => Some(reason),
        };
        let tidied = tokio::task::spawn_blocking(move || {
            cluster.tidy();
            if let Some(reason) = suspicion {
                cluster.look(&reason);
            }
        });
        if tidied.await.is_err() {
            return;
        }
    }
}
