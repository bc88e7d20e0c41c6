//! What all clients of a cluster share: their logs, and whether the cluster answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

/// Whether a cluster answers, as its clients see it.
#[derive(Debug, Default)]
pub(super) struct Health {
    trouble: watch::Sender<Option<Box<str>>>,
    /// A client has lost all its connections, and why. That may be so because nothing went over them for a while, so it is
    /// looked at before anybody is refused.
    suspicion: watch::Sender<Option<Box<str>>>,
    /// What the connection that failed last says about it: more than that all of them are gone.
    last_failure: Mutex<Option<Box<str>>>,
    /// The trouble is that the cluster does not let us in. It then ends the connections, too; that they are gone says less.
    is_refused: AtomicBool,
}

impl Health {
    /// Why the cluster cannot be reached; `None` while it can.
    pub(super) fn trouble(&self) -> Option<Box<str>> {
        self.trouble.borrow().clone()
    }

    pub(super) fn is_down(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    /// It cannot be reached; tells whether it could before.
    pub(super) fn down(&self, reason: &str) -> bool {
        if self.is_down() && self.is_refused.load(Ordering::Relaxed) {
            return false;
        }
        self.trouble.send_replace(Some(reason.into())).is_none()
    }

    /// It does not let us in; tells whether that is news.
    fn refused(&self, reason: &str) -> bool {
        let is_news = !self.is_refused.swap(true, Ordering::Relaxed);
        self.trouble.send_replace(Some(reason.into()));
        is_news
    }

    /// It answered; tells whether it did not before.
    pub(super) fn up(&self) -> bool {
        if !self.is_down() {
            return false;
        }
        self.is_refused.store(false, Ordering::Relaxed);
        *self.last_failure() = None;
        self.trouble.send_if_modified(|trouble| trouble.take().is_some())
    }

    fn suspect(&self, reason: &str) {
        let failure = self.last_failure().clone().unwrap_or_else(|| reason.into());
        self.suspicion.send_replace(Some(failure));
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<Box<str>>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends with the reason once a client has lost all its connections.
    pub(super) async fn suspected(&self) -> Box<str> {
        let reason = first(&self.suspicion).await;
        self.suspicion.send_replace(None);
        reason
    }

    /// Ends with the reason once the cluster cannot be reached.
    pub(super) async fn goes_down(&self) -> Box<str> {
        first(&self.trouble).await
    }
}

/// Waits for a text.
async fn first(texts: &watch::Sender<Option<Box<str>>>) -> Box<str> {
    let mut texts = texts.subscribe();
    loop {
        if let Some(text) = texts.borrow_and_update().clone() {
            return text;
        }
        if texts.changed().await.is_err() {
            // It cannot be: the caller holds the sender.
            std::future::pending::<()>().await;
        }
    }
}

/// The context of a client: its log lines go to ours, its errors to the health of the cluster.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The cluster's.
    pub(super) health: Arc<Health>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        report(&self.health, &error, reason);
    }
}

impl ConsumerContext for Context {}

/// A client has met an error that belongs to no request.
pub(super) fn report(health: &Health, error: &KafkaError, reason: &str) {
    let Some(code) = error.rdkafka_error_code() else { return };
    match code {
        RDKafkaErrorCode::AllBrokersDown => health.suspect(reason),
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::SSL => {
            if health.refused(reason) {
                tracing::error!("Kafka refuses us: {reason}");
            }
        }
        // One node of several: the others serve on, and librdkafka connects again by itself.
        _ => {
            if matches!(code, RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) {
                *health.last_failure() = Some(reason.into());
            }
            tracing::debug!(%error, "Kafka: {reason}");
        }
    }
}

/// librdkafka tells of every connection that fails, at the level of an error. Whether the cluster can be reached is told by
/// [`report`]; the lines are for those who look closer.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
        | RDKafkaLogLevel::Notice
        | RDKafkaLogLevel::Info => {
            tracing::debug!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Debug => tracing::trace!(facility, "librdkafka: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn that_no_connection_is_left_is_told_with_the_reason() {
        let health = Health::default();
        let failed = KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure);
        report(&health, &failed, "kafka-1:9092: connection refused");
        assert!(!health.is_down());
        let all = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        report(&health, &all, "1/1 brokers are down");
        assert_eq!(&*health.suspected().await, "kafka-1:9092: connection refused");
    }

    #[test]
    fn a_refusal_says_more_than_connections_that_are_gone() {
        let health = Health::default();
        assert!(health.down("1/1 brokers are down"));
        let error = KafkaError::Global(RDKafkaErrorCode::Authentication);
        report(&health, &error, "wrong password");
        assert!(!health.down("1/1 brokers are down"));
        assert_eq!(health.trouble().as_deref(), Some("wrong password"));
        assert!(health.up() && !health.is_down());
        assert!(health.down("1/1 brokers are down"));
        assert_eq!(health.trouble().as_deref(), Some("1/1 brokers are down"));
    }
}
