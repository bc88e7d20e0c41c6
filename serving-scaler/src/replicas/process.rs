//! A replica as a process under its shim, seen from Pelton.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines as LinesOf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};

use super::launch::Launch;
use super::logs::{Lines, follow};
use super::report::{Ended, Report};

/// The command that this binary runs a shim by.
pub const SHIM_COMMAND: &str = "replica-shim";
/// Variables with this prefix are Pelton's own and no business of a replica: its settings and tokens.
const OWN_VARIABLES: &str = "PELTON";

/// How shims are started.
#[derive(Debug, Clone)]
pub struct Shim {
    /// The binary of Pelton.
    pub program: OsString,
}

impl Default for Shim {
    /// The running binary, also once its file was replaced.
    fn default() -> Self {
        Self { program: "/proc/self/exe".into() }
    }
}

/// A replica that was started.
#[derive(Debug)]
pub(super) struct Process {
    shim: Child,
    reports: LinesOf<BufReader<OwnedReadHalf>>,
    /// Closed to end the replica.
    hold: Option<OwnedWriteHalf>,
    /// The leader of the replica's process group.
    leader: Option<Pid>,
}

/// What a process tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// The program runs.
    Started,
    /// The program could not be started.
    Failed(String),
    /// It has ended; there is nothing more to come.
    Ended(Ended),
}

impl Process {
    /// Starts the program; its lines are shown with the name of the replica.
    pub(super) fn start(shim: &Shim, launch: &Launch, replica: Arc<str>, lines: &Lines) -> io::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let (reports, hold) = UnixStream::from_std(ours)?.into_split();
        let mut command = Command::new(&shim.program);
        command.arg0("pelton").arg(SHIM_COMMAND).arg("--grace-ms").arg(launch.grace.as_millis().to_string());
        command.arg("--").args(&launch.program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(OWN_VARIABLES.as_bytes()) {
                command.env_remove(name);
            }
        }
        command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &launch.working_dir {
            command.current_dir(folder);
        }
        // A group of its own: Ctrl-C in the terminal is for Pelton, which ends its replicas in its own order.
        command.process_group(0).stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut shim = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(output) = shim.stdout.take() {
            tokio::spawn(follow(output, replica.clone(), lines.clone()));
        }
        if let Some(output) = shim.stderr.take() {
            tokio::spawn(follow(output, replica, lines.clone()));
        }
        let reports = BufReader::new(reports).lines();
        Ok(Self { shim, reports, hold: Some(hold), leader: None })
    }

    /// The shim's process, of which all others of the replica descend.
    pub(super) fn ancestor(&self) -> Option<i32> {
        self.shim.id().and_then(|id| i32::try_from(id).ok())
    }

    /// Waits for what it tells next. May be dropped and called again.
    pub(super) async fn told(&mut self) -> Told {
        loop {
            let Ok(Some(line)) = self.reports.next_line().await else { break };
            match line.parse() {
                Ok(Report::Started(leader)) => {
                    self.leader = Pid::from_raw(leader);
                    return Told::Started;
                }
                Ok(Report::Failed(reason)) => return Told::Failed(reason),
                Ok(Report::Ended(ended)) => return Told::Ended(ended),
                Err(()) => tracing::debug!(line, "a shim tells what is not understood"),
            }
        }
        // The shim itself is gone, and nobody else ends what it has left.
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        Told::Ended(Ended::Unknown)
    }

    /// Tells the replica to end; [`Process::told`] tells when it has. May be called again.
    pub(super) async fn end(&mut self) {
        if let Some(mut hold) = self.hold.take() {
            let _ = hold.shutdown().await;
        }
    }

    /// Waits until the shim is gone, too.
    pub(super) async fn close(mut self) {
        self.end().await;
        let _ = self.shim.wait().await;
    }
}
