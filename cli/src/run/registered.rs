//! When a trigger is in force: once the dispatcher has registered it in every partition of its broker. Until then an event
//! that comes in is from before its time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use pelton_resources::contracts::{Override, ResourceWriter, WriteAction, WriteError, Written};
use pelton_resources::{Kind, NamespacedName};
use pelton_trigger_dispatcher::Handle;
use tokio::time::{Instant, sleep};

/// Tells whether a trigger is on its way into service.
pub(super) trait Registering: Send + Sync + fmt::Debug {
    fn is_registering(&self, trigger: &NamespacedName) -> bool;
}

impl Registering for Handle {
    fn is_registering(&self, trigger: &NamespacedName) -> bool {
        Self::is_registering(self, trigger)
    }
}

/// A process that delivers nothing: triggers are registered elsewhere.
#[derive(Debug)]
pub(super) struct NoDispatcher;

impl Registering for NoDispatcher {
    fn is_registering(&self, _: &NamespacedName) -> bool {
        false
    }
}

/// It takes one sync; beyond this something is wrong, and the status of the trigger tells what.
const WAIT_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Ends when none of `triggers` is being registered, or after [`WAIT_MAX`].
pub(super) async fn registered(dispatcher: &dyn Registering, triggers: &[NamespacedName]) {
    let began = Instant::now();
    while triggers.iter().any(|trigger| dispatcher.is_registering(trigger)) && began.elapsed() < WAIT_MAX {
        sleep(LOOK_EVERY).await;
    }
}

/// Changes resources, and answers once the triggers among them are registered.
#[derive(Debug)]
pub(super) struct RegisteredWriter {
    pub(super) writer: Arc<dyn ResourceWriter>,
    pub(super) dispatcher: Arc<dyn Registering>,
}

impl RegisteredWriter {
    async fn wait(&self, written: &[Written]) {
        let triggers = written.iter().filter(|written| {
            written.kind == Kind::Trigger
                && matches!(written.action, WriteAction::Created | WriteAction::Configured)
        });
        let triggers: Vec<_> = triggers.map(|written| written.name.clone()).collect();
        registered(&*self.dispatcher, &triggers).await;
    }
}

impl ResourceWriter for RegisteredWriter {
    fn apply(&self, documents: String, namespace: String) -> BoxFuture<'_, Result<Vec<Written>, WriteError>> {
        Box::pin(async move {
            let written = self.writer.apply(documents, namespace).await?;
            self.wait(&written).await;
            Ok(written)
        })
    }

    fn delete(&self, kind: Kind, name: NamespacedName) -> BoxFuture<'_, Result<Written, WriteError>> {
        self.writer.delete(kind, name)
    }

    fn set(
        &self,
        kind: Kind,
        name: NamespacedName,
        change: Override,
    ) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(async move {
            let written = self.writer.set(kind, name, change).await?;
            self.wait(std::slice::from_ref(&written)).await;
            Ok(written)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Registers a trigger after it was asked so many times.
    #[derive(Debug)]
    struct Slow {
        looks: AtomicU32,
        registers_after: u32,
    }

    impl Registering for Slow {
        fn is_registering(&self, _: &NamespacedName) -> bool {
            self.looks.fetch_add(1, Ordering::Relaxed) < self.registers_after
        }
    }

    #[derive(Debug)]
    struct Writer(WriteAction);

    impl ResourceWriter for Writer {
        fn apply(&self, _: String, _: String) -> BoxFuture<'_, Result<Vec<Written>, WriteError>> {
            let name = NamespacedName::new("default", "t");
            let written = Written { kind: Kind::Trigger, name, action: self.0 };
            Box::pin(std::future::ready(Ok(vec![written])))
        }

        fn delete(&self, kind: Kind, name: NamespacedName) -> BoxFuture<'_, Result<Written, WriteError>> {
            Box::pin(std::future::ready(Err(WriteError::NotFound(kind, name))))
        }

        fn set(
            &self,
            kind: Kind,
            name: NamespacedName,
            _: Override,
        ) -> BoxFuture<'_, Result<Written, WriteError>> {
            Box::pin(std::future::ready(Err(WriteError::NotFound(kind, name))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_apply_answers_once_its_triggers_are_registered() {
        let dispatcher = Arc::new(Slow { looks: AtomicU32::new(0), registers_after: 3 });
        let writer = Arc::new(Writer(WriteAction::Created));
        RegisteredWriter { writer, dispatcher: dispatcher.clone() }
            .apply(String::new(), String::new())
            .await
            .unwrap();
        assert_eq!(dispatcher.looks.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_not_change_is_not_waited_for_and_nothing_is_waited_for_without_end() {
        let dispatcher = Arc::new(Slow { looks: AtomicU32::new(0), registers_after: u32::MAX });
        let unchanged = RegisteredWriter {
            writer: Arc::new(Writer(WriteAction::Unchanged)),
            dispatcher: dispatcher.clone(),
        };
        unchanged.apply(String::new(), String::new()).await.unwrap();
        assert_eq!(dispatcher.looks.load(Ordering::Relaxed), 0);
        let began = Instant::now();
        registered(&*dispatcher, &[NamespacedName::new("default", "t")]).await;
        assert!(began.elapsed() >= WAIT_MAX);
    }
}
