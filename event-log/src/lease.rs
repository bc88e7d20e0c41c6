//! How long the owner of a partition may act on it without hearing that it still is the owner.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_core::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

/// The right to act for a partition. The embedded engine gives it for good; on Kafka it lasts for a part of the session
/// time-out and is renewed by every commit that Kafka acknowledges: a process that was stopped and wakes up again finds it
/// over, and sends nothing more.
#[derive(Debug, Clone)]
pub struct Lease(Option<watch::Receiver<Instant>>);

/// Extends a [`Lease`].
#[derive(Debug, Clone)]
pub(crate) struct LeaseHolder(Arc<watch::Sender<Instant>>);

impl Lease {
    /// One that does not end.
    #[must_use]
    pub const fn unending() -> Self {
        Self(None)
    }

    /// Whether it holds at this moment.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|until| *until.borrow() > Instant::now())
    }

    /// Ends once it holds; never if it is over for good.
    pub async fn held(&self) {
        if self.holds() {
            return;
        }
        let Some(mut until) = self.0.clone() else { return };
        if until.wait_for(|until| *until > Instant::now()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends once it lasts until `then`, and never if it is over for good.
    pub(crate) async fn lasts_until(&self, then: Instant) {
        let Some(mut until) = self.0.clone() else { return };
        if until.wait_for(|until| *until >= then).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `future` while it holds: in between nothing of it goes on. It is looked at before every step, so that a process
    /// that was stopped in the middle of one takes no further.
    pub async fn guard<F: Future>(&self, future: F) -> F::Output {
        if self.0.is_none() {
            return future.await;
        }
        let mut future = pin!(future);
        let mut renewal: Option<BoxFuture<'_, ()>> = None;
        poll_fn(|cx| {
            while !self.holds() {
                let waiting = renewal.get_or_insert_with(|| Box::pin(self.held()));
                if waiting.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                renewal = None;
            }
            future.as_mut().poll(cx)
        })
        .await
    }
}

impl LeaseHolder {
    /// A lease that does not hold yet, and who extends it.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Instant::now())))
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease(Some(self.0.subscribe()))
    }

    /// It holds until `until`; never shorter than before.
    pub(crate) fn extend(&self, until: Instant) {
        self.0.send_if_modified(|known| {
            let later = until > *known;
            *known = until.max(*known);
            later
        });
    }

    /// It is over.
    pub(crate) fn end(&self) {
        self.0.send_replace(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_holds_as_long_as_it_is_extended() {
        let holder = LeaseHolder::new();
        let lease = holder.lease();
        assert!(!lease.holds() && lease.held().now_or_never().is_none());
        holder.extend(Instant::now() + Duration::from_secs(5));
        assert!(lease.holds() && lease.held().now_or_never().is_some());
        advance(Duration::from_secs(4)).await;
        holder.extend(Instant::now() + Duration::from_secs(5));
        advance(Duration::from_secs(4)).await;
        assert!(lease.holds());
        advance(Duration::from_secs(2)).await;
        assert!(!lease.holds() && lease.held().now_or_never().is_none());
        holder.extend(Instant::now() + Duration::from_secs(5));
        assert!(lease.holds());
        holder.end();
        assert!(!lease.holds() && Lease::unending().holds());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_while_it_does_not_hold() {
        let holder = LeaseHolder::new();
        let lease = holder.lease();
        let (step, mut steps) = tokio::sync::mpsc::unbounded_channel();
        let go = Arc::new(tokio::sync::Notify::new());
        let going = go.clone();
        let guarded = tokio::spawn(async move {
            lease
                .guard(async {
                    for number in 1..=3 {
                        going.notified().await;
                        step.send(number).unwrap();
                    }
                })
                .await;
        });
        let mut after_a_while = async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            steps.try_recv().ok()
        };
        go.notify_one();
        assert_eq!(after_a_while().await, None);
        holder.extend(Instant::now() + Duration::from_secs(1));
        assert_eq!(after_a_while().await, Some(1));
        holder.end();
        go.notify_one();
        assert_eq!(after_a_while().await, None);
        holder.extend(Instant::now() + Duration::from_secs(1));
        assert_eq!(after_a_while().await, Some(2));
        go.notify_one();
        assert_eq!(after_a_while().await, Some(3));
        guarded.await.unwrap();
    }
}
