//! Delivering kept events of a trigger once more: a command for the owner of each partition.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use pelton_event::{Envelope, Origin, Record, Step, Timestamp};
use pelton_event_log::{Batch, BrokerTopics, EventLog, LogError, Offset, Partition, TopicName};
use pelton_resources::{Kind, NamespacedName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::extract::Whole;
use super::refusal::Refusal;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Value,
    to: Option<Value>,
}

/// A place in every partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Earliest,
    Latest,
    At(Timestamp),
    Offset(Offset),
}

impl Position {
    /// Reads `earliest`, `latest`, an RFC 3339 time or an offset.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            time => {
                let instant: Option<jiff::Timestamp> = time.parse().ok();
                let ms = instant.and_then(|instant| u64::try_from(instant.as_millisecond()).ok());
                ms.map(|ms| Self::At(Timestamp::from_millis(ms))).ok_or_else(|| {
                    Refusal::BadRequest(format!(
                        "{text:?} is no position; write earliest, latest, a time such as 2026-05-01T12:00:00Z, or an offset"
                    ))
                })
            }
        }
    }

    fn of(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::String(text) => Self::parse(text),
            other => Self::parse(&other.to_string()),
        }
    }

    /// The offset in one partition, within what is kept of it.
    pub(super) async fn resolve(
        self,
        log: &dyn EventLog,
        topic: &TopicName,
        partition: Partition,
    ) -> Result<Offset, LogError> {
        let bounds = log.bounds(topic, partition).await?;
        let offset = match self {
            Self::Earliest => bounds.start,
            Self::Latest => bounds.end,
            Self::Offset(offset) => offset,
            Self::At(time) => log.offset_at(topic, partition, time).await?,
        };
        Ok(offset.clamp(bounds.start, bounds.end))
    }
}

pub(super) async fn replay(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
    body: Whole,
) -> Result<Json<Value>, Refusal> {
    let range: Range = body.json()?;
    let from = Position::of(&range.from)?;
    let to = range.to.as_ref().map_or(Ok(Position::Latest), Position::of)?;
    let trigger = NamespacedName::new(&namespace, &name);
    let found = admin.snapshot().triggers.get(&trigger).cloned();
    let found = found.ok_or_else(|| Refusal::NoSuchResource(Kind::Trigger, trigger.clone()))?;
    let broker = admin.broker(&found.broker)?;
    let (topics, log) = (BrokerTopics::of(&broker.topic), &*admin.parts.log);
    let (id, now) = (fastrand::u64(..), admin.now());
    let (mut batch, mut ranges, mut events) = (Batch::default(), Vec::new(), 0);
    for partition in 0..broker.partitions {
        let first = from.resolve(log, &topics.events, partition).await?;
        let end = to.resolve(log, &topics.events, partition).await?;
        if first >= end {
            continue;
        }
        let step = Step::Replay { id, from: first, to: end };
        let origin = Origin { trigger: trigger.as_str().into(), partition, offset: first, step };
        let command = Record::command(Envelope::new(now).with_origin(origin));
        batch.records.push((topics.retry.clone(), partition, command));
        ranges.push(json!({"partition": partition, "from": first, "to": end}));
        events += end - first;
    }
    if !batch.records.is_empty() {
        log.append(batch).await?;
    }
    Ok(Json(json!({"id": format!("{id:016x}"), "events": events, "partitions": ranges})))
}
