//! Templates change, revisions come and go.

use std::time::Duration;

use pelton_resources::{Assembly, Defaults, NamespacedName, Overrides, Source, assemble};

use super::*;
use crate::condition::{Cause, Condition};
use crate::fixtures::{Services, document, name, services};
use crate::state_file::StateError;

const HOUR: u64 = 3_600_000;

fn one(revision: &str, image: &str) -> Services {
    services(&[document("hello", revision, image, "")])
}

fn created(revision: &str) -> Vec<Change> {
    vec![Change::Created { service: name("hello"), revision: revision.into() }]
}

fn removed(revision: &str) -> Change {
    Change::Removed { service: name("hello"), revision: revision.into() }
}

fn names(book: &Book) -> Vec<&str> {
    book.iter().map(|revision| revision.name.as_str()).collect()
}

fn failed() -> RevisionState {
    RevisionState::Failed(Cause::new("ProgressDeadlineExceeded", "no replica got ready within 600s"))
}

/// A book with revisions 1 to `count` of `hello`, one made each hour from hour 0; all of them ready.
fn book_of(count: u64) -> Book {
    let mut book = Book::default();
    for generation in 1..=count {
        book.reconcile(&one("", &format!("a:{generation}")), (generation - 1) * HOUR);
        book.set_state(&name("hello"), &format!("hello-{generation:05}"), RevisionState::Ready);
    }
    book
}

#[test]
fn a_revision_that_is_to_have_no_replicas_at_first_takes_traffic_at_once() {
    let annotated = |annotations: &str| {
        let metadata = format!("metadata: {{annotations: {{{annotations}}}}}");
        services(&[document("hello", "", "a:1", "").replace("metadata: {}", &metadata)])
    };
    let initial = "autoscaling.knative.dev/initial-scale: '0'";
    let min = "autoscaling.knative.dev/min-scale: '1'";
    let rows = [
        (initial.to_owned(), RevisionState::Untried, true),
        (format!("{initial}, {min}"), RevisionState::Starting, false),
        (String::new(), RevisionState::Starting, false),
    ];
    for (annotations, state, is_ready) in rows {
        let mut book = Book::default();
        book.reconcile(&annotated(&annotations), 0);
        let book = Book::from_json(&book.to_json().unwrap()).unwrap();
        let revision = book.get(&name("hello"), "hello-00001").unwrap();
        assert_eq!((&revision.state, revision.is_ready()), (&state, is_ready), "{annotations}");
    }
}

#[test]
fn what_has_failed_is_tried_again_unless_that_costs_one_that_answers() {
    let zero = |image: &str| {
        let metadata = "metadata: {annotations: {autoscaling.knative.dev/initial-scale: '0'}}";
        services(&[document("hello", "", image, "").replace("metadata: {}", metadata)])
    };
    let tried = |first: &Services, second: Option<&Services>| {
        let mut book = Book::default();
        book.reconcile(first, 0);
        if let Some(second) = second {
            book.set_state(&name("hello"), "hello-00001", RevisionState::Ready);
            book.reconcile(second, 1);
        }
        let latest = book.of(&name("hello")).unwrap().latest_created().unwrap().name.clone();
        book.set_state(&name("hello"), &latest, failed());
        book.try_again();
        book.get(&name("hello"), &latest).unwrap().state.clone()
    };
    assert_eq!(tried(&one("", "a:1"), None), RevisionState::Starting);
    assert_eq!(tried(&one("", "a:1"), Some(&one("", "a:2"))), RevisionState::Starting);
    assert_eq!(tried(&zero("a:1"), None), RevisionState::Untried);
    assert_eq!(tried(&one("", "a:1"), Some(&zero("a:2"))), failed());
}

#[test]
fn a_changed_template_makes_a_revision() {
    let mut book = Book::default();
    assert_eq!(book.reconcile(&one("", "a:1"), 5), created("hello-00001"));
    assert_eq!(book.reconcile(&one("", "a:1"), 6), [], "nothing changed");
    assert_eq!(book.reconcile(&one("", "a:2"), 7), created("hello-00002"));
    // Back to what it was: a new one all the same.
    assert_eq!(book.reconcile(&one("", "a:1"), 8), created("hello-00003"));
    assert_eq!(book.reconcile(&one("hello-four", "a:1"), 9), created("hello-four"));
    assert_eq!(book.reconcile(&one("", "a:1"), 10), created("hello-00005"));

    let first = book.get(&name("hello"), "hello-00001").unwrap();
    assert_eq!((first.generation, first.created, first.last_active), (1, 5, 5));
    assert_eq!(
        (&first.state, first.template.container.image.as_deref()),
        (&RevisionState::Starting, Some("a:1"))
    );
    assert_eq!(book.get(&name("hello"), "hello-four").unwrap().generation, 4);
}

