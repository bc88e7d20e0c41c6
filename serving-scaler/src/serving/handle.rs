//! What others hold of serving: the gateway, places for deliveries, the state of Services.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use pelton_resources::contracts::{
    NoSlot, ReplicaLine, ResourceStatus, RevisionState, RouteState, ServingSource, Slot, Slots, StatusSource,
};
use pelton_resources::{Kind, NamespacedName, Snapshot};
use tokio::sync::watch;
use tokio::time::Instant;

use super::view::{Board, RevisionView, ServiceView};
use crate::gateway::{Backend, Client, Gateway, ResponseBody, Table};
use crate::limits::TRAFFIC_PARTS;
use crate::queue::{Class, Closed, NoPlace, Slot as Place};

/// Serving, for those who use it. A clone is the same.
#[derive(Debug, Clone)]
pub struct Handle {
    gateway: Gateway,
    table: watch::Receiver<Arc<Table>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    board: Arc<Board>,
}

/// A delivery's place, which tells how long it was held.
struct Held {
    backend: Arc<Backend>,
    since: Instant,
    _place: Place,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.backend.held.add(self.since.elapsed());
    }
}

impl Handle {
    pub(super) const fn new(
        gateway: Gateway,
        table: watch::Receiver<Arc<Table>>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        board: Arc<Board>,
    ) -> Self {
        Self { gateway, table, snapshots, board }
    }

    /// Answers an HTTP request to a Service.
    pub async fn handle(&self, request: Request<Incoming>, client: &Client) -> Response<ResponseBody> {
        self.gateway.handle(request, client).await
    }

    /// The Services as they are, by name.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        self.board.services()
    }

    async fn place(&self, service: &NamespacedName) -> Result<Slot, NoSlot> {
        let mut table = self.table.clone();
        loop {
            let known = table.borrow_and_update().clone();
            let entry = known.service(service);
            if let Some(backend) = entry.and_then(|entry| entry.backend(fastrand::u32(..TRAFFIC_PARTS))) {
                match backend.queue.acquire(Class::Delivery).await {
                    Ok(place) => {
                        let replica: Box<str> = (&**place.replica()).into();
                        let held = Held { backend: backend.clone(), since: Instant::now(), _place: place };
                        return Ok(Slot::new(replica, held));
                    }
                    Err(NoPlace::Closed(Closed::DoesNotStart(reason))) => {
                        return Err(NoSlot::DoesNotStart {
                            service: service.clone(),
                            reason: (*reason).into(),
                        });
                    }
                    // Another revision takes its place; and a line that is full gets shorter.
                    Err(NoPlace::Closed(Closed::Gone) | NoPlace::Full) => {}
                }
            } else if let Some(failed) = entry.filter(|entry| entry.has_failed) {
                let reason = failed.not_ready.as_str().into();
                return Err(NoSlot::DoesNotStart { service: service.clone(), reason });
            } else if !self.snapshots.borrow().services.contains_key(service) {
                return Err(NoSlot::NoSuchService(service.clone()));
            }
            // It may be too new to be in the table, or name a revision that is not there: its owner will correct that.
            // Serving may also stop; deliveries then stop as well.
            let changed = tokio::time::timeout(crate::limits::RETRY_AFTER_BUSY, table.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Slots for Handle {
    fn acquire<'a>(&'a self, service: &'a NamespacedName) -> BoxFuture<'a, Result<Slot, NoSlot>> {
        Box::pin(self.place(service))
    }
}

impl StatusSource for Handle {
    fn status(&self, kind: Kind, name: &NamespacedName) -> Option<ResourceStatus> {
        if kind != Kind::Service {
            return None;
        }
        self.board.service(name).map(|view| view.status())
    }
}

impl ServingSource for Handle {
    fn revisions(&self) -> Vec<RevisionState> {
        self.board.services().iter().flat_map(|view| &view.revisions).map(RevisionView::state).collect()
    }

    fn routes(&self) -> Vec<RouteState> {
        self.board.services().iter().filter_map(ServiceView::route).collect()
    }

    fn route(&self, service: &NamespacedName) -> Option<RouteState> {
        self.board.service(service)?.route()
    }

    fn lines(&self, service: &NamespacedName) -> Option<Vec<ReplicaLine>> {
        self.board.service(service).map(|view| view.lines())
    }
}
