//! A trigger gets what its filter selects, and nothing else.

use pelton_tests::eventually;
use pelton_tests::subscriber::Subscriber;

use super::{BROKER, send, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn each_trigger_gets_what_it_selects() {
    let subscriber = Subscriber::start().await;
    let filters = [
        ("all", ""),
        ("attributes", "filter: {attributes: {type: order.paid}}"),
        ("prefix", "filters: [{prefix: {type: order.}}]"),
        ("not", "filters: [{not: {exact: {color: blue}}}]"),
        ("cesql", "filters: [{cesql: \"amount > 10 AND type LIKE '%paid'\"}]"),
        ("none", "filter: {attributes: {type: nothing.at.all}}"),
    ];
    let triggers =
        filters.map(|(name, filter)| trigger(name, "", &subscriber.url(&format!("/{name}")), filter));
    let Some(site) = crate::site(&(BROKER.to_owned() + &triggers.concat())).await else { return };
    let pelton = site.start().await;
    send(&pelton, "1", "order.paid", &[("ce-color", "blue"), ("ce-amount", "9")]).await;
    send(&pelton, "2", "order.paid", &[("ce-amount", "11")]).await;
    send(&pelton, "3", "order.sent", &[("ce-color", "red"), ("ce-amount", "12")]).await;
    send(&pelton, "4", "other", &[("ce-color", "blue")]).await;
    let expected = [
        ("all", "1234"),
        ("attributes", "12"),
        ("prefix", "123"),
        ("not", "23"),
        ("cesql", "2"),
        ("none", ""),
    ];
    for (name, ids) in expected {
        eventually(&format!("{name} has its end for each"), async || {
            (pelton.ended(name, "delivered").await == ids.len() as u64).then_some(())
        })
        .await;
        let receipts = subscriber.receipts_at(&format!("/{name}"));
        let mut found: Vec<_> = receipts.iter().map(|receipt| receipt.id()).collect();
        found.sort_unstable();
        assert_eq!(found.concat(), ids, "{name}");
        assert!(receipts.iter().all(|receipt| &receipt.body[..] == b"data"));
    }
}
