use pelton_resources::Readiness;

use super::*;
use crate::testing::{MemoryLog, broker, delivery, event, event_with, make_topics, name, snapshot};

struct Setup {
    log: Arc<MemoryLog>,
    sender: BrokerSender,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

async fn setup(brokers: Vec<Broker>) -> Setup {
    let log = MemoryLog::new();
    make_topics(&*log, &brokers).await;
    let (snapshots, received) = watch::channel(snapshot(brokers, Vec::new()));
    let sender = BrokerSender::new(log.clone(), received, Clock::fixed(7_000));
    Setup { log, sender, snapshots }
}

impl Setup {
    /// Passes other brokers on, once their topics are there.
    async fn want(&self, brokers: Vec<Broker>) {
        make_topics(&*self.log, &brokers).await;
        self.snapshots.send_replace(snapshot(brokers, Vec::new()));
    }

    async fn send(&self, delivery: Delivery) -> Outcome {
        self.sender.send(vec![delivery]).await.remove(0)
    }

    fn records(&self) -> Vec<Record> {
        self.log.records(&TopicName::new("knative-broker-default-other"))
    }
}

fn to_other() -> Delivery {
    delivery(event_with("1", &[("partitionkey", "customer-7")]), Destination::Broker(name("other")))
}

fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Response(response) => response.status,
        other => panic!("no response: {other:?}"),
    }
}

#[tokio::test]
async fn the_event_is_stored_with_one_hop_less() {
    let setup = setup(vec![Broker { partitions: 10, ..broker("other") }]).await;
    assert_eq!(status(&setup.send(to_other()).await), 202);
    let [record] = &setup.records()[..] else { panic!("one record") };
    assert_eq!(record.envelope.key.as_deref(), Some(&b"customer-7"[..]));
    assert_eq!(record.envelope.time, Timestamp::from_millis(7_000));
    assert_eq!(record.envelope.hops, 31);
    assert_eq!(record.envelope.origin, None, "to the other broker it is an event from outside");
    assert_eq!(record.event.as_ref().unwrap().id(), "1");
}

#[tokio::test]
async fn every_delivery_has_its_own_outcome_in_order() {
    let setup = setup(vec![broker("other")]).await;
    let unknown = delivery(event("2"), Destination::Broker(name("unknown")));
    let spent = Delivery { hops: 0, ..to_other() };
    let foreign = delivery(event("4"), Destination::Uri("http://a/".into()));
    let outcomes = setup.sender.send(vec![to_other(), unknown, spent, foreign]).await;
    assert_eq!(outcomes[..3].iter().map(status).collect::<Vec<_>>(), [202, 404, 400]);
    assert!(matches!(outcomes[3], Outcome::Forbidden { .. }));
    assert_eq!(setup.records().len(), 1);
}

#[tokio::test]
async fn what_the_log_does_not_take_is_an_answer_too() {
    let setup = setup(vec![broker("other")]).await;
    let cases = [
        (AppendError::Busy, 503),
        (AppendError::DiskFull, 503),
        (AppendError::TooLarge { bytes: 2, max: Some(1) }, 413),
    ];
    for (error, expected) in cases {
        setup.log.refuse(vec![error.clone()]);
        assert_eq!(status(&setup.send(to_other()).await), expected, "{error}");
    }
    setup.log.refuse(vec![AppendError::Unknown("the disk is gone".into())]);
    let outcome = setup.send(to_other()).await;
    assert!(matches!(outcome, Outcome::Unreachable { .. }), "an unknown outcome is no success: {outcome:?}");
    assert!(setup.records().is_empty());
}

#[tokio::test]
async fn a_broker_that_is_not_ready_takes_nothing_until_it_is() {
    let setup = setup(vec![Broker { readiness: Readiness::not_ready("X", "y"), ..broker("other") }]).await;
    assert_eq!(status(&setup.send(to_other()).await), 503);
    setup.want(vec![broker("other")]).await;
    assert_eq!(status(&setup.send(to_other()).await), 202);
}

#[tokio::test]
async fn a_grown_broker_is_used_in_its_whole_width() {
    let setup = setup(vec![broker("other")]).await;
    assert_eq!(status(&setup.send(to_other()).await), 202);
    setup.want(vec![Broker { partitions: 64, ..broker("other") }]).await;
    for id in 0..64 {
        let keyed = event_with(&id.to_string(), &[("partitionkey", &id.to_string())]);
        assert_eq!(status(&setup.send(delivery(keyed, Destination::Broker(name("other")))).await), 202);
    }
    let topic = TopicName::new("knative-broker-default-other");
    let first = setup.log.bounds(&topic, 0).await.unwrap().end;
    assert!(first < 32, "{first} of 65 events are in the first partition");
}
