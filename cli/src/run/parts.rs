//! The parts of a Pelton and how they hang together.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use pelton_broker::Ingress;
use pelton_control::admin::{AdminConfig, AdminParts, router};
use pelton_control::{FolderConfig, FolderStore, Topics, TopicsConfig};
use pelton_event::http::Options;
use pelton_event_log::{EmbeddedLog, EventLog};
use pelton_resources::Snapshot;
use pelton_resources::contracts::Sender;
use pelton_runtime::client::{Client, ClientOptions, SystemResolver};
use pelton_runtime::clock::Clock;
use pelton_runtime::config::{Config, TlsFiles};
use pelton_runtime::drain::Drain;
use pelton_runtime::listen::{BoundListener, ListenOptions, Listener, Peer};
use pelton_runtime::telemetry::{Metrics, Tracer, Traces};
use pelton_trigger_dispatcher::{BrokerSender, Dispatcher, HttpSender, Senders, TracedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::log_metrics::LogCollector;
use super::registered::{RegisteredWriter, registered};
use super::services::NoServices;
use super::{could_not_start, ready, settings};
use crate::failure::Failure;

/// Everything that runs.
pub(super) struct Running {
    log: Arc<dyn EventLog>,
    traces: Option<Traces>,
    tasks: JoinSet<&'static str>,
}

impl Running {
    fn part(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// Ends when a part ends although nobody told it to: by a defect. Names it.
    pub(super) async fn ended(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(part)) => part.to_owned(),
            Some(Err(error)) => error.to_string(),
            None => std::future::pending().await,
        }
    }

    /// Closes the log, after the parts: the next start then knows that nothing was cut off. Spans that wait are sent unless
    /// the process is to stop at once.
    pub(super) async fn close(mut self, at_once: bool) {
        self.tasks.abort_all();
        if let Err(error) = self.log.close().await {
            tracing::error!(code = error.code(), %error, "the log could not be closed cleanly; the next start recovers it");
        }
        match self.traces {
            Some(traces) if at_once => traces.abandon(),
            Some(traces) => traces.close().await,
            None => {}
        }
    }
}

/// The listeners, held before anything runs.
struct Listeners {
    ingress: BoundListener,
    admin: BoundListener,
}

/// Starts every part. What fails here leaves nothing running.
pub(super) async fn start(resources: &Path, config: &Config, drain: Drain) -> Result<Running, Failure> {
    let clock = Clock::system();
    let metrics = Metrics::new().map_err(|error| could_not_start(format!("metrics: {error}")))?;
    let traces =
        Traces::start(config).map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    let tracer = traces.as_ref().map(Traces::tracer).unwrap_or_default();
    let store = FolderStore::open(FolderConfig {
        dir: resources.to_owned(),
        data_dir: config.data.dir.clone(),
        defaults: settings::defaults(config),
    })
    .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    // Before the log: a port that is taken leaves no data directory behind.
    let listeners = bind(config)?;
    let log = open_log(config, &clock, &metrics).await?;

    let folder = store.handle();
    let topics = TopicsConfig::new(config.data.dir.clone());
    let topics = Topics::start(topics, log.clone(), clock.clone(), folder.snapshots()).await;
    let (snapshots, in_force) = (topics.snapshots(), topics.in_force());

    let (ingress, ingress_handle) = Ingress::new(
        settings::ingress(config),
        log.clone(),
        snapshots.clone(),
        clock.clone(),
        metrics.registry(),
    )
    .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    let ingress_handle = ingress_handle.with_tracer(tracer.clone());
    let (dispatcher, dispatcher_handle) = dispatcher(config, &log, &snapshots, &clock, &metrics, &tracer)?;
    let dispatcher_handle = Arc::new(dispatcher_handle);
    let first = snapshots.borrow().triggers.keys().cloned().collect::<Vec<_>>();
    let (serving, is_serving) = watch::channel(false);
    let admin = AdminParts {
        snapshots,
        writer: Arc::new(RegisteredWriter {
            writer: Arc::new(folder.writer(in_force)),
            dispatcher: dispatcher_handle.clone(),
        }),
        statuses: vec![Arc::new(ingress_handle.clone()), dispatcher_handle.clone(), Arc::new(folder)],
        log: log.clone(),
        clock,
        ready: ready::check(log.clone(), ingress_handle.clone(), is_serving),
        metrics,
        drain: drain.clone(),
    };
    let admin = TowerToHyperService::new(router(admin_config(config, &listeners), admin));

    let mut running = Running { log, traces, tasks: JoinSet::new() };
    running.part("the folder of resources", store.run(drain.clone()));
    running.part("the topics", topics.run(drain.clone()));
    running.part("the ingress", ingress.run(drain.clone()));
    running.part("the dispatcher", dispatcher.run(drain.clone()));
    running.part("the admin listener", listeners.admin.serve(admin, drain.clone()));
    running.part("the ingress listener", async move {
        // Clients that connect meanwhile wait; so no event comes in before the triggers of the start are in force.
        let in_force =
            async { tokio::join!(ingress_handle.loaded(), registered(&*dispatcher_handle, &first)) };
        tokio::select! {
            () = drain.signaled() => return,
            ((), ()) = in_force => {}
        }
        serving.send_replace(true);
        serve_ingress(listeners.ingress, ingress_handle, drain).await;
    });
    Ok(running)
}

