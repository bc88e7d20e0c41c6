//! Triggers that change while events flow: nothing is lost, nothing repeated.

use pelton_tests::account::balance;
use pelton_tests::eventually;
use pelton_tests::pelton::Pelton;
use pelton_tests::producer::Load;
use pelton_tests::subscriber::Subscriber;

use super::{BROKER, send, trigger};

async fn ready(pelton: &Pelton, name: &str) {
    eventually(&format!("trigger {name} is ready"), async || {
        let (done, out, _) = pelton.tool(&["get", "triggers", name, "-o", "json"]).await;
        (done && out.contains("\"ready\": true") || out.contains("\"ready\":true")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_while_events_flow_lose_and_repeat_nothing() {
    let subscriber = Subscriber::start().await;
    let other = Subscriber::start().await;
    let yaml = |url: &str, retry: u32| {
        BROKER.to_owned() + &trigger("t", "", url, &format!("delivery: {{retry: {retry}}}"))
    };
    let Some(site) = crate::site(&yaml(&subscriber.url("/"), 1)).await else { return };
    let pelton = site.start().await;
    let load = Load { keys: 3, ..Load::new("k") };
    let running = load.start(pelton.ingress);
    for edit in 2..8 {
        let before = subscriber.count() + other.count();
        eventually("events flow", async || (subscriber.count() + other.count() > before + 200).then_some(()))
            .await;
        let url = if edit % 2 == 0 { other.url("/") } else { subscriber.url("/") };
        site.write("resources.yaml", &yaml(&url, edit));
        let grown = if edit % 2 == 0 { &other } else { &subscriber };
        let seen = grown.count();
        eventually("the edit is in force", async || (grown.count() > seen).then_some(())).await;
    }
    let sent = running.stop().await;
    eventually("everything arrived", async || {
        (subscriber.count() + other.count() >= sent.accepted.len()).then_some(())
    })
    .await;
    let all: Vec<_> = subscriber.receipts().into_iter().chain(other.receipts()).collect();
    let balance = balance(&sent.accepted, &sent.unknown, &all);
    assert!(balance.lost.is_empty() && balance.invented.is_empty(), "{balance:?}");
    assert_eq!(balance.repeated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_trigger_keeps_its_events_and_goes_on_where_it_stopped() {
    let subscriber = Subscriber::start().await;
    let Some(site) = crate::site(&(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), ""))).await
    else {
        return;
    };
    let pelton = site.start().await;
    send(&pelton, "1", "test", &[]).await;
    eventually("the first is delivered", async || (subscriber.count() == 1).then_some(())).await;
    let (done, _, error) = pelton.tool(&["pause", "trigger", "t"]).await;
    assert!(done, "{error}");
    for id in ["2", "3"] {
        send(&pelton, id, "test", &[]).await;
    }
    eventually("they wait", async || (pelton.backlog("t").await == Some(2)).then_some(())).await;
    assert_eq!(subscriber.count(), 1);
    let (_, out, _) = pelton.tool(&["describe", "trigger", "t"]).await;
    assert!(out.to_lowercase().contains("paused"), "{out}");
    // A restart changes nothing about it.
    assert!(pelton.stop().await);
    let pelton = site.start().await;
    let (done, _, error) = pelton.tool(&["resume", "trigger", "t"]).await;
    assert!(done, "{error}");
    eventually("the others are delivered", async || (subscriber.count() == 3).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_deleted_and_made_again_goes_on_where_it_was() {
    let subscriber = Subscriber::start().await;
    let with = BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), "");
    let Some(site) = crate::site(&with).await else { return };
    let pelton = site.start().await;
    send(&pelton, "1", "test", &[]).await;
    eventually("the first is delivered", async || (subscriber.count() == 1).then_some(())).await;
    site.write("resources.yaml", BROKER);
    eventually("the trigger is gone", async || {
        let (_, out, _) = pelton.tool(&["get", "triggers", "-o", "json"]).await;
        (!out.contains("\"t\"")).then_some(())
    })
    .await;
    send(&pelton, "2", "test", &[]).await;
    site.write("resources.yaml", &with);
    eventually("what came meanwhile is delivered", async || (subscriber.count() == 2).then_some(())).await;
    assert_eq!(subscriber.receipts()[1].id(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_decides_where_a_new_trigger_begins() {
    let subscriber = Subscriber::start().await;
    let Some(site) =
        crate::site(&(BROKER.to_owned() + &trigger("first", "", &subscriber.url("/first"), ""))).await
    else {
        return;
    };
    let pelton = site.start().await;
    for id in ["1", "2", "3"] {
        send(&pelton, id, "test", &[]).await;
    }
    eventually("the first trigger has all", async || {
        (subscriber.receipts_at("/first").len() == 3).then_some(())
    })
    .await;
    site.write(
        "more.yaml",
        &(trigger("latest", "", &subscriber.url("/latest"), "")
            + &trigger("earliest", "delivery.pelton.dev/start: earliest", &subscriber.url("/earliest"), "")),
    );
    eventually("the earliest one has all", async || {
        (subscriber.receipts_at("/earliest").len() == 3).then_some(())
    })
    .await;
    ready(&pelton, "latest").await;
    send(&pelton, "4", "test", &[]).await;
    eventually("both have the new one", async || {
        let both =
            subscriber.receipts_at("/earliest").len() == 4 && !subscriber.receipts_at("/latest").is_empty();
        both.then_some(())
    })
    .await;
    assert_eq!(subscriber.receipts_at("/latest").len(), 1, "nothing from before it was there");
}
