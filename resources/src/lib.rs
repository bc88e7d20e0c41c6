//! What the operator wants: brokers, triggers, services and their settings as plain values, and the contracts between the roles.
//!
//! A role sees the operator's wishes as `watch::Receiver<Arc<Snapshot>>` and nothing else; what one role must tell another
//! goes through a trait in [`contracts`].

mod assemble;
mod broker;
pub mod contracts;
mod defaults;
mod delivery;
mod documents;
mod kafka;
pub mod limits;
mod name;
mod overrides;
mod readiness;
mod service;
mod snapshot;
mod trigger;
mod url;

pub use assemble::{Assembly, assemble, check, duplicates};
pub use broker::{Broker, OnFull, RetentionPolicy};
pub use defaults::{Defaults, Engine};
pub use delivery::{BackoffPolicy, DeliveryFormat, DeliveryPolicy, Destination};
pub use documents::{Document, Source, annotation_field, splice};
pub use kafka::{KafkaAuth, KafkaClientCertificate, KafkaProtocol, KafkaSasl, KafkaSettings, SaslMechanism};
pub use name::{Kind, NAMESPACE_DEFAULT, NamespacedName};
pub use overrides::{Overrides, Setting};
pub use readiness::{Readiness, Reason};
pub use service::{
    Aggregation, Autoscaling, Container, EffectiveTarget, EnvironmentVariable, Fingerprint, Forecast,
    ForecastMode, Metric, Policy, ProbeAction, Protocol, ReadinessProbe, RevisionTemplate, ScaleBounds,
    ScalingSettings, Service, TRAFFIC_ANNOTATION, TrafficTarget, traffic_text,
};
pub use snapshot::{Change, Problem, Severity, Snapshot, SnapshotDiff};
pub use trigger::{Order, Start, Trigger};
