//! The folder over a real directory.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pelton_resources::contracts::{Override, ResourceWriter, StatusSource, WriteAction, WriteError, Written};
use pelton_resources::{Defaults, Kind, NAMESPACE_DEFAULT, NamespacedName, Snapshot};
use pelton_runtime::drain::drain;
use tempfile::TempDir;
use tokio::sync::watch;

use super::store::Reading;
use super::{FolderConfig, FolderError, FolderHandle, FolderStore, FolderWriter};
use crate::topics::InForce;

const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n";
const PAUSED: &str = "delivery.pelton.dev/paused";

fn trigger(name: &str, retry: u32) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: {name}\nspec:\n  broker: b\n  subscriber: \
         {{uri: 'http://sink/'}}\n  delivery: {{retry: {retry}}}\n"
    )
}

fn name(name: &str) -> NamespacedName {
    NamespacedName::new("default", name)
}

struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: TempDir::new().unwrap() };
        site.write("broker.yaml", BROKER);
        site
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.dir().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.dir().join(file)).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.dir().join(file)).unwrap()
    }

    fn try_open(&self) -> Result<FolderStore, FolderError> {
        let (dir, data_dir) = (self.dir().to_owned(), self.dir().join("data"));
        FolderStore::open(FolderConfig { dir, data_dir, defaults: Defaults::default() })
    }

    fn open(&self) -> (FolderStore, FolderHandle, FolderWriter) {
        let store = self.try_open().unwrap();
        let handle = store.handle();
        let writer = handle.writer(InForce::at_once());
        (store, handle, writer)
    }
}

async fn apply(writer: &FolderWriter, text: String) -> Result<Vec<Written>, WriteError> {
    writer.apply(text, NAMESPACE_DEFAULT.to_owned()).await
}

fn now(handle: &FolderHandle) -> Arc<Snapshot> {
    handle.snapshots().borrow().clone()
}

fn retry(snapshot: &Snapshot, trigger: &str) -> Option<u32> {
    snapshot.triggers.get(&name(trigger)).map(|trigger| trigger.delivery.retry)
}

async fn until(
    snapshots: &mut watch::Receiver<Arc<Snapshot>>,
    condition: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let found =
        tokio::time::timeout(Duration::from_secs(30), snapshots.wait_for(|snapshot| condition(snapshot)));
    found.await.expect("the folder follows its files").unwrap().clone()
}

#[test]
fn what_is_read_and_what_is_not() {
    let site = Site::new();
    site.write("a/b/t.yml", &trigger("t", 1));
    site.write(
        "u.json",
        r#"{"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "j"}}"#,
    );
    site.write(".git/x.yaml", &trigger("hidden-folder", 1));
    site.write(".x.yaml", &trigger("hidden", 1));
    site.write("data/x.yaml", &trigger("data", 1));
    site.write("other-data/log/pelton-log", "");
    site.write("other-data/control/topics.json", "{}");
    site.write("notes.txt", "not: read");
    site.write("editor.yaml~", "not: read");
    std::os::unix::fs::symlink(site.dir(), site.dir().join("loop")).unwrap();
    let (_, handle, _) = site.open();
    let snapshot = now(&handle);
    assert_eq!(snapshot.problems, []);
    assert_eq!(snapshot.brokers.keys().map(NamespacedName::name).collect::<Vec<_>>(), ["b", "j"]);
    assert_eq!(snapshot.triggers.keys().map(NamespacedName::name).collect::<Vec<_>>(), ["t"]);
    let status = handle.status(Kind::Trigger, &name("t")).unwrap();
    assert_eq!(status.facts, [("defined in", "a/b/t.yml:1".to_owned())]);
}

#[test]
fn problems_name_the_file_within_the_folder() {
    let site = Site::new();
    site.write("sub/t.yaml", &trigger("t", 1).replace("retry", "retri"));
    fs::write(site.dir().join("latin.yaml"), b"apiVersion: \xff").unwrap();
    let (_, handle, _) = site.open();
    let told: Vec<_> = now(&handle).problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "sub/t.yaml:8: spec.delivery.retri: unknown field; did you mean \"retry\"?",
            "latin.yaml: is not UTF-8 text"
        ]
    );
}

