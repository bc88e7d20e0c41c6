//! Reading one partition from a given offset (librdkafka's simple consumer).

use std::ffi::c_void;
use std::fmt;
use std::ptr::{null, null_mut};
use std::slice;
use std::sync::Arc;

use pelton_event::Timestamp;
use pelton_event::kafka::{KafkaHeader, KafkaRecord};
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr as Code;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::{NativeError, c_text};

/// Messages that one look takes out of the queue.
const BATCH: usize = 64;

/// What came for a partition.
pub(in crate::kafka) enum Fetched<'a> {
    /// A record at an offset.
    Record(u64, KafkaRecord<'a>),
    /// The reader has come to the end of what can be read; the next record will have this offset or a higher one.
    End(u64),
    /// Reading does not go on.
    Failed(NativeError),
}

/// Reads one partition, from one offset on. There is at most one for a partition in each client.
pub(in crate::kafka) struct PartitionReader<C: ConsumerContext + 'static> {
    topic: *mut rd::rd_kafka_topic_t,
    partition: i32,
    queue: *mut rd::rd_kafka_queue_t,
    /// Told from librdkafka's threads that something is in the queue. A clone of the `Arc` is owned by the callback.
    ready: Arc<Notify>,
    buffer: Vec<*mut rd::rd_kafka_message_t>,
    /// Outlives what was made from it.
    client: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's objects may be used from any thread.
unsafe impl<C: ConsumerContext + 'static> Send for PartitionReader<C> {}
// SAFETY: a shared reader can only be waited for, which touches none of the pointers; all else needs `&mut self`.
unsafe impl<C: ConsumerContext + 'static> Sync for PartitionReader<C> {}

impl<C: ConsumerContext + 'static> fmt::Debug for PartitionReader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionReader").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl<C: ConsumerContext + 'static> PartitionReader<C> {
    /// Starts to fetch `partition` of `topic` at `offset`.
    ///
    /// # Errors
    /// If the client already reads this partition, or the names are not Kafka's.
    pub(in crate::kafka) fn start(
        client: Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Self, NativeError> {
        let name = c_text("the name of a topic", topic)?;
        let native = client.client().native_ptr();
        // SAFETY: the client is alive as long as `client`; the name is copied; no configuration means the default one.
        let topic = unsafe { rd::rd_kafka_topic_new(native, name.as_ptr(), null_mut()) };
        if topic.is_null() {
            return Err(last_error());
        }
        // SAFETY: as above; the queue is destroyed in `Drop`.
        let queue = unsafe { rd::rd_kafka_queue_new(native) };
        let ready = Arc::new(Notify::new());
        let opaque = Arc::into_raw(ready.clone()).cast_mut().cast::<c_void>();
        let buffer = Vec::with_capacity(BATCH);
        let reader = Self { topic, partition, queue, ready, buffer, client };
        // SAFETY: `wake` gets the pointer made here, which stays valid until `Drop` has disabled the callback.
        unsafe { rd::rd_kafka_queue_cb_event_enable(queue, Some(wake), opaque) };
        // SAFETY: topic and queue are those just made.
        let started = unsafe { rd::rd_kafka_consume_start_queue(topic, partition, offset, queue) };
        if started != 0 {
            return Err(last_error());
        }
        Ok(reader)
    }

    /// Ends once something may be in the queue that was not there when [`take`](Self::take) last found it empty.
    pub(in crate::kafka) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Hands what is in the queue to `each`; answers whether there was anything.
    pub(in crate::kafka) fn take(&mut self, mut each: impl FnMut(Fetched<'_>)) -> bool {
        let room = self.buffer.capacity();
        // SAFETY: the buffer has room for that many pointers; librdkafka says how many it wrote.
        let count =
            unsafe { rd::rd_kafka_consume_batch_queue(self.queue, 0, self.buffer.as_mut_ptr(), room) };
        let count = usize::try_from(count).unwrap_or(0).min(room);
        // SAFETY: so many pointers were written.
        unsafe { self.buffer.set_len(count) };
        for message in self.buffer.drain(..) {
            // SAFETY: the message is alive until it is destroyed below, and `each` gets no hold of it beyond its call.
            unsafe {
                give(&*message, &mut each);
                rd::rd_kafka_message_destroy(message);
            }
        }
        count > 0
    }
}

impl<C: ConsumerContext + 'static> Drop for PartitionReader<C> {
    fn drop(&mut self) {
        // SAFETY: in the order librdkafka asks for: no callback, no fetching, then the queue, then the topic. The callback
        // cannot run after it was disabled, so its hold of `ready` can be taken back.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue, None, null_mut());
            rd::rd_kafka_consume_stop(self.topic, self.partition);
            rd::rd_kafka_queue_destroy(self.queue);
            rd::rd_kafka_topic_destroy(self.topic);
            drop(Arc::from_raw(Arc::as_ptr(&self.ready)));
        }
        let _outlived = &self.client;
    }
}

