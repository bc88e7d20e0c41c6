//! Partitions that are added while events flow.

use pelton_tests::account::balance;
use pelton_tests::eventually;
use pelton_tests::pelton::Site;
use pelton_tests::producer::Load;
use pelton_tests::subscriber::Subscriber;

use crate::trigger;

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_under_load_lose_and_repeat_nothing() {
    let subscriber = Subscriber::start().await;
    let yaml = |partitions: u32| {
        format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, annotations: \
             {{log.pelton.dev/partitions: \"{partitions}\"}}}}\n"
        ) + &trigger("t", "", &subscriber.url("/"), "")
    };
    let site = Site::new(&yaml(1));
    let pelton = site.start().await;
    let load = Load { keys: 16, ..Load::new("k") };
    let running = load.start(pelton.ingress);
    for partitions in [2, 4, 8] {
        let before = subscriber.count();
        eventually("events flow", async || (subscriber.count() > before + 200).then_some(())).await;
        site.write("resources.yaml", &yaml(partitions));
        eventually("the partitions are there", async || {
            let broker = pelton.api("/api/v1/brokers/default/b").await;
            broker.to_string().contains(&format!("{partitions} of {partitions}")).then_some(())
        })
        .await;
    }
    let before = running.accepted();
    eventually("all partitions get events", async || (running.accepted() > before + 200).then_some(())).await;
    let sent = running.stop().await;
    eventually("nothing is owed", async || (pelton.backlog("t").await == Some(0)).then_some(())).await;
    let balance = balance(&sent.accepted, &sent.unknown, &subscriber.receipts());
    assert!(
        balance.lost.is_empty() && balance.invented.is_empty(),
        "{} of {} lost: {balance:?}",
        balance.lost.len(),
        sent.accepted.len()
    );
    assert_eq!(balance.repeated, 0);
}