#[test]
fn what_is_left_out_is_said() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let site = Site::new();
    let deep = "d/".repeat(crate::limits::FOLDER_DEPTH_MAX + 1);
    site.write(&format!("{deep}t.yaml"), &trigger("deep", 1));
    fs::write(site.dir().join(OsStr::from_bytes(b"caf\xe9.yaml")), trigger("latin", 1)).unwrap();
    fs::write(site.dir().join(OsStr::from_bytes(b"caf\xe9.txt")), "no document").unwrap();
    std::os::unix::fs::symlink("nowhere", site.dir().join("dangling.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", site.dir().join("dangling.txt")).unwrap();
    let (_, handle, _) = site.open();
    let snapshot = now(&handle);
    assert_eq!(snapshot.triggers.len(), 0);
    let told: Vec<_> = snapshot.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("caf\u{fffd}.yaml: has a name that is not UTF-8"), "{told:?}");
    assert!(told[1].starts_with("d/d/") && told[1].contains("more than 32 folders deep"), "{told:?}");
    assert!(told[2].starts_with("dangling.yaml: cannot be read"), "{told:?}");
}

#[test]
fn more_files_than_are_read_are_one_problem() {
    let site = Site::new();
    for number in 0..crate::limits::FILES_MAX + 5 {
        fs::write(site.dir().join(format!("{number}.yaml")), "").unwrap();
    }
    let (_, handle, _) = site.open();
    assert_eq!(now(&handle).problems.len(), 1);
}

#[test]
fn a_folder_that_is_not_there_is_said_at_the_start() {
    let site = Site { folder: TempDir::new().unwrap() };
    let dir = site.dir().join("none");
    let config = FolderConfig { data_dir: dir.join("data"), dir, defaults: Defaults::default() };
    let error = FolderStore::open(config).unwrap_err();
    assert_eq!(error.code(), "PEL-1620");
    assert!(error.to_string().contains("none"), "{error}");
}

