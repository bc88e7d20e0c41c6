//! Bad input gets a clear error and changes nothing.

use std::net::TcpListener;

use pelton_tests::eventually;
use pelton_tests::pelton::{Pelton, Site};
use pelton_tests::subscriber::Subscriber;

use crate::{BROKER, send, trigger};

async fn problem(pelton: &Pelton, contains: &[&str]) {
    eventually(&format!("a problem says {contains:?}"), async || {
        let problems = pelton.api("/api/v1/problems").await.to_string();
        contains.iter().all(|text| problems.contains(text)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_named_and_the_last_good_state_stays() {
    let subscriber = Subscriber::start().await;
    let good = BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), "");
    let site = Site::new(&good);
    let pelton = site.start().await;
    let wrong: [(&str, &[&str]); 4] = [
        ("kind: [unclosed", &["resources.yaml"]),
        (&good.replace("subscriber", "subscribr"), &["subscribr", "subscriber"]),
        (
            &(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), "delivery: {timeout: 5 minutes}")),
            &["timeout", "PT"],
        ),
        (
            &(BROKER.to_owned() + &trigger("t", "", &subscriber.url("/"), "filters: [{cesql: \"type = \"}]")),
            &["cesql"],
        ),
    ];
    for (number, (yaml, says)) in wrong.into_iter().enumerate() {
        site.write("resources.yaml", yaml);
        problem(&pelton, says).await;
        send(&pelton, &number.to_string(), "test", &[]).await;
        eventually("the trigger of before still delivers", async || {
            (subscriber.count() == number + 1).then_some(())
        })
        .await;
    }
    site.write("resources.yaml", &good);
    eventually("no problem is left", async || {
        let problems = pelton.api("/api/v1/problems").await;
        (!problems.to_string().contains("resources.yaml")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_of_a_broker_that_is_not_there_says_so() {
    let site = Site::new(
        &(BROKER.to_owned()
            + &trigger("t", "", "http://127.0.0.1:1/", "").replace("broker: b", "broker: nowhere")),
    );
    let pelton = site.start().await;
    let (_, out, _) = pelton.tool(&["describe", "trigger", "t"]).await;
    assert!(out.contains("nowhere"), "{out}");
}

async fn refuses_to_start(site: &Site, add: &[&str], says: &[&str]) {
    let output = site.command().args(add).output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for text in says {
        assert!(error.contains(text), "`{text}` is not in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_a_start_impossible_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new(BROKER);
    refuses_to_start(&site, &["--config", "/nowhere/pelton.toml"], &["/nowhere/pelton.toml"]).await;

    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(pelton_tests::pelton::binary());
    command.args(["run", "/nowhere/at/all", "--data"]).arg(folder.path().join("d"));
    let output = command.output().await.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all"));

    let mut command = tokio::process::Command::new(pelton_tests::pelton::binary());
    command.arg("run").arg(site.resources()).arg("--data").arg(site.data());
    let output = command
        .args(["--ingress", &address, "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address), "a taken port is named");

    let foreign = Site::new(BROKER);
    std::fs::create_dir_all(foreign.data().join("log")).unwrap();
    std::fs::write(foreign.data().join("log/holiday.jpg"), "not a log").unwrap();
    refuses_to_start(&foreign, &[], &["not a Pelton data directory", "holiday.jpg"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_belongs_to_one_process() {
    let site = Site::new(BROKER);
    let _pelton = site.start().await;
    refuses_to_start(&site, &[], &["in use by another Pelton"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_without_a_token() {
    let site = Site::new(BROKER);
    let mut command = tokio::process::Command::new(pelton_tests::pelton::binary());
    command.arg("run").arg(site.resources()).arg("--data").arg(site.data());
    let output = command
        .args(["--ingress", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--admin", "0.0.0.0:0"])
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("token"));
}
