//! A connection that has changed its protocol, to WebSocket for instance: bytes go both ways until one side closes.

use http::Response;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::body::ResponseBody;
use super::connection::InUse;
use crate::queue::Slot;

/// The answer that tells the client of the change. Once it has it, its connection and that to the replica are joined; the
/// place on the replica is held as long.
pub(super) fn open(
    mut response: Response<Incoming>,
    client_side: OnUpgrade,
    over: InUse,
    slot: Slot,
) -> Response<ResponseBody> {
    let replica_side = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        // The connection hands its socket over when it is driven to its end.
        let (replica, ()) = tokio::join!(replica_side, over.finish());
        let (Ok(replica), Ok(client)) = (replica, client_side.await) else { return };
        let (mut replica, mut client) = (TokioIo::new(replica), TokioIo::new(client));
        // However it ends, both are closed.
        let _ = copy_bidirectional(&mut client, &mut replica).await;
        drop(slot);
    });
    response.map(|_| ResponseBody::Own(Full::new(Bytes::new())))
}
