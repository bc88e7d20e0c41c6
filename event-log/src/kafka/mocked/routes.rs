//! Brokers come, go and change their clusters; the others do not notice.

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
