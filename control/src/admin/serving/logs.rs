//! What the replicas of a Service write, one line of JSON each.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use pelton_resources::NamespacedName;
use pelton_resources::contracts::{ReplicaLine, ServingSource};
use pelton_runtime::drain::Drain;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::Admin;
use super::super::extract::Parameters;
use super::super::refusal::Refusal;
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct LogsQuery {
    /// The last so many lines of those that are kept.
    tail: Option<usize>,
    follow: Option<bool>,
}

pub(in super::super) async fn logs(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name)): Path<(String, String)>,
    Parameters(query): Parameters<LogsQuery>,
) -> Result<Response, Refusal> {
    let service = admin.service(&NamespacedName::new(&namespace, &name))?.name.clone();
    let serving = admin.serving()?;
    let permit = admin.tails.clone().try_acquire_owned().map_err(|_| Refusal::TooManyTails)?;
    // Whoever reads slowly misses lines, and is told how many.
    let (lines, received) = mpsc::channel(limits::TAIL_LINES_MAX);
    let follower = Follower { serving, service, lines, seen: HashMap::new() };
    let tail = query.tail.unwrap_or(usize::MAX);
    tokio::spawn(follower.run(tail, query.follow.unwrap_or(false), admin.parts.drain.clone()));
    let lines = stream::unfold((received, permit), |(mut received, permit)| async move {
        let line: Bytes = received.recv().await?;
        Some((Ok::<_, Infallible>(line), (received, permit)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

struct Follower {
    serving: Arc<dyn ServingSource>,
    service: NamespacedName,
    lines: mpsc::Sender<Bytes>,
    /// By revision, order and index of the last line that was looked at.
    seen: HashMap<Arc<str>, (u64, u64)>,
}

impl Follower {
    /// Until the client goes, the drain, the end of the Service, or, without following, the last line.
    async fn run(self, tail: usize, follow: bool, drain: Drain) {
        let lines = self.lines.clone();
        tokio::select! {
            () = lines.closed() => {}
            () = drain.signaled() => {}
            () = self.read(tail, follow) => {}
        }
    }

    async fn read(mut self, tail: usize, follow: bool) {
        let mut left_out =
            self.serving.lines(&self.service).map_or(0, |lines| lines.len().saturating_sub(tail));
        // A Service whose replicas are not there yet has no lines; one that is gone has none to come.
        while let Some(lines) = self.serving.lines(&self.service) {
            for line in lines {
                let Some(skipped) = self.take(&line) else { continue };
                if left_out > 0 {
                    left_out -= 1;
                    continue;
                }
                if skipped > 0 {
                    self.send(&json!({"revision": &*line.revision, "skipped": skipped})).await;
                }
                let shown =
                    json!({"revision": &*line.revision, "replica": &*line.replica, "text": &*line.text});
                self.send(&shown).await;
            }
            if !follow {
                return;
            }
            tokio::time::sleep(limits::LOGS_LOOK).await;
        }
    }

    /// Notes a line. `None`: it is known; else how many between it and the last one are not kept any more.
    fn take(&mut self, line: &ReplicaLine) -> Option<u64> {
        let before = self.seen.get(&line.revision).copied();
        if before.is_some_and(|(order, _)| line.order <= order) {
            return None;
        }
        self.seen.insert(line.revision.clone(), (line.order, line.index));
        // Of a revision that has begun anew the index has, too.
        Some(before.map_or(0, |(_, index)| line.index.saturating_sub(index + 1)))
    }

    async fn send(&self, line: &Value) {
        // If nobody reads any more, `closed` ends it.
        let _ = self.lines.send(format!("{line}\n").into()).await;
    }
}
