//! What topics are. All of it blocks until Kafka has answered.

use std::ffi::CString;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::call::{Call, failure};
use super::{NativeError, c_text, copied};

/// The id that Kafka gave each of `topics` when it was made; `None` for one that is not there, and an empty text from a
/// Kafka before 2.8, which gives none.
///
/// # Errors
/// What Kafka says.
pub(in crate::kafka) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<Option<Box<str>>>, NativeError> {
    let names: Vec<CString> =
        topics.iter().map(|topic| c_text("the name of a topic", topic)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let call = Call::new(client, Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
    // SAFETY: the collection copies the names, the call the collection.
    let event = unsafe {
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_DescribeTopics(call.native, collection, call.options, call.queue);
        rd::rd_kafka_TopicCollection_destroy(collection);
        call.wait()?
    };
    // SAFETY: the result and its descriptions live in the event; an array has `count` entries.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(event.0);
        let mut count = 0;
        let found = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let found = if found.is_null() { &[] } else { slice::from_raw_parts(found, count) };
        let id_of = |topic: &&str| {
            let of_it = |description: &&*const rd::rd_kafka_TopicDescription_t| {
                *copied(rd::rd_kafka_TopicDescription_name(**description)) == **topic
            };
            found.iter().find(of_it).map_or(Ok(None), |description| id(*description))
        };
        topics.iter().map(id_of).collect()
    }
}

/// # Safety
/// `description` lives through the call.
unsafe fn id(description: *const rd::rd_kafka_TopicDescription_t) -> Result<Option<Box<str>>, NativeError> {
    // SAFETY: as the caller says; the description owns its error and its id, whose text is copied.
    unsafe {
        match failure(rd::rd_kafka_TopicDescription_error(description)) {
            Some(error) if error.code == RDKafkaErrorCode::UnknownTopicOrPartition => return Ok(None),
            Some(error) => return Err(error),
            None => {}
        }
        let id = rd::rd_kafka_TopicDescription_topic_id(description);
        let is_known = !id.is_null()
            && (rd::rd_kafka_Uuid_most_significant_bits(id), rd::rd_kafka_Uuid_least_significant_bits(id))
                != (0, 0);
        let text = if is_known { copied(rd::rd_kafka_Uuid_base64str(id)) } else { "".into() };
        Ok(Some(text))
    }
}
