//! What the ingress knows about a broker.

use pelton_resources::contracts::{ResourceStatus, StatusSource};
use pelton_resources::{Kind, NamespacedName, Readiness};

use crate::ingress::Handle;
use crate::routes::Door;

impl StatusSource for Handle {
    fn status(&self, kind: Kind, name: &NamespacedName) -> Option<ResourceStatus> {
        if kind != Kind::Broker {
            return None;
        }
        let routes = self.shared.routes.load();
        let route = routes.of(name)?;
        let metrics = &route.account.metrics;
        Some(ResourceStatus {
            readiness: match &route.door {
                Door::Open { .. } => Readiness::Ready,
                Door::Closed { reason, .. } => Readiness::not_ready("IngressClosed", reason.clone()),
            },
            counters: vec![
                ("requests received", metrics.received.get()),
                ("requests refused", route.account.refused()),
                ("events accepted", metrics.accepted_events.get()),
            ],
            facts: vec![("bytes in flight", route.account.budget.used().to_string())],
            ..ResourceStatus::default()
        })
    }
}
