//! The Services of this process: revisions, routes, replicas and the gateway as one running part.
//!
//! One task decides ([`Serving::run`]); requests and deliveries go by a table that it replaces ([`Handle`]), and wake it when
//! they wait for a replica. What it decides by is pure and lives beside: [`crate::revisions`], [`crate::routes`],
//! [`crate::scaling`], [`crate::replicas::Fleet`].

mod handle;
mod live;
pub(crate) mod metrics;
mod state;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pelton_resources::contracts::{BacklogSource, TriggerBacklog};
use pelton_resources::{Destination, NamespacedName, Service, Snapshot};
use pelton_runtime::clock::Clock;
use pelton_runtime::drain::Drain;
use prometheus::Registry;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

pub use handle::Handle;
pub use live::Held;
pub use state::OpenError;
pub use view::{RevisionView, ServiceView};

use crate::condition::Condition;
use crate::decision::kpa::TICK;
use crate::decision::sizing::Reachability;
use crate::gateway::{Gateway, ServiceEntry, Shares, Table};
use crate::limits::{COLLECT_EVERY, STOP_CHECK, STOP_WAIT};
use crate::queue::Change as ReplicaChange;
use crate::replicas::{Machine, News, Order, ReplicaId, Step};
use crate::revisions::{Retention, Revision, RevisionState};
use crate::routes::Share;
use crate::routes::address::Entrance;
use crate::scaling::{Rules, TriggerRates};
use live::{GivenUp, Key, Live};
use metrics::{Metrics, Phase};
use state::State;
use view::Board;

/// What serving needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where revisions and routes are kept over a restart.
    pub data_dir: PathBuf,
    /// What replicas run on.
    pub machine: Machine,
    /// Where the gateway listens, for the addresses of Services.
    pub gateway: Entrance,
}

/// The Services of this process. [`Serving::run`] is its task.
#[derive(Debug)]
pub struct Serving {
    machine: Machine,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    backlog: Arc<dyn BacklogSource>,
    clock: Clock,
    state: State,
    services: BTreeMap<NamespacedName, Arc<Service>>,
    live: BTreeMap<Key, Live>,
    owners: HashMap<ReplicaId, Key>,
    next_replica: u64,
    /// Revisions that were retired so far.
    retired: u64,
    rates: TriggerRates,
    /// The backlog as it was told last, by Service.
    backlogs: HashMap<NamespacedName, Vec<TriggerBacklog>>,
    gateway: Gateway,
    table: watch::Sender<Arc<Table>>,
    shared: Arc<ArcSwap<Table>>,
    board: Arc<Board>,
    metrics: Metrics,
    poke: Arc<Notify>,
    /// What replicas tell; the sender is for those that are started.
    told: mpsc::UnboundedReceiver<(ReplicaId, Step)>,
    tell: mpsc::UnboundedSender<(ReplicaId, Step)>,
    seconds: u64,
}

impl Serving {
    /// Serving with what was kept of the last run.
    ///
    /// # Errors
    /// [`OpenError`] if that cannot be read.
    pub fn open(
        config: Config,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        backlog: Arc<dyn BacklogSource>,
        clock: Clock,
        registry: &Registry,
    ) -> Result<(Self, Handle), OpenError> {
        let state = State::open(&config.data_dir)?;
        let shared = Arc::new(ArcSwap::default());
        let table = watch::Sender::default();
        let (tell, told) = mpsc::unbounded_channel();
        let board = Arc::new(Board::new(config.gateway));
        let metrics = Metrics::new(registry, board.clone())?;
        let gateway = Gateway::new(shared.clone(), metrics.clone());
        let handle = Handle::new(gateway.clone(), table.subscribe(), snapshots.clone(), board.clone());
        let serving = Self {
            machine: config.machine,
            snapshots,
            backlog,
            clock,
            state,
            services: BTreeMap::new(),
            live: BTreeMap::new(),
            owners: HashMap::new(),
            next_replica: 0,
            retired: 0,
            rates: TriggerRates::default(),
            backlogs: HashMap::new(),
            gateway,
            table,
            shared,
            board,
            metrics,
            poke: Arc::default(),
            told,
            tell,
            seconds: 0,
        };
        Ok((serving, handle))
    }

