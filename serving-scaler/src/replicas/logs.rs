//! What replicas write: shown with the name of the replica, and the last of it kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::limits::{REPLICA_LINE_BYTES, REPLICA_LINES_KEPT};

/// Counts the lines of all replicas of the process, so that those of several revisions have an order.
static ORDER: AtomicU64 = AtomicU64::new(0);

/// A line that a replica wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counts the lines of all replicas of the process.
    pub order: u64,
    /// Counts the lines of these [`Lines`] from 0.
    pub index: u64,
    /// The name of the replica.
    pub replica: Arc<str>,
    /// What it wrote.
    pub text: Arc<str>,
}

/// The last lines of a replica, or of all replicas of a revision.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    /// How many there ever were.
    count: u64,
}

impl Lines {
    /// The lines that are kept, oldest first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Line> {
        let lines = &self.kept().lines;
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    pub(crate) fn push(&self, replica: &Arc<str>, text: &str) {
        let mut kept = self.kept();
        if kept.lines.len() == REPLICA_LINES_KEPT {
            kept.lines.pop_front();
        }
        // Taken under the lock: within a revision the order is that of the lines.
        let order = ORDER.fetch_add(1, Ordering::Relaxed);
        let line = Line { order, index: kept.count, replica: replica.clone(), text: text.into() };
        kept.lines.push_back(line);
        kept.count += 1;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what comes out of `output` until it ends.
pub(super) async fn follow(output: impl AsyncRead + Unpin, replica: Arc<str>, lines: Lines) {
    each_line(output, |line| {
        tracing::info!(target: "replica", "{replica} | {line}");
        lines.push(&replica, line);
    })
    .await;
}

/// Calls `told` for each line; one that is too long comes in pieces.
async fn each_line(mut output: impl AsyncRead + Unpin, mut told: impl FnMut(&str)) {
    let mut waiting = Vec::with_capacity(1024);
    loop {
        let read = output.read_buf(&mut waiting).await.unwrap_or(0);
        let mut rest = &waiting[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            told(String::from_utf8_lossy(&rest[..end]).trim_end_matches('\r'));
            rest = &rest[end + 1..];
        }
        let is_over = read == 0;
        if !rest.is_empty() && (is_over || rest.len() >= REPLICA_LINE_BYTES) {
            told(&String::from_utf8_lossy(rest));
            rest = &[];
        }
        if is_over {
            return;
        }
        let done = waiting.len() - rest.len();
        waiting.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(output: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        each_line(output, |line| lines.push(line.to_owned())).await;
        lines
    }

    #[tokio::test]
    async fn lines_are_told_whole_and_the_last_without_its_end() {
        assert_eq!(lines_of(b"one\r\n\ntwo \xff\nthree").await, ["one", "", "two \u{fffd}", "three"]);
        assert!(lines_of(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_takes_no_memory_without_end() {
        let long = vec![b'x'; 3 * REPLICA_LINE_BYTES];
        let lines = lines_of(&long).await;
        assert!(lines.len() >= 2 && lines.iter().all(|line| line.len() < 2 * REPLICA_LINE_BYTES + 1024));
        assert_eq!(lines.concat().len(), long.len());
    }

    #[test]
    fn the_last_lines_are_kept() {
        let lines = Lines::default();
        for number in 0..REPLICA_LINES_KEPT + 5 {
            lines.push(&"r".into(), &number.to_string());
        }
        assert_eq!(lines.last(usize::MAX).len(), REPLICA_LINES_KEPT);
        let end = (REPLICA_LINES_KEPT + 4).to_string();
        let last = &lines.last(1)[0];
        assert_eq!((&*last.text, last.index), (&*end, (REPLICA_LINES_KEPT + 4) as u64));
        assert_eq!(lines.last(usize::MAX)[0].index, 5, "a gap shows what was not kept");
    }
}
