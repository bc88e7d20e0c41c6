//! A Kafka that cannot be reached: everybody is told at once, and all goes on by itself when it comes back.

use pelton_event_log::{AppendError, Batch, EventLog, LogError, OwnershipChange};
use pelton_tests::eventually;
use pelton_tests::kafka::{Kafka, Options};

use super::{NO_WAIT, Place, WAIT, batch, gain_all, ids, next, read_all, save, spec};

async fn told(log: &dyn EventLog, place: &Place, kafka: &Kafka) {
    let reason =
        eventually("the log says that Kafka cannot be reached", async || log.status().unavailable).await;
    assert!(reason.contains(&kafka.bootstrap()), "{reason}");
    for appended in [batch(place.events(), 0, ["x"]), Batch::default()] {
        let refused = log.append(appended).await;
        assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    }
    let made = log.ensure_topic(&spec(place.events(), 1)).await;
    assert!(matches!(made, Err(LogError::Unavailable(_))), "{made:?}");
    let bounds = log.bounds(place.events(), 0).await;
    assert!(matches!(bounds, Err(LogError::Unavailable(_))), "{bounds:?}");
    let read = log.read(place.events(), 0, 0, NO_WAIT).await;
    assert!(matches!(read, Err(LogError::Unavailable(_))), "{read:?}");
}

async fn is_back(log: &dyn EventLog) {
    eventually("the log says that Kafka is back", async || log.status().unavailable.is_none().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_and_ends_by_itself() {
    let Some(kafka) = Kafka::start(Options::new()).await else { return };
    let place = Place::on(&kafka);
    kafka.kill(1);
    // It is not there when the log is opened.
    let log = place.open();
    told(&*log, &place, &kafka).await;
    kafka.restart(1).await;
    is_back(&*log).await;
    for topic in [&place.topics.events, &place.topics.retry, &place.topics.dead_letter] {
        log.ensure_topic(&spec(topic, 1)).await.unwrap();
    }
    let mut ownership = log.ownership(place.events());
    let epoch = gain_all(&mut ownership, 1).await[0];
    log.append(batch(place.events(), 0, ["first"])).await.unwrap();
    log.append(save(place.events(), 0, epoch, Some(1), &[])).await.unwrap();

    // It goes while somebody waits for the next record.
    let waiting = tokio::spawn({
        let (log, topic) = (log.clone(), place.events().clone());
        async move { log.read(&topic, 0, 1, WAIT).await }
    });
    assert_eq!(read_all(&*log, place.events(), 0, 0, NO_WAIT).await.0, ["first"]);
    kafka.kill(1);
    told(&*log, &place, &kafka).await;
    kafka.restart(1).await;
    is_back(&*log).await;
    log.append(batch(place.events(), 0, ["second"])).await.unwrap();
    assert_eq!(ids(&waiting.await.unwrap().unwrap()), ["second"]);
    assert_eq!(read_all(&*log, place.events(), 0, 0, NO_WAIT).await.0, ["first", "second"]);

    // The partition may have been lost meanwhile; then it comes again, with what was saved.
    let mut epoch = epoch;
    while let Err(error) = log.append(save(place.events(), 0, epoch, Some(2), &[])).await {
        assert!(matches!(error, AppendError::Fenced(..)), "{error:?}");
        loop {
            if let OwnershipChange::Gained { epoch: new, .. } = next(&mut ownership).await {
                epoch = new;
                break;
            }
        }
        assert_eq!(log.progress(place.events(), 0).await.unwrap().head, 1);
    }
    assert_eq!(log.progress(place.events(), 0).await.unwrap().head, 2);
}

/// A broker that was removed, topics and all, is no reason to call the log broken.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_gone_say_nothing_about_the_others() {
    let Some(kafka) = pelton_tests::kafka::shared().await else { return };
    let (stays, gone) = (Place::on(kafka), [Place::on(kafka), Place::on(kafka), Place::on(kafka)]);
    let log = stays.open_with(1).await;
    for Place { topics, .. } in &gone {
        for topic in [&topics.events, &topics.retry, &topics.dead_letter] {
            log.ensure_topic(&spec(topic, 1)).await.unwrap();
        }
    }
    log.append(Batch::default()).await.unwrap();
    for place in &gone {
        kafka.delete_topic(place.events().as_str()).await;
        kafka.delete_topic(&format!("{}_progress", place.events())).await;
    }
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        log.append(Batch::default()).await.unwrap();
    }
    assert!(began.elapsed().as_secs() < 5, "as fast as before");
}
