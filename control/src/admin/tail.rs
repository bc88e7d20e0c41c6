//! Events of a broker as they come, one line of JSON each.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use pelton_event::Step;
use pelton_event_log::{BrokerTopics, Content, Entry, EventLog, Offset, Partition, ReadLimit, TopicName};
use pelton_filter::{Expression, Filter};
use pelton_resources::NamespacedName;
use pelton_runtime::drain::Drain;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::extract::Parameters;
use super::refusal::Refusal;
use super::replay::Position;
use super::{Admin, json};
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailQuery {
    from: Option<String>,
    filter: Option<String>,
    max: Option<u64>,
    follow: Option<bool>,
}

pub(super) async fn tail(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
    Parameters(query): Parameters<TailQuery>,
) -> Result<Response, Refusal> {
    let broker = admin.broker(&NamespacedName::new(&namespace, &name))?;
    let position = query.from.as_deref().map_or(Ok(Position::Latest), Position::parse)?;
    let filter = query.filter.as_deref().map_or_else(|| Ok(Filter::everything()), compile)?;
    let permit = admin.tails.clone().try_acquire_owned().map_err(|_| Refusal::TooManyTails)?;
    let topic = BrokerTopics::of(&broker.topic).events;
    let mut starts = Vec::new();
    for partition in 0..broker.partitions {
        starts.push((partition, position.resolve(&*admin.parts.log, &topic, partition).await?));
    }
    // Whoever reads slowly slows its own tail only: the channel is bounded.
    let (lines, received) = mpsc::channel(limits::TAIL_LINES_MAX);
    for (partition, from) in starts {
        let reader = Reader {
            log: admin.parts.log.clone(),
            topic: topic.clone(),
            partition,
            filter: filter.clone(),
            follow: query.follow.unwrap_or(true),
            lines: lines.clone(),
        };
        tokio::spawn(reader.run(from, admin.parts.drain.clone()));
    }
    drop(lines);
    let left = query.max.unwrap_or(u64::MAX);
    let lines = stream::unfold((received, left, permit), |(mut received, left, permit)| async move {
        if left == 0 {
            return None;
        }
        let line: Bytes = received.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), (received, left - 1, permit)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn compile(text: &str) -> Result<Filter, Refusal> {
    Filter::compile(&Expression::Cesql(text.to_owned())).map_err(|error| {
        Refusal::BadRequest(format!("filter is not a CESQL expression: {error} ({})", error.code()))
    })
}

/// Reads one partition into the tail.
struct Reader {
    log: Arc<dyn EventLog>,
    topic: TopicName,
    partition: Partition,
    filter: Filter,
    follow: bool,
    lines: mpsc::Sender<Bytes>,
}

impl Reader {
    /// Until the client goes, the drain, or, without following, the end.
    async fn run(self, from: Offset, drain: Drain) {
        tokio::select! {
            () = self.lines.closed() => {}
            () = drain.signaled() => {}
            () = self.read(from) => {}
        }
    }

    async fn read(&self, mut from: Offset) {
        let limit = ReadLimit { bytes: limits::READ_BYTES, entries: limits::READ_ENTRIES, wait: self.follow };
        loop {
            let chunk = match self.log.read(&self.topic, self.partition, from, limit).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    let line = json!({"partition": self.partition, "error": error.to_string(), "code": error.code()});
                    let _ = self.lines.send(written(&line)).await;
                    return;
                }
            };
            let at_end = chunk.entries.is_empty() && !self.follow;
            for entry in chunk.entries {
                if let Some(line) = self.line(&entry)
                    && self.lines.send(line).await.is_err()
                {
                    return;
                }
            }
            if at_end || (chunk.next == from && !self.follow) {
                return;
            }
            from = chunk.next;
        }
    }

    /// The line of an entry, if the filter lets it pass.
    fn line(&self, entry: &Entry) -> Option<Bytes> {
        let line = match &entry.content {
            Content::Undecodable { reason, .. } => {
                json!({"partition": self.partition, "offset": entry.offset, "undecodable": reason})
            }
            Content::Record(record) => {
                let event = record.event.as_ref().filter(|event| self.filter.matches(event))?;
                let origin = record.envelope.origin.as_ref();
                let reply_of =
                    origin.filter(|origin| origin.step == Step::Reply).map(|origin| &*origin.trigger);
                json!({
                    "partition": self.partition,
                    "offset": entry.offset,
                    "time": json::time(record.envelope.time),
                    "replyOf": reply_of,
                    "event": json::event(event),
                })
            }
        };
        Some(written(&line))
    }
}

fn written(line: &Value) -> Bytes {
    Bytes::from(format!("{line}\n"))
}
