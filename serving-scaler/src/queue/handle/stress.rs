//! Many tasks on several threads, with replicas that come and go and waiters that give up. What is checked holds whatever the
//! order in which things happen.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::*;

const CONCURRENCY: u32 = 2;
const TASKS: u64 = 48;
const ROUNDS: u64 = 250;
const REPLICAS: usize = 6;

struct World {
    queue: Queue,
    /// Requests that each replica has, counted where they are served.
    served: [AtomicU32; REPLICAS],
    came: AtomicU64,
    has_ended: AtomicBool,
}

fn name(index: usize) -> Arc<str> {
    index.to_string().into()
}

async fn pause(random: &mut fastrand::Rng) {
    for _ in 0..random.u8(..6) {
        tokio::task::yield_now().await;
    }
}

/// Waits for a place, but not for ever.
async fn some_time(mut acquire: Acquire, random: &mut fastrand::Rng) -> Option<Slot> {
    if random.u8(..3) > 0 {
        return Some(acquire.await.expect("it stays open"));
    }
    tokio::select! {
        biased;
        slot = &mut acquire => Some(slot.expect("it stays open")),
        () = pause(random) => None,
    }
}

async fn request(world: &World, class: Class, random: &mut fastrand::Rng) {
    world.came.fetch_add(1, Ordering::SeqCst);
    let mut next = world.queue.acquire(class);
    loop {
        let Some(slot) = some_time(next, random).await else { return };
        let replica: usize = slot.replica().parse().expect("names are numbers");
        let served = world.served[replica].fetch_add(1, Ordering::SeqCst);
        assert!(served < CONCURRENCY, "{replica} has {served} already");
        pause(random).await;
        world.served[replica].fetch_sub(1, Ordering::SeqCst);
        if random.u8(..5) > 0 {
            return;
        }
        next = slot.take_another();
        if random.u8(..4) == 0 {
            return;
        }
    }
}

/// Replicas come and go until the end; two of them never leave. None comes again after it is gone: what it has in flight would
/// be counted as that of the new one.
async fn churn(world: Arc<World>) {
    let mut random = fastrand::Rng::with_seed(99);
    while !world.has_ended.load(Ordering::SeqCst) {
        let replica = name(random.usize(2..REPLICAS - 1));
        let change = if random.bool() { Change::Ready(replica) } else { Change::Draining(replica) };
        world.queue.replicas(&[change]);
        let measured = world.queue.report();
        assert!(measured.requests.concurrency <= 200.0 && measured.deliveries.concurrency <= 200.0);
        world.came.fetch_sub(measured.requests.count + measured.deliveries.count, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_holds_under_load_on_several_threads() {
    let queue = Queue::new(CONCURRENCY, Arc::default());
    let world = Arc::new(World {
        queue,
        served: Default::default(),
        came: AtomicU64::new(0),
        has_ended: AtomicBool::new(false),
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|seed| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                for round in 0..ROUNDS {
                    let class = if (seed + round) % 3 == 0 { Class::Delivery } else { Class::Request };
                    request(&world, class, &mut random).await;
                }
            })
        })
        .collect();
    let churn = tokio::spawn(churn(Arc::clone(&world)));
    world.queue.replicas(&[0, 1, REPLICAS - 1].map(|index| Change::Ready(name(index))));
    tokio::task::yield_now().await;
    world.queue.replicas(&[Change::Gone(name(REPLICAS - 1))]);
    for task in tasks {
        task.await.expect("every request ends");
    }
    world.has_ended.store(true, Ordering::SeqCst);
    churn.await.expect("replicas come and go");
    let measured = world.queue.report();
    let came = world.came.load(Ordering::SeqCst);
    assert_eq!(measured.requests.count + measured.deliveries.count, came, "each was counted once");
    for class in Class::ALL {
        assert_eq!((world.queue.present(class), world.queue.waiting(class)), (0, 0));
    }
    assert!(world.queue.loads().iter().all(|load| load.in_flight == 0), "{:?}", world.queue.loads());
}
