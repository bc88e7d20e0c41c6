//! What stands between the dispatcher and the Services, where one of them is not there.

use std::sync::{Arc, OnceLock};

use futures_core::future::BoxFuture;
use pelton_resources::NamespacedName;
use pelton_resources::contracts::{BacklogSource, NoSlot, Slot, Slots, TriggerBacklog};

/// The places on replicas of Services, in a Pelton that runs none. (References to one are refused where resources are read.)
#[derive(Debug)]
pub(super) struct NoServices;

impl Slots for NoServices {
    fn acquire<'a>(&'a self, service: &'a NamespacedName) -> BoxFuture<'a, Result<Slot, NoSlot>> {
        Box::pin(std::future::ready(Err(NoSlot::NoSuchService(service.clone()))))
    }
}

/// The backlog of the dispatcher, which is started after serving: each needs the other.
#[derive(Debug, Default)]
pub(super) struct Backlog(OnceLock<Arc<dyn BacklogSource>>);

impl Backlog {
    pub(super) fn is(&self, source: Arc<dyn BacklogSource>) {
        // Told once, at the start.
        let _ = self.0.set(source);
    }
}

impl BacklogSource for Backlog {
    fn backlog(&self) -> Vec<TriggerBacklog> {
        self.0.get().map_or_else(Vec::new, |source| source.backlog())
    }
}
