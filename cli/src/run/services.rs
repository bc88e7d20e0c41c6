//! The places on replicas of Services, in a Pelton that runs none.

use futures_core::future::BoxFuture;
use pelton_resources::NamespacedName;
use pelton_resources::contracts::{NoSlot, Slot, Slots};

/// Answers that there is no such Service. (References to one are refused where resources are read.)
#[derive(Debug)]
pub(super) struct NoServices;

impl Slots for NoServices {
    fn acquire<'a>(&'a self, service: &'a NamespacedName) -> BoxFuture<'a, Result<Slot, NoSlot>> {
        Box::pin(std::future::ready(Err(NoSlot::NoSuchService(service.clone()))))
    }
}
