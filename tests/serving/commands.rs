//! Services by command: listed, described, moved between revisions, over restarts.

use hyper::Method;
use pelton_tests::pelton::{Pelton, Site, binary};
use pelton_tests::{eventually, http};

/// A Service whose replicas answer events with `status`.
fn service(status: u16) -> String {
    format!(
        "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: model}}
spec:
  template:
    spec:
      containers:
        - command: [\"{}\", sink, \"127.0.0.1:$(PORT)\", --status, \"{status}\"]
",
        binary().display()
    )
}

async fn told(pelton: &Pelton, arguments: &[&str]) -> String {
    let (done, out, error) = pelton.tool(arguments).await;
    assert!(done, "{arguments:?}: {out}{error}");
    out
}

/// The status that an event sent to the Service is answered with.
async fn status(pelton: &Pelton) -> u16 {
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let answer = http::request(pelton.gateway, Method::POST, "/-/default/model/", &headers, "{}").await;
    answer.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_moves_by_command_and_stays_over_a_restart() {
    let site = Site::new(&service(201));
    let pelton = site.start().await;
    eventually("the first revision is ready", async || {
        told(&pelton, &["get", "services"]).await.contains("  yes  ").then_some(())
    })
    .await;
    assert_eq!(status(&pelton).await, 201);
    let services = told(&pelton, &["get", "services"]).await;
    assert!(
        services.contains(&format!("http://model.default.localhost:{}", pelton.gateway.port())),
        "{services}"
    );

    site.write("resources.yaml", &service(202));
    eventually("the second revision has the requests", async || {
        (told(&pelton, &["get", "routes"]).await.contains("model-00002=100") && status(&pelton).await == 202)
            .then_some(())
    })
    .await;
    let moved = told(&pelton, &["traffic", "model", "model-00001=100", "--tag", "next=latest"]).await;
    assert_eq!(moved, "before: latest=100\nafter:  model-00001=100, latest=0 (next)\n");
    eventually("the first has them again", async || (status(&pelton).await == 201).then_some(())).await;
    let revision = told(&pelton, &["describe", "revision", "model-00001"]).await;
    assert!(revision.contains("100 %") && revision.contains("201"), "{revision}");
    assert!(pelton.stop().await);

    let pelton = site.start().await;
    assert_eq!(told(&pelton, &["traffic", "model"]).await, "model-00001=100, latest=0 (next)\n");
    assert_eq!(status(&pelton).await, 201);
    let back = told(&pelton, &["rollback", "model"]).await;
    assert!(back.starts_with("service default/model: all requests go to model-00002 again\n"), "{back}");
    eventually("the second has them", async || (status(&pelton).await == 202).then_some(())).await;
    let logs = told(&pelton, &["logs", "model"]).await;
    assert!(logs.lines().any(|line| line.starts_with("model-00002-") && line.contains(" | ")), "{logs}");

    let (done, _, error) = pelton.tool(&["traffic", "model", "model-00003=100"]).await;
    assert!(!done && error.contains("PEL-1616") && error.contains("model-00002"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_paused_and_resumed_by_its_name_alone() {
    let site = Site::new(&service(201));
    let pelton = site.start().await;
    assert_eq!(told(&pelton, &["pause", "model"]).await, "service default/model paused\n");
    let described = told(&pelton, &["describe", "service", "model"]).await;
    assert!(described.contains("scaling.pelton.dev/paused: true"), "{described}");
    assert_eq!(told(&pelton, &["resume", "service", "model"]).await, "service default/model resumed\n");
    eventually("it answers", async || (status(&pelton).await == 201).then_some(())).await;
}
