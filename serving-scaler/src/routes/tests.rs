//! Routes over books: what is assigned, what stays, what is told.

use std::collections::BTreeMap;

use pelton_resources::NamespacedName;

use super::address::of_host;
use super::status::{RevisionStatus, RouteStatus, ServiceStatus};
use super::*;
use crate::StateError;
use crate::condition::{Cause, Condition};
use crate::fixtures::{Services, document, name, services, with_rollout};
use crate::revisions::{Book, Retention, RevisionState};

/// One Service `hello`, its revisions and its route.
#[derive(Default)]
struct World {
    services: Services,
    book: Book,
    routes: Routes,
    now: u64,
}

impl World {
    /// With revisions 1 to `count`, all ready, and everything to the latest.
    fn of(count: u64) -> Self {
        let mut world = Self { now: 1_700_000_000_000, ..Self::default() };
        for image in 1..=count {
            world.set(image, "", "0s");
            world.state(image, RevisionState::Ready);
        }
        world
    }

    /// Follows a document with image `image`, `traffic` and the duration of a rollout.
    fn set(&mut self, image: u64, traffic: &str, rollout: &str) -> Vec<NamespacedName> {
        self.services = services(&[with_rollout("hello", "", &format!("a:{image}"), traffic, rollout)]);
        self.book.reconcile(&self.services, self.now);
        self.reconcile()
    }

    fn reconcile(&mut self) -> Vec<NamespacedName> {
        self.routes.reconcile(&self.services, &self.book, self.now)
    }

    fn state(&mut self, revision: u64, state: RevisionState) {
        assert!(self.book.set_state(&name("hello"), &format!("hello-{revision:05}"), state));
        self.reconcile();
    }

    fn route(&self) -> &Route {
        self.routes.get(&name("hello")).unwrap()
    }

    /// Numbers of revisions with their parts.
    fn shares(&self) -> Vec<(u64, u8)> {
        numbers(self.route().shares())
    }
}

fn numbers(shares: &[Share]) -> Vec<(u64, u8)> {
    let number = |share: &Share| share.revision.rsplit('-').next().unwrap().parse().unwrap();
    shares.iter().map(|share| (number(share), share.percent)).collect()
}

fn failed() -> RevisionState {
    RevisionState::Failed(Cause::new("ProgressDeadlineExceeded", "no replica got ready within 600s"))
}

#[test]
fn traffic_is_assigned() {
    let rows: &[(&str, &[(u64, u8)])] = &[
        ("", &[(3, 100)]),
        ("[{latestRevision: true, percent: 100}]", &[(3, 100)]),
        ("[{revisionName: hello-00001, percent: 100}]", &[(1, 100)]),
        ("[{revisionName: hello-00001, percent: 90}, {percent: 10}]", &[(1, 90), (3, 10)]),
        ("[{percent: 10}, {revisionName: hello-00002, percent: 90, tag: b}]", &[(2, 90), (3, 10)]),
        ("[{revisionName: hello-00003, percent: 30}, {percent: 70}]", &[(3, 100)]),
        (
            "[{percent: 30}, {percent: 20, tag: a}, {revisionName: hello-00001, percent: 50}]",
            &[(1, 50), (3, 50)],
        ),
        ("[{percent: 100}, {revisionName: hello-00001, tag: old}]", &[(3, 100)]),
        ("[{percent: 0, tag: new}, {revisionName: hello-00001, percent: 100}]", &[(1, 100)]),
    ];
    for (traffic, expected) in rows {
        let mut world = World::of(3);
        world.set(3, traffic, "0s");
        assert_eq!(world.shares(), *expected, "{traffic}");
        assert_eq!(world.route().condition(), Condition::True, "{traffic}");
    }
}

#[test]
fn every_revision_is_picked_as_often_as_it_is_to_be() {
    let mut world = World::of(3);
    world.set(
        3,
        "[{revisionName: hello-00001, percent: 1}, {revisionName: hello-00002, percent: 33}, {percent: 66, tag: new}]",
        "0s",
    );
    let mut counts = BTreeMap::new();
    for random in 0..crate::limits::TRAFFIC_PARTS {
        *counts.entry(world.route().pick(random).unwrap()).or_insert(0) += 1;
        assert_eq!(world.route().tagged("new", random), Some("hello-00003"));
    }
    let expected = [("hello-00001", 100), ("hello-00002", 3_300), ("hello-00003", 6_600)];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(world.route().tagged("old", 0), None);
}

