//! Topics in memory and as frames.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashbrown::HashMap;

use super::format::{Cursor, push_bytes};
use super::partition::{Partition, lock};
use crate::limits::{NAME_BYTES_MAX, PARTITIONS_MAX};
use crate::{LogError, OnFull, Retention, TopicInfo, TopicName, TopicSpec};

/// A topic and its partitions. Replaced as a whole when it changes; partitions stay the same.
#[derive(Debug)]
pub(super) struct Topic {
    /// Never used again, even for a topic of the same name.
    pub(super) id: u32,
    pub(super) spec: TopicSpec,
    pub(super) account: Arc<Account>,
    pub(super) partitions: Vec<Arc<Partition>>,
}

/// All topics by name.
pub(super) type Topics = HashMap<TopicName, Arc<Topic>>;

/// A budget that several topics share. Only the writer changes it.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: Arc<str>,
    used: AtomicU64,
    staged: AtomicU64,
    holder: Mutex<Option<Arc<str>>>,
}

impl Account {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, used: AtomicU64::new(0), staged: AtomicU64::new(0), holder: Mutex::new(None) }
    }

    /// What holds the account, if it is full and nothing changed since that was found out.
    pub(super) fn holder(&self) -> Option<Arc<str>> {
        lock(&self.holder).clone()
    }

    /// Remembers what holds the account; answers what was remembered.
    pub(super) fn block(&self, holder: Option<Arc<str>>) -> Option<Arc<str>> {
        std::mem::replace(&mut lock(&self.holder), holder)
    }

    /// Bytes kept, and bytes of the commit under way.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed) + self.staged.load(Ordering::Relaxed)
    }

    pub(super) fn stage(&self, bytes: u64) {
        self.staged.store(self.staged.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    pub(super) fn unstage(&self, bytes: u64) {
        self.staged.store(self.staged.load(Ordering::Relaxed) - bytes, Ordering::Relaxed);
    }

    pub(super) fn keep(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn free(&self, bytes: u64) {
        // Estimates of parts may differ from the sum by some bytes; never wrap below zero.
        let used = self.used.load(Ordering::Relaxed);
        self.used.store(used.saturating_sub(bytes), Ordering::Relaxed);
    }
}

impl Topic {
    pub(super) fn bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.view().runs.bytes()).sum()
    }

    pub(super) fn info(&self) -> TopicInfo {
        TopicInfo {
            name: self.spec.name.clone(),
            partitions: self.spec.partitions,
            bytes: self.bytes(),
            lifetime: None,
        }
    }

    /// Whether its records are kept until their progress has passed them. Dead letters have no reader that saves progress:
    /// only age and size count.
    pub(super) fn is_owed(&self) -> bool {
        !self.spec.name.is_dead_letter()
    }
}

/// Checks what cannot be kept as asked.
pub(super) fn validate(spec: &TopicSpec) -> Result<(), LogError> {
    let reason = if spec.partitions == 0 || spec.partitions > PARTITIONS_MAX {
        format!("{} partitions asked for; a topic has 1 to {PARTITIONS_MAX}", spec.partitions)
    } else if spec.name.as_str().is_empty() || spec.name.as_str().len() > NAME_BYTES_MAX {
        format!("a name has 1 to {NAME_BYTES_MAX} bytes")
    } else if spec.retention.account.len() > NAME_BYTES_MAX {
        format!("the name of an account has at most {NAME_BYTES_MAX} bytes")
    } else {
        return Ok(());
    };
    Err(LogError::Topic(spec.name.clone(), reason.into()))
}

/// Writes the body of a topic frame.
pub(super) fn encode(out: &mut Vec<u8>, id: u32, spec: &TopicSpec) {
    let retention = &spec.retention;
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&spec.partitions.to_le_bytes());
    out.extend_from_slice(&u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
    out.extend_from_slice(&retention.bytes.to_le_bytes());
    out.push(match retention.on_full {
        OnFull::Refuse => 0,
        OnFull::Expire => 1,
    });
    push_bytes(out, retention.account.as_bytes());
    push_bytes(out, spec.name.as_str().as_bytes());
}

/// Reads the body of a topic frame; `None` if it is damaged.
pub(super) fn decode(body: &[u8]) -> Option<(u32, TopicSpec)> {
    let mut body = Cursor(body);
    let (id, partitions) = (body.u32()?, body.u32()?);
    let (age, bytes) = (Duration::from_millis(body.u64()?), body.u64()?);
    let on_full = match body.u8()? {
        0 => OnFull::Refuse,
        1 => OnFull::Expire,
        _ => return None,
    };
    let account = Arc::from(body.text()?);
    let name = TopicName::new(body.text()?);
    let spec = TopicSpec::new(name, partitions, Retention { age, bytes, on_full, account });
    validate(&spec).ok()?;
    Some((id, spec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_survives_its_bytes_and_every_cut_is_noticed() {
        let spec = TopicSpec::new(
            TopicName::new("knative-broker-a-b"),
            10,
            Retention {
                age: Duration::from_secs(3600),
                bytes: 10,
                on_full: OnFull::Expire,
                account: "a/b".into(),
            },
        );
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, &spec);
        assert_eq!(decode(&bytes), Some((7, spec)));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn impossible_topics_are_refused() {
        let retention =
            Retention { age: Duration::ZERO, bytes: 0, on_full: OnFull::Refuse, account: "".into() };
        for (name, partitions) in [("t", 0), ("t", PARTITIONS_MAX + 1), ("", 1)] {
            let spec = TopicSpec::new(TopicName::new(name), partitions, retention.clone());
            assert!(validate(&spec).is_err(), "{name} {partitions}");
        }
    }
}
