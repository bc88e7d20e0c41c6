//! An append is answered as it ended, whatever a broker says on the way.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::*;
use crate::kafka::client::{Context, Health};
use crate::kafka::producer::{Failed, Outgoing, Producer};
use crate::kafka::sizes::Sizes;
use crate::limits::KAFKA_RECORD_BYTES_MAX;

/// A producer that has one request on its way at a time: the mock does not notice gaps, so what overtakes would be stored.
fn one_by_one(mocked: &Mocked) -> Producer {
    let config = mocked.config();
    let mut client: ClientConfig = config.connection.client();
    client.set("max.in.flight.requests.per.connection", "1");
    let health = Arc::new(Health::default());
    let context = Context { health: health.clone() };
    let admin = AdminClient::from_config_and_context(&client, context).unwrap();
    let sizes = Arc::new(Sizes::new(Arc::new(admin), Handle::current()));
    Producer::new(client, &config, health, sizes).unwrap()
}

type Sent = oneshot::Receiver<Result<Vec<(Partition, Offset)>, Failed>>;

fn send(producer: &Producer, mocked: &Mocked, partition: Partition, id: &str) -> Sent {
    let (told, sent) = oneshot::channel();
    let outgoing = Outgoing::of(mocked.topic.clone(), partition, &record(id, 4));
    producer.send(vec![outgoing], Box::new(move |result| drop(told.send(result))));
    sent
}

#[tokio::test]
async fn what_is_refused_for_a_while_is_stored_once_and_in_order() {
    let mocked = Mocked::new(3);
    let producer = one_by_one(&mocked);
    mocked.fail(
        Request::Produce,
        &[
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        ],
    );
    let ids = numbers(200);
    let sent: Vec<_> = ids.iter().map(|id| send(&producer, &mocked, 0, id)).collect();
    let mut expected = Vec::new();
    for (id, sent) in ids.iter().zip(sent) {
        let positions = sent.await.unwrap().map_err(|failed| failed.error).unwrap();
        expected.push((positions[0].1, id.clone()));
    }
    let stored = mocked.stored(&mocked.open()).await;
    assert_eq!(stored, expected, "each is once where its answer says");
    assert!(stored.is_sorted_by_key(|(offset, _)| *offset));
}

#[tokio::test]
async fn what_is_refused_for_too_long_is_not_called_stored() {
    let mocked = Mocked::new(1);
    let log = KafkaLog::open(Config { delivery_timeout: Duration::from_millis(1500), ..mocked.config() });
    let log = log.unwrap();
    mocked.append_at_last(&log, "before").await;
    mocked.fail(Request::Produce, &[Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 100]);
    let refused = mocked.append(&log, "refused").await;
    assert!(matches!(refused, Err(AppendError::Unknown(_))), "{refused:?}");
    mocked.brokers.clear_request_errors(Request::Produce);
    let after = mocked.append_at_last(&log, "after").await;
    let stored = mocked.stored(&log).await;
    assert!(
        stored.contains(&after) && stored.iter().all(|(_, id)| id != "refused"),
        "{after:?} of {stored:?}"
    );
}

#[tokio::test]
async fn an_answer_that_comes_too_late_makes_the_outcome_unknown() {
    let mocked = Mocked::new(1);
    let log = KafkaLog::open(Config { delivery_timeout: Duration::from_millis(1000), ..mocked.config() });
    let log = log.unwrap();
    mocked.append_at_last(&log, "before").await;
    mocked.brokers.broker_round_trip_time(ALL, Duration::from_secs(2)).unwrap();
    let late = mocked.append(&log, "late").await;
    assert!(matches!(late, Err(AppendError::Unknown(_))), "{late:?}");
    mocked.brokers.broker_round_trip_time(ALL, Duration::ZERO).unwrap();
    let after = mocked.append_at_last(&log, "after").await;
    let stored = mocked.stored(&log).await;
    assert!(stored.contains(&after), "{after:?} of {stored:?}");
}

#[tokio::test]
async fn a_certain_refusal_says_what_is_wrong_and_the_next_append_goes_on() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    mocked.append(&log, "before").await.unwrap();
    mocked.fail(Request::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let refused = mocked.append(&log, "refused").await;
    assert!(matches!(refused, Err(AppendError::TooLarge { bytes: 4.., max: None })), "{refused:?}");
    let refused = log.append(mocked.batch(PARTITIONS, ["refused"])).await;
    assert!(matches!(refused, Err(AppendError::NoSuchPartition(_, PARTITIONS))), "{refused:?}");
    mocked.append(&log, "after").await.unwrap();
    assert_eq!(mocked.stored(&log).await, [(0, "before".to_owned()), (1, "after".to_owned())]);
}

