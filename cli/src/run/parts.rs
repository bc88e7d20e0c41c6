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
use pelton_event_log::EventLog;
use pelton_resources::contracts::{Sender, ServingSource, Slots, StatusSource};
use pelton_resources::{NamespacedName, Snapshot};
use pelton_runtime::client::{Client, ClientOptions, SystemResolver};
use pelton_runtime::clock::Clock;
use pelton_runtime::config::{Config, TlsFiles};
use pelton_runtime::drain::Drain;
use pelton_runtime::listen::{BoundListener, ListenOptions, Listener, Peer};
use pelton_runtime::telemetry::{Metrics, Tracer, Traces};
use pelton_trigger_dispatcher::{BrokerSender, Dispatcher, HandBacker, HttpSender, Senders, TracedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::registered::{NoDispatcher, RegisteredWriter, Registering, registered};
use super::services::Backlog;
use super::{Role, could_not_start, log, ready, services, settings};
use crate::failure::Failure;

/// Everything that runs.
pub(super) struct Running {
    log: Arc<dyn EventLog>,
    traces: Option<Traces>,
    tasks: JoinSet<&'static str>,
}

impl Running {
    pub(super) fn part(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
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
    ingress: Option<BoundListener>,
    gateway: Option<BoundListener>,
    admin: BoundListener,
}

/// Starts every part of the role. What fails here leaves nothing running.
pub(super) async fn start(
    resources: &Path,
    config: &Config,
    role: Role,
    drain: Drain,
) -> Result<Running, Failure> {
    let clock = Clock::system();
    let metrics = Metrics::new().map_err(|error| could_not_start(format!("metrics: {error}")))?;
    let traces =
        Traces::start(config).map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    let tracer = traces.as_ref().map(Traces::tracer).unwrap_or_default();
    let store = open_folder(resources, config, role)?;
    // Before the log: a port that is taken leaves no data directory behind.
    let listeners = bind(config, role)?;
    let log = log::open(config, &clock, &metrics).await?;
    let mut running = Running { log: log.clone(), traces, tasks: JoinSet::new() };

    let folder = store.handle();
    let topics = Topics::start(topics_config(config), log.clone(), clock.clone(), folder.snapshots()).await;
    let in_force = topics.in_force();
    let ground = Ground { config, log, snapshots: topics.snapshots(), clock, metrics, tracer, drain };
    let mut statuses: Vec<Arc<dyn StatusSource>> = Vec::new();

    let addresses = listeners.addresses();
    let backlog = Arc::new(Backlog::default());
    let start_services = |listener| services::start(&mut running, &ground, listener, backlog.clone());
    let services = listeners.gateway.map(start_services).transpose()?;
    statuses.extend(services.clone().map(|services| -> Arc<dyn StatusSource> { services }));
    let slots = services::slots(services.as_ref());
    let mut registering: Arc<dyn Registering> = Arc::new(NoDispatcher);
    if role.delivers() {
        let (dispatcher, handle) = dispatcher(&ground, slots)?;
        let handle = Arc::new(handle);
        backlog.is(handle.clone());
        statuses.push(handle.clone());
        registering = handle;
        running.part("the dispatcher", dispatcher.run(ground.drain.clone()));
    }
    let (serving, is_serving) = watch::channel(listeners.ingress.is_none());
    let mut ingress = None;
    if let Some(listener) = listeners.ingress {
        let handle = start_ingress(&mut running, &ground, listener, registering.clone(), serving)?;
        statuses.insert(0, Arc::new(handle.clone()));
        ingress = Some(handle);
    }
    statuses.push(Arc::new(folder.clone()));
    let Ground { log, snapshots, clock, metrics, drain, .. } = ground;
    let writer = RegisteredWriter { writer: Arc::new(folder.writer(in_force)), dispatcher: registering };
    let admin = AdminParts {
        snapshots: snapshots.clone(),
        writer: Arc::new(writer),
        statuses,
        serving: services.map(|services| -> Arc<dyn ServingSource> { services }),
        hand_back: Arc::new(HandBacker::new(log.clone(), snapshots)),
        log: log.clone(),
        clock,
        ready: ready::check(log, ingress, is_serving),
        metrics,
        drain: drain.clone(),
    };
    let admin = TowerToHyperService::new(router(admin_config(config, addresses), admin));
    running.part("the folder of resources", store.run(drain.clone()));
    running.part("the topics", topics.run(drain.clone()));
    running.part("the admin listener", listeners.admin.serve(admin, drain));
    Ok(running)
}

/// What every part stands on.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) tracer: Tracer,
    pub(super) drain: Drain,
}

/// The ingress, which is served once the triggers that there are now are in force.
fn start_ingress(
    running: &mut Running,
    ground: &Ground<'_>,
    listener: BoundListener,
    registering: Arc<dyn Registering>,
    serving: watch::Sender<bool>,
) -> Result<pelton_broker::Handle, Failure> {
    let Ground { config, log, snapshots, clock, metrics, tracer, drain } = ground;
    let config = settings::ingress(config);
    let (ingress, handle) =
        Ingress::new(config, log.clone(), snapshots.clone(), clock.clone(), metrics.registry())
            .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))?;
    let handle = handle.with_tracer(tracer.clone());
    running.part("the ingress", ingress.run(drain.clone()));
    let first = snapshots.borrow().triggers.keys().cloned().collect::<Vec<_>>();
    let opened = serve_when_in_force(listener, handle.clone(), registering, first, serving, drain.clone());
    running.part("the ingress listener", opened);
    Ok(handle)
}

