//! Dead letters: listed, shown, replayed, discarded.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use pelton_event::{DeadLetterReason, Envelope, Failure, Origin, Record, Step, Timestamp};
use pelton_event_log::{Batch, BrokerTopics, Urgency};
use pelton_resources::{Broker, NamespacedName, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::extract::{Parameters, Whole};
use super::letters::{Closed, Letter, LetterId, Selection};
use super::refusal::Refusal;
use super::{Admin, json};
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    trigger: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
    from: Option<String>,
}

/// Which dead letters a command is for. Nothing at all is not "all".
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    ids: Option<Vec<String>>,
    trigger: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Value>, Refusal> {
    let broker = admin.broker(&NamespacedName::new(&namespace, &name))?;
    let selection = selection(&namespace, query.trigger.as_deref(), query.reason.as_deref())?;
    let limit = query.limit.unwrap_or(limits::PAGE_DEFAULT);
    if !(1..=limits::PAGE_MAX).contains(&limit) {
        return Err(Refusal::BadRequest(format!("limit is {limit}; write 1 to {}", limits::PAGE_MAX)));
    }
    let start = match &query.from {
        Some(text) => parse_id(text)?,
        None => LetterId { partition: 0, offset: 0 },
    };
    let topic = BrokerTopics::of(&broker.topic).dead_letter;
    let (mut items, mut next) = (Vec::new(), None);
    for partition in start.partition..broker.partitions {
        let from = if partition == start.partition { start.offset } else { 0 };
        let log = &*admin.parts.log;
        let closed = Closed::read(log, &topic, partition, from).await?;
        let add = |letter: Letter| {
            if items.len() == limit {
                next = Some(letter.id);
                return ControlFlow::Break(());
            }
            items.push(Summary::of(&letter));
            ControlFlow::Continue(())
        };
        closed.open_letters(log, &topic, partition, from, &selection, add).await?;
        if next.is_some() {
            break;
        }
    }
    Ok(Json(json!({"items": items, "next": next.map(|id| id.to_string())})))
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name, id)): Path<(String, String, String)>,
) -> Result<Json<Shown>, Refusal> {
    let broker = admin.broker(&NamespacedName::new(&namespace, &name))?;
    let id = parse_id(&id)?;
    let gone = || Refusal::NoSuchLetter(id.to_string());
    if id.partition >= broker.partitions {
        return Err(gone());
    }
    let (log, topic) = (&*admin.parts.log, BrokerTopics::of(&broker.topic).dead_letter);
    let closed = Closed::read(log, &topic, id.partition, id.offset).await?;
    let letter = closed.letter(log, &topic, id).await?.ok_or_else(gone)?;
    let body = failure(&letter).map(|(failure, _)| String::from_utf8_lossy(&failure.body).into_owned());
    let event = letter.record.event.as_ref().map(json::event);
    Ok(Json(Shown { summary: Summary { event, ..Summary::of(&letter) }, body }))
}

pub(super) async fn replay(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
    body: Whole,
) -> Result<Json<Value>, Refusal> {
    close_to_the_end(admin, namespace, name, body.json()?, Command::Replay).await
}

pub(super) async fn discard(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
    body: Whole,
) -> Result<Json<Value>, Refusal> {
    close_to_the_end(admin, namespace, name, body.json()?, Command::Discard).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Replay,
    Discard,
}

/// Closes dead letters in a task of its own: a client that goes away drops the request, and what it had begun to append would
/// be stored after the next request has looked for open letters.
async fn close_to_the_end(
    admin: Arc<Admin>,
    namespace: String,
    name: String,
    which: Which,
    command: Command,
) -> Result<Json<Value>, Refusal> {
    let task = tokio::spawn(async move { close(&admin, &namespace, &name, which, command).await });
    task.await.unwrap_or_else(|error| Err(Refusal::Log(error.to_string())))
}

