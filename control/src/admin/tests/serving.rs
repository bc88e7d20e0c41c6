//! Services: shown as they run, their traffic, what their replicas write.

use std::sync::Mutex;

use pelton_resources::contracts::{ReplicaCounts, ReplicaLine, RevisionState, RouteState};
use pelton_resources::{Assembly, Overrides, Service, Source, TrafficTarget, assemble};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn services_are_kept_and_shown_and_not_called_ready() {
    let site = Site::new().await;
    let text = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: model}\n\
                spec: {template: {spec: {containerConcurrency: 4, containers: [{image: example.com/model, env: \
                [{name: TOKEN, value: hunter2}]}]}}}\n";
    let (status, answer) = site.post("/api/v1/apply", text).await;
    assert_eq!(status, 200, "{answer}");
    let result = &answer["results"][0];
    assert_eq!((&result["kind"], &result["action"]), (&json!("Service"), &json!("created")));
    assert_eq!((&result["ready"], &result["reason"]), (&json!(false), &json!("ServingNotServed")));
    assert_eq!(answer["warnings"][0]["code"], "PEL-1321");
    let list = site.get("/api/v1/services?namespace=default").await;
    let one = site.get("/api/v1/services/default/model").await;
    assert_eq!(list["items"], json!([one]));
    let spec = &one["spec"];
    assert_eq!((&spec["environment"], &spec["timeout"]), (&json!(["TOKEN"]), &json!("PT5M")));
    assert_eq!((&spec["target"], &spec["maxScale"]), (&json!(2.8), &json!(null)));
    assert_eq!(one["status"]["serving"], json!(null));
    assert_eq!(spec["traffic"], json!([{"revision": null, "percent": 100, "tag": null}]));
    assert!(!one.to_string().contains("hunter2"), "{one}");
    assert_eq!(site.get("/api/v1/status").await["resources"]["services"], 1);
    assert_eq!(site.call(Method::DELETE, "/api/v1/services/default/model", "").await.0, 200);
    assert_eq!(site.call(Method::GET, "/api/v1/services/default/model", "").await.0, 404);
}

/// Runs the Service `default/model` with three revisions, of which the third is not ready.
#[derive(Debug, Default)]
struct FakeServing {
    lines: Mutex<Vec<ReplicaLine>>,
}

const MODEL: &str = "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: model}
spec:
  template: {spec: {containers: [{command: [serve], env: [{name: TOKEN, value: hunter2}]}]}}
  traffic: [{revisionName: model-00001, percent: 90}, {percent: 10, tag: canary}]
";

fn model() -> Arc<Service> {
    let source = Arc::new(Source::read("f.yaml", MODEL));
    let assembly = assemble(&Assembly::default(), &[source], &Defaults::default(), &Overrides::default());
    assembly.snapshot.services.values().next().unwrap().clone()
}

impl FakeServing {
    fn write(&self, revision: &str, index: u64, text: &str) {
        let mut lines = self.lines.lock().unwrap();
        let order = lines.len() as u64;
        let replica = format!("{revision}-7").into();
        lines.push(ReplicaLine { order, revision: revision.into(), index, replica, text: text.into() });
    }
}

impl ServingSource for FakeServing {
    fn revisions(&self) -> Vec<RevisionState> {
        let template = Arc::new(model().template.clone());
        let revision = |generation: u64| RevisionState {
            name: format!("model-0000{generation}"),
            service: model().name.clone(),
            generation,
            created_unix_ms: 1_000,
            template: template.clone(),
            readiness: if generation < 3 {
                Readiness::Ready
            } else {
                Readiness::not_ready("Deploying", "it waits for its first replicas")
            },
            percent: [90, 10, 0][generation as usize - 1],
            tags: if generation == 2 { vec!["canary".to_owned()] } else { Vec::new() },
            replicas: ReplicaCounts { wanted: 2, ready: 1, starting: 1, leaving: 0 },
            waiting: (3, 4),
            why: "2: its requests".to_owned(),
            failure: (generation == 3).then(|| ("it ended".to_owned(), vec!["no model".to_owned()])),
        };
        [3, 2, 1].map(revision).into()
    }

    fn routes(&self) -> Vec<RouteState> {
        vec![RouteState {
            service: model().name.clone(),
            readiness: Readiness::Ready,
            url: "http://model.default.localhost:8081".to_owned(),
            cluster_url: "http://model.default.svc.cluster.local".to_owned(),
            path: "/-/default/model/".to_owned(),
            tags: vec![("canary".to_owned(), "http://canary-model.default.localhost:8081".to_owned())],
            targets: vec![TrafficTarget::latest()],
            shares: vec![("model-00001".to_owned(), 90), ("model-00002".to_owned(), 10)],
            latest_created: Some("model-00003".to_owned()),
            latest_ready: Some("model-00002".to_owned()),
            previous: Some("model-00001".to_owned()),
        }]
    }