#[test]
fn what_cannot_be_assigned_leaves_all_as_it_was() {
    let named = |revision: &str| format!("[{{revisionName: {revision}, percent: 50}}, {{percent: 50}}]");
    let mut world = World::of(2);
    assert_eq!(world.set(2, &named("hello-00009"), "0s"), []);
    assert_eq!(world.shares(), [(2, 100)]);
    let condition = world.route().condition();
    assert!(
        matches!(&condition, Condition::False(cause) if cause.reason == "RevisionMissing"
        && cause.message.contains("hello-00009")),
        "{condition:?}"
    );

    // A revision that is not there yet, then starting, then failed, then ready.
    assert_eq!(world.set(3, &named("hello-00003"), "0s"), []);
    let condition = world.route().condition();
    assert!(
        matches!(&condition, Condition::Unknown(cause) if cause.reason == "RevisionMissing"),
        "{condition:?}"
    );
    world.state(3, failed());
    assert_eq!(world.shares(), [(2, 100)]);
    let condition = world.route().condition();
    assert!(
        matches!(&condition, Condition::False(cause) if cause.message.ends_with("within 600s")),
        "{condition:?}"
    );
    world.state(3, RevisionState::Ready);
    assert_eq!((world.shares(), world.route().condition()), (vec![(3, 100)], Condition::True));
}

#[test]
fn what_is_wrong_for_good_is_told_first() {
    let mut world = World::of(1);
    world.set(
        2,
        "[{revisionName: hello-00002, percent: 50}, {revisionName: hello-00007, percent: 50}]",
        "0s",
    );
    assert!(world.route().condition().cause().unwrap().message.contains("hello-00007"));
}

#[test]
fn before_a_revision_is_ready_nothing_is_assigned() {
    let mut world = World::default();
    assert_eq!(world.set(1, "", "10m"), []);
    assert_eq!((world.route().pick(0), world.route().next_at()), (None, None));
    assert_eq!(world.route().condition().as_str(), "Unknown");
    world.state(1, failed());
    assert_eq!(world.route().condition().as_str(), "False");
    assert!(world.book.set_state(&name("hello"), "hello-00001", RevisionState::Ready));
    assert_eq!(world.reconcile(), [name("hello")]);
    assert_eq!(world.shares(), [(1, 100)], "there is nothing to move from");
    assert_eq!(world.reconcile(), [], "nothing changed");
}

#[test]
fn a_failed_revision_leaves_the_one_before_in_force() {
    let mut world = World::of(2);
    world.set(3, "", "0s");
    world.state(3, failed());
    assert_eq!(world.shares(), [(2, 100)]);
    assert_eq!(world.route().condition(), Condition::True, "traffic goes where it can");
    let status = ServiceStatus::of(&name("hello"), &world.book, &world.routes);
    assert_eq!(status.latest_created.as_deref(), Some("hello-00003"));
    assert_eq!(status.latest_ready.as_deref(), Some("hello-00002"));
    assert_eq!(status.ready().cause().unwrap().reason, "RevisionFailed");
}

#[test]
fn the_latest_revision_is_rolled_out_step_by_step() {
    let traffic = "[{percent: 80, tag: new}, {revisionName: hello-00001, percent: 20}]";
    let mut world = World::of(2);
    world.set(2, traffic, "100s");
    assert_eq!(world.shares(), [(1, 20), (2, 80)], "the traffic changed, not the latest revision");
    world.set(3, traffic, "100s");
    world.state(3, RevisionState::Ready);
    assert_eq!(world.shares(), [(1, 20), (2, 79), (3, 1)]);
    assert_eq!(numbers(&world.route().tags()["new"]), [(2, 99), (3, 1)], "a tag has a rollout of its own");
    assert_eq!(world.route().condition().cause().unwrap().reason, "RolloutInProgress");
    assert_eq!(world.routes.next_at(), None, "it is not in force yet");
    world.now += 10_000;
    world.routes.in_force(world.now);
    assert_eq!(world.routes.next_at(), Some(world.now + 10_000));
    let mut steps = Vec::new();
    while let Some(next) = world.routes.next_at() {
        world.now = next;
        assert_eq!(world.reconcile(), [name("hello")]);
        let newest = |shares: &[Share]| shares.last().unwrap().percent;
        steps.push((newest(world.route().shares()), newest(&world.route().tags()["new"])));
    }
    let expected =
        [(10, 12), (19, 23), (28, 34), (37, 45), (46, 56), (55, 67), (64, 78), (73, 89), (80, 100)];
    assert_eq!(steps, expected);
    assert_eq!((world.shares(), world.route().condition()), (vec![(1, 20), (3, 80)], Condition::True));
    assert_eq!(world.route().tagged("new", 9_999), Some("hello-00003"));
}

