//! Lists of partitions.

use std::ffi::c_void;
use std::slice;

use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr as Code;

use super::{NativeError, c_text};

/// A partition list of librdkafka.
pub(super) struct PartitionList(*mut rd::rd_kafka_topic_partition_list_t);

/// One entry of a list, copied.
pub(super) struct Listed {
    pub(super) topic: Box<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) metadata: Box<str>,
    pub(super) error: Option<NativeError>,
}

impl PartitionList {
    /// A list of `topic` with an offset and a text for each partition.
    pub(super) fn of(topic: &str, offsets: &[(u32, u64)], metadata: &str) -> Result<Self, NativeError> {
        let name = c_text("the name of a topic", topic)?;
        let size = i32::try_from(offsets.len()).unwrap_or(0);
        // SAFETY: makes an empty list, destroyed in `Drop`.
        let list = Self(unsafe { rd::rd_kafka_topic_partition_list_new(size) });
        for &(partition, offset) in offsets {
            let partition = i32::try_from(partition).unwrap_or(-1);
            // SAFETY: the name is copied; the entry is valid until the list grows; its metadata has to be memory of
            // librdkafka's allocator, which the list frees.
            unsafe {
                let entry = rd::rd_kafka_topic_partition_list_add(list.0, name.as_ptr(), partition);
                (*entry).offset = i64::try_from(offset).unwrap_or(i64::MAX);
                if !metadata.is_empty() {
                    let copy = rd::rd_kafka_mem_malloc(std::ptr::null_mut(), metadata.len());
                    std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast::<u8>(), metadata.len());
                    ((*entry).metadata, (*entry).metadata_size) = (copy, metadata.len());
                }
            }
        }
        Ok(list)
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.0
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: made in `of`, not given away.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

/// Copies a list.
///
/// # Safety
/// `list` is null or a list that lives through the call.
pub(super) unsafe fn copied(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<Listed> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a list has `cnt` entries.
    let entries = unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        if count == 0 { &[] } else { slice::from_raw_parts((*list).elems, count) }
    };
    let copy = |entry: &rd::rd_kafka_topic_partition_t| Listed {
        // SAFETY: an entry owns its texts.
        topic: unsafe { super::copied(entry.topic) },
        partition: entry.partition,
        offset: entry.offset,
        // SAFETY: as above.
        metadata: unsafe { text(entry.metadata, entry.metadata_size) },
        error: (entry.err != Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| NativeError::of(entry.err)),
    };
    entries.iter().map(copy).collect()
}

/// # Safety
/// `start` is null or points to `size` bytes.
unsafe fn text(start: *const c_void, size: usize) -> Box<str> {
    if start.is_null() || size == 0 {
        return "".into();
    }
    // SAFETY: not null, and the caller vouches for the rest.
    String::from_utf8_lossy(unsafe { slice::from_raw_parts(start.cast::<u8>(), size) }).into()
}
