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
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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
    // Whoever reads slowly slows its own tail only: what waits is bounded in lines and in bytes.
    let (lines, received) = mpsc::channel(limits::TAIL_LINES_MAX);
    let room = Arc::new(Semaphore::new(limits::TAIL_KIB_MAX));
    for (partition, from) in starts {
        let reader = Reader {
            log: admin.parts.log.clone(),
            topic: topic.clone(),
            partition,
            filter: filter.clone(),
            follow: query.follow.unwrap_or(true),
            lines: lines.clone(),
            room: room.clone(),
        };
        tokio::spawn(reader.run(from, admin.parts.drain.clone()));
    }
    drop(lines);
    let left = query.max.unwrap_or(u64::MAX);
    let lines = stream::unfold((received, left, permit), |(mut received, left, permit)| async move {
        if left == 0 {
            return None;
        }
        let Waiting { line, .. } = received.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), (received, left - 1, permit)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// A line that waits for its client, and the room it takes up.
struct Waiting {
    line: Bytes,
    _room: OwnedSemaphorePermit,
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
    lines: mpsc::Sender<Waiting>,
    /// KiB that may wait.
    room: Arc<Semaphore>,
}

/// An event in the tail.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    partition: Partition,
    offset: Offset,
    time: Value,
    reply_of: Option<&'a str>,
    event: Box<RawValue>,
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
        // Each partition holds what it has read until its lines are on their way, so little is read at a time.
        let limit =
            ReadLimit { bytes: limits::TAIL_READ_BYTES, entries: limits::READ_ENTRIES, wait: self.follow };
        loop {
            let chunk = match self.log.read(&self.topic, self.partition, from, limit).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    let line = json!({"partition": self.partition, "error": error.to_string(), "code": error.code()});
                    self.send(&line).await;
                    return;
                }
            };
            let at_end = chunk.entries.is_empty() && !self.follow;
            for entry in chunk.entries {
                if !self.show(&entry).await {
                    return;
                }
            }
            if at_end || (chunk.next == from && !self.follow) {
                return;
            }
            from = chunk.next;
        }
    }

    /// Sends the line of an entry, if the filter lets it pass; whether there is still somebody who reads.
    async fn show(&self, entry: &Entry) -> bool {
        match &entry.content {
            Content::Undecodable { reason, .. } => {
                let line =
                    json!({"partition": self.partition, "offset": entry.offset, "undecodable": reason});
                self.send(&line).await
            }
            Content::Record(record) => {
                let Some(event) = record.event.as_ref().filter(|event| self.filter.matches(event)) else {
                    return true;
                };
                let origin = record.envelope.origin.as_ref();
                let line = Line {
                    partition: self.partition,
                    offset: entry.offset,
                    time: json::time(record.envelope.time),
                    reply_of: origin
                        .filter(|origin| origin.step == Step::Reply)
                        .map(|origin| &*origin.trigger),
                    event: json::event(event),
                };
                self.send(&line).await
            }
        }
    }

    /// Sends a line once there is room for it; whether there is still somebody who reads.
    async fn send(&self, line: &impl Serialize) -> bool {
        // Only a map with keys that are no text has no JSON.
        let Ok(mut line) = serde_json::to_vec(line) else { return true };
        line.push(b'\n');
        // A line larger than all the room waits until it is alone.
        let kib = line.len().div_ceil(1024).min(limits::TAIL_KIB_MAX);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().acquire_many_owned(kib).await else { return false };
        self.lines.send(Waiting { line: line.into(), _room: room }).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use pelton_event_log::EmbeddedLog;
    use pelton_event_log::embedded::Config;
    use pelton_runtime::clock::Clock;

    use super::*;

    #[tokio::test]
    async fn lines_wait_for_room_in_bytes_and_one_that_is_larger_than_all_of_it_goes_alone() {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(Config::new(folder.path().join("log")), Clock::fixed(0)).unwrap();
        let (lines, mut received) = mpsc::channel(limits::TAIL_LINES_MAX);
        let reader = Reader {
            log: Arc::new(log),
            topic: BrokerTopics::of("t").events,
            partition: 0,
            filter: Filter::everything(),
            follow: true,
            lines,
            room: Arc::new(Semaphore::new(limits::TAIL_KIB_MAX)),
        };
        let large = "x".repeat((limits::TAIL_KIB_MAX << 10) + 1);
        assert!(reader.send(&large).await);
        let second = reader.send(&"small");
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("there was no room"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(received.recv().await.unwrap().line.len(), large.len() + 3);
        assert!(second.await);
    }
}
