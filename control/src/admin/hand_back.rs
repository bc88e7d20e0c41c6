//! Returning a Broker to Knative, and taking it back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use pelton_resources::contracts::{HandBackError, HandedBack, Override};
use pelton_resources::{Kind, NamespacedName};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{Admin, json};

const HANDED_BACK: &str = "kafka.pelton.dev/handed-back";

pub(super) async fn hand_back(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let name = NamespacedName::new(&namespace, &name);
    let again = admin.broker(&name)?.kafka.handed_back;
    if admin.parts.log.groups().is_none() {
        return Err(HandBackError::NotOnKafka(name).into());
    }
    // Everybody who reads these resources stops; the groups follow once they have.
    let change = Override { annotation: HANDED_BACK.to_owned(), value: Some("true".to_owned()) };
    admin.parts.writer.set(Kind::Broker, name.clone(), change).await?;
    let handed_back = admin.parts.hand_back.hand_back(&name, again).await?;
    let triggers: Vec<Value> = handed_back.iter().map(trigger).collect();
    Ok(Json(json!({"broker": name.to_string(), "triggers": triggers})))
}

fn trigger(handed_back: &HandedBack) -> Value {
    let offset = |(partition, offset): &(u32, u64)| json!({"partition": partition, "offset": offset});
    let offsets: Vec<Value> = handed_back.offsets.iter().map(offset).collect();
    json!({"trigger": handed_back.trigger.to_string(), "group": handed_back.group, "offsets": offsets})
}

pub(super) async fn undo(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let name = NamespacedName::new(&namespace, &name);
    // It stays marked as one that was handed back: what came in meanwhile is where its groups have stopped.
    let value = admin.broker(&name)?.kafka.handed_back.then(|| "false".to_owned());
    if value.is_none() {
        return Err(Refusal::BadRequest(format!("Broker {name} is not handed back")));
    }
    admin.parts.hand_back.complete(&name).await?;
    let change = Override { annotation: HANDED_BACK.to_owned(), value };
    let written = admin.parts.writer.set(Kind::Broker, name, change).await?;
    Ok(Json(json::written(&written)))
}
