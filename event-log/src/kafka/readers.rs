//! Reading: cursors over partitions, each with a client's fetcher behind it.
//!
//! A read continues the cursor that stands where it wants to read; so the reader at the head, which always goes on, costs one
//! fetch of each record, whatever the number of triggers. A client can read a partition at one position only, so readers of
//! several positions (sweeps, single records, `tail`) use further clients. Readers that wait at the end and readers of what
//! is there already never share one: a fetch that waits at the end keeps the others of its client waiting with it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::client::{Context, Health};
use super::cursor::Cursor;
use super::engine::lock;
use super::native::{Fetched, NativeError, PartitionReader};
use crate::limits;
use crate::{Chunk, LogError, Offset, Partition, ReadLimit, TopicName};

/// The clients and cursors of a cluster.
pub(super) struct Readers {
    config: ClientConfig,
    health: Arc<Health>,
    state: Arc<Mutex<State>>,
    /// Held while a client is made: who comes meanwhile takes a seat in that one, rather than making another.
    making: tokio::sync::Mutex<()>,
    runtime: Handle,
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
    /// The partitions that are read with it or about to be, and whether what was fetched of them still counts.
    seats: HashMap<Place, bool>,
    unused_since: Instant,
}

/// What a client reads for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Readers that wait at the end.
    Tail,
    /// Readers of what is there already.
    Sweep,
}

/// A partition of a client, which can read it at one position only: taken before its reader starts, free once that has
/// stopped.
struct Seat {
    state: Weak<Mutex<State>>,
    client: u64,
    place: Place,
}

/// A reader and its seat. To stop it is to wait for a thread of librdkafka, so that is done where it keeps nobody.
pub(super) struct Seated {
    /// There until it is dropped.
    both: Option<(PartitionReader<Context>, Seat)>,
    runtime: Handle,
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
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(config: ClientConfig, health: Arc<Health>) -> Self {
        let (state, making, closed) =
            (Arc::default(), tokio::sync::Mutex::default(), watch::Sender::default());
        Self { config, health, state, making, runtime: Handle::current(), closed }
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
        let mut lent = self.lend((topic.clone(), partition), kind, from).await.map_err(ReadError::Log)?;
        loop {
            let cursor = lent.cursor();
            cursor.fetch();
            cursor.skip_to(from);
            if let Some(chunk) = cursor.chunk(from, limit) {
                return Ok(chunk);
            }
            if let Some(error) = cursor.failed().map(|error| read_error(topic, error)) {
                // The next read starts a new one. What others have fetched may be of a topic that is there no more.
                lent.give_up().await;
                self.forget_idle(&lent.place);
                return Err(error);
            }
            let why = tokio::select! {
                () = cursor.ready() => continue,
                () = self.closed() => return Err(ReadError::Log(LogError::Closed)),
                // Whoever waits for news waits for Kafka, too.
                trouble = self.health.goes_down(), if !limit.wait => format!("Kafka {trouble}"),
                () = sleep(limits::KAFKA_READ_TIMEOUT), if !limit.wait => "Kafka cannot be read: it does not answer".to_owned(),
            };
            lent.give_up().await;
            return Err(ReadError::Log(LogError::Unavailable(why.into())));
        }
    }

