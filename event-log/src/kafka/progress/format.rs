//! Keys and values of the progress topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};

use pelton_event::Timestamp;
use pelton_event::kafka::OwnedKafkaRecord;

use super::Of;
use crate::kafka::incarnation::Identities;
use crate::kafka::producer::Outgoing;
use crate::{Epoch, LaneProgress, Offset, Partition, TopicName};

/// The key of a claim.
const CLAIM: &str = "claim";

const VERSION: u8 = 1;
const ROWS: &str = "rows";
const HEAD: &str = "head";
const COMPLETE: &str = "complete";
/// A row that needs nothing before the head.
const NO_LOW: u64 = u64::MAX;

/// A record of the progress topic; without a value it removes what the key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct ProgressRecord {
    pub(in crate::kafka) key: String,
    pub(in crate::kafka) value: Option<Bytes>,
}

/// What a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Rows(Epoch, Of, usize),
    Head(Epoch, Of),
    Complete(Epoch),
}

pub(super) type Rows = BTreeMap<Arc<str>, Arc<LaneProgress>>;

impl Key {
    /// Reads a key; a claim and what others wrote are none.
    pub(super) fn parse(key: &str) -> Option<Self> {
        let (epoch, rest) = key.split_once('/')?;
        let epoch = Epoch(epoch.parse().ok()?);
        if rest == COMPLETE {
            return Some(Self::Complete(epoch));
        }
        let (word, rest) = rest.split_once('/')?;
        match (word, rest.split_once('/')) {
            (HEAD, None) => Some(Self::Head(epoch, Of::parse(rest)?)),
            (ROWS, Some((of, bucket))) => {
                Some(Self::Rows(epoch, Of::parse(of)?, usize::from_str_radix(bucket, 16).ok()?))
            }
            _ => None,
        }
    }

    pub(super) const fn epoch(self) -> Epoch {
        match self {
            Self::Rows(epoch, ..) | Self::Head(epoch, _) | Self::Complete(epoch) => epoch,
        }
    }
}

impl ProgressRecord {
    pub(super) fn rows(epoch: Epoch, of: Of, bucket: usize, rows: &Rows) -> Self {
        let key = format!("{}/{ROWS}/{}/{bucket:02x}", epoch.0, of.word());
        Self { key, value: (!rows.is_empty()).then(|| encode(rows)) }
    }

    pub(super) fn head(epoch: Epoch, of: Of, head: Offset) -> Self {
        let key = format!("{}/{HEAD}/{}", epoch.0, of.word());
        Self { key, value: Some(Bytes::from(head.to_string())) }
    }

    pub(super) fn complete(epoch: Epoch, of: &Identities) -> Self {
        Self { key: format!("{}/{COMPLETE}", epoch.0), value: Some(Bytes::from(of.to_string())) }
    }

    pub(super) fn removal(key: String) -> Self {
        Self { key, value: None }
    }

    /// The record on its way to a partition of the progress topic.
    pub(in crate::kafka) fn outgoing(self, topic: &TopicName, partition: Partition) -> Outgoing {
        // The time at which it is sent.
        let timestamp = Timestamp::EPOCH;
        let (key, headers) = (Some(self.key.into()), Vec::new());
        let record = OwnedKafkaRecord { key, value: self.value, headers, timestamp };
        Outgoing { topic: topic.clone(), partition, record }
    }

    /// A record that says nothing: that it is stored proves that appends work.
    pub(in crate::kafka) fn proof() -> Self {
        Self::removal("proof".to_owned())
    }

    /// A claim by `who`.
    pub(in crate::kafka) fn claim(who: &str) -> Self {
        Self { key: CLAIM.to_owned(), value: Some(Bytes::copy_from_slice(who.as_bytes())) }
    }
}

/// `version (name length u16, name, low u64, state length u32, state)*`, numbers big-endian.
fn encode(rows: &Rows) -> Bytes {
    let size = |(name, row): (&Arc<str>, &Arc<LaneProgress>)| 14 + name.len() + row.state.len();
    let mut bytes = Vec::with_capacity(1 + rows.iter().map(size).sum::<usize>());
    bytes.put_u8(VERSION);
    for (name, row) in rows {
        let length = u16::try_from(name.len()).expect("names have at most NAME_BYTES_MAX bytes");
        bytes.put_u16(length);
        bytes.put_slice(name.as_bytes());
        bytes.put_u64(row.low.unwrap_or(NO_LOW));
        bytes.put_u32(u32::try_from(row.state.len()).expect("a row fits an append"));
        bytes.put_slice(&row.state);
    }
    Bytes::from(bytes)
}

/// Reads rows; `None` for what this version does not know or what is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Rows> {
    let mut rest = bytes;
    if rest.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut rows = Rows::new();
    while rest.has_remaining() {
        let length = usize::from(rest.try_get_u16().ok()?);
        let (name, after) = rest.split_at_checked(length)?;
        rest = after;
        let low = rest.try_get_u64().ok()?;
        let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        let (state, after) = rest.split_at_checked(length)?;
        rest = after;
        let row = LaneProgress { low: (low != NO_LOW).then_some(low), state: Bytes::copy_from_slice(state) };
        rows.insert(std::str::from_utf8(name).ok()?.into(), Arc::new(row));
    }
    Some(rows)
}
