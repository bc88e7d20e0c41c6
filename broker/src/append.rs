//! From events to records in the log.

use pelton_event::http::Received;
use pelton_event::{Envelope, Event, Record, Timestamp, TraceContext, hops};
use pelton_event_log::{Batch, Partition, TopicName, Urgency, partition_of};

use crate::refusal::Refusal;

/// What all events of one request have in common.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) time: Timestamp,
    /// The trace of the request; it goes before an event's own.
    pub(crate) trace: Option<TraceContext>,
}

/// One batch of what was received, stored together or not at all. `random` picks the partition of an event without a key.
pub(crate) fn batch(
    received: Received,
    topic: &TopicName,
    partitions: u32,
    arrival: &Arrival,
    mut random: impl FnMut(u32) -> Partition,
) -> Result<Batch, Refusal> {
    let mut place = |event| {
        let record = record(event, arrival)?;
        let partition = match &record.envelope.key {
            Some(key) => partition_of(key, partitions),
            None => random(partitions),
        };
        Ok::<_, Refusal>((topic.clone(), partition, record))
    };
    let records = match received {
        Received::One(event) => vec![place(event)?],
        Received::Batch(events) => events.into_iter().map(place).collect::<Result<_, _>>()?,
    };
    Ok(Batch { records, progress: Vec::new(), urgency: Urgency::Now })
}

/// Bytes of the events of a batch.
pub(crate) fn bytes_of(batch: &Batch) -> u64 {
    batch
        .records
        .iter()
        .filter_map(|(_, _, record)| record.event.as_ref())
        .map(|event| event.size() as u64)
        .sum()
}

fn record(event: Event, arrival: &Arrival) -> Result<Record, Refusal> {
    let (event, hops) = hops::take(event).map_err(Refusal::Hops)?;
    let envelope = Envelope::of_event(&event, arrival.time, arrival.trace.clone()).with_hops(hops);
    Ok(Record::new(envelope, event))
}

#[cfg(test)]
mod tests {
    use pelton_event::{EventBuilder, Kind, SpecVersion, limits};

    use super::*;

    fn event(extensions: &[(&'static str, &'static str)]) -> Event {
        let mut builder = EventBuilder::new(SpecVersion::V1_0);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")].iter().chain(extensions) {
            builder.attribute(*name, *value, Kind::String).unwrap();
        }
        builder.build(None).unwrap()
    }

    fn one(event: Event) -> Result<(Partition, Record), Refusal> {
        let arrival = Arrival { time: Timestamp::from_millis(7), trace: None };
        let topic = TopicName::new("t");
        let batch = batch(Received::One(event), &topic, 10, &arrival, |partitions| partitions - 1)?;
        let (_, partition, record) = batch.records.into_iter().next().unwrap();
        Ok((partition, record))
    }

    #[test]
    fn a_key_chooses_the_partition_and_is_kept_else_it_is_drawn() {
        let (partition, record) = one(event(&[("partitionkey", "abc")])).unwrap();
        assert_eq!(partition, partition_of(b"abc", 10));
        assert_eq!(record.envelope.key.as_deref(), Some(b"abc".as_slice()));
        let (partition, record) = one(event(&[])).unwrap();
        assert_eq!((partition, record.envelope.key), (9, None));
        assert_eq!(record.envelope.time, Timestamp::from_millis(7));
        assert_eq!(record.envelope.origin, None);
    }

    #[test]
    fn hops_move_from_the_event_to_the_envelope() {
        let (_, record) = one(event(&[(hops::ATTRIBUTE, "7")])).unwrap();
        assert_eq!(record.envelope.hops, 7);
        assert_eq!(record.event.unwrap().attribute(hops::ATTRIBUTE), None);
        assert_eq!(one(event(&[])).unwrap().1.envelope.hops, limits::HOPS_DEFAULT);
        assert!(matches!(one(event(&[(hops::ATTRIBUTE, "0")])), Err(Refusal::Hops(_))));
    }
}
