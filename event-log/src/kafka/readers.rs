//! Reading: cursors over partitions, each with a client's fetcher behind it.
//!
//! A read continues the cursor that stands where it wants to read; so the reader at the head, which always goes on, costs one
//! fetch of each record, whatever the number of triggers. A client can read a partition at one position only, so readers of
//! several positions (sweeps, single records, `tail`) use further clients. Readers that wait at the end and readers of what
//! is there already never share one: a fetch that waits at the end keeps the others of its client waiting with it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pelton_event::kafka::KafkaRecord;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::client::{Context, Health};
use super::native::{Fetched, NativeError, PartitionReader};
use crate::limits;
use crate::{Chunk, Content, Entry, LogError, Offset, Partition, ReadLimit, TopicName};

/// The clients and cursors of a cluster.
pub(super) struct Readers {
    config: ClientConfig,
    health: Arc<Health>,
    state: Mutex<State>,
    /// Set once, when the log closes.
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    clients: Vec<ReadClient>,
    idle: HashMap<Place, Vec<Cursor>>,
    /// Numbers the clients.
    made: u64,
}

type Place = (TopicName, Partition);

struct ReadClient {
    id: u64,
    kind: Kind,
    consumer: Arc<BaseConsumer<Context>>,
    /// The partitions that a cursor of it reads, idle ones included.
    read: HashSet<Place>,
    unused_since: Instant,
}

/// What a client reads for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Readers that wait at the end.
    Tail,
    /// Readers of what is there already.
    Sweep,
}

/// A position in a partition, and what was fetched from there on.
struct Cursor {
    client: u64,
    kind: Kind,
    reader: PartitionReader<Context>,
    /// Fetched and not handed out.
    fetched: VecDeque<Entry>,
    fetched_bytes: usize,
    /// What comes next if nothing is fetched: everything before was handed out or skipped.
    position: Offset,
    /// The end of the partition, if the reader has come there.
    end: Option<Offset>,
    failed: Option<NativeError>,
    idle_since: Instant,
}

/// A cursor in use; it goes back when the read ends or is dropped.
struct Lent<'a> {
    readers: &'a Readers,
    place: Place,
    cursor: Option<Cursor>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

/// Why a read did not bring anything.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The position is not in the log: before its start, or behind its end.
    OutOfRange,
    /// Anything else.
    Log(LogError),
}

impl Readers {
    pub(super) fn new(config: ClientConfig, health: Arc<Health>) -> Self {
        Self { config, health, state: Mutex::default(), closed: watch::Sender::default() }
    }

    /// Takes new clients from now on. Reads under way end with those that they have.
    pub(super) fn renew(&self) {
        let mut state = self.state();
        let old = (std::mem::take(&mut state.clients), std::mem::take(&mut state.idle));
        drop(state);
        drop(old);
    }