#[tokio::test]
async fn a_missing_right_is_told_and_appends_go_on_once_it_is_given() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    mocked.append(&log, "before").await.unwrap();
    mocked.fail(Request::Produce, &[Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    let refused = mocked.append(&log, "refused").await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    mocked.append_at_last(&log, "after").await;
    assert_eq!(mocked.stored(&log).await, [(0, "before".to_owned()), (1, "after".to_owned())]);
}

#[tokio::test]
async fn what_the_client_does_not_take_is_too_large_and_its_limit_told() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    let records = vec![(mocked.topic.clone(), 0, record("large", KAFKA_RECORD_BYTES_MAX))];
    let refused = log.append(Batch { records, ..Batch::default() }).await.unwrap_err();
    let AppendError::TooLarge { bytes, max: Some(KAFKA_RECORD_BYTES_MAX) } = refused else {
        panic!("{refused:?}")
    };
    assert!(bytes > KAFKA_RECORD_BYTES_MAX);
    mocked.append(&log, "after").await.unwrap();
}

#[tokio::test]
async fn a_full_queue_is_told_and_drains() {
    let mocked = Mocked::new(1);
    let log = KafkaLog::open(Config { queue_bytes: 64 * 1024, ..mocked.config() }).unwrap();
    mocked.append(&log, "before").await.unwrap();
    mocked.brokers.broker_round_trip_time(ALL, Duration::from_millis(500)).unwrap();
    let ids = numbers(30);
    let batch = |id: &String| {
        let records = vec![(mocked.topic.clone(), 0, record(id, 8 * 1024))];
        (id.clone(), log.append(Batch { records, ..Batch::default() }))
    };
    let appends: Vec<_> = ids.iter().map(batch).collect();
    let (mut taken, mut busy) = (vec!["before".to_owned()], 0);
    for (id, append) in appends {
        match append.await {
            Ok(_) => taken.push(id),
            Err(AppendError::Busy) => busy += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(busy > 0 && taken.len() > 1, "{busy} refused, {taken:?} taken");
    mocked.brokers.broker_round_trip_time(ALL, Duration::ZERO).unwrap();
    mocked.append(&log, "after").await.unwrap();
    taken.push("after".to_owned());
    let stored: Vec<_> = mocked.stored(&log).await.into_iter().map(|(_, id)| id).collect();
    assert_eq!(stored, taken, "what was refused is not there");
}

/// The second record finds no room, the first one's answer is late: it may be stored all the same.
#[tokio::test]
async fn a_batch_of_which_some_may_be_stored_is_unknown_though_the_rest_was_refused() {
    let mocked = Mocked::new(1);
    let config = mocked.config();
    let timeout = Duration::from_millis(1000);
    let log = KafkaLog::open(Config { queue_bytes: 64 * 1024, delivery_timeout: timeout, ..config }).unwrap();
    mocked.append_at_last(&log, "before").await;
    mocked.brokers.broker_round_trip_time(ALL, Duration::from_secs(2)).unwrap();
    let records = ["first", "second"].map(|id| (mocked.topic.clone(), 0, record(id, 48 * 1024)));
    let outcome = log.append(Batch { records: records.into(), ..Batch::default() }).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
}

/// The broker and the client no longer agree on what was sent: librdkafka gives this client up.
#[tokio::test]
async fn a_producer_that_cannot_go_on_is_replaced() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    mocked.append(&log, "before").await.unwrap();
    mocked.fail(Request::Produce, &[Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let failed = mocked.append(&log, "failed").await;
    assert!(matches!(failed, Err(AppendError::Unknown(_))), "{failed:?}");
    let meanwhile = mocked.append(&log, "meanwhile").await;
    assert!(matches!(meanwhile, Err(AppendError::Unavailable(_))), "{meanwhile:?}");
    mocked.append_at_last(&log, "after").await;
    assert_eq!(mocked.stored(&log).await, [(0, "before".to_owned()), (1, "after".to_owned())]);
}

/// What waits in a producer that is given up gets an answer, too.
#[tokio::test]
async fn no_append_is_left_without_an_answer_when_its_producer_is_replaced() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    mocked.append(&log, "before").await.unwrap();
    mocked.fail(Request::Produce, &[Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    mocked.brokers.broker_round_trip_time(ALL, Duration::from_millis(200)).unwrap();
    // Not awaited one by one: all are under way together.
    let ids = numbers(50);
    let answers = futures_util::future::join_all(ids.iter().map(|id| mocked.append(&log, id))).await;
    assert!(answers.iter().any(Result::is_err));
    mocked.brokers.broker_round_trip_time(ALL, Duration::ZERO).unwrap();
    mocked.append_at_last(&log, "after").await;
    let stored = mocked.stored(&log).await;
    for (number, answer) in answers.iter().enumerate() {
        let Ok(answer) = answer else { continue };
        assert!(
            stored.contains(&(answer.positions[0].1, number.to_string())),
            "{number} is not where it was said"
        );
    }
}
