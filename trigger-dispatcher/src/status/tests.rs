use std::borrow::Cow;
use std::sync::atomic::AtomicI64;

use pelton_resources::{Broker, Order};

use super::*;
use crate::testing::{broker, name, snapshot, trigger};

struct Setup {
    board: Arc<Board>,
    handle: Handle,
    _snapshots: watch::Sender<Arc<Snapshot>>,
}

fn setup(brokers: Vec<Broker>, triggers: Vec<Trigger>) -> Setup {
    let board = Arc::new(Board::default());
    let (snapshots, received) = watch::channel(snapshot(brokers, triggers));
    Setup { handle: Handle::new(board.clone(), received), board, _snapshots: snapshots }
}

impl Setup {
    /// Lets the broker task of `main` know `trigger`.
    fn served(&self, trigger: &str) -> Arc<TriggerCounters> {
        let counters = Arc::new(TriggerCounters::default());
        let main = self.board.broker(&name("main"));
        main.set_triggers(vec![(name(trigger), counters.clone())]);
        main.set_settled_in(true);
        counters
    }

    fn reason(&self, trigger: &str) -> Cow<'static, str> {
        match self.handle.status(Kind::Trigger, &name(trigger)).unwrap().readiness {
            Readiness::Ready => "Ready".into(),
            Readiness::NotReady(reason) => reason.reason,
        }
    }
}

fn add(gauge: &AtomicI64, value: i64) {
    gauge.fetch_add(value, Relaxed);
}

#[test]
fn a_trigger_is_ready_once_it_misses_nothing() {
    let setup = setup(vec![broker("main")], vec![trigger("a")]);
    assert_eq!(setup.reason("a"), "Registering");
    let counters = setup.served("a");
    add(&counters.unregistered, 2);
    assert_eq!(setup.reason("a"), "Registering");
    add(&counters.unregistered, -2);
    assert_eq!(setup.reason("a"), "Ready");
    // A partition that is still being opened has not said yet what is unregistered there.
    setup.board.broker(&name("main")).set_settled_in(false);
    assert_eq!(setup.reason("a"), "Registering");
}

#[test]
fn a_broker_that_is_handed_back_says_so() {
    let mut gone = broker("gone");
    gone.kafka.handed_back = true;
    let setup = setup(vec![gone], vec![Trigger { broker: name("gone"), ..trigger("a") }]);
    assert_eq!(setup.reason("a"), "HandedBack");
    let status = setup.handle.status(Kind::Broker, &name("gone")).unwrap();
    assert!(matches!(status.readiness, Readiness::NotReady(reason) if reason.reason == "HandedBack"));
}

#[test]
fn a_trigger_registers_until_every_partition_has_it() {
    let asleep = Broker { readiness: Readiness::not_ready("X", "y"), ..broker("asleep") };
    let of_asleep = Trigger { broker: name("asleep"), ..trigger("waits") };
    let two = Broker { partitions: 2, ..broker("main") };
    let setup = setup(vec![two, asleep], vec![trigger("a"), of_asleep]);
    let is_registering = |trigger: &str| setup.handle.is_registering(&name(trigger));
    assert!(is_registering("a"), "the broker task does not run yet");
    assert!(!is_registering("waits") && !is_registering("nowhere"), "nothing is to be waited for");
    let counters = setup.served("a");
    let main = setup.board.broker(&name("main"));
    let partition = |partition, ready| PartitionStatus { partition, head: 0, ready, save_error: None };
    main.set_settled_in(false);
    main.set_partitions(vec![partition(0, true)]);
    assert!(is_registering("a"), "another partition is coming");
    main.set_partitions(vec![partition(0, true), partition(1, false)]);
    main.set_settled_in(true);
    assert!(is_registering("a"), "the open retries of one are not known");
    // On Kafka other processes may have the others.
    main.set_partitions(vec![partition(1, true)]);
    assert!(!is_registering("a"));
    add(&counters.unregistered, 1);
    assert!(is_registering("a"), "not durably");
}

#[test]
fn the_first_obstacle_is_the_reason() {
    let not_ready =
        |trigger: Trigger| Trigger { readiness: Readiness::not_ready("RefNotFound", "x"), ..trigger };
    let elsewhere = |trigger: Trigger| Trigger { broker: name("nowhere"), ..trigger };
    let asleep = Broker { readiness: Readiness::not_ready("X", "y"), ..broker("asleep") };
    let triggers = vec![
        not_ready(elsewhere(trigger("unresolved"))),
        elsewhere(trigger("lost")),
        Trigger { broker: name("asleep"), paused: true, ..trigger("waits") },
        Trigger { paused: true, ..trigger("paused") },
        trigger("impaired"),
    ];
    let setup = setup(vec![broker("main"), asleep], triggers);
    setup.served("impaired");
    let main = setup.board.broker(&name("main"));
    main.set_problem(Some("the log is not available".into()));
    let expected = [
        ("unresolved", "RefNotFound"),
        ("lost", "BrokerDoesNotExist"),
        ("waits", "BrokerNotReady"),
        ("paused", "Paused"),
        ("impaired", "DispatchImpaired"),
    ];
    for (trigger, reason) in expected {
        assert_eq!(setup.reason(trigger), reason, "{trigger}");
    }
    main.set_problem(None);
    assert_eq!(setup.reason("impaired"), "Ready");
    main.set_unserved(3, Some("damaged".into()));
    assert_eq!(setup.reason("impaired"), "DispatchImpaired");
    main.set_unserved(3, None);
    assert_eq!(setup.reason("impaired"), "Ready");
}