#[test]
fn a_rollout_stands_still_while_a_target_cannot_be_assigned() {
    let mut world = World::of(2);
    world.set(3, "", "100s");
    world.state(3, RevisionState::Ready);
    world.routes.in_force(world.now);
    let next = world.routes.next_at();
    assert!(next.is_some());
    world.set(3, "[{percent: 50}, {revisionName: hello-00009, percent: 50}]", "100s");
    assert_eq!((world.routes.next_at(), world.shares()), (None, vec![(2, 99), (3, 1)]));
    world.set(3, "", "100s");
    assert_eq!(world.routes.next_at(), next);
}

#[test]
fn a_revision_that_fails_in_its_rollout_loses_all_at_once() {
    let mut world = World::of(2);
    world.set(3, "", "100s");
    world.state(3, RevisionState::Ready);
    world.state(3, failed());
    assert_eq!((world.shares(), world.routes.next_at()), (vec![(2, 100)], None));
}

#[test]
fn going_back_by_name_is_at_once() {
    let mut world = World::of(3);
    world.set(3, "[{revisionName: hello-00001, percent: 100}]", "100s");
    assert_eq!((world.shares(), world.route().condition()), (vec![(1, 100)], Condition::True));
}

#[test]
fn revisions_in_traffic_are_kept() {
    let all = Retention { min: 0, max: Some(0), ..Retention::default() };
    let mut world = World::of(4);
    // 2 has a tag and 4 is moved from, as last assigned; 1 is wanted by name, and 9, which is missing, keeps it from that.
    world.set(5, "[{percent: 100}, {revisionName: hello-00002, tag: old}]", "100s");
    world.state(5, RevisionState::Ready);
    world.set(
        5,
        "[{percent: 50}, {revisionName: hello-00001, percent: 40}, {revisionName: hello-00009, percent: 10}]",
        "100s",
    );
    let World { book, routes, now, .. } = &mut world;
    book.collect(|service, revision| routes.has_revision(service, revision), &all, *now);
    let left: Vec<_> = book.iter().map(|revision| revision.generation).collect();
    assert_eq!(left, [1, 2, 4, 5]);
}

#[test]
fn hosts_are_looked_up_among_services_and_tags() {
    let documents = [
        document("hello", "", "a:1", "[{percent: 100, tag: new}]"),
        document("new-hello", "", "a:1", ""),
        document("bye", "", "a:1", "[{percent: 100, tag: new}]"),
    ];
    let mut world = World { services: services(&documents), ..World::default() };
    world.book.reconcile(&world.services, 0);
    world.reconcile();
    let by_host = |world: &World, host: &str| {
        let exists = |service: &NamespacedName, tag: Option<&str>| {
            world.routes.get(service).is_some_and(|route| tag.is_none_or(|tag| route.has_tag(tag)))
        };
        of_host(host, exists).map(|found| (found.service, found.tag))
    };
    assert_eq!(by_host(&world, "hello.default.localhost"), Some((name("hello"), None)));
    assert_eq!(by_host(&world, "new-bye.default.localhost"), None, "no revision has the tag yet");
    world.book.set_state(&name("bye"), "bye-00001", RevisionState::Ready);
    world.book.set_state(&name("hello"), "hello-00001", RevisionState::Ready);
    world.reconcile();
    assert_eq!(by_host(&world, "new-bye.default.localhost"), Some((name("bye"), Some("new".into()))));
    assert_eq!(by_host(&world, "new-hello.default.localhost"), Some((name("new-hello"), None)));
    world.services.remove(&name("new-hello"));
    assert_eq!(world.reconcile(), [name("new-hello")]);
    assert_eq!(by_host(&world, "new-hello.default.localhost"), Some((name("hello"), Some("new".into()))));
}

#[test]
fn routes_survive_a_restart() {
    let mut world = World::of(2);
    world.set(3, "[{percent: 70, tag: new}, {revisionName: hello-00001, percent: 30, tag: old}]", "100s");
    world.state(3, RevisionState::Ready);
    world.routes.in_force(world.now);
    let text = world.routes.to_json().unwrap();
    let mut restored = Routes::from_json(&text).unwrap();
    assert_eq!(restored.to_json().unwrap(), text);
    let (before, after) = (world.route(), restored.get(&name("hello")).unwrap());
    assert_eq!((after.shares(), after.tags()), (before.shares(), before.tags()));
    assert_eq!(
        restored.reconcile(&world.services, &world.book, world.now),
        [],
        "requests go where they went"
    );
    assert_eq!(restored, world.routes);
    assert_eq!(Routes::from_json(&Routes::default().to_json().unwrap()).unwrap(), Routes::default());
}

