//! A Broker document.

use std::time::Duration;

use super::delivery::{DeliverySpec, Placed, named, one_of, placed};
use super::fields::{Field, Fields};
use super::metadata::Annotations;
use super::report::Report;
use super::scalar;
use crate::broker::OnFull;
use crate::limits;
use crate::name::{Kind, NamespacedName};

/// Broker classes of Knative. Pelton serves every class in the same way.
const CLASSES: [&str; 4] = ["Kafka", "KafkaNamespaced", "MTChannelBasedBroker", "Pelton"];

/// Annotations of Knative that have no effect on a Broker here.
const NOT_SERVED: [(&str, &str); 1] = [("eventing.knative.dev/scope", "Pelton has no scopes")];

/// Whether a Broker goes on where Knative's stopped.
pub(crate) const TAKE_OVER: &str = "kafka.pelton.dev/take-over";
/// Whether a Broker is handed back to Knative; a command sets it.
pub(crate) const HANDED_BACK: &str = "kafka.pelton.dev/handed-back";

/// What a Broker document says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct BrokerSpec {
    /// The ConfigMap it refers to.
    pub(crate) config: Option<ConfigReference>,
    pub(crate) delivery: DeliverySpec,
    /// `kafka.eventing.knative.dev/external.topic`.
    pub(crate) external_topic: Option<String>,
    pub(crate) partitions: Option<u32>,
    pub(crate) retention: Option<Duration>,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) dead_letter_retention: Option<Duration>,
    pub(crate) on_full: Option<OnFull>,
    pub(crate) take_over: Option<Placed<bool>>,
    pub(crate) handed_back: Option<Placed<bool>>,
}

/// A reference to a ConfigMap, and the line it is on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConfigReference {
    pub(crate) name: NamespacedName,
    pub(crate) line: u64,
}

impl BrokerSpec {
    pub(crate) fn read(
        document: &mut Fields<'_>,
        mut annotations: Annotations<'_>,
        namespace: &str,
        report: &mut Report,
    ) -> Self {
        let mut broker = Self::default();
        broker.read_annotations(&mut annotations, report);
        annotations.not_served(&NOT_SERVED, report);
        annotations.finish(Kind::Broker, report);
        let Some(mut spec) = document.map("spec", report) else { return broker };
        broker.config = spec.take("config").and_then(|field| config_reference(&field, namespace, report));
        let delivery = spec.take("delivery").and_then(|field| DeliverySpec::read(&field, namespace, report));
        broker.delivery = delivery.unwrap_or_default();
        spec.finish(report);
        broker
    }

    fn read_annotations(&mut self, annotations: &mut Annotations<'_>, report: &mut Report) {
        if let Some(field) = annotations.take("eventing.knative.dev/broker.class")
            && let Some(class) = field.text(report)
            && !CLASSES.contains(&class)
        {
            let message = format!("{class:?} is none of {}; it is served as they are", CLASSES.join(", "));
            report.warning(&field.at(), "PEL-1307", message);
        }
        let external = annotations.take("kafka.eventing.knative.dev/external.topic");
        self.external_topic = external.and_then(|field| field.parsed(report, topic_name));
        let partitions_field = annotations.take("log.pelton.dev/partitions");
        self.partitions = partitions_field.and_then(|field| field.parsed(report, partitions));
        let retention_field = annotations.take("log.pelton.dev/retention");
        self.retention = retention_field.and_then(|field| field.parsed(report, scalar::duration));
        let bytes_field = annotations.take("log.pelton.dev/retention-bytes");
        self.retention_bytes = bytes_field.and_then(|field| field.parsed(report, retention_bytes));
        let dead_letter_field = annotations.take("log.pelton.dev/dead-letter-retention");
        self.dead_letter_retention =
            dead_letter_field.and_then(|field| field.parsed(report, scalar::duration));
        let on_full_field = annotations.take("log.pelton.dev/on-full");
        self.on_full = on_full_field.and_then(|field| field.parsed(report, on_full));
        let mut boolean =
            |name| annotations.take(name).and_then(|field| placed(&field, report, scalar::boolean));
        self.take_over = boolean(TAKE_OVER);
        self.handed_back = boolean(HANDED_BACK);
    }
}

/// Reads a reference to the ConfigMap of a Broker, or of `config-br-defaults`.
pub(crate) fn config_reference(
    field: &Field<'_>,
    namespace: &str,
    report: &mut Report,
) -> Option<ConfigReference> {
    let mut fields = field.fields(report)?;
    let api_version = fields.take("apiVersion");
    let kind = fields.take("kind");
    for (field, served) in [(api_version, "v1"), (kind, "ConfigMap")] {
        if let Some(field) = field
            && let Some(text) = field.text(report)
            && text != served
        {
            let message =
                format!("{text:?} is not served; the configuration of a Broker is a ConfigMap of v1");
            report.warning(&field.at(), "PEL-1307", message);
        }
    }
    let name = named(&mut fields, namespace, report);
    fields.not_served(&["address", "group"], "", report);
    fields.finish(report);
    Some(ConfigReference { name: name?, line: field.line })
}

/// Reads a number of partitions.
pub(crate) fn partitions(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| (1..=limits::PARTITIONS_MAX).contains(number));
    number.ok_or_else(|| format!("is not a number of partitions; write 1 to {}", limits::PARTITIONS_MAX))
}

fn retention_bytes(text: &str) -> Result<u64, String> {
    let bytes = scalar::bytes(text)?;
    if bytes < limits::RETENTION_BYTES_MIN {
        return Err(format!(
            "is too small for a log; write at least {}Mi",
            limits::RETENTION_BYTES_MIN >> 20
        ));
    }
    Ok(bytes)
}

fn on_full(text: &str) -> Result<OnFull, String> {
    match text {
        "refuse" => Ok(OnFull::Refuse),
        "expire" => Ok(OnFull::Expire),
        other => Err(one_of(other, &["refuse", "expire"])),
    }
}

/// Suffixes of the topics beside a Broker's events; by them they are told from events topics.
pub(crate) const TOPICS_BESIDE: [&str; 3] = ["_retry", "_dead-letter", "_progress"];

/// Reads the name of an events topic, by Kafka's rule and ours.
pub(crate) fn topic_name(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty()
        || text.len() > limits::TOPIC_MAX
        || !text.bytes().all(legal)
        || matches!(text, "." | "..")
    {
        return Err(format!(
            "is not the name of a topic; use 1 to {} letters, digits, '.', '_' and '-'",
            limits::TOPIC_MAX
        ));
    }
    if let Some(suffix) = TOPICS_BESIDE.iter().find(|suffix| text.ends_with(**suffix)) {
        return Err(format!(
            "ends with {suffix}, which is kept for the topics beside a Broker's events; name another"
        ));
    }
    Ok(text.to_owned())
}
