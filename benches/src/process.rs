//! Child processes whose CPU time and memory are read from `/proc`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where a process runs: what is measured on one core, what drives and answers it on another, so that neither takes the other's
/// time.
#[derive(Clone, Copy)]
pub enum Core {
    /// The process that is measured.
    Measured = 0,
    /// Generators and subscribers.
    Other = 1,
}

fn pinned(core: Core, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg((core as u8).to_string()).arg(program);
    command
}

fn this_program(core: Core, arguments: &[&str]) -> Command {
    let program = std::env::current_exe().expect("a program knows its own path");
    let mut command = pinned(core, program.as_os_str());
    command.args(arguments);
    command
}

/// A child process; killed when dropped.
pub struct Process {
    child: Child,
    /// What it printed on its first line: its address.
    pub address: String,
}

impl Process {
    /// Starts this program on `core` in the role `arguments`; its first line of output is its address.
    pub fn role(core: Core, arguments: &[&str]) -> Self {
        let mut command = this_program(core, arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("taskset and this program can be run");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut address).expect("a role prints its address");
        Self { child, address: address.trim().to_owned() }
    }

    /// Runs this program on `core` in the role `arguments` to its end; answers what it printed.
    pub fn run(core: Core, arguments: &[&str]) -> serde_json::Value {
        let output = this_program(core, arguments).stderr(Stdio::inherit()).output();
        let output = output.expect("taskset and this program can be run");
        serde_json::from_slice(&output.stdout).expect("a role answers in JSON")
    }

    /// Starts this program on `core` in the role `arguments`, which ends by itself; see [`Running::finish`].
    pub fn start_run(core: Core, arguments: &[&str]) -> Running {
        let child = this_program(core, arguments).stdout(Stdio::piped()).spawn();
        Running(child.expect("taskset and this program can be run"))
    }

    /// Starts this program on `core` in the role `arguments`; what it prints is of no interest.
    pub fn background(core: Core, arguments: &[&str]) -> Self {
        let child = this_program(core, arguments).stdout(Stdio::null()).spawn();
        Self { child: child.expect("taskset and this program can be run"), address: String::new() }
    }

    /// Sends SIGTERM and waits until the process has ended.
    pub fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the process runs");
        let _ = self.child.wait();
    }

    /// CPU time of the process so far: user and system.
    pub fn cpu(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process runs");
        let after = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().filter_map(|&index| fields.get(index)?.parse::<u64>().ok()).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        self.size("VmRSS:")
    }

    /// The most that was ever resident, in bytes.
    pub fn memory_peak(&self) -> u64 {
        self.size("VmHWM:")
    }

    fn size(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a process has a resident size");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("it is a number") * 1024
    }
}

/// A role that ends by itself.
pub struct Running(Child);

impl Running {
    /// Waits for its end; answers what it printed.
    pub fn finish(self) -> serde_json::Value {
        let output = self.0.wait_with_output().expect("a role can be waited for");
        serde_json::from_slice(&output.stdout).expect("a role answers in JSON")
    }
}

/// Moves a running process, all of its threads, to `core`.
pub fn pin(core: Core, process: u32) {
    let mut command = Command::new("taskset");
    command.args(["-a", "-c", "-p", &(core as u8).to_string(), &process.to_string()]);
    let status = command.stdout(Stdio::null()).status().expect("taskset can be run");
    assert!(status.success(), "process {process} cannot be moved");
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a Pelton is started.
pub struct Launch<'a> {
    /// The command: `run`, `broker` or `dispatcher`.
    pub role: &'a str,
    /// Its resources.
    pub yaml: &'a str,
    /// `HOST:PORT` of the Kafka that is its log, instead of the embedded one.
    pub kafka: Option<&'a str>,
}

/// Lines of the log, each with the time at which it was read.
type Log = Arc<Mutex<Vec<(Instant, serde_json::Value)>>>;

/// A running Pelton over a resource folder of its own.
pub struct Pelton {
    /// The process.
    pub process: Process,
    /// Where Services are reached; empty where none are run.
    pub gateway: String,
    /// The admin address.
    pub admin: String,
    /// From start to ready.
    pub ready_after: Duration,
    log: Log,
    _folder: tempfile::TempDir,
}

impl Pelton {
    /// Starts `PELTON_BIN` with `yaml` as its resources and waits until it is ready.
    pub fn start(yaml: &str) -> Self {
        Self::launch(&Launch { role: "run", yaml, kafka: None })
    }

    /// Starts `PELTON_BIN` and waits until it is ready.
    pub fn launch(launch: &Launch<'_>) -> Self {
        let bin = std::env::var_os("PELTON_BIN").expect("PELTON_BIN names the binary to measure");
        let folder = tempfile::tempdir().expect("a scratch directory can be made");
        let resources = folder.path().join("resources");
        std::fs::create_dir(&resources).expect("a scratch directory takes folders");
        std::fs::write(resources.join("bench.yaml"), launch.yaml).expect("a scratch directory takes files");
        let start = Instant::now();
        let mut command = pinned(Core::Measured, &bin);
        command.arg(launch.role).arg(&resources).arg("--data").arg(folder.path().join("data"));
        command.args(["--ingress", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(launch.kafka.iter().flat_map(|servers| ["--kafka", servers]));
        command.env("PELTON__LOG_OUTPUT__FORMAT", "json").stderr(Stdio::piped());
        let mut child = command.spawn().expect("PELTON_BIN can be run");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let (mut ingress, mut gateway, mut admin) = (String::new(), String::new(), String::new());
        let takes_events = launch.role != "dispatcher";
        while (takes_events && ingress.is_empty()) || admin.is_empty() {
            let line = lines.next().expect("pelton says where it listens").expect("its log is text");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = line["address"].as_str().unwrap_or_default().to_owned();
            match line["listener"].as_str() {
                Some("ingress") => ingress = address,
                Some("gateway") => gateway = address,
                Some("admin") => admin = address,
                _ => {}
            }
        }
        let log = Log::default();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_default();
                kept.lock().expect("nobody panics with it").push((Instant::now(), line));
            }
        });
        let mut process = Process { child, address: String::new() };
        wait(|| get(&admin, "/readyz").starts_with("HTTP/1.1 200"));
        process.address = ingress;
        Self { process, gateway, admin, ready_after: start.elapsed(), log, _folder: folder }
    }

    /// When the log last said `message` with something in `field`, if it ever did.
    pub fn said(&self, message: &str, field: &str) -> Option<Instant> {
        let log = self.log.lock().expect("nobody panics with it");
        let is_it = |line: &serde_json::Value| line["message"] == message && line[field] != "[]";
        log.iter().rev().find(|(_, line)| is_it(line)).map(|(at, _)| *at)
    }

    /// The sum of all series of a metric.
    pub fn metric(&self, name: &str) -> f64 {
        get(&self.admin, "/metrics")
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// Waits until `condition` holds; gives up after two minutes.
pub fn wait(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The whole answer to a GET; empty if there is none.
pub fn get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let answer = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    answer().unwrap_or_default()
}