    fn route(&self, service: &NamespacedName) -> Option<RouteState> {
        self.routes().into_iter().find(|route| route.service == *service)
    }

    fn lines(&self, service: &NamespacedName) -> Option<Vec<ReplicaLine>> {
        (*service == model().name).then(|| self.lines.lock().unwrap().clone())
    }
}

async fn with_model() -> (Site, Arc<FakeServing>) {
    let serving = Arc::new(FakeServing::default());
    let site = Site::build("", Some(serving.clone())).await;
    assert_eq!(site.post("/api/v1/apply", MODEL).await.0, 200);
    (site, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_and_routes_are_listed_and_shown() {
    let (site, _) = with_model().await;
    let list = site.get("/api/v1/revisions?namespace=default").await;
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["model-00003", "model-00002", "model-00001"]);
    assert_eq!(site.get("/api/v1/revisions?namespace=other").await["items"], json!([]));
    let one = site.get("/api/v1/revisions/default/model-00003").await;
    assert_eq!(one, list["items"][0]);
    assert_eq!((&one["ready"], &one["reason"]), (&json!(false), &json!("Deploying")));
    let spec = &one["spec"];
    assert_eq!(
        (&spec["service"], &spec["generation"], &spec["command"]),
        (&json!("model"), &json!(3), &json!(["serve"]))
    );
    assert!(!one.to_string().contains("hunter2"), "{one}");
    assert_eq!(
        one["status"],
        json!({
            "created": "1970-01-01T00:00:01.000Z", "percent": 0, "tags": [],
            "replicas": {"wanted": 2, "ready": 1, "starting": 1, "leaving": 0},
            "waiting": {"requests": 3, "deliveries": 4}, "why": "2: its requests",
            "failure": {"reason": "it ended", "lines": ["no model"]},
        })
    );
    let route = site.get("/api/v1/routes/default/model").await;
    assert_eq!(site.get("/api/v1/routes").await["items"], json!([route]));
    assert_eq!((&route["kind"], &route["ready"]), (&json!("Route"), &json!(true)));
    assert_eq!(route["status"]["traffic"][0], json!({"revision": "model-00001", "percent": 90}));
    let service = site.get("/api/v1/services/default/model").await;
    let running = &service["status"]["serving"];
    assert_eq!(running["url"], "http://model.default.localhost:8081");
    assert_eq!(running["latestReadyRevision"], "model-00002");
    assert_eq!(running["replicas"], json!({"wanted": 6, "ready": 3, "starting": 3, "leaving": 0}));
    for path in ["revisions/default/model", "revisions/other/model-00001", "routes/default/none"] {
        let (status, problem) = site.call(Method::GET, &format!("/api/v1/{path}"), "").await;
        assert_eq!((status, problem["code"].as_str()), (404, Some("PEL-1602")), "{path}");
    }
    assert_eq!(site.call(Method::DELETE, "/api/v1/routes/default/model", "").await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_services_run_that_is_said() {
    let site = Site::new().await;
    assert_eq!(site.post("/api/v1/apply", MODEL).await.0, 200);
    let service = "/api/v1/services/default/model";
    for (method, path) in [
        (Method::GET, "/api/v1/revisions".to_owned()),
        (Method::GET, "/api/v1/revisions/default/model-00001".to_owned()),
        (Method::GET, "/api/v1/routes".to_owned()),
        (Method::GET, "/api/v1/routes/default/model".to_owned()),
        (Method::GET, format!("{service}/logs")),
        (Method::POST, format!("{service}/rollback")),
        (Method::POST, format!("{service}/traffic")),
    ] {
        let (status, problem) = site.call(method, &path, r#"{"traffic": [{"percent": 100}]}"#).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some("PEL-1615")), "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("this process runs no Services"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_changed_beside_the_file_and_goes_back_in_one_step() {
    let (site, _) = with_model().await;
    let path = "/api/v1/services/default/model/traffic";
    let spec = async || site.get("/api/v1/services/default/model").await["spec"]["traffic"].clone();
    let change =
        r#"{"traffic": [{"revision": "model-00003", "percent": 60}, {"revision": null, "percent": 40}]}"#;
    let (status, answer) = site.post(path, change).await;
    assert_eq!((status, &answer["action"]), (200, &json!("configured")), "{answer}");
    assert_eq!(answer["before"][0], json!({"revision": "model-00001", "percent": 90, "tag": null}));
    let after = json!([
        {"revision": "model-00003", "percent": 60, "tag": null}, {"revision": null, "percent": 40, "tag": "canary"},
    ]);
    assert_eq!((&answer["after"], &answer["waitsFor"]), (&after, &json!(["model-00003"])));
    assert_eq!(spec().await, after);
    let facts = site.get("/api/v1/services/default/model").await["status"]["facts"].to_string();
    assert!(facts.contains("serving.pelton.dev/traffic: model-00003=60, latest=40 (canary)"), "{facts}");
    // A file that says the same as before leaves it alone.
    assert_eq!(site.post("/api/v1/apply", MODEL).await.1["results"][0]["action"], "unchanged");
    assert_eq!(spec().await, after);

    let (status, back) = site.post("/api/v1/services/default/model/rollback", "").await;
    assert_eq!((status, &back["revision"]), (200, &json!("model-00001")), "{back}");
    assert_eq!(back["before"], after);
    let expected = json!([
        {"revision": "model-00001", "percent": 100, "tag": null}, {"revision": null, "percent": 0, "tag": "canary"},
    ]);
    assert_eq!((&back["after"], &spec().await), (&expected, &expected));

    // What the file says is no override.
    let own = r#"{"traffic": [{"revision": "model-00001", "percent": 90}, {"percent": 10}]}"#;
    assert_eq!(site.post(path, own).await.0, 200);
    let facts = site.get("/api/v1/services/default/model").await["status"]["facts"].to_string();
    assert!(!facts.contains("set by command"), "{facts}");
    // And what it says anew counts.
    site.post("/api/v1/services/default/model/rollback", "").await;
    let other = MODEL.replace("percent: 90", "percent: 80").replace("percent: 10", "percent: 20");
    assert_eq!(site.post("/api/v1/apply", other).await.0, 200);
    assert_eq!(spec().await[0]["percent"], 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_that_cannot_be_is_refused() {
    let (site, _) = with_model().await;
    let path = "/api/v1/services/default/model/traffic";
    for (body, status, code, says) in [
        ("{}", 422, "PEL-1616", "nothing is to change"),
        (r#"{"traffic": [{"percent": 99}]}"#, 422, "PEL-1616", "add up to 99"),
        (
            r#"{"traffic": [{"revision": "model-00009", "percent": 100}]}"#,
            422,
            "PEL-1616",
            "has no revision model-00009; name one of model-00003, model-00002, model-00001, latest",
        ),
        (r#"{"tags": [{"tag": "Old", "revision": "model-00001"}]}"#, 422, "PEL-1604", "is not a name"),
        (r#"{"traffic": 7}"#, 400, "PEL-1608", "not as it should be"),
    ] {
        let (found, problem) = site.post(path, body).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{body}: {problem}");
    }
    let none = "/api/v1/services/default/none";
    for path in [format!("{none}/traffic"), format!("{none}/rollback"), format!("{none}/pause")] {
        let (status, problem) = site.post(&path, r#"{"traffic": [{"percent": 100}]}"#).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some("PEL-1602")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scaling_of_a_service_is_paused_and_resumed() {
    let (site, _) = with_model().await;
    let paused = async || site.get("/api/v1/services/default/model").await["spec"]["scalingPaused"].clone();
    let (status, answer) = site.post("/api/v1/services/default/model/pause", "").await;
    assert_eq!((status, &answer["action"]), (200, &json!("configured")));
    assert_eq!(paused().await, true);
    site.post("/api/v1/services/default/model/resume", "").await;
    assert_eq!(paused().await, false);
    assert_eq!(site.post("/api/v1/brokers/default/b/pause", "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replicas_write_is_shown_and_followed() {
    let (site, serving) = with_model().await;
    for (revision, index, text) in
        [("model-00001", 5, "one"), ("model-00002", 0, "two"), ("model-00001", 6, "three")]
    {
        serving.write(revision, index, text);
    }
    let path = "/api/v1/services/default/model/logs";
    let text = async |query: &str| {
        let request = Request::get(format!("{path}{query}")).header("host", "localhost").body(Body::empty());
        let (status, body) = site.send(request.unwrap()).await;
        assert_eq!(status, 200);
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = text("").await;
    assert_eq!(all.len(), 3);
    assert_eq!(all[0], json!({"revision": "model-00001", "replica": "model-00001-7", "text": "one"}));
    assert_eq!(text("?tail=1").await, [all[2].clone()]);
    assert_eq!(text("?tail=0").await, [Value::Null; 0]);

    let request =
        Request::get(format!("{path}?tail=1&follow=true")).header("host", "localhost").body(Body::empty());
    let mut body = site.router.clone().oneshot(request.unwrap()).await.unwrap().into_body();
    let mut next = async || {
        let frame = body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        frame.map(|line| serde_json::from_slice::<Value>(&line).unwrap())
    };
    assert_eq!(next().await.unwrap()["text"], "three");
    serving.write("model-00002", 1, "four");
    assert_eq!(next().await.unwrap()["text"], "four");
    serving.write("model-00002", 9, "ten");
    assert_eq!(next().await, Some(json!({"revision": "model-00002", "skipped": 7})));
    assert_eq!(next().await.unwrap()["text"], "ten");
    site.stop.start();
    assert_eq!(next().await, None, "the stop ends it");
}
