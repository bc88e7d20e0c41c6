//! The three orders.

use std::time::Duration;

use pelton_tests::account::balance;
use pelton_tests::eventually;
use pelton_tests::producer::Load;
use pelton_tests::subscriber::{Behaviour, Subscriber};

use super::{BROKER, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn keys_stay_in_order_while_deliveries_fail_and_dawdle() {
    const EVENTS: u64 = 2_000;
    let subscriber = Subscriber::scripted(|_| match fastrand::u8(..) {
        0..20 => Behaviour::Status(500),
        20..40 => Behaviour::Slow(204, Duration::from_millis(5)),
        _ => Behaviour::Status(204),
    })
    .await;
    let retry = "delivery: {retry: 20, backoffPolicy: linear, backoffDelay: PT0.01S}";
    let yaml = BROKER.to_owned()
        + &trigger(
            "ordered",
            "kafka.eventing.knative.dev/delivery.order: ordered",
            &subscriber.url("/ordered"),
            retry,
        )
        + &trigger("keyed", "delivery.pelton.dev/order: keyed", &subscriber.url("/keyed"), retry)
        + &trigger("unordered", "", &subscriber.url("/unordered"), retry);
    let Some(site) = crate::site(&yaml).await else { return };
    let pelton = site.start().await;
    let load = Load { connections: 8, keys: 5, accepted_max: EVENTS, ..Load::new("k") };
    let sent = load.run(pelton.ingress).await;
    assert!(sent.refused.is_empty() && sent.unknown.is_empty(), "{:?}", sent.refused);
    for path in ["/ordered", "/keyed", "/unordered"] {
        eventually(&format!("{path} has everything"), async || {
            let receipts = subscriber.receipts_at(path);
            balance(&sent.accepted, &[], &receipts).lost.is_empty().then_some(())
        })
        .await;
        let balance = balance(&sent.accepted, &[], &subscriber.receipts_at(path));
        assert_eq!(balance.repeated, 0, "{path}: without a fault nothing comes twice");
        assert!(balance.invented.is_empty());
        if path != "/unordered" {
            assert!(balance.out_of_order.is_empty(), "{path}: {:?}", balance.out_of_order.first());
        }
    }
}
