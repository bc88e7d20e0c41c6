//! The core under random faults in virtual time, with an account book of every event.
//!
//! Each seed makes a world: triggers with policies and orders, subscribers and dead letter sinks that work, fail, overload,
//! hang and reply, a log with saved progress, crashes that throw away everything that is not saved, edits of triggers, replays.
//! The book checks at every step what must never happen, and at the end that every event has its end.
//!
//! `PELTON_SEEDS` says how many seeds, `PELTON_SEED` runs a single one and tells its story.

mod answers;
mod book;
mod ends;
mod faults;
mod log;
mod people;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use world::{Plan, World};

const SEEDS_DEFAULT: u64 = 2_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(seed: u64, plan: Plan) {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| World::new(seed, plan).run()));
    if let Err(panic) = caught {
        eprint_seed(seed);
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::print_stderr, reason = "the failing seed is what one needs to know")]
fn eprint_seed(seed: u64) {
    eprintln!("the simulation failed with PELTON_SEED={seed}");
}

#[test]
fn every_event_has_exactly_one_end() {
    if let Some(seed) = number("PELTON_SEED") {
        run(seed, Plan { tell: true, ..Plan::of(seed) });
        return;
    }
    let first = number("PELTON_FIRST_SEED").unwrap_or(0);
    let end = first + number("PELTON_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < end) {
                    run(seed, Plan::of(seed));
                }
            });
        }
    });
}
