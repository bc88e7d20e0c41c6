//! Which broker a request is for: a table made from each snapshot, read without a lock and without an allocation.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use pelton_event_log::{EventLog, LogError, TopicName};
use pelton_resources::{Broker, NamespacedName, Readiness, Snapshot};

use crate::admit::Budget;
use crate::metrics::{BrokerMetrics, Metrics};

/// What follows `BROKER.NAMESPACE` in a Host that names a broker; nothing may follow as well.
const HOST_SUFFIXES: [&str; 3] = [".svc.cluster.local", ".localhost", ".svc"];

/// Everything that a request needs of its broker.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) broker: Arc<Broker>,
    pub(crate) door: Door,
    pub(crate) account: Arc<Account>,
}

/// Whether events can come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Door {
    /// They go to this topic, which has this many partitions.
    Open { topic: TopicName, partitions: u32 },
    /// They cannot, because of this. `passing`: it is worth another try without a change of the broker.
    Closed { reason: String, passing: bool },
}

/// What outlives an edit of a broker: its share and its series.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) budget: Budget,
    pub(crate) metrics: BrokerMetrics,
    pub(crate) refused: AtomicU64,
}

impl Account {
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The brokers by path (`namespace/name`) and by host (`name.namespace`).
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_path: HashMap<Box<str>, Arc<Route>>,
    by_host: HashMap<Box<str>, Arc<Route>>,
}

impl Routes {
    /// The broker of a request: the path decides; where it names none, the Host does (as in Knative's Kafka broker).
    pub(crate) fn find(&self, path: &str, host: Option<&str>) -> Option<&Arc<Route>> {
        self.by_path.get(path_key(path)).or_else(|| self.by_host.get(&*host_key(host?)))
    }

    pub(crate) fn of(&self, name: &NamespacedName) -> Option<&Arc<Route>> {
        self.by_path.get(name.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &NamespacedName> {
        self.by_path.values().map(|route| &route.broker.name)
    }

    /// Whether no door is worth another try.
    pub(crate) fn is_settled(&self) -> bool {
        !self.by_path.values().any(|route| matches!(route.door, Door::Closed { passing: true, .. }))
    }

    /// The table for `snapshot`: each broker with its topic as that is there; an unchanged broker keeps its route.
    pub(crate) async fn make(
        snapshot: &Snapshot,
        before: &Self,
        log: &dyn EventLog,
        metrics: &Metrics,
        broker_bytes: u64,
    ) -> Self {
        let mut routes = Self::default();
        for (name, broker) in &snapshot.brokers {
            let known = before.of(name);
            let unchanged = known.filter(|route| {
                Arc::ptr_eq(&route.broker, broker)
                    && !matches!(route.door, Door::Closed { passing: true, .. })
            });
            let route = match unchanged {
                Some(route) => route.clone(),
                None => Arc::new(Route {
                    broker: broker.clone(),
                    door: open(broker, log).await,
                    account: known.map_or_else(
                        || {
                            Arc::new(Account {
                                budget: Budget::new(broker_bytes),
                                metrics: metrics.of(name),
                                refused: AtomicU64::new(0),
                            })
                        },
                        |route| route.account.clone(),
                    ),
                }),
            };
            let host = format!("{}.{}", name.name(), name.namespace());
            routes.by_host.insert(host.into(), route.clone());
            routes.by_path.insert(name.as_str().into(), route);
        }
        routes
    }
}

/// The part of a path that may be `namespace/name`: a trailing slash does not count.
pub(crate) fn path_key(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path)
}

/// `name.namespace` of a Host like `name.namespace.localhost:8080` or `name.namespace.svc.cluster.local`.
pub(crate) fn host_key(host: &str) -> Cow<'_, str> {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    let end = HOST_SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix)).map_or(host.len(), str::len);
    match host {
        Cow::Borrowed(host) => Cow::Borrowed(&host[..end]),
        Cow::Owned(host) => Cow::Owned(host[..end].to_owned()),
    }
}

/// Looks for the topic, which control makes before it passes the broker on: the log hears of its partitions with that.
async fn open(broker: &Broker, log: &dyn EventLog) -> Door {
    if let Readiness::NotReady(reason) = &broker.readiness {
        return Door::Closed { reason: reason.message.clone(), passing: false };
    }
    let name = TopicName::new(broker.topic.as_str());
    let error = match log.topic(&name).await {
        Ok(Some(topic)) => return Door::Open { topic: name, partitions: topic.partitions.max(1) },
        Ok(None) => LogError::Topic(name, "it is not there yet".into()),
        Err(error) => error,
    };
    tracing::warn!(broker = %broker.name, code = error.code(), %error, "the topic is not found; trying again");
    Door::Closed { reason: error.to_string(), passing: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_broker_whatever_its_port_case_and_suffix() {
        for host in [
            "orders.shop",
            "orders.shop:8080",
            "orders.shop.localhost:8080",
            "orders.shop.svc",
            "orders.shop.svc.cluster.local",
            "Orders.SHOP.svc.cluster.local:80",
        ] {
            assert_eq!(host_key(host), "orders.shop", "{host}");
        }
        assert_eq!(host_key("[::1]:8080"), "[::1]");
        assert_eq!(host_key("localhost"), "localhost");
    }

    #[test]
    fn a_trailing_slash_of_a_path_does_not_count_and_nothing_else_is_bent() {
        assert_eq!(path_key("/shop/orders"), "shop/orders");
        assert_eq!(path_key("/shop/orders/"), "shop/orders");
        assert_eq!(path_key("/shop/orders//"), "shop/orders/");
        assert_eq!(path_key("/"), "");
    }
}