#[test]
fn routes_that_do_not_add_up_are_told() {
    let mut world = World::of(1);
    world.set(1, "[{percent: 70, tag: new}, {revisionName: hello-00001, percent: 30, tag: old}]", "0s");
    let text = world.routes.to_json().unwrap();
    let of = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        Routes::from_json(&text.replace(from, to)).unwrap_err()
    };
    let wrong = |what: &str| StateError::Contradictory(format!("routes[0] {what}"));
    assert_eq!(of("\"version\":1", "\"version\":7"), StateError::UnknownVersion { found: 7, known: 1 });
    assert_eq!(of("default/hello", "/hello"), wrong("has no name"));
    let of_rollout =
        "\"rollouts\":{\"\":{\"percent\":70,\"shares\":[{\"revision\":\"hello-00001\",\"percent\":70}]";
    let rows = [
        ("\"percent\":30", "\"percent\":40"),
        (of_rollout, &of_rollout.replace("70", "60")),
        (of_rollout, &of_rollout.replacen("70", "60", 1)),
        ("{\"\":{", "{\"other\":{"),
        ("\"tag\":\"old\"", "\"tag\":\"new\""),
        ("\"tag\":\"old\"", "\"tag\":\"\""),
        ("\"followsLatest\":true", "\"followsLatest\":false"),
    ];
    for (from, to) in rows {
        assert_eq!(of(from, to), wrong("does not add up"), "{to}");
    }
    assert!(matches!(of("\"targets\"", "\"goals\""), StateError::Damaged { .. }));
}

#[test]
fn what_had_the_requests_before_is_known_also_after_a_restart() {
    let mut world = World::of(3);
    let previous = |world: &World| {
        ServiceStatus::of(&name("hello"), &world.book, &world.routes)
            .previous
            .map(|name| name[6..].to_owned())
    };
    let is = |number: u64| Some(format!("{number:05}"));
    assert_eq!(previous(&world), is(2), "each was the latest in its turn");
    // A canary: back is to what the others have.
    world.set(3, "[{revisionName: hello-00002, percent: 90}, {percent: 10}]", "0s");
    assert_eq!(previous(&world), is(2));
    world.set(3, "[{revisionName: hello-00001, percent: 100}]", "0s");
    assert_eq!(previous(&world), is(2), "which had most of them");
    // A tag is no traffic.
    world.set(3, "[{percent: 100}, {revisionName: hello-00002, percent: 0, tag: old}]", "0s");
    assert_eq!(previous(&world), is(1));
    world.routes = Routes::from_json(&world.routes.to_json().unwrap()).unwrap();
    world.reconcile();
    assert_eq!(previous(&world), is(1));
    // Who fails is nowhere to go back to.
    world.state(1, failed());
    assert_eq!(previous(&world), is(2));
    let mut first = World::of(1);
    assert_eq!(previous(&first), None);
    first.set(2, "", "0s");
    assert_eq!(previous(&first), None, "the second is not ready yet, and the first has it all");
}

#[test]
fn statuses_tell_what_is() {
    let mut world = World::of(2);
    world.set(3, "[{percent: 70, tag: new}, {revisionName: hello-00001, percent: 30, tag: old}]", "100s");
    world.state(3, RevisionState::Ready);
    let rows: Vec<_> =
        world.book.iter().map(|revision| RevisionStatus::of(revision, &world.routes)).collect();
    let found: Vec<_> = rows.iter().map(|row| (row.generation, row.percent, row.tags.join(","))).collect();
    assert_eq!(found, [(1, 30, "old".into()), (2, 69, "new".into()), (3, 1, "new".into())]);
    assert!(rows.iter().all(|row| row.ready.is_true() && row.service == name("hello")));

    let status = RouteStatus::of(world.route(), address::Entrance::plain(8081));
    assert_eq!(status.urls.local, "http://hello.default.localhost:8081");
    let tags: Vec<_> = status.tags.iter().map(|(tag, urls)| (tag.as_str(), urls.local.as_str())).collect();
    let expected = [
        ("new", "http://new-hello.default.localhost:8081"),
        ("old", "http://old-hello.default.localhost:8081"),
    ];
    assert_eq!(tags, expected);
    assert_eq!((numbers(&status.shares), status.targets.len()), (vec![(1, 30), (2, 69), (3, 1)], 2));
    assert_eq!(status.ready.cause().unwrap().reason, "RolloutInProgress");

    let status = ServiceStatus::of(&name("hello"), &world.book, &world.routes);
    let conditions = status.conditions().map(|(kind, condition)| (kind, condition.as_str()));
    assert_eq!(
        conditions,
        [("Ready", "Unknown"), ("ConfigurationsReady", "True"), ("RoutesReady", "Unknown")]
    );
    let status = ServiceStatus::of(&name("other"), &world.book, &world.routes);
    assert_eq!((status.ready().as_str(), status.latest_ready), ("Unknown", None));
}