    /// Ends all reads that wait, now and from now on.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Ends once the log closes.
    async fn closed(&self) {
        // The sender is here, so that the wait ends with the value only.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Entries of `topic`'s `partition` from `from` on. Waits for some if the limit says so, else answers at the end.
    pub(super) async fn read(
        &self,
        topic: &TopicName,
        partition: Partition,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Chunk, ReadError> {
        let kind = if limit.wait { Kind::Tail } else { Kind::Sweep };
        let mut lent = self.lend((topic.clone(), partition), kind, from).map_err(ReadError::Log)?;
        loop {
            let cursor = lent.cursor();
            cursor.fetch();
            cursor.skip_to(from);
            if let Some(chunk) = cursor.chunk(from, limit) {
                return Ok(chunk);
            }
            if let Some(error) = cursor.failed.take() {
                // The next read starts a new one.
                lent.give_up();
                return Err(read_error(topic, &error));
            }
            let why = tokio::select! {
                () = cursor.reader.ready() => continue,
                () = self.closed() => return Err(ReadError::Log(LogError::Closed)),
                // Whoever waits for news waits for Kafka, too.
                reason = self.health.goes_down(), if !limit.wait => reason,
                () = sleep(limits::KAFKA_READ_TIMEOUT), if !limit.wait => "it does not answer".into(),
            };
            lent.give_up();
            return Err(ReadError::Log(LogError::Unavailable(format!("Kafka cannot be read: {why}").into())));
        }
    }

    /// The cursor for a read from `from`: the one that stands there, else one that is moved.
    fn lend(&self, place: Place, kind: Kind, from: Offset) -> Result<Lent<'_>, LogError> {
        let mut state = self.state();
        let mut idle = state.idle.remove(&place).unwrap_or_default();
        let found = idle.iter().position(|cursor| cursor.kind == kind && cursor.stands_at(from));
        // One that stands elsewhere gives its place in the client up.
        let moved = || idle.iter().position(|cursor| cursor.kind == kind);
        let cursor = match found {
            Some(index) => idle.swap_remove(index),
            None => {
                if let Some(index) = moved() {
                    let elsewhere = idle.swap_remove(index).client;
                    state.end_of(elsewhere, &place);
                }
                match self.start(&mut state, &place, kind, from) {
                    Ok(cursor) => cursor,
                    Err(error) => {
                        state.idle.insert(place, idle);
                        return Err(error);
                    }
                }
            }
        };
        if !idle.is_empty() {
            state.idle.insert(place.clone(), idle);
        }
        drop(state);
        Ok(Lent { readers: self, place, cursor: Some(cursor) })
    }

    fn start(&self, state: &mut State, place: &Place, kind: Kind, from: Offset) -> Result<Cursor, LogError> {
        let (client, reader) = self.reader(state, place, kind, from)?;
        Ok(Cursor {
            client,
            kind,
            reader,
            fetched: VecDeque::new(),
            fetched_bytes: 0,
            position: from,
            end: None,
            failed: None,
            idle_since: Instant::now(),
        })
    }

    /// A reader in a client that does not read the place yet.
    fn reader(
        &self,
        state: &mut State,
        place: &Place,
        kind: Kind,
        from: Offset,
    ) -> Result<(u64, PartitionReader<Context>), LogError> {
        let unavailable = |error: &dyn fmt::Display| LogError::Unavailable(error.to_string().into());
        let free = |client: &ReadClient| client.kind == kind && !client.read.contains(place);
        let index = match state.clients.iter().position(free) {
            Some(index) => index,
            None => {
                let consumer = Arc::new(self.client(kind).map_err(|error| unavailable(&error))?);
                state.made += 1;
                let (id, read, unused_since) = (state.made, HashSet::new(), Instant::now());
                state.clients.push(ReadClient { id, kind, consumer, read, unused_since });
                state.clients.len() - 1
            }
        };
        let client = &mut state.clients[index];
        let (topic, partition) = place;
        let number = i32::try_from(*partition).unwrap_or(-1);
        let offset = i64::try_from(from).unwrap_or(i64::MAX);
        let reader = PartitionReader::start(client.consumer.clone(), topic.as_str(), number, offset)
            .map_err(|error| unavailable(&error))?;
        client.read.insert(place.clone());
        Ok((client.id, reader))
    }

    /// Gives every record of a partition from `from` to before `until` to `each`, as it is.
    pub(super) async fn scan(
        &self,
        topic: &TopicName,
        partition: Partition,
        from: Offset,
        until: Offset,
        mut each: impl FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(), LogError> {
        if from >= until {
            return Ok(());
        }
        let place = (topic.clone(), partition);
        let (client, reader) = self.reader(&mut self.state(), &place, Kind::Sweep, from)?;
        let mut scan = Scan { readers: self, place, client, reader: Some(reader) };
        let reader = scan.reader.as_mut().expect("it was just put there");
        loop {
            let (mut is_over, mut failed) = (false, None);
            while !is_over
                && reader.take(|found| match found {
                    Fetched::Record(offset, record) if offset < until => each(record.key, record.value),
                    Fetched::Record(..) => is_over = true,
                    Fetched::End(end) => is_over |= end >= until,
                    Fetched::Failed(error) => failed = Some(error),
                })
            {}
            match failed {
                Some(error) => {
                    let text = format!("topic {topic} on Kafka cannot be read: {error}");
                    return Err(LogError::Unavailable(text.into()));
                }
                None if is_over => return Ok(()),
                None => {}
            }
            if timeout(limits::KAFKA_READ_TIMEOUT, reader.ready()).await.is_err() {
                return Err(LogError::Unavailable(format!("topic {topic} on Kafka is not answered").into()));
            }
        }
    }

    fn client(&self, kind: Kind) -> Result<BaseConsumer<Context>, KafkaError> {
        let mut config = self.config.clone();
        let (wait, kilobytes) = match kind {
            Kind::Tail => ("500", limits::KAFKA_TAIL_BYTES / 1024),
            Kind::Sweep => ("10", limits::KAFKA_SWEEP_BYTES / 1024),
        };
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", wait)
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", kilobytes.to_string());
        BaseConsumer::from_config_and_context(&config, Context { health: self.health.clone() })
    }

    /// Lets go of cursors and clients that nobody used for a while, and serves the logs of the others.
    pub(super) fn tidy(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let mut ended = Vec::new();
        for (place, idle) in &mut state.idle {
            let too_long = |cursor: &mut Cursor| now.duration_since(cursor.idle_since) >= cursor.kind.kept();
            ended.extend(idle.extract_if(.., too_long).map(|cursor| (place.clone(), cursor)));
        }
        state.idle.retain(|_, idle| !idle.is_empty());
        for (place, cursor) in ended {
            let client = cursor.client;
            drop(cursor);
            state.end_of(client, &place);
        }
        let unused = |client: &mut ReadClient| {
            client.read.is_empty() && now.duration_since(client.unused_since) >= limits::KAFKA_CLIENT_KEPT
        };
        let clients: Vec<_> = state.clients.extract_if(.., unused).collect();
        let serve: Vec<_> = state.clients.iter().map(|client| client.consumer.clone()).collect();
        drop(state);
        drop(clients);
        for client in serve {
            while client.poll(Duration::ZERO).is_some() {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// How long an idle cursor stays: it goes on fetching until its client's buffer is full.
    const fn kept(self) -> Duration {
        match self {
            Self::Tail => limits::KAFKA_TAIL_KEPT,
            Self::Sweep => limits::KAFKA_SWEEP_KEPT,
        }
    }
}

impl State {
    /// A reader has gone: its client may read the partition elsewhere.
    fn end_of(&mut self, client: u64, place: &Place) {
        if let Some(client) = self.clients.iter_mut().find(|known| known.id == client) {
            client.read.remove(place);
            client.unused_since = Instant::now();
        }
    }
}

impl Lent<'_> {
    fn cursor(&mut self) -> &mut Cursor {
        self.cursor.as_mut().expect("it is there until it is given up or back")
    }

    /// Ends the cursor.
    fn give_up(&mut self) {
        if let Some(Cursor { client, reader, .. }) = self.cursor.take() {
            drop(reader);
            self.readers.state().end_of(client, &self.place);
        }
    }
}

/// A scan under way.
struct Scan<'a> {
    readers: &'a Readers,
    place: Place,
    client: u64,
    reader: Option<PartitionReader<Context>>,
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        drop(self.reader.take());
        self.readers.state().end_of(self.client, &self.place);
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(mut cursor) = self.cursor.take() {
            cursor.idle_since = Instant::now();
            let mut state = self.readers.state();
            if state.clients.iter().any(|client| client.id == cursor.client) {
                state.idle.entry(self.place.clone()).or_default().push(cursor);
            } else {
                drop(state);
                drop(cursor);
            }
        }
    }
}

impl Cursor {
    /// Whether a read from `from` can go on here. One that does not wait has to learn anew where the end is.
    fn stands_at(&self, from: Offset) -> bool {
        let reached = self.fetched.back().map_or(self.position, |last| last.offset + 1);
        let is_at_end = from == reached && self.end.is_some();
        let knows = self.kind == Kind::Tail || !is_at_end;
        self.failed.is_none() && self.position <= from && from <= reached && knows
    }

    /// Takes what the fetcher has, as far as there is room.
    fn fetch(&mut self) {
        let Self { reader, fetched, fetched_bytes, end, failed, .. } = self;
        while *fetched_bytes < limits::KAFKA_CURSOR_BYTES {
            let any = reader.take(|found| match found {
                Fetched::Record(offset, record) => {
                    *end = None;
                    let content = content(record);
                    *fetched_bytes += size_of(&content);
                    fetched.push_back(Entry { offset, content });
                }
                Fetched::End(offset) => *end = Some(offset),
                Fetched::Failed(error) => *failed = Some(error),
            });
            if !any {
                return;
            }
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.fetched.pop_front()?;
        self.fetched_bytes -= size_of(&entry.content);
        self.position = entry.offset + 1;
        Some(entry)
    }

    fn skip_to(&mut self, from: Offset) {
        while self.fetched.front().is_some_and(|entry| entry.offset < from) {
            self.pop();
        }
        self.position = self.position.max(from);
    }

    /// What there is to hand out.
    fn chunk(&mut self, from: Offset, limit: ReadLimit) -> Option<Chunk> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = self.fetched.front()
            && entries.len() < limit.entries.max(1)
        {
            let size = size_of(&entry.content);
            if !entries.is_empty() && bytes + size > limit.bytes.min(limits::READ_BYTES_MAX) {
                break;
            }
            bytes += size;
            entries.extend(self.pop());
        }
        if let (Some(end), true) = (self.end, self.fetched.is_empty()) {
            // Gaps before the end are passed: markers of transactions, what compaction took.
            self.position = self.position.max(end);
        }
        let is_over = !limit.wait && self.end.is_some() && self.fetched.is_empty();
        let next = self.position;
        (!entries.is_empty() || next > from || is_over).then_some(Chunk::new(entries, next))
    }
}

fn content(record: KafkaRecord<'_>) -> Content {
    match pelton_event::kafka::decode(record) {
        Ok(record) => Content::Record(record),
        Err(error) => Content::Undecodable {
            reason: error.to_string().into(),
            bytes: record.value.map(Bytes::copy_from_slice).unwrap_or_default(),
        },
    }
}

/// Bytes in memory, about.
fn size_of(content: &Content) -> usize {
    let bytes = match content {
        Content::Record(record) => record
            .event
            .as_ref()
            .map_or(0, |event| event.attribute_bytes().len() + event.data().map_or(0, Bytes::len)),
        Content::Undecodable { bytes, .. } => bytes.len(),
    };
    bytes + std::mem::size_of::<Entry>()
}

fn read_error(topic: &TopicName, error: &NativeError) -> ReadError {
    match error.code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => ReadError::OutOfRange,
        _ => {
            let text = format!("topic {topic} on Kafka cannot be read: {error}");
            ReadError::Log(LogError::Unavailable(text.into()))
        }
    }
}
