//! The topics of brokers: made before a broker is in service, kept for a while after it is gone.
//!
//! Snapshots pass through here on their way to the roles: a broker whose topics are not there yet is passed on as not ready.

mod deleted;
mod look;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pelton_event::Timestamp;
use pelton_event_log::kafka::{Connection, Mechanism, Protocol, Sasl};
use pelton_event_log::{
    BrokerTopics, EventLog, KafkaTopic, LogError, OnFull, Retention, TopicName, TopicSpec,
};
use pelton_resources::{
    Broker, KafkaProtocol, KafkaSettings, NamespacedName, Readiness, SaslMechanism, Severity, Snapshot,
};
use pelton_runtime::clock::Clock;
use pelton_runtime::drain::Drain;
use pelton_runtime::limits::TROUBLE_TOLD_EVERY;
use pelton_runtime::telemetry::Told;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::limits;
use deleted::Deleted;

/// Why a broker without its topics is not ready.
const NOT_READY: &str = "TopicsNotReady";

/// How topics are seen to.
#[derive(Debug, Clone)]
pub struct TopicsConfig {
    /// Where it is remembered which brokers are gone.
    pub data_dir: PathBuf,
    /// How long the topics of a deleted broker are kept; `None`: for ever.
    pub keep_deleted: Option<Duration>,
}

impl TopicsConfig {
    /// The topics of deleted brokers are kept for seven days.
    #[must_use]
    pub const fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, keep_deleted: Some(limits::DELETED_TOPICS_KEPT) }
    }
}

/// Sees to the topics of brokers. [`Topics::run`] is its task.
#[derive(Debug)]
pub struct Topics {
    log: Arc<dyn EventLog>,
    clock: Clock,
    desired: watch::Receiver<Arc<Snapshot>>,
    published: watch::Sender<Arc<Snapshot>>,
    in_force: watch::Sender<u64>,
    deleted: Deleted,
    brokers: BTreeMap<NamespacedName, Seen>,
    /// The broker that was looked at last.
    looked_at: Option<NamespacedName>,
}

/// Tells when a snapshot has reached the roles.
#[derive(Debug, Clone)]
pub struct InForce(watch::Receiver<u64>);

impl InForce {
    /// Ends when the snapshot of that generation, or a later one, has been passed on.
    ///
    /// # Errors
    /// If that will never be, because Pelton is stopping.
    pub(crate) async fn reached(&self, generation: u64) -> Result<(), watch::error::RecvError> {
        self.0.clone().wait_for(|reached| *reached >= generation).await.map(|_| ())
    }

    /// Everything is in force at once.
    #[cfg(test)]
    pub(crate) fn at_once() -> Self {
        Self(watch::channel(u64::MAX).1)
    }
}

/// A broker that has been seen to.
#[derive(Debug)]
struct Seen {
    desired: Arc<Broker>,
    published: Arc<Broker>,
    /// Its topics are as it wants them.
    settled: bool,
    /// Looks in a row that did not find its topics.
    missed: u32,
    /// Why they are not as it wants them.
    told: Told,
}

impl Topics {
    /// Sees to the topics of the brokers that there are, so that the first snapshot is there when it returns.
    pub async fn start(
        config: TopicsConfig,
        log: Arc<dyn EventLog>,
        clock: Clock,
        desired: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        let mut topics = Self {
            log,
            clock,
            desired,
            published: watch::Sender::default(),
            in_force: watch::Sender::new(0),
            deleted: Deleted::load(&config.data_dir, config.keep_deleted),
            brokers: BTreeMap::new(),
            looked_at: None,
        };
        topics.pass().await;
        topics
    }