/// Serves the ingress once the triggers of the start are in force: clients that connect meanwhile wait.
async fn serve_when_in_force(
    listener: BoundListener,
    handle: pelton_broker::Handle,
    registering: Arc<dyn Registering>,
    first: Vec<NamespacedName>,
    serving: watch::Sender<bool>,
    drain: Drain,
) {
    let in_force = async { tokio::join!(handle.loaded(), registered(&*registering, &first)) };
    tokio::select! {
        () = drain.signaled() => return,
        ((), ()) = in_force => {}
    }
    serving.send_replace(true);
    serve_ingress(listener, handle, drain).await;
}

fn open_folder(resources: &Path, config: &Config, role: Role) -> Result<FolderStore, Failure> {
    FolderStore::open(FolderConfig {
        dir: resources.to_owned(),
        data_dir: config.data.dir.clone(),
        defaults: settings::defaults(config, role),
    })
    .map_err(|error| Failure::usage(Some(error.code()), error.to_string()))
}

/// On Kafka topics go only by command.
fn topics_config(config: &Config) -> TopicsConfig {
    let topics = TopicsConfig::new(config.data.dir.clone());
    if config.kafka.servers.is_empty() { topics } else { TopicsConfig { keep_deleted: None, ..topics } }
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

fn admin_config(config: &Config, listeners: Vec<(&'static str, SocketAddr)>) -> AdminConfig {
    let admin = listeners.iter().find(|(name, _)| *name == ADMIN).map(|(_, address)| *address);
    AdminConfig {
        address: admin.unwrap_or(config.listen.admin),
        token: config.admin.token.clone(),
        version: env!("CARGO_PKG_VERSION"),
        listeners,
    }
}

const INGRESS: &str = "ingress";
const GATEWAY: &str = "gateway";
const ADMIN: &str = "admin";

impl Listeners {
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let others = [(INGRESS, &self.ingress), (GATEWAY, &self.gateway)].into_iter();
        let others = others.filter_map(|(name, listener)| Some((name, listener.as_ref()?.local_address())));
        others.chain([(ADMIN, self.admin.local_address())]).collect()
    }
}

fn bind(config: &Config, role: Role) -> Result<Listeners, Failure> {
    let bind = |name: &'static str, address: SocketAddr, tls: &TlsFiles, options| {
        let listener = Listener::bind(name, address, tls, options)
            .map_err(|error| Failure::failed(Some(error.code()), error.to_string()))?;
        tracing::info!(listener = name, address = %listener.local_address(), tls = listener.is_tls(), "listening");
        Ok::<_, Failure>(listener)
    };
    let ingress = || bind(INGRESS, config.listen.ingress, &config.tls.ingress, (&config.ingress).into());
    // Requests to Services may be long, and so may the pauses between them: their own time-outs are those of the Service.
    let gateway = || bind(GATEWAY, config.listen.gateway, &config.tls.gateway, ListenOptions::default());
    Ok(Listeners {
        ingress: if role.takes_events() { Some(ingress()?) } else { None },
        gateway: if role.serves() { Some(gateway()?) } else { None },
        // Limits of its own: an ingress that is kept small must not make probes and operators wait.
        admin: bind(ADMIN, config.listen.admin, &config.tls.admin, ListenOptions::default())?,
    })
}

fn dispatcher(
    ground: &Ground<'_>,
    slots: Arc<dyn Slots>,
) -> Result<(Dispatcher, pelton_trigger_dispatcher::Handle), Failure> {
    let Ground { config, log, snapshots, clock, metrics, tracer, .. } = ground;
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
        slots,
        clock.clone(),
        metrics.registry(),
    )
    .map_err(|error| could_not_start(error.to_string()))
}
