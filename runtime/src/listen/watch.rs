//! The times of all connections of a listener, kept by one look at their counters now and then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::LINGER_MAX;

/// What a connection counts. Only its own task writes, but for the order; nobody waits on the counters, so relaxed
/// accesses do.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_read: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    /// The client's receive window is full.
    pub(super) write_blocked: AtomicBool,
    pub(super) is_http2: AtomicBool,
    /// The answer is out and the connection closed on our side; what still comes is dropped.
    pub(super) lingers: AtomicBool,
    pub(super) requests_started: AtomicU64,
    pub(super) requests_in_flight: AtomicU32,
    /// `bytes_read` when the last request ended: what is read beyond belongs to the next head.
    pub(super) head_mark: AtomicU64,
    order: AtomicU8,
}

/// What the connection's task is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing special.
    Serve,
    /// Finish what is in flight, then close.
    ShutDown,
    /// Close at once.
    Abort,
}

impl Counters {
    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::ShutDown,
            _ => Order::Abort,
        }
    }

    fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
    }
}

/// The time limits of a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) header: Duration,
    pub(super) idle: Duration,
}

/// What the last looks at one connection showed.
#[derive(Debug)]
struct View {
    requests_started: u64,
    bytes_written: u64,
    /// Since when there is no request.
    quiet_since: Instant,
    /// Since when a head is incomplete.
    head_since: Option<Instant>,
    /// Since when the client reads nothing.
    stalled_since: Option<Instant>,
    shut_down_at: Option<Instant>,
    /// Since when it waits for the client to close.
    lingers_since: Option<Instant>,
}

impl View {
    fn new(now: Instant) -> Self {
        Self {
            requests_started: 0,
            bytes_written: 0,
            quiet_since: now,
            head_since: None,
            stalled_since: None,
            shut_down_at: None,
            lingers_since: None,
        }
    }

    /// Looks at the counters and decides.
    fn judge(&mut self, counters: &Counters, times: Times, now: Instant) -> Order {
        let waited = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if counters.lingers.load(Ordering::Relaxed) {
            let since = *self.lingers_since.get_or_insert(now);
            return if waited(since, LINGER_MAX) { Order::Abort } else { Order::Serve };
        }
        let written = counters.bytes_written.load(Ordering::Relaxed);
        let stalls = counters.write_blocked.load(Ordering::Relaxed) && written == self.bytes_written;
        self.bytes_written = written;
        self.stalled_since = stalls.then(|| self.stalled_since.unwrap_or(now));
        if self.stalled_since.is_some_and(|since| waited(since, times.idle)) {
            return Order::Abort;
        }
        let started = counters.requests_started.load(Ordering::Relaxed);
        if counters.requests_in_flight.load(Ordering::Relaxed) > 0 || started != self.requests_started {
            self.requests_started = started;
            self.quiet_since = now;
            self.head_since = None;
            return Order::Serve;
        }
        // On HTTP/2, bytes between requests are pings and window updates; its heads fall under the idle time.
        let in_head = !counters.is_http2.load(Ordering::Relaxed)
            && counters.bytes_read.load(Ordering::Relaxed) > counters.head_mark.load(Ordering::Relaxed);
        self.head_since = in_head.then(|| self.head_since.unwrap_or(now));
        if self.head_since.is_some_and(|since| waited(since, times.header)) {
            return Order::Abort;
        }
        if !waited(self.quiet_since, times.idle) {
            return Order::Serve;
        }
        // A client that does not answer the goodbye is cut off.
        let shut_down_at = *self.shut_down_at.get_or_insert(now);
        if waited(shut_down_at, times.header) { Order::Abort } else { Order::ShutDown }
    }
}

struct Watched {
    counters: Arc<Counters>,
    waker: Waker,
    view: View,
}

impl Watched {
    /// The task looks at its orders when it is woken.
    fn give(&self, order: Order) {
        self.counters.give(order);
        self.waker.wake_by_ref();
    }
}

#[derive(Default)]
struct Connections {
    next_id: u64,
    open: HashMap<u64, Watched>,
    shutting_down: bool,
}

/// All connections of a listener.
pub(super) struct Watch {
    times: Times,
    connections: Mutex<Connections>,
}

impl Watch {
    pub(super) fn new(times: Times) -> Self {
        Self { times, connections: Mutex::default() }
    }

    /// Adds a connection. `waker` must be that of its task, for as long as it lives.
    pub(super) fn add(self: &Arc<Self>, counters: Arc<Counters>, waker: Waker) -> Added {
        let mut connections = self.connections();
        let id = connections.next_id;
        connections.next_id += 1;
        if connections.shutting_down {
            counters.give(Order::ShutDown);
        }
        connections.open.insert(id, Watched { counters, waker, view: View::new(Instant::now()) });
        Added { watch: self.clone(), id }
    }

