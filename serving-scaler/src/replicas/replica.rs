//! The life of one replica: started, probed until it is ready and as long as it is, ended.

use std::sync::Arc;
use std::time::Duration;

use pelton_resources::{Container, NamespacedName};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fleet::ReplicaId;
use super::launch::{ContainerEngine, Identity, launch};
use super::logs::Lines;
use super::ports::{Port, Ports};
use super::probe::{Change, Prober};
use super::process::{Process, Shim, Told};
use super::sockets::{Listens, who_listens};

/// What all replicas of a machine share.
#[derive(Debug, Clone)]
pub struct Machine {
    /// How shims are started.
    pub shim: Shim,
    /// The ports that replicas listen on.
    pub ports: Ports,
    /// What runs images; `None`: nothing does.
    pub engine: Option<ContainerEngine>,
}

/// What a replica is made of.
#[derive(Debug, Clone)]
pub struct ReplicaSpec {
    /// The Service.
    pub service: NamespacedName,
    /// The revision.
    pub revision: Arc<str>,
    /// The replica, unique in this process.
    pub id: ReplicaId,
    /// What it runs.
    pub container: Arc<Container>,
    /// How long it may go on after it was told to end.
    pub grace: Duration,
}

/// A step in the life of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its program runs.
    Started,
    /// It takes requests on this port.
    Ready(u16),
    /// It takes none at the moment; the reason, for people.
    NotReady(String),
    /// It has ended, and nothing is left of it; why, for people. There is nothing more to come.
    Ended(String),
}

/// A replica that runs in a task of its own; dropping it ends it.
#[derive(Debug)]
pub struct Replica {
    end: CancellationToken,
}

impl Replica {
    /// Starts it; its steps come with its id.
    pub fn start(
        machine: Machine,
        spec: ReplicaSpec,
        lines: Lines,
        steps: mpsc::UnboundedSender<(ReplicaId, Step)>,
    ) -> Self {
        let end = CancellationToken::new();
        let life = Life { machine, spec, steps, end: end.clone() };
        tokio::spawn(life.run(lines));
        Self { end }
    }

    /// Tells it to end. It then tells that it has, within the grace period.
    pub fn end(&self) {
        self.end.cancel();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.end();
    }
}

struct Life {
    machine: Machine,
    spec: ReplicaSpec,
    /// Its steps are few, so that the channel needs no bound.
    steps: mpsc::UnboundedSender<(ReplicaId, Step)>,
    end: CancellationToken,
}

impl Life {
    fn tell(&self, step: Step) {
        // Nobody listens any more when Pelton stops.
        let _ = self.steps.send((self.spec.id, step));
    }

    async fn run(self, lines: Lines) {
        let why = match self.start(&lines) {
            Ok((process, port)) => self.live(process, &port).await,
            Err(reason) => reason,
        };
        self.tell(Step::Ended(why));
    }

    fn start(&self, lines: &Lines) -> Result<(Process, Port), String> {
        let name = self.spec.id.name(&self.spec.revision);
        let port = self.machine.ports.take().map_err(|error| error.to_string())?;
        let identity =
            Identity { service: &self.spec.service, revision: &self.spec.revision, replica: &name };
        let engine = self.machine.engine.as_ref();
        let launch = launch(&self.spec.container, identity, port.number(), self.spec.grace, engine)
            .map_err(|error| error.to_string())?;
        let process = Process::start(&self.machine.shim, &launch, name.into(), lines)
            .map_err(|error| format!("its shim does not start: {error}"))?;
        Ok((process, port))
    }

    /// Answers how it has ended.
    async fn live(&self, mut process: Process, port: &Port) -> String {
        let mut prober = Prober::new(self.spec.container.readiness_probe.clone());
        let began = Instant::now();
        let mut probe_at = began + prober.initial_delay();
        let (mut is_told_to_end, mut runs) = (false, false);
        let why = loop {
            tokio::select! {
                biased;
                told = process.told() => match told {
                    Told::Started => {
                        runs = true;
                        self.tell(Step::Started);
                    }
                    Told::Failed(reason) => break format!("{} does not start: {reason}", self.program()),
                    Told::Ended(ended) => break format!("{} {ended}", self.program()),
                },
                () = self.end.cancelled(), if !is_told_to_end => {
                    is_told_to_end = true;
                    process.end().await;
                }
                () = sleep_until(probe_at), if runs && !is_told_to_end => {
                    // An answer that comes late must not keep an end from being seen.
                    let probed = tokio::select! {
                        biased;
                        () = self.end.cancelled() => continue,
                        probed = self.probe(&process, &prober, port) => probed,
                    };
                    match prober.take_in(probed.is_ok()) {
                        Some(Change::Ready) => self.tell(Step::Ready(port.number())),
                        Some(Change::NotReady) => self.tell(Step::NotReady(probed.err().unwrap_or_default())),
                        None => {}
                    }
                    probe_at = Instant::now() + prober.wait(began.elapsed());
                }
            }
        };
        process.close().await;
        why
    }

    /// A port that answers may be somebody else's, who was quicker; then requests must not go there.
    async fn probe(&self, process: &Process, prober: &Prober, port: &Port) -> Result<(), String> {
        let number = port.number();
        prober.probe(number).await?;
        let Some(ancestor) = process.ancestor().filter(|_| !prober.is_ready() && self.listens_itself())
        else {
            return Ok(());
        };
        let found = tokio::task::spawn_blocking(move || who_listens(number, ancestor)).await;
        match found {
            Ok(Ok(Listens::Other)) => Err(format!("port {number} is another process's")),
            // Where /proc does not tell, the answer to the probe has to do.
            _ => Ok(()),
        }
    }

    fn listens_itself(&self) -> bool {
        let container = &self.spec.container;
        container.process_command.is_some() || !container.command.is_empty()
    }

    fn program(&self) -> &str {
        let container = &self.spec.container;
        let command = container.process_command.as_ref().unwrap_or(&container.command);
        command.first().or(container.image.as_ref()).map_or("the program", String::as_str)
    }
}
