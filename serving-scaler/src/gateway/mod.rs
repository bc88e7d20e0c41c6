//! The gateway: HTTP requests to Services.
//!
//! The modules are in the order of a request's way: the *table* says which revision it is for; it waits for a place on a
//! replica ([`crate::queue`]); its *headers* are made those of a request to the replica; it goes over a *connection*; the
//! *body* of the answer streams back. A *tunnel* is what a connection becomes that changes its protocol. Requests without an
//! answer get a *refusal*.

mod body;
mod connection;
mod headers;
mod refusal;
mod table;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

pub use body::{CutOff, ResponseBody};
pub use headers::Client;
pub use refusal::Refusal;
pub use table::{Answers, Backend, Found, ServiceEntry, Shares, Table, Woken};

use crate::limits::{REPLICAS_TRIED_MAX, TRAFFIC_PARTS};
use crate::queue::{Class, Slot};
use crate::serving::metrics::{Metrics, Phase};
use body::{Streamed, Times};
use connection::{Answer, Connections, Failure};

/// Serves requests; a clone is the same gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    table: Arc<ArcSwap<Table>>,
    connections: Connections,
    metrics: Metrics,
}

impl Gateway {
    /// A gateway that goes by `table`.
    #[must_use]
    pub(crate) fn new(table: Arc<ArcSwap<Table>>, metrics: Metrics) -> Self {
        Self { table, connections: Connections::default(), metrics }
    }

    /// Forgets the connections to a replica (`host:port`) that is gone.
    pub fn forget(&self, replica: &str) {
        self.connections.forget(replica);
    }

    /// Answers a request of `client`. Dropping the future gives the request up.
    pub async fn handle(&self, request: Request<Incoming>, client: &Client) -> Response<ResponseBody> {
        self.answer(request, client).await.unwrap_or_else(|refusal| refusal.response())
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        client: &Client,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let began = Instant::now();
        let Found { backend, path } = self.table.load().find(&request, fastrand::u32(..TRAFFIC_PARTS))?;
        let answer = self.through(request, &backend, path, client, began).await;
        backend.answered(answer.as_ref().ok().map(Response::status));
        self.metrics.requests.observe(began.elapsed().as_secs_f64());
        if let Some(took) = answer.as_ref().ok().and_then(|_| backend.woken.take()) {
            self.metrics.started(Phase::FirstByte, took);
        }
        answer
    }

    /// Waits for a place, then for the answer's head.
    async fn through(
        &self,
        request: Request<Incoming>,
        backend: &Backend,
        path: Option<PathAndQuery>,
        client: &Client,
        began: Instant,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let timeout = backend.timeout;
        let times = Times { began, timeout, idle_timeout: backend.idle_timeout };
        let over = |_| Refusal::Timeout(timeout);
        let slot =
            timeout_at(began + timeout, backend.queue.acquire(Class::Request)).await.map_err(over)??;
        // Waiting for a place is no slowness of the replica.
        let first_byte = backend.response_start_timeout.min(timeout.saturating_sub(began.elapsed()));
        let by = Instant::now() + first_byte;
        // In a box: who waits for a place, which may be thousands, does not take the room for all that comes after.
        let exchange = Box::pin(self.exchange(request, backend, path, client, slot, times));
        timeout_at(by, exchange)
            .await
            .map_err(|_| Refusal::Timeout(first_byte.max(Duration::from_millis(1))))?
    }

    async fn exchange(
        &self,
        mut request: Request<Incoming>,
        backend: &Backend,
        path: Option<PathAndQuery>,
        client: &Client,
        mut slot: Slot,
        times: Times,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let upgrade = headers::upgrade_of(request.headers());
        let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        headers::to_replica(&mut request, backend.protocol, slot.replica(), path, client, upgrade.as_ref());
        let mut tried = 0;
        let answer = loop {
            match self.connections.send(slot.replica(), backend.protocol, request).await {
                Ok(answer) => break answer,
                Err(Failure::Broken(problem)) => return Err(Refusal::Broken(problem)),
                // Nothing was sent: another replica may take it. This one is gone, or is about to be found to be.
                Err(Failure::NotSent { request: again, problem }) => {
                    tried += 1;
                    if tried == REPLICAS_TRIED_MAX {
                        return Err(Refusal::Unreachable(problem));
                    }
                    request = *again;
                    slot = slot.take_another().await?;
                }
            }
        };
        Ok(answered(answer, client_side, slot, times))
    }
}

/// The answer for the client. It holds the place on the replica until its last byte.
fn answered(
    answer: Answer,
    client_side: Option<hyper::upgrade::OnUpgrade>,
    slot: Slot,
    times: Times,
) -> Response<ResponseBody> {
    let Answer { mut response, mut over } = answer;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let (Some(client_side), Some(over)) = (client_side, over.take())
    {
        return tunnel::open(response, client_side, over, slot);
    }
    headers::strip_hop_by_hop(response.headers_mut());
    *response.version_mut() = http::Version::HTTP_11;
    response.map(|incoming| ResponseBody::Streamed(Box::new(Streamed::new(incoming, over, slot, times))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_answer<'a, T>(_: impl FnOnce(&'a Gateway, Request<Incoming>, &'a Client) -> T) -> usize {
        size_of::<T>()
    }

    /// Thousands may wait for a place.
    #[test]
    fn a_request_that_waits_takes_little_room() {
        let size = size_of_answer(Gateway::handle);
        assert!(size <= 2048, "{size} bytes");
    }
}
