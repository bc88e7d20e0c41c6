//! As many replicas as there is work for: none without any.

use std::collections::BTreeSet;

use pelton_tests::eventually;

use super::fixture::{Client, Service, described, site, who};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_starts_a_replica_and_without_more_of_them_it_ends() {
    let service = Service::new("a").asleep().env("MODEL", "large");
    let site = site(&[service.yaml()]);
    let pelton = site.start().await;
    assert_eq!(service.processes(), Vec::<u32>::new(), "nobody has asked yet");
    let answer = who(&pelton, "a.default.localhost", "/some/path").await;
    for (name, value) in [
        ("service", "a"),
        ("configuration", "a"),
        ("revision", "a-00001"),
        ("model", "large"),
        ("path", "/some/path"),
    ] {
        assert_eq!(answer[name], value, "{name}");
    }
    assert!(answer["port"].as_str().unwrap().parse::<u16>().is_ok(), "{answer}");
    service.is_gone().await;
    let again = who(&pelton, "a.default.localhost", "/").await;
    assert_ne!(again["pid"], answer["pid"]);
    assert_eq!(again["revision"], "a-00001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_never_has_more_requests_than_its_container_takes() {
    let service = Service::new("one").asleep().scale(0, 3).spec("containerConcurrency", 1);
    let site = site(&[service.yaml()]);
    let pelton = site.start().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = Client::new(&pelton, "one.default.localhost").await;
        asking.spawn(async move { client.who("/?hold=50").await });
    }
    let answers = asking.join_all().await;
    assert_eq!(answers.len(), 20);
    assert!(answers.iter().all(|answer| answer["at_once"] == 1), "{answers:?}");
    let replicas: BTreeSet<_> = answers.iter().map(|answer| answer["pid"].as_u64()).collect();
    assert!(replicas.len() <= 3, "{replicas:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_work_than_replicas_are_to_have_starts_more_of_them() {
    let service = Service::new("busy")
        .asleep()
        .scale(0, 3)
        .with("autoscaling.knative.dev/target", "1")
        .spec("containerConcurrency", 1);
    let site = site(&[service.yaml()]);
    let open = site.data().join("open");
    let pelton = site.start().await;
    let path = format!("/?until={}", open.display());
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut client = Client::new(&pelton, "busy.default.localhost").await;
        let path = path.clone();
        asking.spawn(async move { client.who(&path).await });
    }
    // None is answered before all three are there, each on a replica of its own.
    eventually("there are three replicas", async || {
        described(&pelton, "busy").await.contains("3 ready").then_some(())
    })
    .await;
    std::fs::write(open, "").unwrap();
    let answers = asking.join_all().await;
    let replicas: BTreeSet<_> = answers.iter().map(|answer| answer["pid"].as_u64()).collect();
    assert_eq!(replicas.len(), 3, "{answers:?}");
}