    /// The resources as the roles see them, and every change of them.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    /// Tells when a snapshot has reached the roles.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        InForce(self.in_force.subscribe())
    }

    /// Follows the resources until the drain.
    pub async fn run(mut self, drain: Drain) {
        let mut check = interval(limits::DELETED_TOPICS_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(limits::TOPICS_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let unsettled = self.brokers.values().any(|broker| !broker.settled);
            tokio::select! {
                () = drain.signaled() => return,
                changed = self.desired.changed() => if changed.is_err() {
                    return drain.signaled().await;
                },
                () = sleep(limits::TOPICS_RETRY), if unsettled => {}
                _ = look.tick() => if !self.look().await {
                    continue;
                },
                _ = check.tick() => {
                    self.remove_expired().await;
                    continue;
                }
            }
            self.pass().await;
        }
    }

    /// Makes the topics of the desired snapshot and passes it on.
    async fn pass(&mut self) {
        let desired = self.desired.borrow_and_update().clone();
        self.brokers.retain(|name, _| desired.brokers.contains_key(name));
        for (name, broker) in &desired.brokers {
            let seen = match self.brokers.remove(name) {
                Some(seen) if seen.settled && Arc::ptr_eq(&seen.desired, broker) => seen,
                known => self.see_to(broker, known).await,
            };
            self.brokers.insert(name.clone(), seen);
        }
        let topics = desired.brokers.iter().map(|(name, broker)| (broker.topic.clone(), name.to_string()));
        self.deleted.update(topics.collect(), self.now());
        self.publish(&desired);
        self.in_force.send_replace(desired.generation);
    }

    async fn see_to(&self, broker: &Arc<Broker>, known: Option<Seen>) -> Seen {
        let (known, mut told) =
            known.map_or((None, Told::default()), |seen| (Some(seen.published), seen.told));
        if !broker.readiness.is_ready() {
            // Where its topics are may be what is not known about it.
            return Seen {
                desired: broker.clone(),
                published: broker.clone(),
                settled: true,
                missed: 0,
                told,
            };
        }
        let (readiness, partitions, settled) = match self.ensure(broker).await {
            Ok(partitions) => (Readiness::Ready, partitions, true),
            Err(error) => {
                if told.is_due(&error.to_string(), TROUBLE_TOLD_EVERY) {
                    tracing::warn!(broker = %broker.name, code = error.code(), %error, "topics are not as they should be; \
                     it is tried again");
                }
                let was_ready = known
                    .as_ref()
                    .is_some_and(|known| known.readiness.is_ready() && known.topic == broker.topic);
                // Topics that are there serve on, even if their settings could not be changed.
                let readiness = if was_ready { Readiness::Ready } else { not_made(&error) };
                let partitions = known.as_ref().filter(|_| was_ready).map(|known| known.partitions);
                (readiness, partitions.unwrap_or(broker.partitions), false)
            }
        };
        let value = Broker { readiness, partitions, ..(**broker).clone() };
        let published = match known {
            Some(known) if *known == value => known,
            _ if **broker == value => broker.clone(),
            _ => Arc::new(value),
        };
        if settled {
            told = Told::default();
        }
        Seen { desired: broker.clone(), published, settled, missed: 0, told }
    }

    /// Makes the topics of a broker as it wants them; answers the partitions that there are.
    async fn ensure(&self, broker: &Broker) -> Result<u32, LogError> {
        let names = BrokerTopics::of(&broker.topic);
        let mut partitions = broker.partitions;
        loop {
            // Retries and dead letters stay in the partition of their event, so theirs are there before it.
            for name in beside(broker, &names) {
                self.log.ensure_topic(&spec(broker, name, partitions)).await?;
            }
            let events = self.log.ensure_topic(&spec(broker, &names.events, partitions)).await?;
            if events.partitions <= partitions {
                return Ok(events.partitions);
            }
            // It had more before.
            partitions = events.partitions;
        }
    }

    fn publish(&self, desired: &Snapshot) {
        let brokers =
            self.brokers.iter().map(|(name, seen)| (name.clone(), seen.published.clone())).collect();
        self.published.send_if_modified(|published| {
            let mut next = Snapshot {
                generation: published.generation,
                brokers,
                triggers: desired.triggers.clone(),
                services: desired.services.clone(),
                problems: desired.problems.clone(),
            };
            if next.diff(published).is_empty() && next.problems == published.problems {
                return false;
            }
            next.generation += 1;
            *published = Arc::new(next);
            true
        });
    }

    /// Removes topics whose broker has been gone for long enough.
    async fn remove_expired(&mut self) {
        let mistaken =
            self.desired.borrow().problems.iter().any(|problem| problem.severity == Severity::Error);
        if mistaken {
            // A broker may only seem to be gone.
            return;
        }
        for topic in self.deleted.expired(self.now()) {
            let names = BrokerTopics::of(&topic);
            let mut gone = true;
            for name in [&names.dead_letter, &names.retry, &names.events] {
                if let Err(error) = self.log.delete_topic(name).await {
                    tracing::warn!(topic = %name, code = error.code(), %error, "the topic of a deleted broker could not be \
                     removed; trying again");
                    gone = false;
                }
            }
            if gone {
                tracing::info!(topic, "the topics of a deleted broker are removed");
                self.deleted.forget(&topic);
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.unix_ms())
    }
}

/// The topics beside the events topic. Who is handed back has given its retries up: that they are gone tells that it was done.
fn beside<'a>(broker: &Broker, names: &'a BrokerTopics) -> Vec<&'a TopicName> {
    let retry = (!broker.kafka.handed_back).then_some(&names.retry);
    retry.into_iter().chain([&names.dead_letter]).collect()
}

