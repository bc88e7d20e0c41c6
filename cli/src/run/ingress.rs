//! The ingress as a service of its listener: one client per connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use pelton_broker::{Client, Handle, ResponseBody};
use pelton_runtime::listen::Peer;

/// One connection to the ingress.
pub(super) struct Connection {
    handle: Handle,
    client: Arc<Client>,
}

impl Connection {
    pub(super) fn new(handle: &Handle, peer: Peer) -> Self {
        Self { handle: handle.clone(), client: Arc::new(handle.connect(peer.address.ip())) }
    }
}

impl Service<Request<Incoming>> for Connection {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (handle, client) = (self.handle.clone(), self.client.clone());
        Box::pin(async move { Ok(handle.handle(&client, request).await) })
    }
}
