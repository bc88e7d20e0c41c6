//! The command line against a running Pelton.

use pelton_tests::eventually;
use pelton_tests::subscriber::{Behaviour, Subscriber};

use super::{BROKER, send, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn describe_tells_at_a_glance() {
    let subscriber = Subscriber::scripted(|_| Behaviour::Status(500)).await;
    let Some(site) = crate::site(&(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), ""))).await
    else {
        return;
    };
    let pelton = site.start().await;
    send(&pelton, "1", "test", &[]).await;
    eventually("a failure shows", async || {
        let (done, out, error) = pelton.tool(&["describe", "trigger", "t"]).await;
        assert!(done, "{error}");
        let text = out.to_lowercase();
        (["ready", "backlog", "oldest", "delivered", "last error", "500"]
            .iter()
            .all(|word| text.contains(word)))
        .then_some(())
    })
    .await;
    let (done, out, _) = pelton.tool(&["get", "brokers"]).await;
    assert!(done && out.contains("b"), "{out}");
    let (done, _, error) = pelton.tool(&["describe", "trigger", "nowhere"]).await;
    assert!(!done && error.contains("nowhere"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_come_and_go_by_command() {
    let subscriber = Subscriber::start().await;
    let Some(site) = crate::site(BROKER).await else { return };
    let pelton = site.start().await;
    let file = site.data().join("trigger.yaml");
    std::fs::write(&file, trigger("made", "", &subscriber.url("/"), "")).unwrap();
    let file = file.to_str().unwrap();
    let (done, out, error) = pelton.tool(&["apply", "-f", file]).await;
    assert!(done && out.contains("created"), "{out}{error}");
    send(&pelton, "1", "test", &[]).await;
    eventually("it delivers", async || (subscriber.count() == 1).then_some(())).await;
    let (done, out, _) = pelton.tool(&["apply", "-f", file]).await;
    assert!(done && out.contains("unchanged"), "{out}");
    let (done, out, error) = pelton.tool(&["delete", "-f", file]).await;
    assert!(done && out.contains("deleted"), "{out}{error}");
    // What a user's file defines is the user's.
    let own = site.resources().join("resources.yaml");
    let (done, _, error) = pelton.tool(&["delete", "-f", own.to_str().unwrap()]).await;
    assert!(!done && error.contains("resources.yaml"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_and_tail() {
    let Some(site) = crate::site(BROKER).await else { return };
    let pelton = site.start().await;
    let (done, out, error) =
        pelton.tool(&["send", "-b", "b", "-t", "greeting", "-s", "/cli", "-d", "{\"hello\":1}"]).await;
    assert!(done, "{out}{error}");
    let (done, out, error) =
        pelton.tool(&["tail", "b", "--from", "earliest", "--max", "1", "-o", "json"]).await;
    assert!(done, "{error}");
    let line: serde_json::Value = serde_json::from_str(out.lines().next().unwrap_or_default()).unwrap();
    assert!(line.to_string().contains("greeting"), "{line}");
}
