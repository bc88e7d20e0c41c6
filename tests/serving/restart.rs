//! How Pelton ends and comes again, and what becomes of Services and their replicas.

use std::time::Duration;

use pelton_tests::eventually;

use super::fixture::{Client, Service, described, is_described, site, who};

/// What must stay as it is for a while is looked at so often: a change in between is one too many.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_kills_pelton_no_replica_remains() {
    let plain = Service::new("plain").scale(10, 10);
    let shell = Service::new("shell").scale(10, 10).in_a_shell();
    let site = site(&[plain.yaml(), shell.yaml()]);
    let pelton = site.start().await;
    is_described(&pelton, "plain", "10 ready").await;
    is_described(&pelton, "shell", "10 ready").await;
    assert_eq!(plain.processes().len(), 20, "a shim and the program each");
    assert_eq!(shell.processes().len(), 30, "the shell as well");
    pelton.kill().await;
    plain.is_gone().await;
    shell.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_before_pelton_stops() {
    let service = Service::new("a");
    let site = site(&[service.yaml()]);
    let open = site.data().join("open");
    let pelton = site.start().await;
    let mut client = Client::new(&pelton, "a.default.localhost").await;
    client.who("/").await;
    let path = format!("/?until={}", open.display());
    let asking = tokio::spawn(async move { client.who(&path).await });
    eventually("the replica has the request", async || {
        let present = who(&pelton, "a.default.localhost", "/").await["at_once"].as_u64();
        (present == Some(2)).then_some(())
    })
    .await;
    pelton.signal("TERM").await;
    eventually("pelton stops", async || {
        pelton.log().iter().any(|line| line.contains("stopping; a second signal")).then_some(())
    })
    .await;
    for _ in 0..LOOKS {
        assert!(!asking.is_finished(), "it is neither answered nor given up");
        assert_eq!(service.processes().len(), 2, "its replica stays");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    std::fs::write(open, "").unwrap();
    assert_eq!(asking.await.unwrap()["revision"], "a-00001");
    assert!(pelton.exited().await);
    assert_eq!(service.processes(), Vec::<u32>::new(), "it ends after its replicas");
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_outlive_pelton_and_sleep_until_somebody_asks() {
    let service = Service::new("a");
    let site = site(&[service.yaml()]);
    let mut pelton = site.start().await;
    assert_eq!(who(&pelton, "a.default.localhost", "/").await["revision"], "a-00001");
    for is_killed in [true, false] {
        if is_killed {
            pelton.kill().await
        } else {
            assert!(pelton.stop().await)
        }
        service.is_gone().await;
        pelton = site.start().await;
        is_described(&pelton, "a", "there is nothing to do").await;
        assert_eq!(service.processes(), Vec::<u32>::new(), "it was decided, and for no replica");
        assert_eq!(who(&pelton, "a.default.localhost", "/").await["revision"], "a-00001");
        let words = described(&pelton, "a").await;
        assert!(!words.contains("a-00002"), "{words}");
    }
}
