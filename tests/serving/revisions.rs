//! Revisions of a Service, and how much of the traffic each has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Method;
use pelton_tests::{eventually, http};
use serde_json::json;

use super::fixture::{Client, Service, is_described, site, who};

const CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_as_its_percentages_say_and_a_tag_reaches_its_revision() {
    let service = Service::new("s").env("MODEL", "first");
    let site = site(&[service.yaml()]);
    let pelton = site.start().await;
    assert_eq!(who(&pelton, "s.default.localhost", "/").await["model"], "first");
    let targets = json!([
        {"revisionName": "s-00001", "percent": 90},
        {"latestRevision": true, "percent": 10, "tag": "canary"},
    ]);
    site.write("resources.yaml", &service.env("MODEL", "second").traffic(targets).yaml());
    is_described(&pelton, "s", "s-00002: 10 % (canary), 1 ready").await;
    let mut counts = BTreeMap::<String, u32>::new();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Client::new(&pelton, "s.default.localhost").await;
        asking.spawn(async move {
            let mut models = Vec::new();
            for _ in 0..500 {
                models.push(client.who("/").await["model"].as_str().unwrap().to_owned());
            }
            models
        });
    }
    for model in asking.join_all().await.into_iter().flatten() {
        *counts.entry(model).or_default() += 1;
    }
    // 200 are expected, with a standard deviation of 13.4; six of them happen once in hundreds of millions.
    assert_eq!(counts["first"] + counts["second"], 2000);
    assert!((120..=280).contains(&counts["second"]), "{counts:?}");

    for _ in 0..20 {
        let by_host = who(&pelton, "canary-s.default.localhost", "/").await;
        assert_eq!(by_host["model"], "second");
        let headers = [("host", "s.default.localhost"), ("knative-serving-tag", "canary")];
        let by_header = http::request(pelton.gateway, Method::GET, "/", &headers, "").await;
        assert_eq!(by_header.json()["model"], "second");
        let headers = [("knative-serving-tag", "canary")];
        let by_path = http::request(pelton.gateway, Method::GET, "/-/default/s/a/b?c", &headers, "").await;
        assert_eq!(by_path.json()["model"], "second");
        assert_eq!(by_path.json()["path"], "/a/b");
    }
}

/// Changes the template while clients ask; none may see more of it than another answer.
async fn changes_under_load(service: Service) {
    let site = site(&[service.yaml()]);
    let pelton = site.start().await;
    assert_eq!(who(&pelton, "s.default.localhost", "/").await["revision"], "s-00001");
    let stop = Arc::new(AtomicBool::new(false));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Client::new(&pelton, "s.default.localhost").await;
        let stop = stop.clone();
        asking.spawn(async move {
            let mut revisions = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                revisions.push(client.who("/?hold=5").await["revision"].as_str().unwrap().to_owned());
            }
            revisions
        });
    }
    site.write("resources.yaml", &service.env("MODEL", "second").env("START_MS", "500").yaml());
    eventually("the second revision answers", async || {
        (who(&pelton, "s.default.localhost", "/").await["revision"] == "s-00002").then_some(())
    })
    .await;
    is_described(&pelton, "s", "s-00002: 100 %").await;
    stop.store(true, Ordering::Relaxed);
    for revisions in asking.join_all().await {
        let first = revisions.iter().filter(|revision| *revision == "s-00001").count();
        assert!(first > 0, "the first answered until the second was ready");
        assert!(revisions[first..].iter().all(|revision| revision == "s-00002"), "and then no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_template_takes_over_without_a_failed_request() {
    changes_under_load(Service::new("s").env("MODEL", "first")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_that_is_to_have_no_replica_before_somebody_asks() {
    changes_under_load(Service::new("s").asleep().env("MODEL", "first")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_deleted_finishes_what_it_has_while_another_takes_its_name() {
    let service = Service::new("s");
    let site = site(&[service.yaml()]);
    let open = site.data().join("open");
    let pelton = site.start().await;
    let mut client = Client::new(&pelton, "s.default.localhost").await;
    client.who("/").await;
    let path = format!("/?until={}", open.display());
    let asking = tokio::spawn(async move { client.who(&path).await });
    eventually("the replica has the request", async || {
        (who(&pelton, "s.default.localhost", "/").await["at_once"] == 2).then_some(())
    })
    .await;
    site.write("resources.yaml", "");
    eventually("nothing is there any more", async || {
        let answer = Client::new(&pelton, "s.default.localhost").await.get("/").await;
        (answer.status == hyper::StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    // It comes again, and is not taken for the one that still finishes.
    site.write("resources.yaml", &service.yaml());
    let pid = eventually("another answers", async || {
        let answer = Client::new(&pelton, "s.default.localhost").await.get("/").await;
        answer.status.is_success().then(|| answer.json()["pid"].clone())
    })
    .await;
    assert!(!asking.is_finished());
    std::fs::write(open, "").unwrap();
    let first = asking.await.unwrap();
    assert_eq!(first["revision"], "s-00001");
    assert_ne!(first["pid"], pid);
    site.write("resources.yaml", "");
    service.is_gone().await;
}
