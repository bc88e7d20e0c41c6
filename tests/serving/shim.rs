//! What a shim holds ends with it, whatever it has become.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pelton_tests::eventually;
use pelton_tests::pelton::binary;

/// A shim whose socket is held here.
struct Held {
    shim: Child,
    socket: UnixStream,
    /// What all processes of its replica have on their command line.
    mark: String,
}

impl Held {
    /// Starts `script` in a shell, with `MARK` in place of a number of seconds that no other process sleeps.
    fn new(grace_ms: u32, script: &str) -> Self {
        let mark = format!("{}.{}", fastrand::u32(100_000..200_000), fastrand::u32(1000..9999));
        let script = script.replace("MARK", &mark);
        let held = Self::start(grace_ms, &["sh", "-c", &script], mark);
        assert!(held.report().starts_with("started "));
        held
    }

    fn start(grace_ms: u32, program: &[&str], mark: String) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let shim = Command::new(binary())
            .args(["replica-shim", "--grace-ms", &grace_ms.to_string(), "--"])
            .args(program)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        Self { shim, socket, mark }
    }

    fn report(&self) -> String {
        let mut line = String::new();
        // Nothing is read ahead that a later call would miss: the shim writes a line at a time.
        BufReader::new(&self.socket).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The programs of its processes.
    fn processes(&self) -> Vec<String> {
        let program = |path: PathBuf| {
            let command = String::from_utf8_lossy(&fs::read(path.join("cmdline")).ok()?).into_owned();
            let program = command.split('\0').next()?.to_owned();
            (command.contains(&self.mark) && ["sh", "sleep"].contains(&program.as_str())).then_some(program)
        };
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| program(entry.path())).collect()
    }

    /// Waits until so many sleep. (A child of the shell is a shell at first, and may miss a signal.)
    async fn sleeps(&self, count: usize) {
        eventually("the replica's processes are there", async || {
            let sleeping = self.processes().into_iter().filter(|program| program == "sleep").count();
            (sleeping == count).then_some(())
        })
        .await;
    }

    /// Lets it go, and waits until it has ended; answers its last report.
    fn let_go(mut self) -> String {
        self.socket.shutdown(Shutdown::Write).unwrap();
        let report = self.report();
        assert!(self.shim.wait().unwrap().success());
        assert_eq!(self.processes(), Vec::<String>::new(), "nothing is left of it");
        report
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.shim.kill();
    }
}

#[tokio::test]
async fn a_shell_and_all_that_it_has_started_end_together() {
    let held = Held::new(60_000, "sleep MARK & sleep MARK & wait");
    held.sleeps(2).await;
    assert_eq!(held.let_go(), "killed 15");
}

#[tokio::test]
async fn who_does_not_end_is_killed_when_its_time_is_over() {
    let held = Held::new(200, "trap '' TERM; sleep MARK; sleep MARK");
    held.sleeps(1).await;
    assert_eq!(held.let_go(), "killed 9");
}

/// It has left the group, and its parent is gone: the shim has adopted it.
#[tokio::test]
async fn who_leaves_the_group_is_found() {
    let held = Held::new(200, "(setsid sleep MARK &) ; sleep MARK");
    held.sleeps(2).await;
    assert_eq!(held.let_go(), "killed 15");
}

#[tokio::test]
async fn nothing_goes_on_when_the_first_process_has_ended() {
    let mut held = Held::new(60_000, "setsid sleep MARK & exit 7");
    assert_eq!(held.report(), "exited 7");
    assert!(held.shim.wait().unwrap().success());
    assert_eq!(held.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_finishes_within_its_time_is_left_to_it() {
    let held = Held::new(60_000, "trap 'sleep 0.2; exit 3' TERM; sleep MARK & wait");
    held.sleeps(1).await;
    assert_eq!(held.let_go(), "exited 3");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let mut held = Held::start(1000, &["/nowhere/model-server"], "none".into());
    let report = held.report();
    assert!(report.starts_with("failed ") && report.contains("No such file"), "{report}");
    assert!(held.shim.wait().unwrap().success());
}

#[test]
fn nobody_else_starts_it() {
    let output = Command::new(binary())
        .args(["replica-shim", "--grace-ms", "1", "--", "true"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no socket of Pelton's"));
}
