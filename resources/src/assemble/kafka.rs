//! How the topics of a broker lie on Kafka, from its annotations, its ConfigMap and the Secret of that.

use std::sync::Arc;

use super::problem;
use super::world::World;
use crate::defaults::Engine;
use crate::documents::broker::{BrokerSpec, HANDED_BACK, TAKE_OVER};
use crate::documents::template::NAME_TEMPLATES;
use crate::documents::{Document, annotation_field, secret};
use crate::kafka::KafkaSettings;
use crate::name::{Kind, NamespacedName};
use crate::readiness::Readiness;
use crate::snapshot::{Problem, Severity};

/// What is said about settings for a cluster where there is none.
pub(super) const NO_EFFECT: &str = "is for a Kafka cluster and has no effect on the embedded log";

/// Why a broker cannot be in service, and where that stands.
struct Waiting<'a> {
    document: &'a Document,
    line: u64,
    field: String,
    reason: &'static str,
    message: String,
}

/// The settings of a broker for Kafka, and whether it can be in service with them.
pub(super) fn settings<'a>(
    document: &'a Document,
    spec: &'a BrokerSpec,
    world: &World<'a>,
    engine: Engine,
    problems: &mut Vec<Problem>,
) -> (KafkaSettings, Readiness) {
    let mut settings =
        KafkaSettings { external_topic: spec.external_topic.is_some(), ..KafkaSettings::default() };
    if engine == Engine::Embedded {
        for (name, placed) in [(TAKE_OVER, spec.take_over), (HANDED_BACK, spec.handed_back)] {
            if let Some(placed) = placed.filter(|placed| placed.value) {
                let (field, message) = (annotation_field(name), NO_EFFECT.to_owned());
                problems.push(problem(Severity::Warning, "PEL-1307", document, placed.line, &field, message));
            }
        }
        return (settings, Readiness::Ready);
    }
    settings.handed_back = spec.handed_back.is_some_and(|placed| placed.value);
    // One that was handed back and is not any more goes on where its groups have stopped.
    settings.take_over = spec.take_over.is_some_and(|placed| placed.value) || spec.handed_back.is_some();
    let Err(waiting) = configure(&mut settings, document, spec, world) else {
        return (settings, Readiness::Ready);
    };
    let Waiting { document: at, line, field, reason, message } = waiting;
    // What stands in another document says of whom it speaks.
    let is_own = std::ptr::eq(at, document);
    let who = if is_own { "the broker".to_owned() } else { format!("Broker {}", document.name) };
    let told = format!("{message}; {who} is not ready and takes no events");
    problems.push(Problem {
        resource: Some((document.kind, document.name.clone())),
        ..problem(Severity::Warning, "PEL-1319", at, line, &field, told)
    });
    (settings, Readiness::not_ready(reason, message))
}

/// Fills in what the ConfigMap of a broker says, and the Secret of that.
fn configure<'a>(
    settings: &mut KafkaSettings,
    document: &'a Document,
    spec: &'a BrokerSpec,
    world: &World<'a>,
) -> Result<(), Waiting<'a>> {
    let templates = NamespacedName::new(NAME_TEMPLATES.0, NAME_TEMPLATES.1);
    if !world.configs.contains_key(&templates) {
        // Under names that are not meant, events would go where nobody looks for them.
        in_order(world, &templates, (document, document.line, ""))?;
    }
    let Some(reference) = world.config_of(&document.name, spec) else { return Ok(()) };
    let Some((config_document, config)) = world.configs.get(&reference.name) else {
        let is_own = spec.config.is_some();
        let (line, field) = if is_own { (reference.line, "spec.config") } else { (document.line, "") };
        // Where it is not there at all, defaults hold.
        return in_order(world, &reference.name, (document, line, field));
    };
    let config = &config.kafka;
    settings.bootstrap_servers.clone_from(&config.bootstrap_servers);
    settings.replication_factor = config.replication_factor;
    settings.topic_config.clone_from(&config.topic_config);
    let Some(reference) = &config.secret else { return Ok(()) };
    let waiting = |reason, message| Waiting {
        document: config_document,
        line: reference.line,
        field: reference.field.clone(),
        reason,
        message,
    };
    let name = &reference.name;
    let invalid = |why: &str| waiting("SecretInvalid", format!("Secret {name} is not in force: {why}"));
    let Some(secret_document) = world.secrets.get(name) else {
        return Err(match world.why_broken(Kind::Secret, name) {
            Some(why) => invalid(why),
            None => {
                let message = format!("there is no Secret {name}; add it, or correct auth.secret.ref.name");
                waiting("SecretNotFound", message)
            }
        });
    };
    let auth = secret::auth(secret_document);
    let auth = auth.map_err(|wrong| invalid(wrong.first().map_or("", |problem| problem.message.as_str())))?;
    settings.auth = Some(Arc::new(auth));
    Ok(())
}

/// Whether a ConfigMap that is not in force is so for other reasons than its errors.
fn in_order<'a>(
    world: &World<'a>,
    config: &NamespacedName,
    (document, line, field): (&'a Document, u64, &str),
) -> Result<(), Waiting<'a>> {
    match world.why_broken(Kind::ConfigMap, config) {
        None => Ok(()),
        Some(why) => Err(Waiting {
            document,
            line,
            field: field.to_owned(),
            reason: "ConfigMapInvalid",
            message: format!("ConfigMap {config} is not in force: {why}"),
        }),
    }
}
