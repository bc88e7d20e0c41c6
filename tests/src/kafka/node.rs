//! One node: a folder and, while it runs, a JVM.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use super::jars;
use super::ports::Ports;
use super::secrets::Secrets;

/// Any will do; a cluster never meets another one.
const CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// What a failed start shows of the log.
const LAST_LINES: usize = 40;
/// What a node says when all of it serves.
const STARTED: &str = "Kafka Server started";

#[derive(Debug)]
pub(super) struct Node {
    pub(super) number: u32,
    pub(super) ports: Ports,
    folder: PathBuf,
    running: Mutex<Option<Running>>,
}

/// A JVM and the shell that watches over it.
#[derive(Debug)]
struct Running {
    java: Child,
    watchdog: Child,
    /// Where its part of the log begins.
    log_start: u64,
}

impl Node {
    /// Writes the settings of a node to a folder in that of the cluster.
    pub(super) fn new(number: u32, ports: Ports, cluster: &Path, settings: &str) -> Self {
        let folder = cluster.join(format!("node-{number}"));
        std::fs::create_dir(&folder).unwrap();
        let node = Self { number, ports, folder, running: Mutex::new(None) };
        std::fs::write(node.settings(), settings).unwrap();
        node
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("kafka.log")
    }

    /// Begins to format the storage of the node, where the first users are written too.
    pub(super) fn format(&self, libraries: &Path, secrets: &Secrets) -> Child {
        let mut command = jars::java(libraries);
        command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(self.settings());
        for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256"] {
            let user = format!("{mechanism}=[name={},password={}]", secrets.user, secrets.password);
            command.arg("--add-scram").arg(user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("java can be run")
    }

    /// Starts the JVM.
    pub(super) fn spawn(&self, libraries: &Path) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let log_start = log.metadata().unwrap().len();
        let mut command = jars::java(libraries);
        command.arg(format!("-Dkafka.logs.dir={}", self.folder.display()));
        command.arg("kafka.Kafka").arg(self.settings());
        // A group of its own: an interrupt at the terminal ends the test, and the test ends the node.
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let java = command.spawn().expect("java can be run");
        let watchdog = watchdog(java.id(), self.folder.parent().expect("a cluster has a folder"));
        *self.running.lock().unwrap() = Some(Running { java, watchdog, log_start });
    }

    /// `kill -9`, and waits until the process is gone. Nothing happens where none runs.
    pub(super) fn kill(&self) {
        drop(self.running.lock().unwrap().take());
    }

    /// Sends a signal by its short name.
    pub(super) fn signal(&self, name: &str) {
        let id = self.process().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill can be run");
        assert!(status.success(), "signal {name}");
    }

    /// The number of the JVM's process.
    pub(super) fn process(&self) -> u32 {
        self.running.lock().unwrap().as_ref().expect("the node runs").java.id()
    }

    pub(super) fn is_running(&self) -> bool {
        let mut running = self.running.lock().unwrap();
        running.as_mut().is_some_and(|running| running.java.try_wait().unwrap().is_none())
    }

    /// Whether the running JVM said that it serves.
    pub(super) fn has_started(&self) -> bool {
        let running = self.running.lock().unwrap();
        running.as_ref().is_some_and(|running| self.read_log(running.log_start).contains(STARTED))
    }

    /// The last lines of the log.
    pub(super) fn log(&self) -> String {
        let text = self.read_log(0);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    fn read_log(&self, from: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.log_path()) {
            file.seek(SeekFrom::Start(from)).unwrap();
            file.read_to_end(&mut bytes).unwrap();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Kills the JVM and clears the folder when the test process ends without doing so: the pipe to it closes then. A signal at
/// the parent's death would not do: it comes with the death of the thread that made the child, and threads of tests end
/// before others are done with a shared Kafka.
fn watchdog(java: u32, folder: &Path) -> Child {
    let script = r#"read -r _; kill -9 "$1"; rm -rf "$2" 2>/dev/null || { sleep 1; rm -rf "$2"; }"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "watchdog", &java.to_string()]).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().expect("sh can be run")
}

impl Drop for Running {
    fn drop(&mut self) {
        // The watchdog goes before the JVM's number is given back, lest it kills another process of that number.
        let _ = self.java.kill();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.java.wait();
    }
}
