//! What replicas write: shown with the name of the replica, and the last of it kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::limits::{REPLICA_LINE_BYTES, REPLICA_LINES_KEPT};

/// The last lines of a replica, or of all replicas of a revision.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<VecDeque<Box<str>>>>);

impl Lines {
    /// The lines that are kept, oldest first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Box<str>> {
        let lines = self.lines();
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    fn push(&self, line: &str) {
        let mut lines = self.lines();
        if lines.len() == REPLICA_LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line.into());
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Box<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what comes out of `output` until it ends.
pub(super) async fn follow(output: impl AsyncRead + Unpin, replica: Arc<str>, lines: Lines) {
    each_line(output, |line| {
        tracing::info!(target: "replica", "{replica} | {line}");
        lines.push(line);
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
            lines.push(&number.to_string());
        }
        assert_eq!(lines.last(usize::MAX).len(), REPLICA_LINES_KEPT);
        let end = (REPLICA_LINES_KEPT + 4).to_string();
        assert_eq!(lines.last(1), [end.into_boxed_str()]);
    }
}
