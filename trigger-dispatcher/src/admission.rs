//! The process-wide share of deliveries in flight.
//!
//! A trigger may have as many deliveries in flight as half of what is still free: one that hangs ends with half of the
//! whole, two with a third each, and there is always room for the others ("dynamic threshold" of shared-memory
//! switches). Every trigger may have one, whatever the others do, up to a hard cap of twice the share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;

/// Whether a trigger with `of_trigger` deliveries in flight may start another one while the process has `total` in flight
/// and wants to stay at `cap`.
#[must_use]
pub(crate) fn admits(cap: u32, total: u32, of_trigger: u32) -> bool {
    let share = (cap.saturating_sub(total) / 2).max(1);
    of_trigger < share && total < cap.saturating_mul(2)
}

/// The deliveries in flight of the whole process. A clone is the same count.
#[derive(Debug, Clone)]
pub(crate) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cap: u32,
    total: AtomicU32,
    /// Those who were refused are woken once `total` is at most this; `NOBODY` while nobody was.
    wake_at: AtomicU32,
    room: watch::Sender<()>,
}

/// `total` is never above it, so that nobody is woken.
const NOBODY: u32 = u32::MAX;

impl Admission {
    /// Nothing in flight, with a share of `cap` deliveries.
    pub(crate) fn new(cap: u32) -> Self {
        Self(Arc::new(Shared {
            cap,
            total: AtomicU32::new(0),
            wake_at: AtomicU32::new(NOBODY),
            room: watch::Sender::new(()),
        }))
    }

    /// Deliveries in flight in the whole process.
    pub(crate) fn in_flight(&self) -> u32 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// One broker task's view of the share.
    pub(crate) fn share(&self) -> Share {
        Share { admission: self.clone(), room: self.0.room.subscribe(), refused: false, in_flight: 0 }
    }

    fn try_start(&self, of_trigger: u32) -> bool {
        let shared = &*self.0;
        shared
            .total
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |total| {
                admits(shared.cap, total, of_trigger).then_some(total + 1)
            })
            .is_ok()
    }

    /// Asks to be woken once the total has fallen by a step: fine enough not to idle, coarse enough not to wake on each end.
    fn ask_for_wake(&self) {
        let shared = &*self.0;
        let total = self.in_flight();
        let step = if total >= shared.cap { 1 } else { (shared.cap / 64).max(1) };
        let wanted = total.saturating_sub(step);
        let _ = shared.wake_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |known| {
            Some(if known == NOBODY { wanted } else { known.max(wanted) })
        });
        // An end between the refusal and now was not told to anybody.
        if self.in_flight() <= wanted {
            self.wake();
        }
    }

    fn end(&self, ended: u32) {
        let before = self.0.total.fetch_sub(ended, Ordering::AcqRel);
        let wake_at = self.0.wake_at.load(Ordering::Acquire);
        if wake_at != NOBODY && before.saturating_sub(ended) <= wake_at {
            self.wake();
        }
    }

    fn wake(&self) {
        if self.0.wake_at.swap(NOBODY, Ordering::AcqRel) != NOBODY {
            self.0.room.send_replace(());
        }
    }
}

/// What one broker task sees of [`Admission`]: it starts and ends deliveries, and hears when there is room again after it
/// was refused. Dropping it ends what it has in flight.
#[derive(Debug)]
pub(crate) struct Share {
    admission: Admission,
    room: watch::Receiver<()>,
    refused: bool,
    in_flight: u32,
}

impl crate::core::Admission for Share {
    fn try_start(&mut self, of_trigger: u32) -> bool {
        if self.admission.try_start(of_trigger) {
            self.in_flight += 1;
            return true;
        }
        if !self.refused {
            self.refused = true;
            self.room.mark_unchanged();
            self.admission.ask_for_wake();
        }
        false
    }

    fn end(&mut self, ended: u32) {
        debug_assert!(self.in_flight >= ended, "more deliveries ended than were started");
        let ended = ended.min(self.in_flight);
        if ended > 0 {
            self.in_flight -= ended;
            self.admission.end(ended);
        }
    }
}