#[test]
fn a_service_that_is_gone_loses_its_revisions() {
    let mut book = book_of(2);
    assert_eq!(book.reconcile(&Services::new(), 0), [removed("hello-00001"), removed("hello-00002")]);
    assert_eq!(book, Book::default());
    assert_eq!(book.reconcile(&one("", "a:9"), 0), created("hello-00001"), "it is another Service now");
}

#[test]
fn names_have_five_digits_at_least() {
    let mut book = book_of(1);
    book.services.get_mut(&name("hello")).unwrap().generation = 99_999;
    assert_eq!(book.reconcile(&one("", "a:2"), 0), created("hello-100000"));
}

#[test]
fn a_name_that_is_taken_is_told_and_changes_nothing() {
    let mut book = Book::default();
    book.reconcile(&one("hello-v1", "a:1"), 0);
    book.set_state(&name("hello"), "hello-v1", RevisionState::Ready);
    assert_eq!(book.reconcile(&one("hello-v1", "a:2"), 1), []);
    let own = book.of(&name("hello")).unwrap();
    let condition = own.condition();
    assert!(
        matches!(&condition, Condition::False(cause) if cause.reason == "RevisionFailed"
        && cause.message.contains("hello-v1 was made of another template")),
        "{condition:?}"
    );
    assert_eq!(own.latest_ready().unwrap().name, "hello-v1");

    assert_eq!(book.reconcile(&one("hello-v2", "a:2"), 2), created("hello-v2"));
    assert_eq!(book.of(&name("hello")).unwrap().condition().cause().unwrap().reason, "Deploying");
    assert_eq!(book.get(&name("hello"), "hello-v2").unwrap().generation, 2, "the attempt took no generation");
}

#[test]
fn no_two_services_have_revisions_of_one_name() {
    let both = |chosen: &str| {
        services(&[document("hello", chosen, "a:1", ""), document("hello-world", "", "b:1", "")])
    };
    let mut book = Book::default();
    book.reconcile(&both("hello-world-00001"), 0);
    // The owner of hello chose before: its name stays, and hello-world leaves it out.
    assert_eq!(names(&book), ["hello-world-00001", "hello-world-00002"]);

    let mut book = Book::default();
    book.reconcile(&both(""), 0);
    assert_eq!(book.reconcile(&both("hello-world-00001"), 0), []);
    let condition = book.of(&name("hello")).unwrap().condition();
    assert!(condition.cause().unwrap().message.contains("default/hello-world"), "{condition:?}");
}

#[test]
fn a_generation_whose_name_was_chosen_is_left_out() {
    let mut book = Book::default();
    book.reconcile(&one("hello-00002", "a:1"), 0);
    assert_eq!(book.reconcile(&one("", "a:1"), 0), created("hello-00003"));
}

#[test]
fn a_service_goes_back_to_a_revision_by_its_name() {
    let mut book = Book::default();
    book.reconcile(&one("hello-v1", "a:1"), 3);
    book.reconcile(&one("hello-v2", "a:2"), 4);
    book.set_state(&name("hello"), "hello-v1", failed());
    book.set_state(&name("hello"), "hello-v2", RevisionState::Ready);
    let again = Change::LatestAgain { service: name("hello"), revision: "hello-v1".into() };
    assert_eq!(book.reconcile(&one("hello-v1", "a:1"), 5), [again]);
    let own = book.of(&name("hello")).unwrap();
    let latest = own.latest_created().unwrap();
    assert_eq!((latest.name.as_str(), latest.generation, latest.created), ("hello-v1", 3, 3));
    assert_eq!(latest.state, RevisionState::Starting, "it is tried again");
    assert_eq!(names(&book), ["hello-v2", "hello-v1"]);
}

