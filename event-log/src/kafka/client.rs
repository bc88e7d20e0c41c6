//! What all clients of a cluster share: their logs, and whether the cluster answers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

/// Why a cluster does not serve us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It does not answer.
    Away(Box<str>),
    /// It does not let us in. It then ends the connections, too; that they are gone says less.
    Refused(Box<str>),
}

impl Trouble {
    pub(super) fn reason(&self) -> &str {
        let (Self::Away(reason) | Self::Refused(reason)) = self;
        reason
    }
}

/// Goes on after the name of the cluster.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(reason) => write!(f, "cannot be reached: {reason}"),
            Self::Refused(reason) => write!(f, "refuses the login: {reason}"),
        }
    }
}

/// Whether a cluster answers, as its clients see it.
#[derive(Debug, Default)]
pub(super) struct Health {
    trouble: watch::Sender<Option<Trouble>>,
    /// A client has lost all its connections, and why. That may be so because nothing went over them for a while, so it is
    /// looked at before anybody is refused.
    suspicion: watch::Sender<Option<Box<str>>>,
    /// What the connection that failed last says about it: more than that all of them are gone.
    last_failure: Mutex<Option<Box<str>>>,
}

impl Health {
    /// Why the cluster does not serve us; `None` while it does.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.borrow().clone()
    }

    pub(super) fn is_down(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    /// It cannot be reached; tells whether it could before.
    pub(super) fn down(&self, reason: &str) -> bool {
        if matches!(*self.trouble.borrow(), Some(Trouble::Refused(_))) {
            return false;
        }
        self.trouble.send_replace(Some(Trouble::Away(brief(reason).into()))).is_none()
    }

    /// It does not let us in; tells whether that is news.
    fn refused(&self, reason: &str) -> bool {
        let before = self.trouble.send_replace(Some(Trouble::Refused(brief(reason).into())));
        !matches!(before, Some(Trouble::Refused(_)))
    }

    /// It answered; tells whether it did not before.
    pub(super) fn up(&self) -> bool {
        if !self.is_down() {
            return false;
        }
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

    /// Ends with the reason once the cluster does not serve us.
    pub(super) async fn goes_down(&self) -> Trouble {
        first(&self.trouble).await
    }
}

/// What librdkafka says without its account of the connection, which changes with every attempt.
fn brief(reason: &str) -> &str {
    reason.find(" (after ").map_or(reason, |end| &reason[..end])
}

/// Waits for a value.
async fn first<T: Clone>(values: &watch::Sender<Option<T>>) -> T {
    let mut values = values.subscribe();
    loop {
        if let Some(value) = values.borrow_and_update().clone() {
            return value;
        }
        if values.changed().await.is_err() {
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
                tracing::error!("Kafka refuses the login: {}", brief(reason));
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
        let told = |health: &Health| health.trouble().map(|trouble| trouble.to_string());
        let health = Health::default();
        assert!(health.down("1/1 brokers are down"));
        let error = KafkaError::Global(RDKafkaErrorCode::Authentication);
        report(&health, &error, "wrong password (after 3ms in state AUTH_REQ)");
        assert!(!health.down("1/1 brokers are down"));
        assert_eq!(told(&health).as_deref(), Some("refuses the login: wrong password"));
        assert!(health.up() && !health.is_down());
        assert!(health.down("1/1 brokers are down"));
        assert_eq!(told(&health).as_deref(), Some("cannot be reached: 1/1 brokers are down"));
    }
}