#[test]
fn describe_tells_the_figures() {
    let setup = setup(vec![broker("main")], vec![trigger("a")]);
    let counters = setup.served("a");
    counters.matched.store(10, Relaxed);
    counters.delivered.store(7, Relaxed);
    counters.kept.store(1, Relaxed);
    add(&counters.owed, 2);
    add(&counters.in_flight, 1);
    add(&counters.probed, 1);
    counters.oldest.store(5_000, Relaxed);
    *counters.last_error.lock().unwrap() = Some((Timestamp::from_millis(9), "503".into()));
    let status = setup.handle.status(Kind::Trigger, &name("a")).unwrap();
    assert_eq!((status.backlog, status.oldest), (Some(2), Some(Timestamp::from_millis(5_000))));
    assert_eq!(status.last_error, Some((Timestamp::from_millis(9), "503".to_owned())));
    for expected in [("matched", 10), ("delivered", 7), ("kept as dead letters", 1), ("expired", 0)] {
        assert!(status.counters.contains(&expected), "{expected:?} in {:?}", status.counters);
    }
    assert!(status.facts.contains(&("in flight", "1".to_owned())), "{:?}", status.facts);
    assert!(status.facts.iter().any(|(label, text)| *label == "subscriber" && text.contains("probed")));
}

#[test]
fn the_scaler_hears_what_is_known_and_nothing_else() {
    let ordered =
        Trigger { order: Order::Ordered, max_concurrency: Some(4), max_rate: Some(2.5), ..trigger("a") };
    let setup = setup(vec![broker("main")], vec![ordered]);
    let counters = setup.served("a");
    counters.matched.store(9, Relaxed);
    add(&counters.owed, 5);
    add(&counters.due, 3);
    add(&counters.in_flight, 2);
    add(&counters.parallelism, 2);
    let expected = TriggerBacklog {
        trigger: name("a"),
        subscriber: trigger("a").subscriber,
        due: Some(3),
        owed: Some(5),
        in_flight: 2,
        matched_total: 9,
        oldest: None,
        parallelism: Some(2),
        max_concurrency: Some(4),
        max_rate: Some(2.5),
        probed: false,
    };
    assert_eq!(setup.handle.backlog(), std::slice::from_ref(&expected));
    add(&counters.uncertain, 1);
    let unknown = TriggerBacklog { due: None, owed: None, ..expected };
    assert_eq!(setup.handle.backlog(), [unknown], "what is not known is not zero");
}

#[test]
fn a_deleted_trigger_is_told_of_while_it_owns_something() {
    let setup = setup(vec![broker("main")], vec![]);
    assert_eq!(setup.handle.status(Kind::Trigger, &name("a")), None);
    setup.served("a");
    assert_eq!(setup.reason("a"), "Deleted");
    assert!(setup.handle.backlog().is_empty());
}

#[test]
fn a_broker_sums_its_triggers_up() {
    let setup = setup(vec![broker("main")], vec![trigger("a"), trigger("b")]);
    let of_broker = || setup.handle.status(Kind::Broker, &name("main")).unwrap();
    assert!(!of_broker().readiness.is_ready(), "not taken up yet");
    let (a, b) = (Arc::new(TriggerCounters::default()), Arc::new(TriggerCounters::default()));
    let main = setup.board.broker(&name("main"));
    main.set_triggers(vec![(name("b"), b.clone()), (name("a"), a.clone())]);
    add(&a.owed, 2);
    add(&b.owed, 3);
    b.oldest.store(7, Relaxed);
    let partition = |partition, ready, save_error| PartitionStatus { partition, head: 0, ready, save_error };
    main.set_partitions(vec![partition(0, true, None), partition(1, false, None)]);
    let status = of_broker();
    assert_eq!((status.backlog, status.oldest), (Some(5), Some(Timestamp::from_millis(7))));
    assert_eq!(status.facts, [("dispatched partitions", "1 of 1".to_owned())]);
    main.set_partitions(vec![partition(0, true, Some("the disk is full".into()))]);
    let Readiness::NotReady(reason) = of_broker().readiness else { panic!("it cannot save") };
    assert!(reason.message.contains("the disk is full"), "{}", reason.message);
}

/// 10,000 idle triggers are to take at most 2 MB here: counters, their reference counts, and the row of the table.
#[test]
fn an_idle_trigger_is_a_small_row() {
    let row = size_of::<TriggerRow>() + size_of::<TriggerCounters>() + 2 * size_of::<usize>();
    assert!(row <= 240, "{row} bytes");
}
