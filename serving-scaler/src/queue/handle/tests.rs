use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::limits::{QUEUE_MAX, WAKES_MAX};

fn replica(name: &str) -> Arc<str> {
    name.into()
}

fn queue(container_concurrency: u32, replicas: &[&str]) -> Queue {
    let queue = Queue::new(container_concurrency, Arc::default());
    let changes: Vec<_> = replicas.iter().map(|name| Change::Ready(replica(name))).collect();
    queue.replicas(&changes);
    queue
}

fn poll(acquire: &mut Acquire) -> Poll<Result<Slot, NoPlace>> {
    Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()))
}

fn waiting(queue: &Queue, class: Class) -> Acquire {
    let mut acquire = queue.acquire(class);
    assert!(poll(&mut acquire).is_pending());
    acquire
}

fn granted(acquire: &mut Acquire) -> Slot {
    match poll(acquire) {
        Poll::Ready(Ok(slot)) => slot,
        other => panic!("no place: {other:?}"),
    }
}

fn slot(queue: &Queue, class: Class) -> Slot {
    granted(&mut queue.acquire(class))
}

/// Whether it was poked since it was asked last.
fn poked(poke: &Notify) -> bool {
    let notified = std::pin::pin!(poke.notified());
    notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn twenty_at_a_time_on_one_place_are_all_served_in_order() {
    let queue = queue(1, &["a"]);
    let (order, active) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..20)
        .map(|index| {
            let (queue, order, active) = (queue.clone(), Arc::clone(&order), Arc::clone(&active));
            tokio::spawn(async move {
                let slot = queue.acquire(Class::Request).await.unwrap();
                assert_eq!(active.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                order.lock().unwrap().push((index, slot.replica().to_string()));
                active.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let expected: Vec<_> = (0..20).map(|index| (index, "a".to_owned())).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    assert_eq!(queue.present(Class::Request), 0);
}

#[test]
fn a_place_is_not_lost_with_who_was_granted_it() {
    let queue = queue(1, &["a"]);
    let first = slot(&queue, Class::Request);
    let (second, third) = (waiting(&queue, Class::Request), waiting(&queue, Class::Delivery));
    let mut fourth = waiting(&queue, Class::Request);
    drop(third);
    drop(first);
    assert_eq!(queue.waiting(Class::Request), 1, "the second was granted the place");
    assert!(poll(&mut fourth).is_pending());
    drop(second);
    let place = granted(&mut fourth);
    assert!(poll(&mut fourth).is_pending(), "it has ended");
    drop((fourth, place));
    assert_eq!((queue.present(Class::Request), queue.present(Class::Delivery)), (0, 0));
    assert_eq!(queue.loads()[0].in_flight, 0);
    drop(queue.acquire(Class::Request));
    assert_eq!(queue.report().requests.count, 3, "who was not polled never came");
}

#[test]
fn who_waits_without_a_replica_pokes_once() {
    let poke = Arc::new(Notify::new());
    let queue = Queue::new(1, Arc::clone(&poke));
    assert!(!poked(&poke) && !queue.is_starved());
    let mut first = waiting(&queue, Class::Request);
    assert!(poked(&poke) && queue.is_starved());
    let second = waiting(&queue, Class::Delivery);
    assert!(!poked(&poke) && queue.is_starved());
    queue.replicas(&[Change::Ready(replica("a"))]);
    assert!(!poked(&poke) && !queue.is_starved());
    let place = granted(&mut first);
    queue.replicas(&[Change::Draining(replica("a"))]);
    assert!(poked(&poke), "the second has no replica any more");
    drop(place);
    assert!(poked(&poke), "it can be stopped");
    queue.replicas(&[Change::Gone(replica("a"))]);
    assert!(!poked(&poke));
    drop(second);
    assert!(!queue.is_starved());
    let _third = waiting(&queue, Class::Request);
    assert!(poked(&poke));
}

#[test]
fn a_place_that_is_exchanged_can_be_the_last_of_a_replica() {
    let poke = Arc::new(Notify::new());
    let queue = Queue::new(1, Arc::clone(&poke));
    let changes = ["a", "b"].map(|name| Change::Ready(replica(name)));
    queue.replicas(&changes);
    let first = slot(&queue, Class::Request);
    assert_eq!(&**first.replica(), "a");
    queue.replicas(&[Change::Draining(replica("a"))]);
    let second = granted(&mut first.take_another());
    assert_eq!(&**second.replica(), "b");
    assert!(poked(&poke));
    drop(second.take_another());
    assert_eq!((queue.present(Class::Request), queue.report().requests.count), (0, 1), "it is one request");
    assert!(queue.loads().iter().all(|load| load.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn measurements_are_averages_over_time_for_each_class() {
    let queue = queue(1, &["a"]);
    let (advance, millis) = (tokio::time::advance, Duration::from_millis);
    advance(millis(100)).await;
    let request = slot(&queue, Class::Request);
    let mut delivery = waiting(&queue, Class::Delivery);
    let given_up = waiting(&queue, Class::Delivery);
    advance(millis(400)).await;
    drop(given_up);
    advance(millis(500)).await;
    let first = queue.report();
    assert_eq!(first.requests, Measured { concurrency: 0.9, count: 1 });
    assert_eq!(first.deliveries, Measured { concurrency: 1.3, count: 2 });
    advance(millis(250)).await;
    drop(request);
    let delivery = granted(&mut delivery);
    advance(millis(250)).await;
    drop(delivery);
    advance(millis(500)).await;
    queue.close(Closed::Gone);
    assert!(matches!(poll(&mut queue.acquire(Class::Request)), Poll::Ready(Err(_))));
    let second = queue.report();
    assert_eq!(second.requests, Measured { concurrency: 0.25, count: 1 }, "who is refused came too");
    assert_eq!(second.deliveries, Measured { concurrency: 0.5, count: 0 });
    advance(millis(1_000)).await;
    assert_eq!(queue.report(), Report::default());
}

#[test]
fn a_full_queue_refuses() {
    let queue = queue(1, &["a"]);
    let place = slot(&queue, Class::Request);
    let mut all: Vec<_> = (0..QUEUE_MAX).map(|_| waiting(&queue, Class::Request)).collect();
    assert_eq!(poll(&mut queue.acquire(Class::Request)).map(Result::err), Poll::Ready(Some(NoPlace::Full)));
    assert_eq!(queue.present(Class::Request), 10_001);
    drop(place);
    drop(granted(&mut all[0]));
    drop(waiting(&queue, Class::Request));
}

#[tokio::test]
async fn who_waits_hears_why_there_will_be_no_place() {
    let queue = queue(1, &["a"]);
    let place = slot(&queue, Class::Request);
    let tasks: Vec<_> = (0..500)
        .map(|index| {
            let acquire = queue.acquire(Class::ALL[index % 2]);
            tokio::spawn(acquire)
        })
        .collect();
    while queue.waiting(Class::Request) + queue.waiting(Class::Delivery) < 500 {
        tokio::task::yield_now().await;
    }
    let why = Closed::DoesNotStart("it exits with 1".into());
    queue.close(why.clone());
    for task in tasks {
        assert_eq!(task.await.unwrap().err(), Some(NoPlace::Closed(why.clone())));
    }
    assert_eq!(queue.acquire(Class::Request).await.err(), Some(why.clone().into()));
    assert_eq!(place.take_another().await.err(), Some(why.into()));
    assert_eq!((queue.present(Class::Request), queue.present(Class::Delivery)), (0, 0));
}

#[test]
fn thousands_are_not_woken_at_once() {
    let queue = queue(0, &[]);
    let woken = Arc::new(Counting::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut all: Vec<_> = (0..5_000).map(|_| queue.acquire(Class::Request)).collect();
    assert!(all.iter_mut().all(|acquire| Pin::new(acquire).poll(&mut context).is_pending()));
    queue.replicas(&["a", "b", "c"].map(|name| Change::Ready(replica(name))));
    let mut slots = Vec::new();
    for (index, acquire) in all.iter_mut().enumerate() {
        let told = woken.0.load(Ordering::SeqCst);
        assert_eq!(told, (index + WAKES_MAX).min(5_000), "as many as come are told");
        slots.push(granted(acquire));
    }
    let loads: Vec<_> = queue.loads().iter().map(|load| load.in_flight).collect();
    assert!(loads.iter().all(|load| (1_650..1_680).contains(load)), "{loads:?}");
    assert_eq!(slots.len(), 5_000);
}

#[test]
fn who_does_not_come_holds_up_the_others_until_the_next_report() {
    let queue = queue(0, &[]);
    let mut all: Vec<_> = (0..WAKES_MAX + 1).map(|_| waiting(&queue, Class::Request)).collect();
    queue.replicas(&[Change::Ready(replica("a"))]);
    assert_eq!(queue.waiting(Class::Request), 1);
    let _ = queue.report();
    drop(granted(&mut all[WAKES_MAX]));
}

/// A waker that wants the lock when it is woken and when it is dropped, as that of a task that holds other places may.
struct Curious {
    queue: Queue,
    found_it_locked: Arc<AtomicUsize>,
}

impl Curious {
    fn look(&self) {
        if self.queue.0.state.try_lock().is_err() {
            self.found_it_locked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn nothing_of_others_runs_under_the_lock() {
    let queue = queue(1, &["a"]);
    let place = slot(&queue, Class::Request);
    let found_it_locked = Arc::new(AtomicUsize::new(0));
    let poll_with_new_waker = |acquire: &mut Acquire| {
        let curious = Curious { queue: queue.clone(), found_it_locked: Arc::clone(&found_it_locked) };
        let waker = Waker::from(Arc::new(curious));
        assert!(Pin::new(acquire).poll(&mut Context::from_waker(&waker)).is_pending());
    };
    let [mut woken, mut left, mut closed] = [0; 3].map(|_| queue.acquire(Class::Request));
    for acquire in [&mut woken, &mut left, &mut closed] {
        poll_with_new_waker(acquire);
        poll_with_new_waker(acquire);
    }
    drop(place);
    drop(left);
    queue.close(Closed::Gone);
    assert!(matches!(poll(&mut closed), Poll::Ready(Err(_))));
    assert_eq!(found_it_locked.load(Ordering::SeqCst), 0);
}

#[test]
fn waiting_costs_little_memory_and_a_free_place_none() {
    let queue = queue(2, &["a"]);
    let allocated = || queue.0.lock().core.allocated_bytes();
    let places = [slot(&queue, Class::Request), slot(&queue, Class::Delivery)];
    assert_eq!(allocated(), 0, "who need not wait costs no allocation");
    let (mut all, mut allocations, mut before) = (Vec::new(), 0, 0);
    for _ in 0..QUEUE_MAX {
        all.push(waiting(&queue, Class::Request));
        let now = allocated();
        allocations += usize::from(now != before);
        before = now;
    }
    let each = before / QUEUE_MAX + size_of::<Acquire>();
    assert!(each <= 256, "{each} bytes");
    assert!(allocations < 20, "{allocations} allocations");
    drop((places, all));
    assert!(allocated() < 10_000, "{}", allocated());
}

#[test]
fn a_slot_can_be_kept_by_anybody() {
    fn kept<T: Send + Sync + Unpin + 'static>() {}
    kept::<Slot>();
    kept::<Acquire>();
    kept::<Queue>();
}