/// Closes dead letters. Whoever asks twice at a time closes each once: one request after the other, and each batch is
/// durable before the next letter is looked for.
async fn close(
    admin: &Admin,
    namespace: &str,
    name: &str,
    which: Which,
    command: Command,
) -> Result<Json<Value>, Refusal> {
    let broker = admin.broker(&NamespacedName::new(namespace, name))?;
    let selection = selection(namespace, which.trigger.as_deref(), which.reason.as_deref())?;
    let _one_at_a_time = admin.closing.lock().await;
    let mut closing = Closing::new(admin, &broker, command);
    match &which {
        Which { ids: Some(ids), trigger: None, reason: None, all: false } => {
            closing.named(ids).await?;
        }
        Which { ids: None, trigger, reason, all } if *all != (trigger.is_some() || reason.is_some()) => {
            for partition in 0..broker.partitions {
                closing.partition(partition, &selection).await?;
            }
        }
        _ => {
            let message =
                "say which: {\"ids\": [\"3-120\"]}, {\"trigger\": …, \"reason\": …} or {\"all\": true}";
            return Err(Refusal::BadRequest(message.to_owned()));
        }
    }
    closing.flush().await?;
    Ok(Json(json!({"count": closing.count, "skipped": closing.skipped})))
}

/// Letters on their way to be closed.
struct Closing<'a> {
    admin: &'a Admin,
    topics: BrokerTopics,
    broker: &'a Broker,
    snapshot: Arc<Snapshot>,
    command: Command,
    batch: Batch,
    batch_bytes: usize,
    count: usize,
    skipped: usize,
}

impl<'a> Closing<'a> {
    fn new(admin: &'a Admin, broker: &'a Broker, command: Command) -> Self {
        Self {
            admin,
            topics: BrokerTopics::of(&broker.topic),
            broker,
            snapshot: admin.snapshot(),
            command,
            batch: Batch::default(),
            batch_bytes: 0,
            count: 0,
            skipped: 0,
        }
    }

    /// Closes the letters that are named: all, or, if one is not open, none. Which are open is known before the first is
    /// closed; their events are read one at a time.
    async fn named(&mut self, ids: &[String]) -> Result<(), Refusal> {
        if ids.len() > limits::IDS_MAX {
            let message = format!("there are {} ids; name {} at most", ids.len(), limits::IDS_MAX);
            return Err(Refusal::BadRequest(message));
        }
        let ids: BTreeSet<LetterId> = ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        let (topic, log) = (self.topics.dead_letter.clone(), self.admin.parts.log.clone());
        let mut closed = BTreeMap::new();
        for id in &ids {
            let gone = || Refusal::NoSuchLetter(id.to_string());
            if id.partition >= self.broker.partitions {
                return Err(gone());
            }
            // The ids are in order, so the first of a partition has the lowest offset.
            if let Entry::Vacant(partition) = closed.entry(id.partition) {
                partition.insert(Closed::read(&*log, &topic, id.partition, id.offset).await?);
            }
            let closed = closed.get(&id.partition).ok_or_else(gone)?;
            closed.letter(&*log, &topic, *id).await?.ok_or_else(gone)?;
        }
        for id in ids {
            let Some(closed) = closed.get(&id.partition) else { continue };
            // One that has grown too old meanwhile has its end.
            if let Some(letter) = closed.letter(&*log, &topic, id).await? {
                self.add(&letter);
                self.flush_if_large().await?;
            }
        }
        Ok(())
    }

