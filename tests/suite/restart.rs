//! A start goes on where the one before it stopped.

use pelton_tests::account::balance;
use pelton_tests::eventually;
use pelton_tests::producer::{Load, Sent};
use pelton_tests::subscriber::{Behaviour, Subscriber};

use super::{BROKER, send, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn restarts_lose_and_repeat_nothing() {
    let subscriber = Subscriber::start().await;
    let Some(site) = crate::site(&(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), ""))).await
    else {
        return;
    };
    let mut all = Sent::default();
    for round in 0..3 {
        let pelton = site.start().await;
        let load = Load { connections: 2, accepted_max: 300, ..Load::new(format!("round{round}")) };
        let sent = load.run(pelton.ingress).await;
        assert!(sent.unknown.is_empty(), "it is stopped after the load");
        all.accepted.extend(sent.accepted);
        // In the middle of the deliveries.
        assert!(pelton.stop().await);
    }
    let pelton = site.start().await;
    eventually("nothing is owed", async || (pelton.backlog("t").await == Some(0)).then_some(())).await;
    let balance = balance(&all.accepted, &[], &subscriber.receipts());
    assert!(balance.lost.is_empty() && balance.invented.is_empty(), "{balance:?}");
    assert_eq!(balance.repeated, 0, "a stop in order finishes what is in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_in_flight_comes_again() {
    let subscriber = Subscriber::scripted(|receipt| match receipt.id() {
        "hangs" => Behaviour::Hang,
        _ => Behaviour::Status(204),
    })
    .await;
    let Some(site) = crate::site(&(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), ""))).await
    else {
        return;
    };
    let pelton = site.start().await;
    for id in ["before", "hangs"] {
        send(&pelton, id, "test", &[]).await;
    }
    eventually("both were tried", async || (subscriber.count() == 2).then_some(())).await;
    pelton.kill().await;
    subscriber.behave(|_| Behaviour::Status(204));
    let pelton = site.start().await;
    eventually("what hung is delivered", async || {
        let receipts = subscriber.receipts();
        receipts.iter().any(|receipt| receipt.id() == "hangs" && receipt.answered == 204).then_some(())
    })
    .await;
    send(&pelton, "after", "test", &[]).await;
    eventually("it goes on", async || {
        subscriber.receipts().iter().any(|receipt| receipt.id() == "after").then_some(())
    })
    .await;
}
