//! The Java client: one JVM that answers requests line by line, so that a question does not cost the start of one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::jars;
use crate::PATIENCE;

type Answer = Result<Vec<Value>, String>;
type Waiting = Mutex<HashMap<u64, oneshot::Sender<Answer>>>;

/// `tests/kafka/KnativeStyle.java`. It is shared by tests whose runtimes come and go, hence threads instead of tasks.
#[derive(Debug)]
pub(super) struct Client {
    java: Child,
    requests: mpsc::Sender<String>,
    waiting: Arc<Waiting>,
    last: AtomicU64,
}

impl Client {
    /// Starts it; what it has to complain about goes to a file in `folder`.
    pub(super) fn start(libraries: &Path, bootstrap: &str, folder: &Path) -> Self {
        let mut command = jars::java(libraries);
        command.arg(jars::sources().join("KnativeStyle.java")).args([bootstrap, "serve"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(folder.join("client.log")).unwrap());
        let mut java = command.spawn().expect("java can be run");
        let waiting = Arc::new(Waiting::default());
        let (requests, to_write) = mpsc::channel();
        let (stdin, stdout) = (java.stdin.take().unwrap(), java.stdout.take().unwrap());
        std::thread::spawn(move || write(stdin, &to_write));
        let answered = Arc::clone(&waiting);
        std::thread::spawn(move || read(stdout, &answered));
        Self { java, requests, waiting, last: AtomicU64::new(0) }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, arguments: &[&str], input: &[Value]) -> Answer {
        let (_, answer) = self.send(arguments, input);
        Self::answer(arguments, answer).await
    }

    /// Asks; answers the number of the request and where its answer will come from.
    pub(super) fn send(&self, arguments: &[&str], input: &[Value]) -> (u64, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.waiting.lock().unwrap().insert(id, answer);
        let request = json!({"id": id, "arguments": arguments, "input": input});
        // When it cannot be sent, the client has ended, and so does the wait for the answer.
        let _ = self.requests.send(request.to_string());
        (id, receiver)
    }

    /// Waits for an answer.
    pub(super) async fn answer(arguments: &[&str], answer: oneshot::Receiver<Answer>) -> Answer {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => panic!("the Java client ended before it answered {arguments:?}"),
            Err(_) => panic!("the Java client does not answer {arguments:?}"),
        }
    }
}

fn write(mut stdin: ChildStdin, requests: &mpsc::Receiver<String>) {
    for request in requests {
        if writeln!(stdin, "{request}").and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read(stdout: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(mut answer) = serde_json::from_str::<Value>(&line) else { continue };
        let lines = match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["lines"].as_array_mut().map(std::mem::take).unwrap_or_default()),
        };
        let asked = answer["id"].as_u64().and_then(|id| waiting.lock().unwrap().remove(&id));
        if let Some(asked) = asked {
            let _ = asked.send(lines);
        }
    }
    // Nobody waits for a client that ended.
    waiting.lock().unwrap().clear();
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.java.kill();
        let _ = self.java.wait();
    }
}