    /// Closes the selected letters of a partition, batch by batch.
    async fn partition(&mut self, partition: u32, selection: &Selection) -> Result<(), Refusal> {
        let (topic, log) = (self.topics.dead_letter.clone(), self.admin.parts.log.clone());
        // What this command closes lies behind where it goes on, and nobody else closes at the same time.
        let closed = Closed::read(&*log, &topic, partition, 0).await?;
        let mut from = Some(0);
        while let Some(start) = from.take() {
            let close = |letter: Letter| {
                let after = letter.id.offset + 1;
                self.add(&letter);
                if self.is_large() {
                    from = Some(after);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            };
            closed.open_letters(&*log, &topic, partition, start, selection, close).await?;
            self.flush().await?;
        }
        Ok(())
    }

    fn add(&mut self, letter: &Letter) {
        let now = self.admin.now();
        let Some(origin) = letter.origin().cloned() else { return };
        if self.command == Command::Replay {
            let Some(record) = self.due_again(letter, &origin, now) else {
                self.skipped += 1;
                return;
            };
            self.batch_bytes += record.event.as_ref().map_or(0, pelton_event::Event::size);
            self.batch.records.push((self.topics.retry.clone(), origin.partition, record));
        }
        let closed = Origin { step: Step::Discarded { of: letter.id.offset }, ..origin };
        let tombstone = Record::command(Envelope::new(now).with_origin(closed));
        self.batch.records.push((self.topics.dead_letter.clone(), letter.id.partition, tombstone));
        self.count += 1;
    }

    /// The record that makes a letter due again. A letter without an event or a trigger cannot be delivered: it stays.
    fn due_again(&self, letter: &Letter, origin: &Origin, now: Timestamp) -> Option<Record> {
        let event = letter.record.event.clone()?;
        let trigger = NamespacedName::parse(&origin.trigger)?;
        let trigger = self.snapshot.triggers.get(&trigger)?;
        if trigger.broker != self.broker.name || origin.partition >= self.broker.partitions {
            return None;
        }
        let step = Step::Retry { attempts: 0, due: now, failure: None };
        let envelope = Envelope { time: now, ..letter.record.envelope.clone() };
        Some(Record::new(envelope.with_origin(Origin { step, ..origin.clone() }), event))
    }

    fn is_large(&self) -> bool {
        self.batch.records.len() >= limits::COMMAND_BATCH_RECORDS
            || self.batch_bytes >= limits::COMMAND_BATCH_BYTES
    }

    async fn flush_if_large(&mut self) -> Result<(), Refusal> {
        if self.is_large() { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Refusal> {
        if self.batch.records.is_empty() {
            return Ok(());
        }
        self.batch_bytes = 0;
        let batch = Batch { urgency: Urgency::Now, ..std::mem::take(&mut self.batch) };
        self.admin.parts.log.append(batch).await?;
        Ok(())
    }
}

fn parse_id(text: &str) -> Result<LetterId, Refusal> {
    LetterId::parse(text).ok_or_else(|| {
        Refusal::BadRequest(format!("{text:?} names no dead letter; write PARTITION-OFFSET, such as 3-120"))
    })
}

fn selection(namespace: &str, trigger: Option<&str>, reason: Option<&str>) -> Result<Selection, Refusal> {
    let qualified = |trigger: &str| {
        if trigger.contains('/') { trigger.to_owned() } else { format!("{namespace}/{trigger}") }
    };
    let reason = reason.map(|word| {
        DeadLetterReason::parse(word).ok_or_else(|| {
            let words: Vec<_> = DeadLetterReason::ALL.iter().map(|reason| reason.as_str()).collect();
            Refusal::BadRequest(format!("{word:?} is no reason; write one of {}", words.join(", ")))
        })
    });
    Ok(Selection { trigger: trigger.map(qualified), reason: reason.transpose()? })
}

fn failure(letter: &Letter) -> Option<(&Failure, u32)> {
    match &letter.origin()?.step {
        Step::DeadLetter { attempts, failure } => Some((failure, *attempts)),
        _ => None,
    }
}

/// A dead letter without its event.
#[derive(Debug, Serialize)]
struct Summary {
    id: String,
    time: Value,
    trigger: Option<String>,
    reason: Option<&'static str>,
    attempts: Option<u32>,
    destination: Option<String>,
    status: Option<u16>,
    message: Option<String>,
    origin: Option<Value>,
    /// What tells it apart, or the whole event.
    event: Option<Box<RawValue>>,
}

/// A dead letter with its event and the start of the last response.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    summary: Summary,
    body: Option<String>,
}

impl Summary {
    fn of(letter: &Letter) -> Self {
        let (origin, failure) = (letter.origin(), failure(letter));
        let trigger = origin.map(|origin| &*origin.trigger).filter(|trigger| !trigger.is_empty());
        let event = letter.record.event.as_ref().map(json::event_summary);
        Self {
            id: letter.id.to_string(),
            time: json::time(letter.record.envelope.time),
            trigger: trigger.map(str::to_owned),
            reason: failure.map(|(failure, _)| failure.reason.as_str()),
            attempts: failure.map(|(_, attempts)| attempts),
            destination: failure.map(|(failure, _)| failure.destination.to_string()),
            status: failure.map(|(failure, _)| failure.status).filter(|status| *status != 0),
            message: failure.map(|(failure, _)| failure.message.to_string()),
            origin: origin.map(|origin| json!({"partition": origin.partition, "offset": origin.offset})),
            event: event.and_then(|event| serde_json::value::to_raw_value(&event).ok()),
        }
    }
}
