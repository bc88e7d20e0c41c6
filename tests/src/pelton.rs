//! The real binary: built once, started on free ports, stopped or killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{eventually, http};

/// The binary under test: `PELTON_BIN`, else the one cargo built beside this test.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PELTON_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let path = folder.join("pelton");
    assert!(path.exists(), "{} is not built: `cargo build -p pelton-cli`, or set PELTON_BIN", path.display());
    path
}

/// A folder of resources and a data directory, with Pelton runs over them.
#[derive(Debug)]
pub struct Site {
    folder: Arc<tempfile::TempDir>,
    role: &'static str,
    settings: Vec<(String, String)>,
}

impl Site {
    /// A site whose resources are `yaml`.
    #[must_use]
    pub fn new(yaml: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a scratch directory can be made"));
        std::fs::create_dir(folder.path().join("resources")).unwrap();
        let site = Self { folder, role: "run", settings: Vec::new() };
        site.write("resources.yaml", yaml);
        site
    }

    /// Runs a single role, as the command of that name does.
    #[must_use]
    pub fn role(mut self, role: &'static str) -> Self {
        self.role = role;
        self
    }

    /// Adds a setting, as `PELTON__SECTION__KEY`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes (or replaces, in one step) a file of the resource folder.
    pub fn write(&self, name: &str, yaml: &str) {
        let path = self.resources().join(name);
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, yaml).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    }

    /// The resource folder.
    #[must_use]
    pub fn resources(&self) -> PathBuf {
        self.folder.path().join("resources")
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The command that runs Pelton here, on free ports.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg(self.role).arg(self.resources()).arg("--data").arg(self.data());
        for listener in ["--ingress", "--gateway", "--admin"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command
            .env("PELTON__LOG_OUTPUT__FORMAT", "json")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts Pelton and waits until it is ready.
    pub async fn start(&self) -> Pelton {
        let pelton = self.launch().await;
        eventually("pelton is ready", async || pelton.is_ready().await.then_some(())).await;
        pelton
    }

    /// Starts Pelton and waits until it says where it listens.
    pub async fn launch(&self) -> Pelton {
        let mut child =
            self.command().spawn().unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        tokio::spawn(collect(stderr, log.clone()));
        let find = async |name: &str| {
            eventually(&format!("pelton says where it listens for {name}"), async || {
                if let Some(status) = child_status(&log) {
                    panic!("pelton did not start: {status}");
                }
                listener(&log, name)
            })
            .await
        };
        let takes_events = ["run", "broker"].contains(&self.role);
        let ingress = if takes_events { find("ingress").await } else { SocketAddr::from(([0; 4], 0)) };
        let gateway = if self.role == "run" { find("gateway").await } else { SocketAddr::from(([0; 4], 0)) };
        Pelton { ingress, gateway, admin: find("admin").await, child, log, _folder: Arc::clone(&self.folder) }
    }
}

async fn collect(mut stderr: BufReader<tokio::process::ChildStderr>, log: Arc<Mutex<Vec<String>>>) {
    let mut line = String::new();
    while stderr.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        log.lock().unwrap().push(line.trim_end().to_owned());
        line.clear();
    }
    log.lock().unwrap().push(ENDED.to_owned());
}

const ENDED: &str = "\u{0}stderr ended";

fn child_status(log: &Mutex<Vec<String>>) -> Option<String> {
    let log = log.lock().unwrap();
    log.last().is_some_and(|line| line == ENDED).then(|| log.join("\n"))
}

/// The address after which the log says that `name` listens.
fn listener(log: &Mutex<Vec<String>>, name: &str) -> Option<SocketAddr> {
    let log = log.lock().unwrap();
    log.iter().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line.get("listener")?.as_str()? == name).then_some(())?;
        line.get("address")?.as_str()?.parse().ok()
    })
}

/// A running Pelton. Dropping it kills it.
#[derive(Debug)]
pub struct Pelton {
    /// Where events are sent to; port 0 for a role that takes none.
    pub ingress: SocketAddr,
    /// Where Services are reached; port 0 for a role that runs none.
    pub gateway: SocketAddr,
    /// The admin address.
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Stays while it runs.
    _folder: Arc<tempfile::TempDir>,
}

/// What a failed test shows of Pelton's log.
const LAST_LINES: usize = 20;

impl Drop for Pelton {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("pelton's last lines:\n{}", log[log.len().saturating_sub(LAST_LINES)..].join("\n"));
        }
    }
}

impl Pelton {
    /// Whether `/readyz` says so.
    pub async fn is_ready(&self) -> bool {
        let Ok(mut connection) = http::Connection::open(self.admin).await else { return false };
        let answer = connection.request(hyper::Method::GET, "/readyz", &[], "").await;
        answer.is_ok_and(|answer| answer.status.is_success())
    }

    /// `kill -9`, and waits until the process is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a running child can be killed");
    }

    /// SIGTERM, and waits for the graceful end; answers whether it ended with success.
    pub async fn stop(self) -> bool {
        self.signal("TERM").await;
        self.exited().await
    }

    /// Waits until it has ended by itself, or by a signal that it got before; answers whether with success.
    pub async fn exited(mut self) -> bool {
        self.child.wait().await.expect("a child can be waited for").success()
    }

    /// Sends a signal: `TERM`, `STOP`, `CONT`.
    pub async fn signal(&self, name: &str) {
        let arguments = [format!("-{name}"), self.id().to_string()];
        let kill = Command::new("kill").args(&arguments).status().await.expect("kill can be run");
        assert!(kill.success());
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("the child runs")
    }

    /// All log lines so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// A GET of the admin API as JSON.
    pub async fn api(&self, path: &str) -> serde_json::Value {
        let answer = http::get(self.admin, path).await;
        assert!(
            answer.status.is_success(),
            "{path}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()
    }

    /// Matched events of a trigger of namespace `default` that have no end yet; `None` while that is not known.
    pub async fn backlog(&self, trigger: &str) -> Option<u64> {
        self.api(&format!("/api/v1/triggers/default/{trigger}")).await["status"]["backlog"].as_u64()
    }

    /// How many events of a trigger came to the given end in this process.
    pub async fn ended(&self, trigger: &str, end: &str) -> u64 {
        let labels = [format!("trigger=\"{trigger}\""), format!("end=\"{end}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.metric("pelton_trigger_ended_total", &labels).await as u64
    }

    /// The sum of all series of a metric whose labels contain all of `labels` (`trigger="x"`).
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let answer = http::get(self.admin, "/metrics").await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        text.lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Runs a tool of the same binary against this Pelton; answers status, stdout and stderr.
    pub async fn tool(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = Command::new(binary())
            .args(arguments)
            .env("PELTON_ADMIN", format!("http://{}", self.admin))
            .env("PELTON_INGRESS", format!("http://{}", self.ingress))
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the binary can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }
}
