//! The rows of the tests of Knative's breaker and throttler, as far as one queue for all replicas has them, and the rules that
//! it adds.

use super::*;

type Name = u32;

/// A core whose waiters have names, and the places that are taken.
struct Bench {
    core: Core<&'static str, Name>,
    random: fastrand::Rng,
    waiting: Vec<(Name, WaiterId)>,
    places: Vec<(Name, Grant<&'static str>)>,
}

impl Bench {
    fn new(container_concurrency: u32, replicas: &[&'static str]) -> Self {
        let mut core = Core::new(container_concurrency);
        replicas.iter().for_each(|replica| core.ready(*replica));
        let random = fastrand::Rng::with_seed(5);
        Self { core, random, waiting: Vec::new(), places: Vec::new() }
    }

    /// `name` comes; whether it has a place (`true`), waits (`false`) or is refused.
    fn arrive(&mut self, name: Name, class: Class) -> Result<bool, NoPlace> {
        let arrival = self.core.arrive(class, &mut self.random)?;
        Ok(self.came(name, arrival))
    }

    fn came(&mut self, name: Name, arrival: Arrival<&'static str>) -> bool {
        match arrival {
            Arrival::Granted(grant) => self.places.push((name, grant)),
            Arrival::Waits(id) => {
                assert_eq!(self.core.notify(id, name), None);
                self.waiting.push((name, id));
                return false;
            }
        }
        true
    }

    fn requests(&mut self, names: std::ops::Range<Name>) -> Vec<Result<bool, NoPlace>> {
        names.map(|name| self.arrive(name, Class::Request)).collect()
    }

    /// Grants, and those that were woken come; their names in the order of waking.
    fn grant(&mut self) -> Vec<Name> {
        let mut all = Vec::new();
        loop {
            let mut woken = Vec::new();
            self.core.grant(&mut self.random, &mut woken);
            if woken.is_empty() {
                return all;
            }
            for name in &woken {
                let id = self.waiter(*name);
                let Taken::Granted(grant) = self.core.take(id) else {
                    panic!("{name} was woken for nothing")
                };
                self.waiting.retain(|(other, _)| other != name);
                self.places.push((*name, grant));
            }
            all.extend(woken);
        }
    }

    fn waiter(&self, name: Name) -> WaiterId {
        self.waiting.iter().find(|(other, _)| *other == name).map(|(_, id)| *id).unwrap()
    }

    fn place(&mut self, name: Name) -> Place {
        let index = self.places.iter().position(|(other, _)| *other == name).unwrap();
        self.places.remove(index).1.place
    }

    /// `name` ends; who got a place then.
    fn end(&mut self, name: Name) -> Vec<Name> {
        let place = self.place(name);
        self.core.give_back(place);
        self.grant()
    }

    fn replica_of(&self, name: Name) -> &'static str {
        self.places.iter().find(|(other, _)| *other == name).map(|(_, grant)| grant.replica).unwrap()
    }
}

const QUEUE: Name = QUEUE_MAX as Name;

#[test]
fn who_comes_when_the_queue_is_full_is_refused() {
    let mut bench = Bench::new(1, &["a"]);
    let came = bench.requests(0..QUEUE + 3);
    let count = |what: &Result<bool, NoPlace>| came.iter().filter(|result| *result == what).count();
    assert_eq!([count(&Ok(true)), count(&Ok(false)), count(&Err(NoPlace::Full))], [1, QUEUE_MAX, 2]);
    assert_eq!(came[QUEUE_MAX + 1], Err(NoPlace::Full));
    assert_eq!(NoPlace::Full.to_string(), "10000 requests wait for a place already");
    assert_eq!(bench.arrive(90_000, Class::Delivery), Ok(false), "each class has a queue of its own");
    assert_eq!(bench.end(0), [90_000]);
    assert_eq!(bench.arrive(90_001, Class::Request), Err(NoPlace::Full));
    assert_eq!(bench.end(90_000), [1]);
    assert_eq!(bench.arrive(90_001, Class::Request), Ok(false), "there is room again");
    assert_eq!(bench.arrive(90_002, Class::Request), Err(NoPlace::Full));
    let id = bench.waiter(5_000);
    assert_eq!(bench.core.leave(id), Some(5_000));
    assert_eq!(bench.arrive(90_002, Class::Request), Ok(false));
}

#[test]
fn as_many_as_leave_can_come() {
    let mut bench = Bench::new(5, &["a"]);
    let came = bench.requests(0..QUEUE + 100);
    assert_eq!(came.iter().filter(|result| result.is_err()).count(), 95);
    for name in 0..50 {
        assert_eq!(bench.end(name), [name + 5], "in the order of coming");
        assert_eq!(bench.arrive(QUEUE + 100 + name, Class::Request), Ok(false));
        assert_eq!(bench.arrive(0, Class::Request), Err(NoPlace::Full));
    }
}

#[test]
fn capacity_is_that_of_all_replicas() {
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    // Concurrency, replicas, places; the last is the number that was asked for.
    let rows = [
        (10, 1, 10),
        (10, 10, 100),
        (1, 5, 5),
        (3, 10, 30),
        (10, 0, 0),
        (0, 0, 0),
        (0, 1, 500),
        (0, 10, 500),
    ];
    for (concurrency, replicas, places) in rows {
        let mut bench = Bench::new(concurrency, &NAMES[..replicas]);
        let granted = bench.requests(0..500).into_iter().filter(|result| *result == Ok(true)).count();
        assert_eq!(granted, places, "{concurrency} at a time on {replicas}");
    }
}

#[test]
fn a_class_alone_gets_everything_and_both_take_turns() {
    let mut bench = Bench::new(1, &["a"]);
    assert_eq!(bench.arrive(0, Class::Request), Ok(true));
    bench.requests(1..6).into_iter().for_each(|result| assert_eq!(result, Ok(false)));
    assert_eq!([bench.end(0), bench.end(1)], [[1], [2]]);
    for name in 100..103 {
        assert_eq!(bench.arrive(name, Class::Delivery), Ok(false));
    }
    let mut order = Vec::new();
    let mut at = 2;
    while let Some(next) = bench.end(at).first() {
        order.push(*next);
        at = *next;
    }
    assert_eq!(order, [100, 3, 101, 4, 102, 5]);
}

#[test]
fn it_is_not_the_turn_of_who_comes_while_the_other_class_is_owed_a_place() {
    let mut bench = Bench::new(0, &[]);
    bench.requests(0..200).into_iter().for_each(|result| assert_eq!(result, Ok(false)));
    bench.core.ready("a");
    let mut woken = Vec::new();
    bench.core.grant(&mut bench.random, &mut woken);
    assert_eq!(woken.len(), WAKES_MAX, "no more are woken at a time");
    assert_eq!(bench.arrive(1_000, Class::Delivery), Ok(true), "requests were granted last");
    assert_eq!(bench.arrive(1_001, Class::Delivery), Ok(false), "now it is the turn of requests");
    assert_eq!(bench.arrive(200, Class::Request), Ok(false), "others of its class wait before it");
}

#[test]
fn the_rest_is_woken_as_those_before_come() {
    let mut bench = Bench::new(0, &[]);
    bench.requests(0..5_000).into_iter().for_each(|result| assert_eq!(result, Ok(false)));
    ["a", "b", "c"].into_iter().for_each(|replica| bench.core.ready(replica));
    let mut woken = Vec::new();
    bench.core.grant(&mut bench.random, &mut woken);
    bench.core.grant(&mut bench.random, &mut woken);
    assert_eq!(woken, (0..64).collect::<Vec<_>>());
    let (first, second) = (bench.waiter(0), bench.waiter(1));
    assert!(matches!(bench.core.take(first), Taken::Granted(_)));
    assert_eq!(bench.core.leave(second), None, "its waker was used");
    woken.clear();
    bench.core.grant(&mut bench.random, &mut woken);
    assert_eq!(woken, [64, 65], "one for each that came or left");
    woken.clear();
    bench.core.wait_no_longer();
    bench.core.grant(&mut bench.random, &mut woken);
    assert_eq!(woken, (66..130).collect::<Vec<_>>(), "those that do not come hold nobody up");
    bench.core.wait_no_longer();
    assert_eq!(bench.grant(), (130..5_000).collect::<Vec<_>>());
    let told: u32 = bench.core.loads().map(|load| load.in_flight).sum();
    assert_eq!(told, 4_999, "all but the one that left have a place");
}

#[test]
fn a_place_of_who_leaves_goes_to_the_next() {
    let mut bench = Bench::new(1, &["a"]);
    bench.requests(0..4).clear();
    let place = bench.place(0);
    bench.core.give_back(place);
    let mut woken = Vec::new();
    bench.core.grant(&mut bench.random, &mut woken);
    assert_eq!(woken, [1]);
    let (left, waits) = (bench.waiter(1), bench.waiter(2));
    assert_eq!((bench.core.leave(left), bench.core.leave(waits)), (None, Some(2)));
    assert_eq!(bench.core.take(left), Taken::Waits, "it is not known any more");
    assert_eq!(bench.grant(), [3]);
}

#[test]
fn no_new_request_goes_to_a_replica_that_drains() {
    let mut bench = Bench::new(2, &["a"]);
    bench.requests(0..6).clear();
    bench.core.ready("b");
    let mut woken = Vec::new();
    bench.core.grant(&mut bench.random, &mut woken);
    assert_eq!(woken, [2, 3]);
    bench.core.drain(&"b");
    assert!(bench.core.has_drained(), "those that were granted had not come");
    let second = bench.waiter(3);
    assert_eq!(bench.core.take(second), Taken::Waits);
    assert_eq!(bench.core.notify(second, 3), None);
    let first = bench.waiter(2);
    assert_eq!(bench.core.notify(first, 2), None);
    assert_eq!(bench.end(0), [2], "it waits at the head");
    assert_eq!(bench.end(1), [3]);
    bench.core.gone(&"a");
    assert!(bench.core.is_starved());
    assert_eq!(bench.end(2), [0_u32; 0], "a place on a replica that is gone is none");
    bench.core.ready("a");
    assert_eq!(bench.grant(), [4, 5]);
    assert_eq!(bench.end(3), [0_u32; 0], "nor is it one on a new replica of that name");
}

#[test]
fn another_replica_is_taken_from_the_head() {
    let mut bench = Bench::new(1, &["a", "b"]);
    bench.requests(0..5).clear();
    let place = bench.place(0);
    let arrival = bench.core.take_another(place, &mut bench.random).unwrap();
    assert!(!bench.came(0, arrival), "b is busy");
    assert_eq!(bench.grant(), [2], "the place that it gave back is one for the next");
    assert_eq!(bench.end(2), [3], "and again");
    assert_eq!(bench.end(1), [0], "b is free");
    assert_eq!(bench.replica_of(0), "b");
    let place = bench.place(3);
    let arrival = bench.core.take_another(place, &mut bench.random).unwrap();
    assert!(!bench.came(3, arrival));
    assert_eq!(bench.grant(), [4]);
    bench.core.ready("c");
    assert_eq!(bench.grant(), [3]);
    assert_eq!(bench.replica_of(3), "c");
    bench.core.ready("d");
    let place = bench.place(4);
    let arrival = bench.core.take_another(place, &mut bench.random).unwrap();
    assert!(bench.came(4, arrival), "d is free");
}

#[test]
fn another_replica_is_waited_for_while_there_is_none() {
    let mut bench = Bench::new(0, &["a"]);
    assert_eq!(bench.arrive(0, Class::Delivery), Ok(true));
    let place = bench.place(0);
    let arrival = bench.core.take_another(place, &mut bench.random).unwrap();
    assert!(!bench.came(0, arrival));
    assert_eq!(bench.grant(), [0_u32; 0]);
    assert_eq!(
        bench.arrive(1, Class::Delivery),
        Ok(true),
        "it keeps nobody from the replica that it is not for"
    );
    bench.core.gone(&"a");
    assert!(bench.core.is_starved());
    bench.core.ready("a");
    assert_eq!(bench.grant(), [0], "a new replica under the same name is another one");
}

#[test]
fn a_queue_that_is_closed_ends_all_that_wait() {
    let mut bench = Bench::new(1, &["a"]);
    bench.requests(0..200).clear();
    bench.core.drain(&"a");
    let why = Closed::DoesNotStart("image not found".into());
    bench.core.close(why.clone());
    bench.core.close(Closed::Gone);
    assert_eq!(why.to_string(), "the revision does not start: image not found");
    let mut woken = Vec::new();
    bench.core.grant(&mut bench.random, &mut woken);
    assert_eq!(woken.len(), WAKES_MAX, "they are not all woken at once either");
    for name in 1..200 {
        let id = bench.waiter(name);
        assert_eq!(bench.core.take(id), Taken::Ended(why.clone()), "whether woken or not");
        bench.core.grant(&mut bench.random, &mut woken);
    }
    assert_eq!(bench.arrive(200, Class::Delivery), Err(NoPlace::Closed(why.clone())));
    assert!(!bench.core.is_starved());
    let place = bench.place(0);
    assert_eq!(bench.core.take_another(place, &mut bench.random), Err(why));
    assert!(bench.core.has_drained());
}

#[test]
fn who_has_a_place_keeps_it_when_the_queue_is_closed() {
    let mut bench = Bench::new(1, &["a"]);
    bench.requests(0..2).clear();
    let place = bench.place(0);
    bench.core.give_back(place);
    let mut woken = Vec::new();
    bench.core.grant(&mut bench.random, &mut woken);
    bench.core.close(Closed::Gone);
    let id = bench.waiter(1);
    assert!(matches!(bench.core.take(id), Taken::Granted(_)));
}