#[test]
fn the_latest_that_is_ready_stays_in_force() {
    let mut book = book_of(2);
    let service = name("hello");
    let latest_ready = |book: &Book| book.of(&service)?.latest_ready().map(|found| found.name.clone());
    assert_eq!(latest_ready(&book).as_deref(), Some("hello-00002"));
    book.reconcile(&one("", "a:3"), 0);
    assert_eq!(latest_ready(&book).as_deref(), Some("hello-00002"), "the third is starting");
    assert!(book.set_state(&service, "hello-00003", failed()));
    assert_eq!(latest_ready(&book).as_deref(), Some("hello-00002"), "the third failed");
    let condition = book.of(&service).unwrap().condition();
    let expected = "revision hello-00003 failed: no replica got ready within 600s";
    assert_eq!(condition, Condition::False(Cause::new("RevisionFailed", expected)));
    assert!(book.set_state(&service, "hello-00003", RevisionState::Ready));
    assert_eq!(latest_ready(&book).as_deref(), Some("hello-00003"));
    assert_eq!(book.of(&service).unwrap().condition(), Condition::True);

    assert!(!book.set_state(&service, "hello-00003", RevisionState::Ready), "no news");
    assert!(!book.set_state(&service, "hello-00009", RevisionState::Ready), "no such revision");
    assert!(!book.set_state(&name("other"), "hello-00003", failed()), "no such Service");
}

#[test]
fn old_revisions_are_given_up() {
    let few = Retention { min: 1, max: Some(1000), ..Retention::default() };
    let none = |_: &NamespacedName, _: &str| false;
    // Made at hours 0 to 5; the last is latest.
    let collected = |retention: &Retention, hour: u64| book_of(6).collect(none, retention, hour * HOUR).len();
    let rows = [
        (few.clone(), 47, 0),
        (few.clone(), 48, 1),
        (few.clone(), 50, 3),
        (few.clone(), 500, 4),
        (Retention::default(), 500, 0),
        (Retention { min: 3, ..few.clone() }, 500, 2),
        (Retention { min: 0, ..few.clone() }, 500, 5),
        (Retention { min: 0, max: Some(2), ..few.clone() }, 6, 3),
        (Retention { min: 3, max: Some(2), ..few.clone() }, 6, 2),
        (Retention { min: 0, max: None, ..few.clone() }, 6, 0),
        (Retention { since_create: None, ..few.clone() }, 16, 2),
        (Retention { since_active: None, ..few.clone() }, 48, 1),
        (Retention { since_create: None, since_active: None, ..few.clone() }, 500, 0),
    ];
    for (retention, hour, expected) in rows {
        assert_eq!(collected(&retention, hour), expected, "{retention:?} at {hour} h");
    }
}

#[test]
fn the_numbers_are_those_of_knative() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let expected = Retention { since_create: hours(48), since_active: hours(15), min: 20, max: Some(1000) };
    assert_eq!(Retention::default(), expected);
}

#[test]
fn what_traffic_names_and_what_is_latest_is_never_given_up() {
    let all = Retention { min: 0, max: Some(0), ..Retention::default() };
    let mut book = book_of(5);
    book.set_state(&name("hello"), "hello-00005", failed());
    let changes = book.collect(|_, revision| revision == "hello-00002", &all, 1000 * HOUR);
    assert_eq!(changes, [removed("hello-00001"), removed("hello-00003")]);
    assert_eq!(names(&book), ["hello-00002", "hello-00004", "hello-00005"]);
}

#[test]
fn the_time_since_traffic_counts_from_its_end() {
    let retention = Retention { min: 0, ..Retention::default() };
    let mut book = book_of(3);
    assert_eq!(
        book.collect(|_, revision| revision == "hello-00002", &retention, 60 * HOUR),
        [removed("hello-00001")]
    );
    assert_eq!(book.get(&name("hello"), "hello-00002").unwrap().last_active, 60 * HOUR);
    assert_eq!(book.collect(|_, _| false, &retention, 75 * HOUR - 1), []);
    assert_eq!(book.collect(|_, _| false, &retention, 75 * HOUR), [removed("hello-00002")]);
}

#[test]
fn those_out_of_traffic_for_longest_are_given_up_first() {
    let retention = Retention { min: 0, max: Some(1), ..Retention::default() };
    let mut book = book_of(4);
    // Number 1 was in traffic last, though it is the oldest.
    book.collect(|_, revision| revision == "hello-00001", &Retention::default(), 5 * HOUR);
    assert_eq!(
        book.collect(|_, _| false, &retention, 6 * HOUR),
        [removed("hello-00002"), removed("hello-00003")]
    );
}

#[test]
fn an_owner_keeps_a_revision_by_an_annotation() {
    let mut book = book_of(2);
    let own = book.services.get_mut(&name("hello")).unwrap();
    let template = std::sync::Arc::make_mut(&mut own.revisions[0].template);
    template.annotations.insert("serving.knative.dev/no-gc".into(), "True".into());
    assert_eq!(book.collect(|_, _| false, &Retention { min: 0, ..Retention::default() }, 1000 * HOUR), []);
}