fn not_made(error: &LogError) -> Readiness {
    let message = format!("its topics could not be made ({}): {error}; it is tried again", error.code());
    Readiness::not_ready(NOT_READY, message)
}

fn spec(broker: &Broker, name: &TopicName, partitions: u32) -> TopicSpec {
    let retention = &broker.retention;
    let age = if name.is_dead_letter() { retention.dead_letter_age } else { retention.age };
    let on_full = match retention.on_full {
        pelton_resources::OnFull::Refuse => OnFull::Refuse,
        pelton_resources::OnFull::Expire => OnFull::Expire,
    };
    let account = broker.name.as_str().into();
    TopicSpec {
        name: name.clone(),
        partitions,
        retention: Retention { age, bytes: retention.bytes, on_full, account },
        kafka: kafka(&broker.kafka),
    }
}

/// Where the topic is on Kafka; the embedded engine does not look at it.
fn kafka(settings: &KafkaSettings) -> KafkaTopic {
    let (auth, text) = (settings.auth.as_deref(), |text: &String| Arc::from(text.as_str()));
    let connection = Connection {
        bootstrap_servers: settings.bootstrap_servers.as_deref().unwrap_or_default().into(),
        protocol: match auth.map(|auth| auth.protocol) {
            None | Some(KafkaProtocol::Plaintext) => Protocol::Plaintext,
            Some(KafkaProtocol::Ssl) => Protocol::Ssl,
            Some(KafkaProtocol::SaslPlaintext) => Protocol::SaslPlaintext,
            Some(KafkaProtocol::SaslSsl) => Protocol::SaslSsl,
        },
        sasl: auth.and_then(|auth| auth.sasl.as_ref()).map(|sasl| Sasl {
            mechanism: match sasl.mechanism {
                SaslMechanism::Plain => Mechanism::Plain,
                SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
                SaslMechanism::ScramSha512 => Mechanism::ScramSha512,
            },
            user: text(&sasl.user),
            password: text(&sasl.password),
        }),
        ca_certificate: auth.and_then(|auth| auth.ca_certificate.as_ref()).map(text),
        client_certificate: auth
            .and_then(|auth| auth.client_certificate.as_ref())
            .map(|of| (text(&of.certificate), text(&of.key))),
    };
    KafkaTopic {
        connection: Some(Arc::new(connection)),
        replication_factor: settings.replication_factor,
        config: settings.topic_config.clone(),
        external: settings.external_topic,
        handed_back: settings.handed_back,
    }
}