/// Serves the ingress: one client per connection. The future stands in the connection's own memory, without a box for each
/// request.
async fn serve_ingress(listener: BoundListener, handle: pelton_broker::Handle, drain: Drain) {
    let serve = move |peer: Peer| {
        let (handle, client) = (handle.clone(), Arc::new(handle.connect(peer.address.ip())));
        service_fn(move |request| {
            let (handle, client) = (handle.clone(), client.clone());
            async move { Ok::<_, Infallible>(handle.handle(&client, request).await) }
        })
    };
    listener.serve_each(serve, drain).await;
}

fn admin_config(config: &Config, listeners: &Listeners) -> AdminConfig {
    let (ingress, admin) = (listeners.ingress.local_address(), listeners.admin.local_address());
    AdminConfig {
        address: admin,
        token: config.admin.token.clone(),
        version: env!("CARGO_PKG_VERSION"),
        listeners: vec![("ingress", ingress), ("admin", admin)],
    }
}

async fn open_log(config: &Config, clock: &Clock, metrics: &Metrics) -> Result<Arc<dyn EventLog>, Failure> {
    let (settings, clock) = (settings::log(config), clock.clone());
    let log = tokio::task::spawn_blocking(move || EmbeddedLog::open(settings, clock))
        .await
        .map_err(|error| could_not_start(format!("the log: {error}")))?
        .map_err(|error| Failure::failed(Some(error.code()), error.to_string()))?;
    let log = Arc::new(log);
    for notice in log.status().notices {
        tracing::warn!(notice, "the log was recovered");
    }
    LogCollector::new(log.clone())
        .and_then(|collector| metrics.register(collector))
        .map_err(|error| could_not_start(format!("metrics of the log: {error}")))?;
    Ok(log)
}

fn bind(config: &Config) -> Result<Listeners, Failure> {
    let bind = |name: &'static str, address: SocketAddr, tls: &TlsFiles, options| {
        let listener = Listener::bind(name, address, tls, options)
            .map_err(|error| Failure::failed(Some(error.code()), error.to_string()))?;
        tracing::info!(listener = name, address = %listener.local_address(), tls = listener.is_tls(), "listening");
        Ok::<_, Failure>(listener)
    };
    Ok(Listeners {
        ingress: bind("ingress", config.listen.ingress, &config.tls.ingress, (&config.ingress).into())?,
        // Limits of its own: an ingress that is kept small must not make probes and operators wait.
        admin: bind("admin", config.listen.admin, &config.tls.admin, ListenOptions::default())?,
    })
}

fn dispatcher(
    config: &Config,
    log: &Arc<dyn EventLog>,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    clock: &Clock,
    metrics: &Metrics,
    tracer: &Tracer,
) -> Result<(Dispatcher, pelton_trigger_dispatcher::Handle), Failure> {
    let trusted = config.egress.extra_ca_certificates.as_deref();
    let client = Client::new(&ClientOptions::from_config(config), SystemResolver, trusted)
        .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    let http = HttpSender::new(client, clock.clone(), config.dispatch.response_limit.as_usize());
    let http = http.with_header_values(Options { percent_encoded: config.ingress.decode_percent });
    let broker = BrokerSender::new(log.clone(), snapshots.clone(), clock.clone());
    let traced = |sender: Arc<dyn Sender>| -> Arc<dyn Sender> {
        if tracer.is_off() { sender } else { Arc::new(TracedSender::new(sender, tracer.clone())) }
    };
    let senders = Senders { http: traced(Arc::new(http)), broker: traced(Arc::new(broker)) };
    Dispatcher::new(
        settings::dispatcher(config),
        log.clone(),
        snapshots.clone(),
        senders,
        Arc::new(NoServices),
        clock.clone(),
        metrics.registry(),
    )
    .map_err(|error| could_not_start(error.to_string()))
}
