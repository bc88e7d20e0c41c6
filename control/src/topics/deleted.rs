//! Which topics belong to brokers, and since when their broker is gone; kept in a file, so that it holds over a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use pelton_event::Timestamp;
use serde::{Deserialize, Serialize};

use crate::folder::write_file;

/// The topics of all brokers that there were, by events topic.
#[derive(Debug)]
pub(super) struct Deleted {
    path: PathBuf,
    keep: Option<Duration>,
    topics: BTreeMap<String, Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    broker: String,
    /// Milliseconds since the epoch; `None` while the broker is there.
    deleted_at: Option<u64>,
}

impl Deleted {
    /// Reads the file. Without it, or if it is damaged, nothing is known of brokers that are gone: their topics stay.
    pub(super) fn load(data_dir: &Path, keep: Option<Duration>) -> Self {
        let path = data_dir.join("control").join("topics.json");
        let topics = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        };
        let topics = topics.unwrap_or_else(|error| {
            tracing::error!(
                code = "PEL-1622", file = %path.display(), %error,
                "it is not known any more which brokers are gone; topics of brokers deleted before stay"
            );
            BTreeMap::new()
        });
        Self { path, keep, topics }
    }

    /// Takes note of the topics in use: events topic and broker.
    pub(super) fn update(&mut self, in_use: BTreeMap<String, String>, now: Timestamp) {
        let mut next = self.topics.clone();
        for (topic, row) in &mut next {
            if !in_use.contains_key(topic) {
                row.deleted_at.get_or_insert(now.as_millis());
            }
        }
        next.extend(in_use.into_iter().map(|(topic, broker)| (topic, Row { broker, deleted_at: None })));
        self.replace(next);
    }

    /// Topics whose broker has been gone for long enough.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<String> {
        let Some(keep) = self.keep else { return Vec::new() };
        let gone = |row: &Row| row.deleted_at.is_some_and(|at| Timestamp::from_millis(at) + keep <= now);
        self.topics.iter().filter(|(_, row)| gone(row)).map(|(topic, _)| topic.clone()).collect()
    }

    pub(super) fn forget(&mut self, topic: &str) {
        let mut next = self.topics.clone();
        next.remove(topic);
        self.replace(next);
    }

    fn replace(&mut self, next: BTreeMap<String, Row>) {
        if next == self.topics {
            return;
        }
        self.topics = next;
        let written = serde_json::to_string_pretty(&self.topics)
            .map_err(io::Error::other)
            .and_then(|text| write_file(&self.path, &text));
        if let Err(error) = written {
            // The next change writes it again; until then a restart only keeps topics for longer.
            tracing::warn!(file = %self.path.display(), %error, "it could not be noted which brokers are gone");
        }
    }
}
