//! Random schedules against a naive model, which looks through everything each time.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

type Name = u32;

/// What the model knows of a waiter.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: WaiterId,
    class: Class,
    not_on: Option<u64>,
    granted: Option<u64>,
}

#[derive(Debug)]
struct Replica {
    name: u8,
    number: u64,
    in_flight: u32,
    is_taking: bool,
}

struct World {
    core: Core<u8, Name>,
    random: fastrand::Rng,
    concurrency: u32,
    replicas: Vec<Replica>,
    replicas_made: u64,
    chosen: u64,
    waiters: BTreeMap<Name, Known>,
    /// By class: those that had a place, those that had none.
    queues: [[VecDeque<Name>; 2]; 2],
    told: Vec<Name>,
    not_waited_for: usize,
    places: Vec<Place>,
    last: Class,
    next_name: Name,
    /// Requests less deliveries, of the grants since both classes wait: now, the least, the most.
    balance: [i32; 3],
}

const fn class_of(argument: u8) -> Class {
    Class::ALL[argument as usize % 2]
}

impl World {
    fn new(concurrency: u32, seed: u64) -> Self {
        Self {
            core: Core::new(concurrency),
            random: fastrand::Rng::with_seed(seed),
            concurrency,
            replicas: Vec::new(),
            replicas_made: 0,
            chosen: 0,
            waiters: BTreeMap::new(),
            queues: Default::default(),
            told: Vec::new(),
            not_waited_for: 0,
            places: Vec::new(),
            last: Class::Delivery,
            next_name: 0,
            balance: [0; 3],
        }
    }

    fn open(&self, not_on: Option<u64>) -> Vec<&Replica> {
        let has_room = |replica: &&Replica| {
            replica.is_taking
                && Some(replica.number) != not_on
                && (self.concurrency == 0 || replica.in_flight < self.concurrency)
        };
        self.replicas.iter().filter(has_room).collect()
    }

    fn first(&self, class: Class) -> Option<Name> {
        let [again, fresh] = &self.queues[class as usize];
        let again = again.front().filter(|name| !self.open(self.waiters[name].not_on).is_empty());
        again.or_else(|| fresh.front().filter(|_| !self.open(None).is_empty())).copied()
    }

    /// A place was granted on `number`: by the rules?
    fn granted(&mut self, class: Class, number: u64, not_on: Option<u64>) {
        let mut open = self.open(not_on);
        open.sort_by_key(|replica| replica.number);
        let chosen = open.iter().find(|replica| replica.number == number).expect("it has room");
        match self.concurrency {
            0 => {
                let no_less = open.iter().filter(|other| other.in_flight >= chosen.in_flight).count();
                assert!(no_less > 1 || open.len() == 1, "the busiest of all was chosen");
            }
            1..=3 => assert_eq!(number, open[0].number, "the first"),
            _ => {
                let next = open.iter().find(|replica| replica.number > self.chosen).unwrap_or(&open[0]);
                assert_eq!(number, next.number, "the next in the round");
            }
        }
        self.chosen = number;
        let other_waits = self.first(class.other()).is_some();
        self.balance = match (other_waits, class, self.balance) {
            (false, ..) => [0; 3],
            (true, Class::Request, [now, least, most]) => [now + 1, least, most.max(now + 1)],
            (true, Class::Delivery, [now, least, most]) => [now - 1, least.min(now - 1), most],
        };
        assert!(self.balance[2] - self.balance[1] <= 1, "in some window a class got two more");
        self.last = class;
        self.replica(number).expect("it is there").in_flight += 1;
    }

