//! Replicas that crash, and such that never get ready.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use pelton_tests::eventually;
use pelton_tests::http::Answer;
use pelton_tests::pelton::Pelton;

use super::fixture::{Client, REPLICA, Service, described, is_described, site, text};

const CLIENTS: usize = 8;
const CONCURRENCY: usize = 2;

/// Clients that ask one request after the other until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    running: tokio::task::JoinSet<Vec<Answer>>,
}

impl Load {
    async fn start(pelton: &Pelton, host: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let mut client = Client::new(pelton, host).await;
            let stop = stop.clone();
            running.spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    answers.push(client.get("/?hold=10").await);
                }
                answers
            });
        }
        Self { stop, running }
    }

    async fn stop(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await.into_iter().flatten().collect()
    }
}

/// The replicas that answer by now.
async fn replicas(pelton: &Pelton, host: &str) -> BTreeSet<u64> {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Client::new(pelton, host).await;
        asking.spawn(async move { client.who("/?hold=10").await["pid"].as_u64().unwrap() });
    }
    asking.join_all().await.into_iter().collect()
}

async fn kill(process: u64) {
    let arguments = ["-9", &process.to_string()];
    let killed = tokio::process::Command::new("kill").args(arguments).status().await.unwrap();
    assert!(killed.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_takes_only_what_it_had_with_it_and_is_replaced() {
    let service = Service::new("a").scale(2, 2).spec("containerConcurrency", CONCURRENCY);
    let site = site(&[service.yaml()]);
    let pelton = site.start().await;
    let host = "a.default.localhost";
    is_described(&pelton, "a", "2 ready").await;
    let before = replicas(&pelton, host).await;
    assert_eq!(before.len(), 2);
    let load = Load::start(&pelton, host).await;
    let victim = *before.first().unwrap();
    kill(victim).await;
    eventually("another has its place", async || {
        let now = replicas(&pelton, host).await;
        (now.len() == 2 && !now.contains(&victim)).then_some(())
    })
    .await;
    let answers = load.stop().await;
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status != StatusCode::OK).collect();
    // Those it had; and such as the system still took for it while it ended its connections one after the other.
    assert!(failed.len() <= 2 * CONCURRENCY, "{} of {} failed: {failed:?}", failed.len(), answers.len());
    for answer in failed {
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", text(answer));
        assert_eq!(answer.json()["code"], "PEL-1808");
    }
}

/// All that a Service must tell that does not start, in time.
async fn does_not_start(pelton: &Pelton, name: &str, why: &[&str]) {
    let asked = Client::new(pelton, &format!("{name}.default.localhost")).await.get("/").await;
    assert_eq!(asked.status, StatusCode::SERVICE_UNAVAILABLE, "who waits is told: {}", text(&asked));
    assert!(asked.json()["code"].as_str().unwrap().starts_with("PEL-18"), "{}", text(&asked));
    let words = described(pelton, name).await;
    for part in why {
        assert!(words.contains(part), "{part}: {words}");
        assert!(text(&asked).contains(part) || !part.contains(' '), "{part}: {}", text(&asked));
    }
    let later = Client::new(pelton, &format!("{name}.default.localhost")).await.get("/").await;
    assert_eq!(later.status, StatusCode::SERVICE_UNAVAILABLE, "and who comes later as well");
    assert!(later.headers.contains_key("retry-after"));
    for part in why.iter().filter(|part| part.contains(' ')) {
        assert!(text(&later).contains(part), "{part}: {}", text(&later));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_is_killed_takes_its_replica_with_it() {
    let service = Service::new("a").scale(1, 1).in_a_shell();
    let site = site(&[service.yaml()]);
    let pelton = site.start().await;
    is_described(&pelton, "a", "1 ready").await;
    let before = service.processes();
    assert_eq!(before.len(), 3, "shim, shell, program");
    let parent = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok()).unwrap()
    };
    let shim = before.iter().copied().find(|id| parent(*id) == pelton.id()).unwrap();
    kill(u64::from(shim)).await;
    eventually("others have their places", async || {
        let now = service.processes();
        (now.len() == 3 && now.iter().all(|id| !before.contains(id))).then_some(())
    })
    .await;
    Client::new(&pelton, "a.default.localhost").await.who("/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_has_failed_is_tried_again_when_pelton_starts() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("model-server");
    let service = Service::new("a")
        .with("serving.knative.dev/progress-deadline", "1s")
        .container("command", serde_json::json!([program.to_str().unwrap()]));
    let site = site(&[service.yaml()]);
    let pelton = site.start().await;
    is_described(&pelton, "a", "ProgressDeadlineExceeded").await;
    assert!(pelton.stop().await);
    std::os::unix::fs::symlink(REPLICA, program).unwrap();
    let pelton = site.start().await;
    assert_eq!(Client::new(&pelton, "a.default.localhost").await.who("/").await["revision"], "a-00001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_gets_ready_late_is_welcome() {
    let late =
        Service::new("late").with("serving.knative.dev/progress-deadline", "1s").env("START_MS", "8000");
    let site = site(&[late.yaml()]);
    let pelton = site.start().await;
    does_not_start(&pelton, "late", &["ProgressDeadlineExceeded"]).await;
    let mut client = Client::new(&pelton, "late.default.localhost").await;
    eventually("it answers", async || client.get("/").await.status.is_success().then_some(())).await;
    is_described(&pelton, "late", "late-00001: 100 %, 1 ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_start_says_why() {
    let deaf =
        Service::new("deaf").asleep().with("serving.knative.dev/progress-deadline", "1s").env("DEAF", "1");
    let crash = Service::new("crash").with("serving.knative.dev/progress-deadline", "6s").env("CRASH", "7");
    let nowhere = Service::new("nowhere")
        .with("serving.knative.dev/progress-deadline", "1s")
        .asleep()
        .container("command", serde_json::json!(["/nowhere/model-server"]));
    let site = site(&[deaf.yaml(), crash.yaml(), nowhere.yaml()]);
    let pelton = site.start().await;
    tokio::join!(
        does_not_start(&pelton, "deaf", &["ProgressDeadlineExceeded"]),
        does_not_start(&pelton, "crash", &["ProgressDeadlineExceeded", "exited with code 7"]),
        does_not_start(&pelton, "nowhere", &["ProgressDeadlineExceeded", "No such file"]),
    );
    let words = described(&pelton, "crash").await;
    assert!(words.contains("the model cannot be loaded"), "its last lines: {words}");
    let starts = pelton.log().iter().filter(|line| line.contains("the model cannot be loaded")).count();
    assert!((2..=5).contains(&starts), "{starts} starts");
    deaf.is_gone().await;
}
