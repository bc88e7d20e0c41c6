//! Services: what a replica runs, how replicas are scaled, and which revision gets how much of the traffic.

mod fingerprint;
mod scaling;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::name::NamespacedName;
use crate::readiness::Readiness;

pub use fingerprint::Fingerprint;
pub(crate) use fingerprint::Fingerprinter;
pub use scaling::{
    Aggregation, Autoscaling, EffectiveTarget, Forecast, ForecastMode, Metric, Policy, ScaleBounds,
    ScalingSettings,
};

/// A Knative Service: a template of revisions, and how the traffic is split between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its identity; hosts and paths are made of it.
    pub name: NamespacedName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What its next revision is made of.
    pub template: RevisionTemplate,
    /// Which revisions get how much of the traffic: never empty, and the percentages add up to 100.
    pub traffic: Vec<TrafficTarget>,
    /// How it is scaled, beside what the template says. A change makes no new revision.
    pub scaling: ScalingSettings,
    /// Over what time traffic moves to a new latest revision; zero: at once.
    pub rollout_duration: Duration,
    /// Whether it is in service.
    pub readiness: Readiness,
}

impl Service {
    /// The bounds of the latest revision's replicas: those of the Service itself, and where one is unset that of the
    /// template.
    #[must_use]
    pub fn bounds(&self) -> ScaleBounds {
        self.scaling.bounds_over(self.template.autoscaling.bounds)
    }
}

/// What a revision is made of; a revision keeps it for its life.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionTemplate {
    /// The name of the revision, where the owner chooses it: it starts with the Service's name and a `-`.
    pub name: Option<String>,
    /// Labels of the revision.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the revision, but for those of Pelton.
    pub annotations: BTreeMap<String, String>,
    /// Requests at a time that one replica takes; 0: any number.
    pub container_concurrency: u32,
    /// How long a request may take altogether.
    pub timeout: Duration,
    /// How long a request may take to the first byte of its answer; never longer than `timeout`.
    pub response_start_timeout: Duration,
    /// How long an answer may pause between two bytes; `None`: as long as it likes.
    pub idle_timeout: Option<Duration>,
    /// How long the first replicas of the revision may take to get ready.
    pub progress_deadline: Duration,
    /// How Knative's annotations scale the revision.
    pub autoscaling: Autoscaling,
    /// What a replica runs.
    pub container: Container,
    /// Equal for templates that make the same revision.
    pub fingerprint: Fingerprint,
}

/// What a replica runs. At least one of `image`, `command` and `process_command` is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The image.
    pub image: Option<String>,
    /// The program and its first arguments; empty: those of the image.
    pub command: Vec<String>,
    /// More arguments; empty: those of the image.
    pub args: Vec<String>,
    /// What runs instead of `command` and `args` where the replica is a process rather than a container.
    pub process_command: Option<Vec<String>>,
    /// Variables of its environment in the order of the document; of two with one name the later counts.
    pub env: Vec<EnvironmentVariable>,
    /// The folder it starts in; `None`: that of the image, or of Pelton.
    pub working_dir: Option<String>,
    /// The port it listens on in a container. A process is told its port by the variable `PORT`.
    pub port: u16,
    /// What it speaks there.
    pub protocol: Protocol,
    /// How it is told that a replica is ready.
    pub readiness_probe: ReadinessProbe,
}

/// A variable of the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for EnvironmentVariable {
    /// Its name only: values may be credentials, which belong into no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

/// What a replica speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge.
    H2c,
}

impl Protocol {
    /// The name of the port that says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

/// How it is told that a replica is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessProbe {
    /// What is tried.
    pub action: ProbeAction,
    /// How long after its start a replica is first probed.
    pub initial_delay: Duration,
    /// The time between two probes; `None`: as short as the runtime likes until the replica is ready (Knative's
    /// `periodSeconds: 0`).
    pub period: Option<Duration>,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Probes in a row that must succeed before the replica is ready.
    pub success_threshold: u32,
    /// Probes in a row that must fail before a replica is no longer ready.
    pub failure_threshold: u32,
}

impl Default for ReadinessProbe {
    /// Knative's: whether the port accepts connections. Numbers are those of Kubernetes.
    fn default() -> Self {
        Self {
            action: ProbeAction::TcpSocket { port: None },
            initial_delay: Duration::ZERO,
            period: None,
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

/// What a probe tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAction {
    /// A GET that is answered with a status from 200 to 399.
    HttpGet {
        /// Path and query, starting with `/`.
        path: String,
        /// The port; `None`: that which serves requests.
        port: Option<u16>,
    },
    /// A connection that is accepted.
    TcpSocket {
        /// The port; `None`: that which serves requests.
        port: Option<u16>,
    },
}

/// A part of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficTarget {
    /// The revision it goes to; `None`: the latest that is ready.
    pub revision: Option<String>,
    /// Its share, 0 to 100.
    pub percent: u8,
    /// A name under which the revision is reached by itself, whatever its share.
    pub tag: Option<String>,
}

impl TrafficTarget {
    /// All of the traffic to the latest revision: what holds where a Service says nothing.
    #[must_use]
    pub const fn latest() -> Self {
        Self { revision: None, percent: 100, tag: None }
    }
}

/// The annotation of a Service that says its traffic instead of `spec.traffic`: `pelton traffic` sets it beside the file.
pub const TRAFFIC_ANNOTATION: &str = "serving.pelton.dev/traffic";

/// Traffic as the annotation has it: `rev-1=90, latest=10 (canary)`.
#[must_use]
pub fn traffic_text(targets: &[TrafficTarget]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What stands for the latest revision that is ready where traffic is one line of text.
pub(crate) const LATEST: &str = "latest";

impl fmt::Display for TrafficTarget {
    /// `rev-1=90`, `latest=10 (canary)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.revision.as_deref().unwrap_or(LATEST), self.percent)?;
        match &self.tag {
            Some(tag) => write!(f, " ({tag})"),
            None => Ok(()),
        }
    }
}