/// A Service that says all a template can say.
const WHOLE: &str = "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello, annotations: {process.pelton.dev/command: run --fast}}
spec:
  template:
    metadata:
      name: hello-v1
      labels: {team: shop}
      annotations:
        autoscaling.knative.dev/metric: rps
        autoscaling.knative.dev/target: '12.5'
        autoscaling.knative.dev/min-scale: '1'
        autoscaling.knative.dev/max-scale: '7'
        autoscaling.knative.dev/scale-down-delay: 90s
        serving.knative.dev/progress-deadline: 30s
        example.com/owner: me
    spec:
      containerConcurrency: 4
      timeoutSeconds: 20
      responseStartTimeoutSeconds: 10
      idleTimeoutSeconds: 5
      containers:
      - image: example.com/hello
        command: [serve]
        args: ['--port', '80']
        workingDir: /srv
        env: [{name: TOKEN, value: s3cret}]
        ports: [{name: h2c, containerPort: 81}]
        readinessProbe: {httpGet: {path: /ready}, periodSeconds: 3}
";

fn whole() -> Book {
    let source = Source::read("f.yaml", WHOLE);
    assert!(!source.has_errors(), "{:?}", source.problems());
    let assembly =
        assemble(&Assembly::default(), &[source.into()], &Defaults::default(), &Overrides::default());
    let mut book = Book::default();
    book.reconcile(&assembly.snapshot.services, 1_700_000_000_000);
    book
}

#[test]
fn a_book_survives_a_restart() {
    let mut several = book_of(3);
    several.set_state(&name("hello"), "hello-00003", failed());
    several.reconcile(&one("", "a:4"), 0);
    several.collect(|_, _| false, &Retention { min: 0, max: Some(0), ..Retention::default() }, 1000 * HOUR);
    for book in [Book::default(), whole(), several] {
        let text = book.to_json().unwrap();
        assert_eq!(Book::from_json(&text).unwrap(), book);
        assert_eq!(book.clone().to_json().unwrap(), text);
    }
}

#[test]
fn a_revision_that_was_read_is_that_of_its_template() {
    let mut book = Book::from_json(&whole().to_json().unwrap()).unwrap();
    let source = Source::read("f.yaml", WHOLE);
    let assembly =
        assemble(&Assembly::default(), &[source.into()], &Defaults::default(), &Overrides::default());
    assert_eq!(book.reconcile(&assembly.snapshot.services, 0), []);
}

#[test]
fn damage_is_told_without_what_is_stored() {
    let text = whole().to_json().unwrap();
    assert!(text.contains("s3cret"), "it is needed to run the revision");
    let of = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Book::from_json(&text.replace(from, to)).unwrap_err()
    };
    let wrong = |what: &str| StateError::Contradictory(what.into());
    assert_eq!(of("\"version\":1", "\"version\":2"), StateError::UnknownVersion { found: 2, known: 1 });
    assert_eq!(
        of("\"generation\":1,\"created\"", "\"generation\":0,\"created\""),
        wrong("revisions[0] of default/hello is out of order")
    );
    assert_eq!(of("default/hello", "hello"), wrong("services[0] has no name"));
    assert_eq!(
        of("default/hello", "default/bye"),
        wrong("revisions[0] of default/bye has a name of another Service")
    );
    assert_eq!(
        of("\"fingerprint\":\"", "\"fingerprint\":\"x"),
        wrong("revisions[0] of default/hello has no fingerprint")
    );
    let damages = [
        of("\"port\":81", "\"port\":\"s3cret\""),
        of("\"value\":\"s3cret\"", "\"value\":{\"s3cret\":1}"),
        of("\"value\":\"s3cret\"", "\"value\":\"s3cret\",\"s3cret\":1"),
        of("\"state\":\"starting\"", "\"state\":\"s3cret\""),
        Book::from_json(&text[..text.len() / 2]).unwrap_err(),
        Book::from_json("").unwrap_err(),
        Book::from_json("[]").unwrap_err(),
    ];
    for error in damages {
        assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
    assert!(!format!("{:?}", whole()).contains("s3cret"));
}

#[test]
fn a_revision_that_is_there_twice_is_told() {
    let text = book_of(2).to_json().unwrap();
    let error = Book::from_json(&text.replace("hello-00002", "hello-00001")).unwrap_err();
    assert_eq!(
        error,
        StateError::Contradictory("revisions[1] of default/hello has the name of another".into())
    );
}