    fn replica(&mut self, number: u64) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.number == number)
    }

    fn free(&mut self, number: u64) {
        if let Some(replica) = self.replica(number) {
            replica.in_flight -= 1;
        }
    }

    fn arrive(&mut self, class: Class) {
        let at_once = self.first(class).is_none()
            && !self.open(None).is_empty()
            && (self.last != class || self.first(class.other()).is_none());
        let arrival = self.core.arrive(class, &mut self.random).expect("neither full nor closed");
        self.came(class, None, at_once, arrival);
    }

    fn take_another(&mut self, pick: usize) {
        let place = self.places.swap_remove(pick % self.places.len());
        let (class, number) = (place.class, place.replica);
        self.free(number);
        let at_once = self.queues[class as usize][0].is_empty()
            && !self.open(Some(number)).is_empty()
            && (self.last != class || self.first(class.other()).is_none());
        let arrival = self.core.take_another(place, &mut self.random).expect("not closed");
        self.came(class, Some(number), at_once, arrival);
    }

    fn came(&mut self, class: Class, not_on: Option<u64>, at_once: bool, arrival: Arrival<u8>) {
        match arrival {
            Arrival::Granted(Grant { place, replica }) => {
                assert!(at_once, "others were before it");
                self.granted(class, place.replica, not_on);
                assert_eq!(self.replica(place.replica).expect("it is there").name, replica);
                self.places.push(place);
            }
            Arrival::Waits(id) => {
                assert!(!at_once, "there was a place");
                let name = self.next_name;
                self.next_name += 1;
                assert_eq!(self.core.notify(id, name), None);
                self.waiters.insert(name, Known { id, class, not_on, granted: None });
                self.queues[class as usize][usize::from(not_on.is_none())].push_back(name);
            }
        }
    }

    fn grant(&mut self) {
        let mut woken = Vec::new();
        self.core.grant(&mut self.random, &mut woken);
        let mut woken = woken.into_iter();
        while self.told.len() - self.not_waited_for < WAKES_MAX {
            let (owed, other) = (self.first(self.last.other()), self.first(self.last));
            let Some(name) = owed.or(other) else { break };
            let Known { id, class, not_on, .. } = self.waiters[&name];
            // Who was told before and lost the place has not come since: it needs no second wake-up.
            let state = self.core.waiters.get(id).map(|waiter| waiter.state);
            let Some(State::Granted(number)) = state else { panic!("{name} should have a place: {state:?}") };
            self.granted(class, number, not_on);
            for queue in &mut self.queues[class as usize] {
                queue.retain(|other| *other != name);
            }
            self.waiters.get_mut(&name).expect("it is known").granted = Some(number);
            self.told.push(name);
            if woken.as_slice().first() == Some(&name) {
                woken.next();
            }
        }
        assert_eq!(woken.next(), None, "woken for nothing, or out of order");
    }

    fn take(&mut self, name: Name) {
        let Known { id, class, granted, .. } = self.waiters[&name];
        match (self.core.take(id), granted) {
            (Taken::Granted(Grant { place, .. }), Some(number)) => {
                assert_eq!((place.class, place.replica), (class, number));
                self.places.push(place);
                self.forget(name);
            }
            (Taken::Waits, None) => drop(self.core.notify(id, name)),
            (taken, granted) => panic!("{taken:?} but {granted:?}"),
        }
    }

    fn leave(&mut self, name: Name) {
        let Known { id, granted, .. } = self.waiters[&name];
        let _ = self.core.leave(id);
        if let Some(number) = granted {
            self.free(number);
        }
        self.forget(name);
    }

    fn forget(&mut self, name: Name) {
        self.waiters.remove(&name);
        self.told.retain(|other| *other != name);
        self.not_waited_for = self.not_waited_for.min(self.told.len());
        self.queues.iter_mut().flatten().for_each(|queue| queue.retain(|other| *other != name));
    }

    fn give_back(&mut self, pick: usize) {
        let place = self.places.swap_remove(pick % self.places.len());
        self.free(place.replica);
        self.core.give_back(place);
    }

    fn ready(&mut self, name: u8) {
        self.core.ready(name);
        if let Some(replica) = self.replicas.iter_mut().find(|replica| replica.name == name) {
            replica.is_taking = true;
            return;
        }
        self.replicas_made += 1;
        let number = self.replicas_made;
        self.replicas.push(Replica { name, number, in_flight: 0, is_taking: true });
    }

    fn stop(&mut self, name: u8, is_gone: bool) {
        if is_gone {
            self.core.gone(&name);
        } else {
            self.core.drain(&name);
        }
        let Some(replica) = self.replicas.iter_mut().find(|replica| replica.name == name) else { return };
        replica.is_taking = false;
        let number = replica.number;
        for told in self.told.clone().into_iter().rev() {
            let waiter = self.waiters.get_mut(&told).expect("it is known");
            if waiter.granted == Some(number) {
                waiter.granted = None;
                let class = waiter.class;
                self.told.retain(|other| *other != told);
                self.queues[class as usize][0].push_front(told);
                self.free(number);
            }
        }
        self.not_waited_for = self.not_waited_for.min(self.told.len());
        self.replicas.retain(|replica| !(is_gone && replica.name == name));
    }

    fn step(&mut self, step: u8, argument: u8) {
        let pick = usize::from(argument);
        let nth = |names: Vec<Name>| (!names.is_empty()).then(|| names[pick % names.len()]);
        match step {
            0 => self.arrive(class_of(argument)),
            1 => (0..argument % 90).for_each(|_| self.arrive(class_of(argument))),
            2 => (0..argument % 40).for_each(|each| self.arrive(class_of(each))),
            3 => nth(self.told.clone()).into_iter().for_each(|name| self.take(name)),
            4 => self.told.clone().into_iter().for_each(|name| self.take(name)),
            5 => nth(self.waiters.keys().copied().collect()).into_iter().for_each(|name| self.take(name)),
            6 => nth(self.waiters.keys().copied().collect()).into_iter().for_each(|name| self.leave(name)),
            7 | 8 if !self.places.is_empty() => self.give_back(pick),
            9 => (0..pick.min(self.places.len())).for_each(|_| self.give_back(pick)),
            10 if !self.places.is_empty() => self.take_another(pick),
            11 | 12 => self.ready(argument % 6),
            13 => self.stop(argument % 6, false),
            14 => self.stop(argument % 6, true),
            15 => {
                self.core.wait_no_longer();
                self.not_waited_for = self.told.len();
            }
            _ => {}
        }
    }

    /// What both know is the same.
    fn compare(&self) {
        let by_name = |mut loads: Vec<(u8, u32, bool)>| {
            loads.sort_unstable();
            loads
        };
        let known =
            self.replicas.iter().map(|known| (known.name, known.in_flight, known.is_taking)).collect();
        let loads = self.core.loads().map(|load| (load.replica, load.in_flight, load.is_taking)).collect();
        let loads = by_name(loads);
        assert_eq!(loads, by_name(known));
        if self.concurrency > 0 {
            assert!(loads.iter().all(|(_, in_flight, _)| *in_flight <= self.concurrency), "{loads:?}");
        }
        for class in Class::ALL {
            let waiting: usize = self.queues[class as usize].iter().map(VecDeque::len).sum();
            assert_eq!(self.core.waiting(class), waiting);
        }
        let starved = self.queues.iter().flatten().any(|queue| !queue.is_empty())
            && !self.replicas.iter().any(|replica| replica.is_taking);
        assert_eq!(self.core.is_starved(), starved);
    }

    /// With replicas that stay, all who wait get their place and end.
    fn finish(&mut self) {
        (100..102).for_each(|name| self.ready(name));
        let mut rounds = 0;
        while !self.waiters.is_empty() || !self.places.is_empty() {
            self.grant();
            self.told.clone().into_iter().for_each(|name| self.take(name));
            (0..self.places.len()).for_each(|_| self.give_back(0));
            self.compare();
            rounds += 1;
            assert!(rounds < 20_000, "{} wait for ever", self.waiters.len());
        }
        assert!(self.core.loads().all(|load| load.in_flight == 0));
        assert!(self.core.waiters.head(List::Told).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever comes, leaves, starts and stops in whatever order: places are granted by the rules, never more than there are,
    /// and all who wait end.
    #[test]
    fn it_does_what_the_model_does(
        concurrency in prop_oneof![Just(0_u32), Just(1), Just(2), Just(3), Just(4), Just(7)],
        seed in any::<u64>(),
        steps in proptest::collection::vec((0..16_u8, any::<u8>(), 0..4_u8), 1..150),
    ) {
        let mut world = World::new(concurrency, seed);
        for (step, argument, grants) in steps {
            world.step(step, argument);
            if grants > 0 {
                world.grant();
            }
            world.compare();
        }
        world.finish();
    }
}
