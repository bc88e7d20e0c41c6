//! The Services of this process, and what stands in for them where it runs none.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use futures_core::future::BoxFuture;
use hyper::service::service_fn;
use pelton_resources::NamespacedName;
use pelton_resources::contracts::{BacklogSource, NoSlot, Slot, Slots, TriggerBacklog};
use pelton_runtime::drain::Drain;
use pelton_runtime::listen::{BoundListener, Peer};
use pelton_serving_scaler::gateway::Client;
use pelton_serving_scaler::replicas::{ContainerEngine, Machine, Ports, Shim};
use pelton_serving_scaler::routes::address::Entrance;
use pelton_serving_scaler::serving::{Config as ServingConfig, Handle, Serving};

use super::parts::{Ground, Running};
use crate::failure::Failure;

/// Starts running Services, and the gateway to them.
pub(super) fn start(
    running: &mut Running,
    ground: &Ground<'_>,
    listener: BoundListener,
    backlog: Arc<Backlog>,
) -> Result<Arc<Handle>, Failure> {
    let Ground { config, snapshots, clock, metrics, drain, .. } = ground;
    let machine = Machine {
        shim: Shim::default(),
        ports: Ports::new(config.serving.replica_ports.ports()),
        engine: ContainerEngine::find(std::env::var_os("PATH")),
    };
    let config = ServingConfig {
        data_dir: config.data.dir.clone(),
        machine,
        gateway: Entrance { port: listener.local_address().port(), tls: listener.is_tls() },
    };
    let (serving, handle) =
        Serving::open(config, snapshots.clone(), backlog, clock.clone(), metrics.registry())
            .map_err(|error| Failure::failed(Some(error.code()), error.to_string()))?;
    let handle = Arc::new(handle);
    running.part("serving", serving.run(drain.clone()));
    running.part("the gateway listener", serve_gateway(listener, handle.clone(), drain.clone()));
    Ok(handle)
}

async fn serve_gateway(listener: BoundListener, handle: Arc<Handle>, drain: Drain) {
    let serve = move |peer: Peer| {
        let (handle, client) = (handle.clone(), Arc::new(Client::new(peer.address.ip(), peer.is_tls)));
        service_fn(move |request| {
            let (handle, client) = (handle.clone(), client.clone());
            async move { Ok::<_, Infallible>(handle.handle(request, &client).await) }
        })
    };
    listener.serve_each(serve, drain).await;
}

/// The places on replicas of the Services of this process, if it runs any.
pub(super) fn slots(services: Option<&Arc<Handle>>) -> Arc<dyn Slots> {
    match services {
        Some(services) => services.clone(),
        None => Arc::new(NoServices),
    }
}

/// The places on replicas of Services, in a Pelton that runs none. (References to one are refused where resources are read.)
#[derive(Debug)]
struct NoServices;

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