    /// The cursor for a read from `from`: the one that stands there, else a new one.
    async fn lend(&self, place: Place, kind: Kind, from: Offset) -> Result<Lent<'_>, LogError> {
        loop {
            let (found, elsewhere) = self.state().take(&place, kind, from);
            if let Some(mut cursor) = found {
                cursor.fetch();
                if cursor.failed().is_none() {
                    return Ok(Lent { readers: self, place, cursor: Some(cursor) });
                }
                // What it has fetched before may be of a topic that is there no more.
                cursor.stop().await;
                continue;
            }
            if let Some(cursor) = elsewhere {
                cursor.stop().await;
            }
            let seated = self.start(&place, kind, from).await?;
            let cursor = Some(Cursor::new(seated, kind, from));
            return Ok(Lent { readers: self, place, cursor });
        }
    }

    /// Starts a reader in a client that does not read the place yet.
    async fn start(&self, place: &Place, kind: Kind, from: Offset) -> Result<Seated, LogError> {
        let (seat, consumer) = self.seat(place, kind).await?;
        let (topic, partition) = place;
        let number = i32::try_from(*partition).unwrap_or(-1);
        let offset = i64::try_from(from).unwrap_or(i64::MAX);
        let reader = PartitionReader::start(consumer, topic.as_str(), number, offset)
            .map_err(|error| unavailable(&error))?;
        Ok(Seated { both: Some((reader, seat)), runtime: self.runtime.clone() })
    }

    async fn seat(&self, place: &Place, kind: Kind) -> Result<(Seat, Arc<BaseConsumer<Context>>), LogError> {
        loop {
            if let Some(free) = self.free_seat(place, kind) {
                return Ok(free);
            }
            let _making = self.making.lock().await;
            if let Some(free) = self.free_seat(place, kind) {
                return Ok(free);
            }
            let (config, health) = (self.config.clone(), self.health.clone());
            let made = self.runtime.spawn_blocking(move || client(config, health, kind)).await;
            let consumer =
                Arc::new(made.map_err(|_| LogError::Closed)?.map_err(|error| unavailable(&error))?);
            let (seats, unused_since) = (HashMap::new(), Instant::now());
            let mut state = self.state();
            state.made += 1;
            let id = state.made;
            state.clients.push(ReadClient { id, kind, consumer, seats, unused_since });
        }
    }

    fn free_seat(&self, place: &Place, kind: Kind) -> Option<(Seat, Arc<BaseConsumer<Context>>)> {
        let mut state = self.state();
        let free = |client: &&mut ReadClient| client.kind == kind && !client.seats.contains_key(place);
        let client = state.clients.iter_mut().find(free)?;
        client.seats.insert(place.clone(), true);
        let seat = Seat { state: Arc::downgrade(&self.state), client: client.id, place: place.clone() };
        Some((seat, client.consumer.clone()))
    }

    /// Lets go of what was fetched from a partition: it is about to be read as one of another topic. Reads that are under way
    /// end as they are, but nobody goes on where they stop.
    pub(super) fn forget(&self, topic: &TopicName, partition: Partition) {
        let place = (topic.clone(), partition);
        let mut state = self.state();
        let seats = state.clients.iter_mut().filter_map(|client| client.seats.get_mut(&place));
        seats.for_each(|counts| *counts = false);
        drop(state);
        self.forget_idle(&place);
    }

    fn forget_idle(&self, place: &Place) {
        let idle = self.state().idle.remove(place);
        // Not under the lock, which their seats need.
        drop(idle);
    }

    /// Gives every record of a partition from `from` to before `until` to `each`, as it is.
    pub(super) async fn scan(
        &self,
        topic: &TopicName,
        partition: Partition,
        from: Offset,
        until: Offset,
        each: impl FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(), LogError> {
        if from >= until {
            return Ok(());
        }
        let mut seated = self.start(&(topic.clone(), partition), Kind::Sweep, from).await?;
        let scanned = scan(seated.reader_mut(), topic, until, each).await;
        seated.stop().await;
        scanned
    }

    /// Lets go of cursors and clients that nobody used for a while, and serves the logs of the others.
    pub(super) fn tidy(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let mut ended = Vec::new();
        for idle in state.idle.values_mut() {
            let too_long = |cursor: &mut Cursor| now.duration_since(cursor.idle_since) >= cursor.kind.kept();
            ended.extend(idle.extract_if(.., too_long));
        }
        state.idle.retain(|_, idle| !idle.is_empty());
        let unused = |client: &mut ReadClient| {
            client.seats.is_empty() && now.duration_since(client.unused_since) >= limits::KAFKA_CLIENT_KEPT
        };
        let clients: Vec<_> = state.clients.extract_if(.., unused).collect();
        let serve: Vec<_> = state.clients.iter().map(|client| client.consumer.clone()).collect();
        drop(state);
        drop((ended, clients));
        for client in serve {
            while client.poll(Duration::ZERO).is_some() {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// How many clients there are, and how many idle cursors.
    #[cfg(test)]
    pub(super) fn counted(&self) -> (usize, usize) {
        let state = self.state();
        (state.clients.len(), state.idle.values().map(Vec::len).sum())
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
    /// An idle cursor that stands at `from`; else, second, one that stands elsewhere and gives its seat up.
    fn take(&mut self, place: &Place, kind: Kind, from: Offset) -> (Option<Cursor>, Option<Cursor>) {
        let Some(idle) = self.idle.get_mut(place) else { return (None, None) };
        let found = idle.iter().position(|cursor| cursor.kind == kind && cursor.stands_at(from));
        let moved = idle.iter().position(|cursor| cursor.kind == kind);
        let taken = match (found, moved) {
            (Some(index), _) => (Some(idle.swap_remove(index)), None),
            (None, Some(index)) => (None, Some(idle.swap_remove(index))),
            (None, None) => (None, None),
        };
        if idle.is_empty() {
            self.idle.remove(place);
        }
        taken
    }

    /// Whether what was fetched in a seat still counts.
    fn counts(&self, seat: &Seat) -> bool {
        let client = self.clients.iter().find(|client| client.id == seat.client);
        client.is_some_and(|client| client.seats.get(&seat.place) == Some(&true))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(state) = self.state.upgrade() else { return };
        let mut state = lock(&state);
        if let Some(client) = state.clients.iter_mut().find(|client| client.id == self.client) {
            client.seats.remove(&self.place);
            client.unused_since = Instant::now();
        }
    }
}

impl Seated {
    pub(super) fn reader(&self) -> &PartitionReader<Context> {
        &self.both.as_ref().expect("it is there until it is dropped").0
    }

    pub(super) fn reader_mut(&mut self) -> &mut PartitionReader<Context> {
        &mut self.both.as_mut().expect("it is there until it is dropped").0
    }

    /// Ends once the seat is free.
    pub(super) async fn stop(mut self) {
        if let Some(both) = self.both.take() {
            // The thread does not panic; and if it did, the seat would be free all the same.
            let _ = self.runtime.spawn_blocking(move || drop(both)).await;
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        if let Some(both) = self.both.take() {
            drop(self.runtime.spawn_blocking(move || drop(both)));
        }
    }
}

impl Lent<'_> {
    fn cursor(&mut self) -> &mut Cursor {
        self.cursor.as_mut().expect("it is there until it is given up or back")
    }

    /// Ends the cursor.
    async fn give_up(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            cursor.stop().await;
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(mut cursor) = self.cursor.take() else { return };
        cursor.idle_since = Instant::now();
        let mut state = self.readers.state();
        let counts = cursor.seated().both.as_ref().is_some_and(|(_, seat)| state.counts(seat));
        if counts {
            state.idle.entry(self.place.clone()).or_default().push(cursor);
            return;
        }
        // Not under the lock, which its seat needs.
        drop(state);
        drop(cursor);
    }
}

async fn scan(
    reader: &mut PartitionReader<Context>,
    topic: &TopicName,
    until: Offset,
    mut each: impl FnMut(Option<&[u8]>, Option<&[u8]>),
) -> Result<(), LogError> {
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

fn client(
    mut config: ClientConfig,
    health: Arc<Health>,
    kind: Kind,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let (wait, answer) = match kind {
        Kind::Tail => ("500", limits::KAFKA_TAIL_ANSWER_BYTES),
        Kind::Sweep => ("10", limits::KAFKA_SWEEP_ANSWER_BYTES),
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
        .set("queued.max.messages.kbytes", (limits::KAFKA_AHEAD_BYTES / 1024).to_string())
        .set("fetch.message.max.bytes", limits::KAFKA_FETCH_BYTES.to_string())
        // Else it would be no more than what is fetched ahead.
        .set("fetch.max.bytes", answer.to_string());
    BaseConsumer::from_config_and_context(&config, Context { health })
}

fn unavailable(error: &dyn fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string().into())
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