    /// Runs the Services until the drain; then until their requests have ended and their replicas are gone.
    pub async fn run(mut self, drain: Drain) {
        self.follow();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut is_stopping = false;
        loop {
            let next = self.next_at();
            let (now, poke) = (self.now(), self.poke.clone());
            tokio::select! {
                biased;
                () = drain.signaled(), if !is_stopping => is_stopping = true,
                changed = self.snapshots.changed(), if !is_stopping => if changed.is_ok() { self.follow() },
                Some((id, step)) = self.told.recv() => self.hear(id, step),
                () = poke.notified() => self.poked(),
                _ = second.tick() => self.second(),
                () = sleep(next.map_or(Duration::MAX, |at| at.saturating_sub(now))), if next.is_some() => {
                    self.due();
                }
                () = sleep(STOP_CHECK), if is_stopping => if self.is_idle() { break },
            }
        }
        self.end_all().await;
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.clock.unix_ms())
    }

    fn next_at(&self) -> Option<Duration> {
        let fleets = self.live.values().filter_map(|live| live.scaling.fleet.next_at());
        let route = self.state.routes.next_at().map(Duration::from_millis);
        fleets.chain(route).min()
    }

    fn due(&mut self) {
        let now = self.now();
        if self.state.routes.next_at().is_some_and(|at| Duration::from_millis(at) <= now) {
            self.route();
        }
        self.step_all();
    }

    /// Follows the resources: new revisions, routes, rules.
    fn follow(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        self.services =
            snapshot.services.iter().map(|(name, service)| (name.clone(), service.clone())).collect();
        let changes = self.state.book.reconcile(&self.services, self.clock.unix_ms());
        for change in &changes {
            tracing::info!(?change, "revisions");
        }
        self.route();
        self.step_all();
    }

    /// Works out where requests go, and what runs for that.
    fn route(&mut self) {
        let now = self.clock.unix_ms();
        self.state.routes.reconcile(&self.services, &self.state.book, now);
        let routes = &self.state.routes;
        let is_routed = |service: &NamespacedName, revision: &str| routes.has_revision(service, revision);
        self.state.book.collect(is_routed, &Retention::default(), now);
        self.see_to_revisions();
        self.publish();
        self.state.routes.in_force(now);
        self.state.save();
    }

    /// A revision lives as long as something leads to it, it is the latest, or it still has replicas.
    fn see_to_revisions(&mut self) {
        let now = self.now();
        let mut gone: BTreeSet<Key> = self.live.keys().cloned().collect();
        for (name, service) in &self.services {
            let Some(own) = self.state.book.of(name) else { continue };
            let latest = own.latest_created().map(|revision| revision.name.as_str());
            for revision in own.all() {
                let is_routed = self.state.routes.has_revision(name, &revision.name);
                let is_latest = latest == Some(revision.name.as_str());
                let key = Key::new(name, &revision.name);
                let is_starting = is_latest && matches!(revision.state, RevisionState::Starting);
                let reachability = match (is_routed, is_starting) {
                    (true, _) => Reachability::Reachable,
                    (false, true) => Reachability::Unknown,
                    (false, false) => Reachability::Unreachable,
                };
                let is_wanted = is_routed || is_latest;
                let rules = rules(service, revision, is_latest, reachability);
                match self.live.get_mut(&key) {
                    Some(live) if is_wanted || live.is_in_use() => {
                        gone.remove(&key);
                        live.follow(revision, rules, now);
                    }
                    None if is_wanted => {
                        let live = Live::new(&key, revision, rules, now, &self.poke);
                        self.live.insert(key, live);
                    }
                    _ => {}
                }
            }
        }
        for key in gone.into_iter().filter(|key| !key.is_retired()) {
            self.retire(&key);
        }
        self.live.retain(|_, live| !live.is_over());
        for (key, live) in &mut self.live {
            live.share = self.state.routes.get(&key.service).map_or(0.0, |route| {
                let own = route.shares().iter().filter(|share| *share.revision == *key.revision);
                own.map(|share| f64::from(share.percent) / 100.0).sum()
            });
        }
    }

    /// Puts a revision aside that nothing leads to any more. A new one of its name has nothing to do with it.
    fn retire(&mut self, key: &Key) {
        let Some(mut live) = self.live.remove(key) else { return };
        live.retire();
        self.retired += 1;
        let aside = key.retired(self.retired);
        for owner in self.owners.values_mut().filter(|owner| *owner == key) {
            *owner = aside.clone();
        }
        self.live.insert(aside, live);
    }

    /// Replaces the table that requests go by.
    fn publish(&self) {
        let mut services = HashMap::with_capacity(self.services.len());
        for name in self.services.keys() {
            services.insert(name.clone(), self.entry(name));
        }
        let table = Arc::new(Table::new(services));
        self.shared.store(table.clone());
        self.table.send_replace(table);
        self.show();
    }

    fn entry(&self, name: &NamespacedName) -> ServiceEntry {
        let Some(route) = self.state.routes.get(name) else { return ServiceEntry::default() };
        let mut entry = ServiceEntry {
            traffic: self.shares(name, route.shares()),
            tags: route
                .tags()
                .iter()
                .map(|(tag, shares)| (tag.as_str().into(), self.shares(name, shares)))
                .collect(),
            not_ready: String::new(),
            has_failed: false,
        };
        if entry.traffic.is_empty() {
            let latest = self.state.book.of(name).and_then(|own| own.latest_created());
            match (latest, route.condition()) {
                // Its first replica is on its way: requests wait for it rather than fail.
                (Some(revision), Condition::Unknown(_)) if revision.state == RevisionState::Starting => {
                    let share = [Share::new(&revision.name, 100)];
                    entry.traffic = self.shares(name, &share);
                }
                (latest, condition) => {
                    entry.not_ready = view::why(condition.cause());
                    entry.has_failed =
                        latest.is_some_and(|latest| matches!(latest.state, RevisionState::Failed(_)));
                }
            }
        }
        entry
    }

    fn shares(&self, service: &NamespacedName, shares: &[Share]) -> Shares {
        let backend = |share: &Share| {
            let key = Key::new(service, &share.revision);
            Some((share.percent, self.live.get(&key)?.backend.clone()))
        };
        shares.iter().filter_map(backend).collect()
    }

    /// Somebody waits for a replica, or a replica that drains has finished.
    fn poked(&mut self) {
        let now = self.now();
        let starved: Vec<_> = self
            .live
            .iter()
            .filter(|(_, live)| live.scaling.replicas() == 0 && live.backend.queue.is_starved())
            .map(|(key, _)| key.clone())
            .collect();
        if !starved.is_empty() {
            self.ask_backlog();
        }
        for key in starved {
            let backlogs = self.backlogs.get(&key.service).map_or(&[][..], Vec::as_slice);
            if let Some(live) = self.live.get_mut(&key) {
                live.poke(now);
                live.decide(now, backlogs, &self.rates);
            }
        }
        self.step_all();
        self.show();
    }

    fn second(&mut self) {
        let now = self.now();
        self.seconds += 1;
        for live in self.live.values_mut() {
            live.record(now);
        }
        self.ask_backlog();
        self.rates.record(&self.backlogs.values().flatten().cloned().collect::<Vec<_>>());
        if self.seconds.is_multiple_of(COLLECT_EVERY.as_secs()) {
            // Notes who is in traffic, so that whoever leaves it is kept from then on.
            self.route();
        }
        if !self.seconds.is_multiple_of(TICK.as_secs()) {
            return;
        }
        let mut given_up = Vec::new();
        for (key, live) in &mut self.live {
            let backlogs = self.backlogs.get(&key.service).map_or(&[][..], Vec::as_slice);
            live.decide(now, backlogs, &self.rates);
            given_up.extend(live.given_up(now).map(|given_up| (key.clone(), given_up)));
        }
        for (Key { service, revision, .. }, given_up) in &given_up {
            match given_up {
                GivenUp::ForNow(why) => {
                    tracing::error!(%revision, %service, "its replicas do not start: {why}");
                }
                GivenUp::Failed(cause) => {
                    tracing::error!(%revision, %service, "the revision does not start: {}", cause.message);
                    self.state.book.set_state(service, revision, RevisionState::Failed(cause.clone()));
                }
            }
        }
        if !given_up.is_empty() {
            self.route();
        }
        self.step_all();
        self.show();
    }

    /// Asks for the events that wait, by Service.
    fn ask_backlog(&mut self) {
        self.backlogs.clear();
        if self.services.is_empty() {
            // Many triggers, and none of them here.
            return;
        }
        for backlog in self.backlog.backlog() {
            if let Some(Destination::Service { name, .. }) = &backlog.subscriber {
                self.backlogs.entry(name.clone()).or_default().push(backlog);
            }
        }
    }

    /// Takes in what a replica tells.
    fn hear(&mut self, id: ReplicaId, step: Step) {
        let now = self.now();
        let Some(key) = self.owners.get(&id).cloned() else { return };
        let Some(live) = self.live.get_mut(&key) else { return };
        let news = match step {
            Step::Started => {
                if let Some(took) = live.runs(id) {
                    self.metrics.started(Phase::Process, took);
                }
                return;
            }
            Step::Ready(port) => {
                if let Some(took) = live.is_ready(id) {
                    self.metrics.started(Phase::Readiness, took);
                }
                News::Ready(port)
            }
            Step::NotReady(reason) => {
                tracing::warn!(replica = %id.name(&key.revision), "it is not ready any more: {reason}");
                News::NotReady
            }
            Step::Ended(why) => {
                self.owners.remove(&id);
                live.ended(id, &why);
                News::Ended(why.into())
            }
        };
        let became_ready = matches!(news, News::Ready(_));
        if became_ready {
            live.pardon();
        }
        if let Some(order) = live.scaling.fleet.hear(id, news, now) {
            self.obey(&key, order);
        }
        if became_ready && self.state.book.set_state(&key.service, &key.revision, RevisionState::Ready) {
            tracing::info!(revision = %key.revision, service = %key.service, "the revision is ready");
            self.route();
        }
        self.step_all();
        self.show();
    }

    fn step_all(&mut self) {
        let now = self.now();
        let keys: Vec<_> = self.live.keys().cloned().collect();
        for key in keys {
            let next = &mut self.next_replica;
            let Some(live) = self.live.get_mut(&key) else { continue };
            let orders = live.step(now, || {
                *next += 1;
                ReplicaId(*next)
            });
            for order in orders {
                self.obey(&key, order);
            }
        }
        self.live.retain(|_, live| !live.is_over());
    }

    fn obey(&mut self, key: &Key, order: Order) {
        let Some(live) = self.live.get_mut(key) else { return };
        match order {
            Order::Start(id) => {
                self.owners.insert(id, key.clone());
                if let Some(waited) = live.starts_for_someone() {
                    self.metrics.started(Phase::Decision, waited);
                }
                live.start(key, id, self.machine.clone(), self.tell.clone());
            }
            Order::Admit(id, port) => {
                let replica: Arc<str> = format!("127.0.0.1:{port}").into();
                live.addresses.insert(id, replica.clone());
                if live.scaling.fleet.ready() == 1 {
                    live.backend.woken.set();
                }
                live.backend.queue.replicas(&[ReplicaChange::Ready(replica)]);
            }
            Order::Withdraw(id) => {
                let Some(replica) = live.addresses.get(&id).cloned() else { return };
                if live.is_gone(id) {
                    live.addresses.remove(&id);
                    live.backend.queue.replicas(&[ReplicaChange::Gone(replica.clone())]);
                    self.gateway.forget(&replica);
                } else {
                    live.backend.queue.replicas(&[ReplicaChange::Draining(replica)]);
                }
            }
            Order::End(id) => live.end(id),
        }
    }

    /// Shows what there is to those who ask.
    fn show(&self) {
        self.board.show(&self.services, &self.state, &self.live);
    }

    /// Whether no request is there.
    fn is_idle(&self) -> bool {
        self.live.values().all(|live| !live.is_busy())
    }

    /// Ends every replica, and waits until they are gone. Their shims see to those that take longer.
    async fn end_all(&mut self) {
        for live in self.live.values_mut() {
            live.end_all();
        }
        let until = Instant::now() + STOP_WAIT;
        while !self.owners.is_empty() {
            match timeout_at(until, self.told.recv()).await {
                Ok(Some((id, Step::Ended(_)))) => {
                    self.owners.remove(&id);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.state.save();
    }
}

/// The bounds of the latest revision are the Service's own; those of an older one what its template says, over which the
/// Service's own count as well.
fn rules(service: &Service, revision: &Revision, is_latest: bool, reachability: Reachability) -> Rules {
    let template = revision.template.as_ref().clone();
    let bounds =
        if is_latest { service.bounds() } else { service.scaling.bounds_over(template.autoscaling.bounds) };
    Rules::new(template, service.scaling.clone(), bounds, reachability)
}