impl Share {
    /// Waits until there may be room for what was refused; for ever while nothing was.
    pub(crate) async fn room(&mut self) {
        if !self.refused || self.room.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.refused = false;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        crate::core::Admission::end(self, self.in_flight);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::Admission as _;

    #[test]
    fn the_share_shrinks_with_what_is_free() {
        // (total, of the trigger, admitted) at a cap of 4,096
        let cases = [
            (0, 0, true),
            (2_047, 2_047, false),
            (1_000, 1_000, true),
            (1_365, 1_365, false),
            (1_364, 1_364, true),
            (4_094, 1, false),
            (4_095, 0, true),
            (4_096, 0, true),
            (4_096, 1, false),
            (8_191, 0, true),
            (8_192, 0, false),
        ];
        for (total, of_trigger, admitted) in cases {
            assert_eq!(
                admits(4_096, total, of_trigger),
                admitted,
                "total {total}, of the trigger {of_trigger}"
            );
        }
    }

    proptest! {
        /// However many triggers hang, one that has nothing in flight gets its first delivery below the hard cap, and the
        /// greedy ones leave a share of about 1/(n+2) free.
        #[test]
        fn hanging_triggers_never_take_all(cap in 64_u32..8_192, hanging in 1_usize..20, order in prop::collection::vec(0_usize..20, 0..64)) {
            let mut in_flight = vec![0_u32; hanging];
            let total = |in_flight: &[u32]| in_flight.iter().sum::<u32>();
            // Start in any order, then each until it is refused.
            for &who in order.iter().filter(|who| **who < hanging) {
                if admits(cap, total(&in_flight), in_flight[who]) { in_flight[who] += 1; }
            }
            loop {
                let before = total(&in_flight);
                for who in 0..hanging {
                    if admits(cap, total(&in_flight), in_flight[who]) { in_flight[who] += 1; }
                }
                if total(&in_flight) == before { break; }
            }
            let taken = total(&in_flight);
            prop_assert!(taken < cap, "{taken} of {cap} taken");
            prop_assert!(admits(cap, taken, 0));
            let free = cap - taken;
            let hanging = u32::try_from(hanging).unwrap();
            prop_assert!(free + 2 >= 2 * cap / (hanging * 2 + 2) * 9 / 10 , "free {free} of {cap} with {hanging} hanging");
        }

        #[test]
        fn never_above_the_hard_cap(cap in 1_u32..10_000, total in 0_u32..30_000, of_trigger in 0_u32..30_000) {
            if admits(cap, total, of_trigger) {
                prop_assert!(total < 2 * cap);
                prop_assert!(of_trigger == 0 || of_trigger < cap.saturating_sub(total) / 2);
            }
            // More free room never refuses what less admitted.
            if total > 0 && admits(cap, total, of_trigger) {
                prop_assert!(admits(cap, total - 1, of_trigger));
            }
        }
    }

    #[tokio::test]
    async fn room_is_told_to_who_was_refused() {
        let admission = Admission::new(2);
        let (mut greedy, mut other) = (admission.share(), admission.share());
        assert!(greedy.try_start(0));
        assert!(greedy.try_start(0));
        assert!(other.try_start(0));
        assert!(other.try_start(0));
        assert!(!other.try_start(0), "hard cap");
        assert_eq!(admission.in_flight(), 4);
        greedy.end(1);
        other.room().await;
        assert!(other.try_start(0));
    }

    #[tokio::test]
    async fn an_end_right_after_the_refusal_is_not_missed() {
        let admission = Admission::new(1);
        let (mut greedy, mut other) = (admission.share(), admission.share());
        assert!(greedy.try_start(0) && greedy.try_start(0));
        assert!(!other.try_start(0));
        greedy.end(2);
        other.room().await;
        assert_eq!(admission.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_woken_who_was_not_refused() {
        let admission = Admission::new(4);
        let mut share = admission.share();
        assert!(share.try_start(0));
        share.end(1);
        let woken = tokio::time::timeout(std::time::Duration::from_secs(1), share.room()).await;
        assert!(woken.is_err());
    }
}
