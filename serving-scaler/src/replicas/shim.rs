//! The process between Pelton and a replica, so that no replica outlives Pelton, however Pelton ends.
//!
//! `pelton replica-shim` holds one end of a socket; Pelton holds the other. When Pelton closes its end, or dies, the kernel
//! tells the shim, and the shim ends the replica: SIGTERM to its process group, time to finish, SIGKILL. The shim adopts what
//! the replica leaves behind (`PR_SET_CHILD_SUBREAPER`), so that a server started by `sh -c '… &'` is found as well. It ends
//! once none of its descendants is left. Over the socket it tells what happens, a [`Report`] a line.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::report::{Ended, Report};

/// Between two rounds of SIGKILL: whatever a dying process has started in between falls to the next one.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// What a shim is told.
#[derive(Debug, Clone)]
pub struct ShimArguments {
    /// How long the replica may go on after SIGTERM.
    pub grace: Duration,
    /// The program and its arguments; at least the program.
    pub program: Vec<OsString>,
}

/// Why a shim cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// It was not started by Pelton.
    #[error("its standard input is no socket of Pelton's ({0}); Pelton itself starts it, for each replica")]
    NoSocket(#[source] io::Error),
    /// The system refuses something that it needs.
    #[error("it cannot {what}: {error}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// Runs the replica until it ends or Pelton is gone, and until nothing of it is left.
///
/// # Errors
/// [`ShimError`] if nothing was started. A program that cannot be started is no error of the shim's: it is reported.
pub fn run(arguments: &ShimArguments) -> Result<(), ShimError> {
    let socket = socket().map_err(ShimError::NoSocket)?;
    let system = |what| move |error| ShimError::System { what, error };
    set_child_subreaper(Some(getpid()))
        .map_err(|error| system("adopt what a replica leaves behind")(error.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("start its event loop"))?;
    runtime.block_on(async {
        let mut pelton = UnixStream::from_std(socket).map_err(system("use its socket"))?;
        // Before there is a child, so that none of their signals is missed.
        let mut ends = signal(SignalKind::child()).map_err(system("hear of its children"))?;
        let mut terminated = signal(SignalKind::terminate()).map_err(system("hear of signals"))?;
        match start(&arguments.program) {
            Ok(leader) => {
                tell(&mut pelton, &Report::Started(leader.as_raw_pid())).await;
                let ended = watch(&mut pelton, leader, arguments.grace, &mut ends, &mut terminated).await;
                tell(&mut pelton, &Report::Ended(ended)).await;
            }
            Err(error) => tell(&mut pelton, &Report::Failed(error.to_string())).await,
        }
        Ok(())
    })
}

/// Standard input, which is one end of Pelton's socket.
fn socket() -> io::Result<StdStream> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = StdStream::from(stdin);
    // Refused by what is no socket.
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Starts the program as the leader of a process group.
fn start(program: &[OsString]) -> io::Result<Pid> {
    let (program, arguments) = program.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).process_group(0).spawn()?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Pelton may be gone: then nobody wants to know.
async fn tell(pelton: &mut UnixStream, report: &Report) {
    let _ = pelton.write_all(format!("{report}\n").as_bytes()).await;
}

/// Waits until the leader has ended or is to end, then until all others have. Answers how the leader did.
async fn watch(
    pelton: &mut UnixStream,
    leader: Pid,
    grace: Duration,
    ends: &mut Signals,
    terminated: &mut Signals,
) -> Ended {
    let mut family = Family { leader, ended: None };
    while family.ended.is_none() {
        tokio::select! {
            _ = ends.recv() => { family.reap(); }
            () = gone(pelton) => break,
            _ = terminated.recv() => break,
        }
    }
    // As in a container: when its first process has ended, nothing of it goes on.
    let mut kill_at = Instant::now() + if family.ended.is_some() { Duration::ZERO } else { grace };
    family.terminate();
    while family.reap() {
        tokio::select! {
            _ = ends.recv() => {}
            () = sleep_until(kill_at) => {
                family.kill();
                kill_at = Instant::now() + KILL_AGAIN;
            }
        }
    }
    family.ended.unwrap_or(Ended::Unknown)
}

/// Ends when Pelton has closed its end. It has nothing to say.
async fn gone(pelton: &mut UnixStream) {
    let mut nothing = [0; 64];
    while pelton.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}

/// The replica's processes: its group, and what the shim has adopted.
struct Family {
    leader: Pid,
    ended: Option<Ended>,
}

impl Family {
    /// Takes note of those that have ended; answers whether any is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.leader => {
                    self.ended = Some(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => Ended::Exited(code),
                        (None, Some(signal)) => Ended::Killed(signal),
                        (None, None) => continue,
                    });
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                // There is no child any more.
                Err(_) => return false,
            }
        }
    }

    fn terminate(&self) {
        let _ = kill_process_group(self.leader, Signal::TERM);
    }

    /// Kills the group, and the children who have left it; theirs come to us and fall to the next round.
    fn kill(&self) {
        let _ = kill_process_group(self.leader, Signal::KILL);
        let me = getpid().as_raw_pid();
        let Ok(processes) = procfs::process::all_processes() else { return };
        for process in processes.flatten() {
            let is_child = process.stat().is_ok_and(|stat| stat.ppid == me);
            if let Some(child) = Pid::from_raw(process.pid).filter(|_| is_child) {
                let _ = kill_process(child, Signal::KILL);
            }
        }
    }
}