#[tokio::test]
async fn a_save_by_deleting_and_creating_does_not_flicker() {
    let site = Site::new();
    site.write("t.yaml", &trigger("t", 1));
    let (store, handle, _) = site.open();
    site.remove("t.yaml");
    assert_eq!(store.read(false).await, Reading::SomethingGone);
    assert_eq!(retry(&now(&handle), "t"), Some(1));
    site.write("t.yaml", &trigger("t", 2));
    assert_eq!(store.read(true).await, Reading::Done);
    assert_eq!(retry(&now(&handle), "t"), Some(2));
    // Half a file: what was in it stays.
    site.write("t.yaml", "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {na");
    assert_eq!(store.read(false).await, Reading::Done);
    assert_eq!(retry(&now(&handle), "t"), Some(2));
    // Nothing yet: an editor has just emptied it.
    site.write("t.yaml", "");
    assert_eq!(store.read(false).await, Reading::SomethingGone);
    assert_eq!(retry(&now(&handle), "t"), Some(2));
    assert_eq!(store.read(true).await, Reading::Done);
    assert_eq!(retry(&now(&handle), "t"), None);
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_keeps_what_was_in_it() {
    let site = Site::new();
    site.write("sub/t.yaml", &trigger("t", 1));
    let (store, handle, _) = site.open();
    fs::rename(site.dir(), site.dir().with_extension("away")).unwrap();
    assert_eq!(store.read(true).await, Reading::Done);
    let snapshot = now(&handle);
    assert_eq!((snapshot.brokers.len(), retry(&snapshot, "t")), (1, Some(1)));
    assert_eq!(snapshot.problems.len(), 1);
    fs::rename(site.dir().with_extension("away"), site.dir()).unwrap();
    store.read(true).await;
    assert_eq!(now(&handle).problems, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_files_are_followed() {
    let site = Site::new();
    let (store, handle, _) = site.open();
    let mut snapshots = handle.snapshots();
    let (stop, drained) = drain();
    let running = tokio::spawn(store.run(drained));
    site.write("new/t.yaml", &trigger("t", 1));
    until(&mut snapshots, |snapshot| retry(snapshot, "t") == Some(1)).await;
    // The new folder is watched as well.
    site.write("new/t.yaml", &trigger("t", 2));
    until(&mut snapshots, |snapshot| retry(snapshot, "t") == Some(2)).await;
    fs::write(site.dir().join("new/.t.tmp"), trigger("t", 3)).unwrap();
    fs::rename(site.dir().join("new/.t.tmp"), site.dir().join("new/t.yaml")).unwrap();
    until(&mut snapshots, |snapshot| retry(snapshot, "t") == Some(3)).await;
    site.write("new/t.yaml", "apiVersion: [");
    let broken = until(&mut snapshots, |snapshot| !snapshot.problems.is_empty()).await;
    assert_eq!(retry(&broken, "t"), Some(3));
    site.remove("new/t.yaml");
    until(&mut snapshots, |snapshot| retry(snapshot, "t").is_none()).await;
    stop.start();
    running.await.unwrap();
}

#[tokio::test]
async fn resources_are_applied_changed_and_deleted() {
    let site = Site::new();
    let (_, handle, writer) = site.open();
    let apply = async |text: String| {
        writer
            .apply(text, NAMESPACE_DEFAULT.to_owned())
            .await
            .map(|written| written.into_iter().map(|w| w.action).collect::<Vec<_>>())
    };
    let both = trigger("t", 1) + "---\n" + &trigger("u", 1);
    assert_eq!(apply(both.clone()).await, Ok(vec![WriteAction::Created, WriteAction::Created]));
    assert_eq!(retry(&now(&handle), "u"), Some(1));
    assert!(site.read("pelton-managed/trigger/default/t.yaml").starts_with("# Written by Pelton"));
    assert_eq!(apply(both).await, Ok(vec![WriteAction::Unchanged, WriteAction::Unchanged]));
    assert_eq!(apply(trigger("t", 2)).await, Ok(vec![WriteAction::Configured]));
    assert_eq!(retry(&now(&handle), "t"), Some(2));
    let again = site.open().1;
    assert_eq!((retry(&now(&again), "t"), retry(&now(&again), "u")), (Some(2), Some(1)));
    let deleted = writer.delete(Kind::Trigger, name("t")).await.unwrap();
    assert_eq!(deleted.action, WriteAction::Deleted);
    assert_eq!(retry(&now(&handle), "t"), None);
    let error = writer.delete(Kind::Trigger, name("t")).await.unwrap_err();
    assert_eq!(error, WriteError::NotFound(Kind::Trigger, name("t")));
}

#[tokio::test]
async fn all_or_nothing_is_applied() {
    let site = Site::new();
    let (_, handle, writer) = site.open();
    let half = trigger("t", 1) + "---\n" + &trigger("u", 1).replace("retry", "retri");
    let Err(WriteError::Invalid(problems)) = apply(&writer, half).await else { panic!("half was applied") };
    assert_eq!(
        problems[0].to_string(),
        "request:17: spec.delivery.retri: unknown field; did you mean \"retry\"?"
    );
    assert!(!site.dir().join("pelton-managed").exists());
    // What contradicts others is refused as well: a broker that would share the topic of another.
    let same_topic = BROKER.replace(
        "{name: b}",
        "{name: x, annotations: {kafka.eventing.knative.dev/external.topic: knative-broker-default-b}}",
    );
    let Err(WriteError::Invalid(problems)) = apply(&writer, trigger("t", 1) + "---\n" + &same_topic).await
    else {
        panic!("a taken topic was given away")
    };
    assert_eq!(problems[0].code, "PEL-1309");
    assert_eq!(now(&handle).triggers.len(), 0);
    for nothing in ["", "# only words\n", "a: 1\n", "apiVersion: apps/v1\nkind: Deployment\n"] {
        assert!(matches!(apply(&writer, nothing.to_owned()).await, Err(WriteError::Invalid(_))), "{nothing}");
    }
}

#[tokio::test]
async fn a_users_file_is_never_written() {
    let site = Site::new();
    site.write("t.yaml", &trigger("t", 1));
    let (_, _, writer) = site.open();
    let file = "t.yaml:1".to_owned();
    let foreign = WriteError::Foreign { kind: Kind::Trigger, name: name("t"), file };
    assert_eq!(apply(&writer, trigger("t", 2)).await, Err(foreign.clone()));
    assert_eq!(writer.delete(Kind::Trigger, name("t")).await, Err(foreign));
    let same = apply(&writer, trigger("t", 1)).await.unwrap();
    assert_eq!(same[0].action, WriteAction::Unchanged);
    assert_eq!(site.read("t.yaml"), trigger("t", 1));
}

fn set(value: Option<&str>) -> Override {
    Override { annotation: PAUSED.to_owned(), value: value.map(str::to_owned) }
}

#[tokio::test]
async fn overrides_hold_over_a_restart_until_the_file_changes_its_mind() {
    let site = Site::new();
    site.write("t.yaml", &trigger("t", 1));
    let (_, handle, writer) = site.open();
    let paused = |handle: &FolderHandle| now(handle).triggers[&name("t")].paused;
    let put =
        async |value| writer.set(Kind::Trigger, name("t"), set(value)).await.map(|written| written.action);
    assert_eq!(put(Some("true")).await, Ok(WriteAction::Configured));
    assert_eq!(put(Some("true")).await, Ok(WriteAction::Unchanged));
    assert!(paused(&handle));
    let facts = handle.status(Kind::Trigger, &name("t")).unwrap().facts;
    assert_eq!(facts[1], ("set by command", format!("{PAUSED}: true")));

    let (store, again, _) = site.open();
    assert!(paused(&again));
    site.write("t.yaml", &trigger("t", 2));
    store.read(false).await;
    assert!(paused(&again), "another field of the file is not its word on this one");
    site.write(
        "t.yaml",
        &trigger("t", 2).replace("  name: t", &format!("  name: t\n  annotations: {{{PAUSED}: 'false'}}")),
    );
    store.read(false).await;
    assert!(!paused(&again));
    assert!(!site.dir().join("pelton-managed/overrides.yaml").exists());
}

#[tokio::test]
async fn an_override_that_changes_nothing_is_none() {
    let site = Site::new();
    site.write("t.yaml", &trigger("t", 1));
    let (_, _, writer) = site.open();
    let file = site.dir().join("pelton-managed/overrides.yaml");
    writer.set(Kind::Trigger, name("t"), set(Some("false"))).await.unwrap();
    assert!(!file.exists());
    writer.set(Kind::Trigger, name("t"), set(Some("true"))).await.unwrap();
    assert!(file.exists());
    writer.set(Kind::Trigger, name("t"), set(Some("false"))).await.unwrap();
    assert!(!file.exists());
}

#[tokio::test]
async fn wrong_overrides_are_refused() {
    let site = Site::new();
    site.write("t.yaml", &trigger("t", 1));
    let (_, _, writer) = site.open();
    let put = async |annotation: &str, value: &str| {
        let change = Override { annotation: annotation.to_owned(), value: Some(value.to_owned()) };
        match writer.set(Kind::Trigger, name("t"), change).await {
            Err(WriteError::Invalid(problems)) => problems[0].code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(put(PAUSED, "perhaps").await, "PEL-1303");
    assert_eq!(put("delivery.pelton.dev/pausd", "true").await, "PEL-1314");
    assert_eq!(put("kafka.eventing.knative.dev/delivery.order", "ordered").await, "PEL-1314");
    let missing = writer.set(Kind::Trigger, name("none"), set(Some("true"))).await;
    assert_eq!(missing.unwrap_err(), WriteError::NotFound(Kind::Trigger, name("none")));
    assert!(!site.dir().join("pelton-managed").exists());
}

#[test]
fn a_damaged_file_of_overrides_stops_the_start() {
    let site = Site::new();
    for damaged in ["overrides: [", "overrides: [{kind: Thing}]", "other: 1"] {
        site.write("pelton-managed/overrides.yaml", damaged);
        assert_eq!(site.try_open().unwrap_err().code(), "PEL-1621", "{damaged}");
    }
}

#[tokio::test]
async fn a_secret_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let (_, _, writer) = site.open();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n";
    apply(&writer, secret.to_owned()).await.unwrap();
    let file = site.dir().join("pelton-managed/secret/default/s.yaml");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_changes_nothing() {
    let site = Site::new();
    site.write("pelton-managed/trigger", "a file where a folder should be");
    let (_, handle, writer) = site.open();
    let error = apply(&writer, trigger("t", 1)).await.unwrap_err();
    assert!(matches!(error, WriteError::Storage(_)), "{error}");
    assert!(error.to_string().contains("pelton-managed/trigger/default/t.yaml: "), "{error}");
    assert!(now(&handle).triggers.is_empty());
}

fn broker(name: &str) -> String {
    BROKER.replace("name: b", &format!("name: {name}"))
}

fn file_of(name: &str) -> String {
    format!("pelton-managed/broker/default/{name}.yaml")
}

#[tokio::test]
async fn what_shares_a_managed_file_stays_when_one_is_changed_or_deleted() {
    let site = Site::new();
    let (store, handle, writer) = site.open();
    apply(&writer, broker("one")).await.unwrap();
    // People may edit what Pelton wrote.
    let by_hand = format!("{}---\n# the second\n{}", site.read(&file_of("one")), broker("two"));
    site.write(&file_of("one"), &by_hand);
    store.read(true).await;
    let brokers = || now(&handle).brokers.keys().map(|name| name.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(brokers(), ["b", "one", "two"]);

    let slow = broker("one").replace("name: one", "name: one, annotations: {log.pelton.dev/partitions: '3'}");
    apply(&writer, slow).await.unwrap();
    assert_eq!(now(&handle).brokers[&name("one")].partitions, 3);
    assert_eq!(brokers(), ["b", "one", "two"]);

    writer.delete(Kind::Broker, name("one")).await.unwrap();
    assert_eq!(brokers(), ["b", "two"]);
    assert_eq!(site.read(&file_of("one")), format!("---\n# the second\n{}", broker("two")));
    // Made again, it does not overwrite the one that took its file.
    apply(&writer, broker("one")).await.unwrap();
    assert_eq!(brokers(), ["b", "one", "two"]);

    writer.delete(Kind::Broker, name("two")).await.unwrap();
    writer.delete(Kind::Broker, name("one")).await.unwrap();
    assert_eq!(brokers(), ["b"]);
    assert!(!site.dir().join(file_of("one")).exists());
}

#[tokio::test]
async fn an_item_of_a_list_is_not_cut_out() {
    let site = Site::new();
    let item = |name: &str| broker(name).trim_end().replace('\n', "\n  ");
    site.write(
        "pelton-managed/list.yaml",
        &format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n", item("one"), item("two")),
    );
    let (_, handle, writer) = site.open();
    let error = writer.delete(Kind::Broker, name("one")).await.unwrap_err();
    assert!(
        matches!(&error, WriteError::Foreign { file, .. } if file.starts_with("pelton-managed/list.yaml:")),
        "{error}"
    );
    assert_eq!(now(&handle).brokers.len(), 3);
}

#[tokio::test]
async fn two_documents_of_one_resource_in_one_request_are_refused() {
    let site = Site::new();
    let (_, _, writer) = site.open();
    let twice = trigger("t", 1) + "---\n" + &trigger("t", 2);
    let Err(WriteError::Invalid(problems)) = apply(&writer, twice).await else { panic!("both were applied") };
    assert_eq!((problems[0].code, problems[0].place.as_str()), ("PEL-1308", "request:10"));
    assert!(problems[0].message.contains("request:1"), "{}", problems[0]);
}

#[tokio::test]
async fn a_name_that_fits_no_file_is_a_mistake_of_the_document() {
    let site = Site::new();
    let (_, _, writer) = site.open();
    let long = format!("{}.x", "a".repeat(crate::limits::MANAGED_NAME_MAX));
    let Err(WriteError::Invalid(problems)) = apply(&writer, broker(&long)).await else {
        panic!("it was applied")
    };
    assert_eq!((problems[0].code, problems[0].field.as_str()), ("PEL-1315", "metadata.name"));
    let longest = "a".repeat(crate::limits::MANAGED_NAME_MAX);
    let written = apply(
        &writer,
        broker(&longest)
            .replace("name: a", "annotations: {kafka.eventing.knative.dev/external.topic: t}, name: a"),
    );
    assert_eq!(written.await.unwrap()[0].action, WriteAction::Created);
}

#[tokio::test]
async fn documents_without_a_namespace_are_in_that_of_the_request_and_stay_there() {
    let site = Site::new();
    let (store, handle, writer) = site.open();
    let both = broker("one") + "---\n" + &broker("two").replace("name: two", "name: two, namespace: own");
    writer.apply(both, "team".to_owned()).await.unwrap();
    store.read(true).await;
    let names: Vec<_> = now(&handle).brokers.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["default/b", "own/two", "team/one"]);
    assert!(site.dir().join("pelton-managed/broker/team/one.yaml").exists());
    let again = writer.apply(broker("one"), "team".to_owned()).await.unwrap();
    assert_eq!(again[0].action, WriteAction::Unchanged);
}