    /// Looks at every connection and gives orders to those whose time is over.
    pub(super) fn check(&self, now: Instant) {
        for watched in self.connections().open.values_mut() {
            match watched.view.judge(&watched.counters, self.times, now) {
                Order::Serve => {}
                order => watched.give(order),
            }
        }
    }

    /// Asks every connection, also those still to come, to end.
    pub(super) fn shut_down_all(&self) {
        let mut connections = self.connections();
        connections.shutting_down = true;
        for watched in connections.open.values() {
            watched.give(Order::ShutDown);
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the connection off the list when it ends.
pub(super) struct Added {
    watch: Arc<Watch>,
    id: u64,
}

impl Drop for Added {
    fn drop(&mut self) {
        self.watch.connections().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { header: Duration::from_secs(10), idle: Duration::from_secs(60) };

    /// Lets a connection with the counters that `set` makes be looked at every second, and tells when each order came.
    fn orders(set: impl Fn(&Counters, u64), seconds: u64) -> Vec<(u64, Order)> {
        let start = Instant::now();
        let mut view = View::new(start);
        let counters = Counters::default();
        let mut orders = Vec::new();
        for second in 0..=seconds {
            set(&counters, second);
            let order = view.judge(&counters, TIMES, start + Duration::from_secs(second));
            if orders.last().is_none_or(|(_, last)| *last != order) {
                orders.push((second, order));
            }
        }
        orders
    }

    #[test]
    fn without_a_request_it_is_shut_down_after_the_idle_time_and_cut_off_if_it_stays() {
        assert_eq!(orders(|_, _| {}, 80), [(0, Order::Serve), (60, Order::ShutDown), (70, Order::Abort)]);
    }

    #[test]
    fn a_head_that_drips_is_cut_off_after_the_header_time() {
        let drips = |counters: &Counters, second| counters.bytes_read.store(second, Ordering::Relaxed);
        assert_eq!(orders(drips, 20), [(0, Order::Serve), (11, Order::Abort)]);
    }

    #[test]
    fn on_http2_bytes_without_a_request_are_no_head() {
        let pings = |counters: &Counters, second| {
            counters.is_http2.store(true, Ordering::Relaxed);
            counters.bytes_read.store(second, Ordering::Relaxed);
        };
        assert_eq!(orders(pings, 60), [(0, Order::Serve), (60, Order::ShutDown)]);
    }

    #[test]
    fn requests_keep_it_open() {
        let in_flight = |counters: &Counters, _| {
            counters.requests_in_flight.store(1, Ordering::Relaxed);
            counters.bytes_read.store(100, Ordering::Relaxed);
        };
        assert_eq!(orders(in_flight, 500), [(0, Order::Serve)]);
        let one_a_minute = |counters: &Counters, second: u64| {
            counters.requests_started.store(second / 59, Ordering::Relaxed);
            counters.bytes_read.store(second / 59 * 100, Ordering::Relaxed);
            counters.head_mark.store(second / 59 * 100, Ordering::Relaxed);
        };
        assert_eq!(orders(one_a_minute, 500), [(0, Order::Serve)]);
    }

    #[test]
    fn a_client_that_does_not_read_is_cut_off() {
        let stalls = |counters: &Counters, second: u64| {
            counters.requests_in_flight.store(1, Ordering::Relaxed);
            counters.write_blocked.store(true, Ordering::Relaxed);
            counters.bytes_written.store(second.min(5), Ordering::Relaxed);
        };
        assert_eq!(orders(stalls, 70), [(0, Order::Serve), (66, Order::Abort)]);
        let reads_slowly = |counters: &Counters, second: u64| {
            counters.requests_in_flight.store(1, Ordering::Relaxed);
            counters.write_blocked.store(true, Ordering::Relaxed);
            counters.bytes_written.store(second / 30, Ordering::Relaxed);
        };
        assert_eq!(orders(reads_slowly, 500), [(0, Order::Serve)]);
    }

    #[test]
    fn a_client_that_does_not_close_after_its_answer_is_cut_off() {
        let sends_on = |counters: &Counters, second: u64| {
            counters.lingers.store(second >= 5, Ordering::Relaxed);
            counters.bytes_read.store(second, Ordering::Relaxed);
            counters.head_mark.store(second, Ordering::Relaxed);
        };
        assert_eq!(orders(sends_on, 20), [(0, Order::Serve), (5 + LINGER_MAX.as_secs(), Order::Abort)]);
    }

    #[test]
    fn whoever_comes_after_the_shut_down_is_told() {
        let watch = Arc::new(Watch::new(TIMES));
        let early = Arc::new(Counters::default());
        let added = watch.add(early.clone(), Waker::noop().clone());
        watch.shut_down_all();
        let late = Arc::new(Counters::default());
        let _late = watch.add(late.clone(), Waker::noop().clone());
        assert_eq!((early.order(), late.order()), (Order::ShutDown, Order::ShutDown));
        drop(added);
        assert_eq!(watch.connections().open.len(), 1);
    }
}
