//! The stored form of a template.
//!
//! It stands beside the type of `pelton-resources` rather than being derived there: a type that can be serialised is soon
//! shown somewhere, and this one holds credentials. Each field is named on both ways, so that one that is added there cannot
//! be forgotten here.

use std::collections::BTreeMap;
use std::time::Duration;

use pelton_resources::{
    Aggregation, Autoscaling, Container, EnvironmentVariable, Fingerprint, Metric, ProbeAction, Protocol,
    ReadinessProbe, RevisionTemplate, ScaleBounds,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct StoredTemplate {
    name: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    container_concurrency: u32,
    timeout: Duration,
    response_start_timeout: Duration,
    idle_timeout: Option<Duration>,
    progress_deadline: Duration,
    autoscaling: StoredAutoscaling,
    container: StoredContainer,
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StoredAutoscaling {
    metric: StoredMetric,
    target: Option<f64>,
    target_utilization_percentage: Option<f64>,
    target_burst_capacity: f64,
    window: Duration,
    panic_window_percentage: f64,
    panic_threshold_percentage: f64,
    min_scale: u32,
    max_scale: Option<u32>,
    initial_scale: u32,
    activation_scale: u32,
    scale_down_delay: Duration,
    scale_to_zero_pod_retention_period: Duration,
    aggregation: StoredAggregation,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StoredContainer {
    image: Option<String>,
    command: Vec<String>,
    args: Vec<String>,
    process_command: Option<Vec<String>>,
    env: Vec<StoredVariable>,
    working_dir: Option<String>,
    port: u16,
    protocol: StoredProtocol,
    readiness_probe: StoredProbe,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredVariable {
    name: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StoredProbe {
    action: StoredAction,
    initial_delay: Duration,
    period: Option<Duration>,
    timeout: Duration,
    success_threshold: u32,
    failure_threshold: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum StoredAction {
    HttpGet { path: String, port: Option<u16> },
    TcpSocket { port: Option<u16> },
}

/// Another name for each value of an enumeration, which a file can hold.
macro_rules! stored_words {
    ($stored:ident, $type:ty, $($word:ident),+) => {
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum $stored {
            $($word),+
        }

        impl From<$type> for $stored {
            fn from(value: $type) -> Self {
                match value {
                    $(<$type>::$word => Self::$word),+
                }
            }
        }

        impl From<$stored> for $type {
            fn from(stored: $stored) -> Self {
                match stored {
                    $($stored::$word => Self::$word),+
                }
            }
        }
    };
}

stored_words!(StoredMetric, Metric, Concurrency, RequestsPerSecond);
stored_words!(StoredAggregation, Aggregation, Linear, WeightedExponential);
stored_words!(StoredProtocol, Protocol, Http1, H2c);

impl StoredTemplate {
    pub(super) fn of(template: &RevisionTemplate) -> Self {
        let RevisionTemplate {
            name,
            labels,
            annotations,
            container_concurrency,
            timeout,
            response_start_timeout,
            idle_timeout,
            progress_deadline,
            autoscaling,
            container,
            fingerprint,
        } = template;
        Self {
            name: name.clone(),
            labels: labels.clone(),
            annotations: annotations.clone(),
            container_concurrency: *container_concurrency,
            timeout: *timeout,
            response_start_timeout: *response_start_timeout,
            idle_timeout: *idle_timeout,
            progress_deadline: *progress_deadline,
            autoscaling: StoredAutoscaling::of(autoscaling),
            container: StoredContainer::of(container.clone()),
            fingerprint: fingerprint.to_string(),
        }
    }

    /// `None` if the fingerprint is none.
    pub(super) fn read(self) -> Option<RevisionTemplate> {
        Some(RevisionTemplate {
            name: self.name,
            labels: self.labels,
            annotations: self.annotations,
            container_concurrency: self.container_concurrency,
            timeout: self.timeout,
            response_start_timeout: self.response_start_timeout,
            idle_timeout: self.idle_timeout,
            progress_deadline: self.progress_deadline,
            autoscaling: self.autoscaling.read(),
            container: self.container.read(),
            fingerprint: Fingerprint::parse(&self.fingerprint)?,
        })
    }
}

impl StoredAutoscaling {
    fn of(autoscaling: &Autoscaling) -> Self {
        let Autoscaling {
            metric,
            target,
            target_utilization_percentage,
            target_burst_capacity,
            window,
            panic_window_percentage,
            panic_threshold_percentage,
            bounds: ScaleBounds { min, max },
            initial_scale,
            activation_scale,
            scale_down_delay,
            scale_to_zero_pod_retention_period,
            aggregation,
        } = *autoscaling;
        Self {
            metric: metric.into(),
            target,
            target_utilization_percentage,
            target_burst_capacity,
            window,
            panic_window_percentage,
            panic_threshold_percentage,
            min_scale: min,
            max_scale: max,
            initial_scale,
            activation_scale,
            scale_down_delay,
            scale_to_zero_pod_retention_period,
            aggregation: aggregation.into(),
        }
    }

    fn read(self) -> Autoscaling {
        Autoscaling {
            metric: self.metric.into(),
            target: self.target,
            target_utilization_percentage: self.target_utilization_percentage,
            target_burst_capacity: self.target_burst_capacity,
            window: self.window,
            panic_window_percentage: self.panic_window_percentage,
            panic_threshold_percentage: self.panic_threshold_percentage,
            bounds: ScaleBounds { min: self.min_scale, max: self.max_scale },
            initial_scale: self.initial_scale,
            activation_scale: self.activation_scale,
            scale_down_delay: self.scale_down_delay,
            scale_to_zero_pod_retention_period: self.scale_to_zero_pod_retention_period,
            aggregation: self.aggregation.into(),
        }
    }
}

impl StoredContainer {
    fn of(container: Container) -> Self {
        let Container {
            image,
            command,
            args,
            process_command,
            env,
            working_dir,
            port,
            protocol,
            readiness_probe,
        } = container;
        let env = env.into_iter().map(|EnvironmentVariable { name, value }| StoredVariable { name, value });
        Self {
            image,
            command,
            args,
            process_command,
            env: env.collect(),
            working_dir,
            port,
            protocol: protocol.into(),
            readiness_probe: StoredProbe::of(readiness_probe),
        }
    }

    fn read(self) -> Container {
        let env = self.env.into_iter();
        let env = env.map(|StoredVariable { name, value }| EnvironmentVariable { name, value });
        Container {
            image: self.image,
            command: self.command,
            args: self.args,
            process_command: self.process_command,
            env: env.collect(),
            working_dir: self.working_dir,
            port: self.port,
            protocol: self.protocol.into(),
            readiness_probe: self.readiness_probe.read(),
        }
    }
}

impl StoredProbe {
    fn of(probe: ReadinessProbe) -> Self {
        let ReadinessProbe { action, initial_delay, period, timeout, success_threshold, failure_threshold } =
            probe;
        let action = match action {
            ProbeAction::HttpGet { path, port } => StoredAction::HttpGet { path, port },
            ProbeAction::TcpSocket { port } => StoredAction::TcpSocket { port },
        };
        Self { action, initial_delay, period, timeout, success_threshold, failure_threshold }
    }

    fn read(self) -> ReadinessProbe {
        ReadinessProbe {
            action: match self.action {
                StoredAction::HttpGet { path, port } => ProbeAction::HttpGet { path, port },
                StoredAction::TcpSocket { port } => ProbeAction::TcpSocket { port },
            },
            initial_delay: self.initial_delay,
            period: self.period,
            timeout: self.timeout,
            success_threshold: self.success_threshold,
            failure_threshold: self.failure_threshold,
        }
    }
}
