//! Brokers come, go and change their clusters; the others do not notice.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn a_broker_whose_topics_are_gone_keeps_no_other_from_work() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    let mut all: Vec<_> = numbers(8).iter().map(|name| mocked.broker(&log, name)).collect();
    log.append(Batch::default()).await.unwrap();
    let stays = all.pop().unwrap();
    all.iter().for_each(|gone| mocked.remove(gone));
    let began = Instant::now();
    for _ in 0..3 {
        log.append(Batch::default()).await.unwrap();
        log.settled(&stays, 0).await.unwrap();
    }
    mocked.remove(&stays);
    log.append(Batch::default()).await.expect("without any topic it does that the cluster answers");
    assert!(began.elapsed() < Duration::from_secs(5), "a probe does not wait longer");
}

/// Another connection to the same brokers, as a changed login makes one.
fn another(mocked: &Mocked, times: usize) -> Connection {
    let servers = mocked.brokers.bootstrap_servers();
    Connection::plaintext(vec![servers.as_str(); times].join(","))
}

#[tokio::test]
async fn a_cluster_whose_login_was_changed_is_given_up() {
    let mocked = Mocked::new(1);
    let log = mocked.open();
    let topic = mocked.broker(&log, "moves");
    let mistyped = Arc::downgrade(&log.0.cluster(&another(&mocked, 2)).unwrap());
    let first = Arc::downgrade(&log.0.cluster(&another(&mocked, 3)).unwrap());
    log.0.set_route(&topic, first.upgrade().unwrap());
    let second = log.0.cluster(&another(&mocked, 4)).unwrap();
    log.0.set_route(&topic, second.clone());
    assert!(Arc::ptr_eq(&second, &log.0.route(&topic).unwrap()));
    eventually("nothing is left of the others", async || {
        (mistyped.upgrade().is_none() && first.upgrade().is_none()).then_some(())
    })
    .await;
    log.append(mocked.batch(0, ["on the default cluster"])).await.unwrap();
    log.append(Batch::default()).await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_does_not_finish_keeps_no_other_from_closing() {
    let (mocked, stuck) = (Mocked::new(1), Mocked::new(1));
    let log =
        KafkaLog::open(Config { delivery_timeout: Duration::from_secs(10), ..mocked.config() }).unwrap();
    let mut reads = Vec::new();
    for times in 2..6 {
        let topic = mocked.broker(&log, &times.to_string());
        log.0.set_route(&topic, log.0.cluster(&another(&mocked, times)).unwrap());
        let cluster = log.0.route(&topic).unwrap();
        reads.push(tokio::spawn(async move { cluster.readers.read(&topic, 0, 0, WAIT).await }));
    }
    let topic = stuck.broker(&stuck.open(), "stuck");
    log.0.set_route(&topic, log.0.cluster(&stuck.config().connection).unwrap());
    stuck.brokers.broker_round_trip_time(ALL, Duration::from_secs(20)).unwrap();
    let _append = log.append(Batch { records: vec![(topic, 0, record("0", 4))], ..Batch::default() });
    assert!(log.close().await.is_err(), "what is under way has no end");
    for read in reads {
        let ended = tokio::time::timeout(PATIENCE, read).await.expect("it ends").unwrap();
        assert!(ended.is_err(), "{ended:?}");
    }
}
