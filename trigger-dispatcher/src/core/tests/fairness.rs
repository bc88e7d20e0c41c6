//! Several partitions share few places.

use super::*;
use crate::admission;

/// Gets three partitions with more events than can be delivered, and ends `steps` deliveries, the longest under way first,
/// in steps of a second. Answers how many each partition had.
fn deliver(triggers: Vec<Trigger>, share: &mut dyn Admission, steps: usize) -> [usize; 3] {
    let table = TriggerTable::new(triggers.into_iter().map(Arc::new).collect());
    let mut core = BrokerCore::new(config(1 << 24, Sizes::default()), Arc::new(table));
    let (mut under_way, mut delivered) = (VecDeque::new(), [0; 3]);
    let mut now = 1_000_000;
    let mut turn = |core: &mut BrokerCore,
                    under_way: &mut VecDeque<Attempt>,
                    input: &mut dyn FnMut(&mut BrokerCore, &mut Turn<'_>)| {
        now += 1_000;
        let mut actions = Vec::new();
        let mut turn =
            Turn { now: Timestamp::from_millis(now), admission: &mut *share, actions: &mut actions };
        input(core, &mut turn);
        core.tick(&mut turn);
        core.admission_room(&mut turn);
        for action in actions {
            if let Action::Attempt(attempt) = action {
                under_way.push_back(attempt);
            }
        }
    };
    for partition in 0..3 {
        let entry = |offset| {
            let event = event(offset, "a", 10);
            let envelope = Envelope::of_event(&event, Timestamp::from_millis(1), None);
            Entry { offset, content: Content::Record(Record::new(envelope, event)) }
        };
        turn(&mut core, &mut under_way, &mut |core, turn| {
            let nothing = Bounds { start: 0, end: 0 };
            let (events, retry) = (Progress::default(), Progress::default());
            let opened =
                Opened { epoch: Epoch(1), events, events_bounds: nothing, retry, retry_bounds: nothing };
            core.gained(partition, opened, turn).unwrap();
            core.head_read(partition, Chunk::new((0..200).map(entry).collect(), 200), turn);
        });
    }
    for _ in 0..steps {
        let attempt: Attempt = under_way.pop_front().expect("nothing is delivered any more");
        delivered[attempt.id.partition as usize] += 1;
        turn(&mut core, &mut under_way, &mut |core, turn| core.attempt_ended(attempt.id, status(200), turn));
    }
    delivered
}

#[test]
fn partitions_take_turns_at_the_places_of_a_trigger() {
    for max_concurrency in [1, 2, 7] {
        let limited = Trigger { max_concurrency: Some(max_concurrency), ..trigger("t") };
        let delivered = deliver(vec![limited], &mut Everything, 90);
        assert!(delivered.iter().all(|of| (25..=36).contains(of)), "{max_concurrency}: {delivered:?}");
    }
}

#[test]
fn partitions_take_turns_at_the_rate_of_a_trigger() {
    let limited = Trigger { max_rate: Some(1.0), ..trigger("t") };
    let delivered = deliver(vec![limited], &mut Everything, 90);
    assert!(delivered.iter().all(|of| (25..=36).contains(of)), "{delivered:?}");
}

#[test]
fn partitions_take_turns_at_the_share_of_the_process() {
    for cap in [1, 2, 8] {
        let mut share = admission::Admission::new(cap).share();
        let delivered = deliver(vec![trigger("t")], &mut share, 90);
        assert!(delivered.iter().all(|of| (25..=36).contains(of)), "{cap}: {delivered:?}");
    }
}
