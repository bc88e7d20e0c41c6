//! Offsets and members of consumer groups that this process is no member of. All of it blocks until Kafka has answered.

use std::collections::BTreeMap;
use std::ptr::null;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::bindings::rd_kafka_consumer_group_state_t as State;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::call::{Call, failure};
use super::list::{self, Listed, PartitionList};
use super::{NativeError, c_text, copied};

/// The committed offset and its metadata for each partition of a topic.
pub(in crate::kafka) type Commits = BTreeMap<u32, (u64, Box<str>)>;

/// Whether a group is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) enum GroupState {
    /// Nobody is in it; it may have commits.
    Idle,
    /// It has members, or is about to: their hosts.
    Members(Vec<Box<str>>),
}

/// The offsets that `group` has committed for `topic`.
///
/// # Errors
/// What Kafka says; a group that does not exist has none.
pub(in crate::kafka) fn committed_offsets<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    topic: &str,
    timeout: Duration,
) -> Result<Commits, NativeError> {
    let name = c_text("the name of a group", group)?;
    let call = Call::to_coordinator(client, Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout);
    // SAFETY: the request is made, used and destroyed here; no list means all partitions.
    let event = unsafe {
        let mut request = rd::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), null());
        rd::rd_kafka_ListConsumerGroupOffsets(call.native, &raw mut request, 1, call.options, call.queue);
        rd::rd_kafka_ListConsumerGroupOffsets_destroy(request);
        call.wait()?
    };
    // SAFETY: the result lives in the event.
    let listed = unsafe {
        let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event.0);
        let mut count = 0;
        let groups = rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        of_group(groups, count)?
    };
    let mut commits = Commits::new();
    for Listed { topic: of, partition, offset, metadata, error } in listed {
        if let Some(error) = error {
            return Err(error);
        }
        // A partition without a commit has a negative offset.
        if let (true, Ok(partition), Ok(offset)) = (*of == *topic, partition.try_into(), offset.try_into()) {
            commits.insert(partition, (offset, metadata));
        }
    }
    Ok(commits)
}

/// Sets the committed offsets of `group`, which must have no members.
///
/// # Errors
/// What Kafka says: [`RDKafkaErrorCode::UnknownMemberId`] if the group has members.
pub(in crate::kafka) fn alter_offsets<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    topic: &str,
    offsets: &[(u32, u64)],
    metadata: &str,
    timeout: Duration,
) -> Result<(), NativeError> {
    let name = c_text("the name of a group", group)?;
    let partitions = PartitionList::of(topic, offsets, metadata)?;
    let call = Call::to_coordinator(client, Operation::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, timeout);
    // SAFETY: the request is made, used and destroyed here; it copies the list.
    let event = unsafe {
        let mut request = rd::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), partitions.as_ptr());
        rd::rd_kafka_AlterConsumerGroupOffsets(call.native, &raw mut request, 1, call.options, call.queue);
        rd::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        call.wait()?
    };
    // SAFETY: the result lives in the event.
    let listed = unsafe {
        let result = rd::rd_kafka_event_AlterConsumerGroupOffsets_result(event.0);
        let mut count = 0;
        let groups = rd::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
        of_group(groups, count)?
    };
    listed.into_iter().find_map(|listed| listed.error).map_or(Ok(()), Err)
}

/// Who is in `group`.
///
/// # Errors
/// What Kafka says; a group that does not exist is idle.
pub(in crate::kafka) fn describe_group<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<GroupState, NativeError> {
    let name = c_text("the name of a group", group)?;
    let call = Call::to_coordinator(client, Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout);
    // SAFETY: the names are copied before the call returns.
    let event = unsafe {
        let mut names = name.as_ptr();
        rd::rd_kafka_DescribeConsumerGroups(call.native, &raw mut names, 1, call.options, call.queue);
        call.wait()?
    };
    // SAFETY: the result and its groups live in the event.
    unsafe {
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(event.0);
        let mut count = 0;
        let groups = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 || groups.is_null() {
            return Ok(GroupState::Idle);
        }
        let group = *groups;
        match failure(rd::rd_kafka_ConsumerGroupDescription_error(group)) {
            None => {}
            // Since Kafka 4 (KIP-1043) a group that is not there is an error instead of a dead one.
            Some(error) if error.code == RDKafkaErrorCode::GroupIdNotFound => return Ok(GroupState::Idle),
            Some(error) => return Err(error),
        }
        let state = rd::rd_kafka_ConsumerGroupDescription_state(group);
        let members = rd::rd_kafka_ConsumerGroupDescription_member_count(group);
        let is_idle = matches!(
            state,
            State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY | State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD
        );
        if is_idle && members == 0 {
            return Ok(GroupState::Idle);
        }
        let host = |index| {
            let member = rd::rd_kafka_ConsumerGroupDescription_member(group, index);
            copied(rd::rd_kafka_MemberDescription_host(member))
        };
        Ok(GroupState::Members((0..members).map(host).collect()))
    }
}

/// The partitions of the only group of a result.
///
/// # Safety
/// `groups` points to `count` group results that live through the call.
unsafe fn of_group(
    groups: *mut *const rd::rd_kafka_group_result_t,
    count: usize,
) -> Result<Vec<Listed>, NativeError> {
    if groups.is_null() || count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: as the caller says; what is read is copied.
    unsafe {
        let group = slice::from_raw_parts(groups, count)[0];
        if let Some(error) = failure(rd::rd_kafka_group_result_error(group)) {
            return Err(error);
        }
        Ok(list::copied(rd::rd_kafka_group_result_partitions(group)))
    }
}