/// Runs in a thread of librdkafka, under the queue's lock.
unsafe extern "C" fn wake(_client: *mut rd::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the pointer of `start`; `Drop` disables this callback, under the same lock, before it lets go of it.
    unsafe { &*opaque.cast::<Notify>() }.notify_one();
}

fn last_error() -> NativeError {
    // SAFETY: reads the error of this thread's last call.
    NativeError::of(unsafe { rd::rd_kafka_last_error() })
}

/// # Safety
/// The message is alive during the call.
unsafe fn give(message: &rd::rd_kafka_message_t, each: &mut impl FnMut(Fetched<'_>)) {
    let offset = u64::try_from(message.offset).unwrap_or(0);
    match message.err {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => return each(Fetched::End(offset)),
        code => {
            // SAFETY: the text of an error lives in the message.
            let text = unsafe { super::copied(rd::rd_kafka_message_errstr(message)) };
            return each(Fetched::Failed(NativeError { code: RDKafkaErrorCode::from(code), text }));
        }
    }
    let mut headers = SmallVec::<[KafkaHeader<'_>; 24]>::new();
    // SAFETY: pointers and lengths are those of the living message.
    let record = unsafe {
        read_headers(message, &mut headers);
        KafkaRecord {
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
            headers: &headers,
            timestamp: timestamp(message),
        }
    };
    each(Fetched::Record(offset, record));
}

/// # Safety
/// `start` is null or points to `length` bytes that live as long as the result is used.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: not null here, and the caller vouches for the rest.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}

/// # Safety
/// The message lives as long as the headers are used.
unsafe fn read_headers<'a>(
    message: &'a rd::rd_kafka_message_t,
    headers: &mut SmallVec<[KafkaHeader<'a>; 24]>,
) {
    let mut list = null_mut();
    // SAFETY: the list stays the message's own.
    if unsafe { rd::rd_kafka_message_headers(message, &raw mut list) } != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
        return;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (null(), null(), 0);
        // SAFETY: the list is alive; name and value point into it.
        let found =
            unsafe { rd::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size) };
        if found != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        // SAFETY: librdkafka ends names with a NUL byte, and gives the size of the value.
        let (name, value) = unsafe { (std::ffi::CStr::from_ptr(name), bytes(value, size)) };
        // A name that is not UTF-8 is no header of CloudEvents or of ours.
        if let Ok(name) = name.to_str() {
            headers.push(KafkaHeader { name, value });
        }
    }
}

/// # Safety
/// The message is alive.
unsafe fn timestamp(message: &rd::rd_kafka_message_t) -> Option<Timestamp> {
    let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: as the caller says.
    let millis = unsafe { rd::rd_kafka_message_timestamp(message, &raw mut kind) };
    u64::try_from(millis).ok().map(Timestamp::from_millis)
}
