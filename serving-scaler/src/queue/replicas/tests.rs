//! The rows of the tests of Knative's load balancing policies, and what they leave open.

use super::*;

fn replicas(container_concurrency: u32, count: u32) -> Replicas<u32> {
    let mut replicas = Replicas::new(container_concurrency);
    (0..count).for_each(|name| replicas.ready(name));
    replicas
}

/// The replica that is chosen next.
fn chosen(replicas: &mut Replicas<u32>) -> Option<u32> {
    replicas.take(None, &mut fastrand::Rng::with_seed(7)).map(|(_, replica)| replica)
}

fn give_back(replicas: &mut Replicas<u32>, name: u32) {
    replicas.give_back(u64::from(name) + 1);
}

fn in_flight(replicas: &Replicas<u32>) -> Vec<u32> {
    replicas.loads().map(|load| load.in_flight).collect()
}

#[test]
fn up_to_three_at_a_time_go_to_the_first_with_room() {
    let mut one = replicas(1, 1);
    assert_eq!([chosen(&mut one), chosen(&mut one)], [Some(0), None]);
    let mut two = replicas(1, 2);
    assert_eq!([chosen(&mut two), chosen(&mut two), chosen(&mut two)], [Some(0), Some(1), None]);
    let mut clumped = replicas(3, 5);
    let order: Vec<_> = (0..6).map_while(|_| chosen(&mut clumped)).collect();
    assert_eq!(order, [0, 0, 0, 1, 1, 1]);
    give_back(&mut clumped, 0);
    assert_eq!([chosen(&mut clumped), chosen(&mut clumped)], [Some(0), Some(2)]);
}

#[test]
fn four_or_more_at_a_time_go_round() {
    let mut three = replicas(4, 3);
    let order: Vec<_> = (0..13).map_while(|_| chosen(&mut three)).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], "each has four, the next has no place");
    give_back(&mut three, 2);
    give_back(&mut three, 1);
    give_back(&mut three, 1);
    assert_eq!([chosen(&mut three), chosen(&mut three), chosen(&mut three)], [Some(1), Some(2), Some(1)]);
}

#[test]
fn the_round_goes_on_where_it_was_when_replicas_leave_and_come() {
    let mut four = replicas(4, 4);
    assert_eq!([chosen(&mut four), chosen(&mut four)], [Some(0), Some(1)]);
    four.gone(&0);
    four.drain(&1);
    assert_eq!([chosen(&mut four), chosen(&mut four), chosen(&mut four)], [Some(2), Some(3), Some(2)]);
    four.ready(1);
    four.ready(9);
    let order: Vec<_> = (0..4).map_while(|_| chosen(&mut four)).collect();
    assert_eq!(order, [3, 9, 1, 2], "who drained has its old place in the order");
}

#[test]
fn any_number_at_a_time_goes_to_the_better_of_two() {
    let mut one = replicas(0, 1);
    assert_eq!([chosen(&mut one), chosen(&mut one)], [Some(0), Some(0)]);
    assert_eq!(in_flight(&one), [2]);
    let mut random = fastrand::Rng::with_seed(1);
    let mut two = replicas(0, 2);
    for round in 1..=100 {
        two.take(None, &mut random);
        two.take(None, &mut random);
        assert_eq!(in_flight(&two), [round, round], "of two the one that has less");
    }
    let mut many = replicas(0, 100);
    for _ in 0..10_000 {
        many.take(None, &mut random);
    }
    let (least, most) = (in_flight(&many).into_iter().min(), in_flight(&many).into_iter().max());
    assert!(least >= Some(95) && most <= Some(105), "{least:?} {most:?}");
}

#[test]
fn a_tie_is_won_by_chance() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut first = [0; 3];
    for _ in 0..3_000 {
        let mut three = replicas(0, 3);
        first[three.take(None, &mut random).map_or(0, |(_, replica)| replica as usize)] += 1;
    }
    assert!(first.iter().all(|count| (900..1_100).contains(count)), "{first:?}");
}

#[test]
fn none_goes_to_who_is_left_out() {
    let mut random = fastrand::Rng::with_seed(3);
    for concurrency in [0, 1, 2, 4, 100] {
        let mut alone = replicas(concurrency, 1);
        assert!(!alone.has_room(Some(1)) && alone.has_room(Some(2)) && alone.has_room(None));
        assert_eq!(alone.take(Some(1), &mut random), None);
        for left_out in 1..=3 {
            for _ in 0..20 {
                let mut three = replicas(concurrency, 3);
                let (one, other) =
                    (three.take(Some(left_out), &mut random), three.take(Some(left_out), &mut random));
                assert!(one.is_some_and(|(number, _)| number != left_out), "{concurrency} {left_out}");
                assert!(other.is_some_and(|(number, _)| number != left_out), "{concurrency} {left_out}");
            }
        }
    }
}

#[test]
fn the_first_with_room_is_found_among_many() {
    let mut many = replicas(1, 1_000);
    let order: Vec<_> = (0..1_001).map_while(|_| chosen(&mut many)).collect();
    assert_eq!(order, (0..1_000).collect::<Vec<_>>());
    for name in [999, 640, 64, 63] {
        give_back(&mut many, name);
    }
    let order: Vec<_> = (0..5).map_while(|_| chosen(&mut many)).collect();
    assert_eq!(order, [63, 64, 640, 999]);
    give_back(&mut many, 500);
    many.gone(&3);
    assert_eq!([chosen(&mut many), chosen(&mut many)], [Some(500), None], "its bit has moved with it");
}

#[test]
fn who_drains_keeps_what_it_has_and_says_when_that_has_ended() {
    let mut two = replicas(2, 2);
    let order: Vec<_> = (0..3).map_while(|_| chosen(&mut two)).collect();
    assert_eq!(order, [0, 0, 1]);
    two.drain(&0);
    assert!(!two.has_drained());
    assert_eq!([chosen(&mut two), chosen(&mut two)], [Some(1), None]);
    let busy = Load { replica: 0, in_flight: 2, is_taking: false };
    assert_eq!(two.loads().last(), Some(busy));
    give_back(&mut two, 0);
    assert!(!two.has_drained());
    give_back(&mut two, 0);
    assert!(two.has_drained() && !two.has_drained());
    two.ready(0);
    assert_eq!([chosen(&mut two), chosen(&mut two), chosen(&mut two)], [Some(0), Some(0), None]);
    assert!(two.gone(&0).is_some() && two.gone(&0).is_none());
    two.ready(0);
    give_back(&mut two, 0);
    assert_eq!(
        in_flight(&two),
        [2, 0],
        "a place on the one before is none on the one that has come in its place"
    );
    two.drain(&0);
    assert!(two.has_drained(), "it has nothing to end");
}
