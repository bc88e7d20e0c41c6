//! Dispatchers that join, leave, die and freeze: partitions move under load, and the book balances all the same.

use std::time::{Duration, SystemTime};

use pelton_tests::eventually;
use pelton_tests::fleet::Process;
use pelton_tests::kafka;
use pelton_tests::subscriber::{Behaviour, Receipt, now};

use crate::book::{Book, PARTITIONS, WINDOW, accepts, sender, setting};

/// As set for every fleet.
const SESSION: Duration = Duration::from_secs(6);

fn slow(_: &Receipt) -> Behaviour {
    Behaviour::Slow(204, Duration::from_millis(fastrand::u64(1..20)))
}

/// A third dispatcher comes and goes every two seconds; every third time it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn dispatchers_join_and_leave_under_load() {
    let Some(kafka) = kafka::shared().await else { return };
    let rounds = setting("PELTON_KAFKA_REBALANCES", 10);
    let mut book = Book::new("rebalance", slow).await;
    let fleet = book.fleet(&kafka.bootstrap(), "");
    let broker = fleet.start("broker").await;
    let _two = [fleet.start("dispatcher").await, fleet.start("dispatcher").await];
    let load = book.load(broker.pelton.ingress);
    accepts(&load, 100).await;
    let mut kills = 0;
    for round in 0..rounds {
        let third = fleet.start("dispatcher").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        if round % 3 == 2 {
            has_sent(&book, &third).await;
            third.pelton.kill().await;
            kills += 1;
        } else {
            assert!(third.pelton.stop().await, "round {round}: it stops gracefully");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    book.close(load).await;
    book.settled().await;
    let repeated = book.judge(&format!("{rounds} joins and leaves, {kills} of them kills"));
    let bound = kills * PARTITIONS * WINDOW + book.doubts();
    assert!(
        repeated.iter().all(|&times| times <= bound),
        "{repeated:?} repeated, more than a window per lane and kill ({bound})"
    );
}

/// Dispatchers that only leave in an orderly way hand over what is settled: nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_twice_when_partitions_move_in_an_orderly_way() {
    let Some(kafka) = kafka::shared().await else { return };
    let mut book = Book::new("orderly", slow).await;
    let fleet = book.fleet(&kafka.bootstrap(), "");
    let broker = fleet.start("broker").await;
    let first = fleet.start("dispatcher").await;
    let load = book.load(broker.pelton.ingress);
    accepts(&load, 100).await;
    let second = fleet.start("dispatcher").await;
    has_sent(&book, &second).await;
    assert!(first.pelton.stop().await, "the first stops gracefully");
    accepts(&load, 100).await;
    let third = fleet.start("dispatcher").await;
    has_sent(&book, &third).await;
    book.close(load).await;
    book.settled().await;
    let repeated = book.judge("orderly moves");
    assert_eq!(repeated, [0, 0], "what was handed over was settled");
}

async fn has_sent(book: &Book, process: &Process) {
    let what = format!("process {} sends", process.number);
    eventually(&what, async || {
        book.subscriber.receipts().iter().any(|receipt| sender(receipt) == process.number).then_some(())
    })
    .await;
}

/// When a process was first given partitions after that time, as its log says it.
fn gained(process: &Process, after: SystemTime) -> Option<SystemTime> {
    process.pelton.log().iter().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        // A rebalance may give it none.
        (line["message"] == "partitions gained" && line["partitions"] != "[]").then_some(())?;
        let at = time(line.get("timestamp")?.as_str()?)?;
        (at > after).then_some(at)
    })
}

/// Reads `…THH:MM:SS.ffffffZ` of today, or of yesterday shortly after midnight.
fn time(text: &str) -> Option<SystemTime> {
    let clock = text.split_once('T')?.1.strip_suffix('Z')?;
    let mut parts = clock.split(':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    let of_day = Duration::from_secs(hours * 3600 + minutes * 60) + Duration::from_secs_f64(seconds);
    let day = Duration::from_secs(24 * 3600);
    let now = now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let midnight = Duration::from_secs(now.as_secs() / day.as_secs() * day.as_secs());
    let today = midnight + of_day;
    let at = if today > now + day / 2 { today - day } else { today };
    Some(SystemTime::UNIX_EPOCH + at)
}

/// A dispatcher freezes for longer than its session. When it wakes up, its partitions are somebody else's, and it must not
/// send a thing before Kafka gives it some again.
#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_wakes_up_sends_nothing_for_partitions_of_others() {
    let Some(kafka) = kafka::shared().await else { return };
    for round in 0..setting("PELTON_KAFKA_FREEZES", 1) {
        freeze(kafka, round).await;
    }
}

async fn freeze(kafka: &kafka::Kafka, round: u64) {
    let name: &'static str = Box::leak(format!("frozen-{round}").into_boxed_str());
    let mut book = Book::new(name, slow).await;
    let fleet = book.fleet(&kafka.bootstrap(), "");
    let broker = fleet.start("broker").await;
    let frozen = fleet.start("dispatcher").await;
    let other = fleet.start("dispatcher").await;
    let load = book.load(broker.pelton.ingress);
    has_sent(&book, &frozen).await;
    has_sent(&book, &other).await;
    accepts(&load, 200).await;

    let stopped_at = now();
    frozen.pelton.signal("STOP").await;
    tokio::time::sleep(SESSION * 5 / 2).await;
    let woken_at = now();
    frozen.pelton.signal("CONT").await;
    // It finds out that it lost everything, joins again and is given some; meanwhile the load goes on.
    let gained_at =
        eventually("the woken one is given partitions again", async || gained(&frozen, woken_at)).await;
    accepts(&load, 100).await;
    book.close(load).await;
    book.settled().await;

    let by_frozen = |from: SystemTime, to: SystemTime| {
        let of_it =
            |receipt: &&Receipt| sender(receipt) == frozen.number && receipt.at >= from && receipt.at < to;
        book.subscriber.receipts().iter().filter(of_it).count()
    };
    let held_by_the_kernel = by_frozen(stopped_at, woken_at);
    let after_waking = by_frozen(woken_at, gained_at);
    eprintln!(
        "frozen for {:?}: {held_by_the_kernel} requests were on their way, {after_waking} were sent after waking",
        SESSION * 5 / 2
    );
    assert_eq!(after_waking, 0, "nothing is sent for partitions that are somebody else's");
    let repeated = book.judge("a dispatcher frozen for longer than its session");
    let bound = PARTITIONS * WINDOW + book.doubts();
    assert!(repeated.iter().all(|&times| times <= bound), "{repeated:?} repeated, more than {bound}");
}
