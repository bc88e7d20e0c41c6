//! Whether a replica is ready.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pelton_resources::{ProbeAction, ReadinessProbe};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{PROBE_PERIOD, PROBE_PERIOD_MAX, PROBE_PERIOD_MIN};

/// Probes in a row, and what follows from them.
#[derive(Debug)]
pub(super) struct Prober {
    probe: ReadinessProbe,
    is_ready: bool,
    successes: u32,
    failures: u32,
}

/// What a probe has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is ready now.
    Ready,
    /// It is not any more.
    NotReady,
}

impl Prober {
    pub(super) const fn new(probe: ReadinessProbe) -> Self {
        Self { probe, is_ready: false, successes: 0, failures: 0 }
    }

    /// Takes the outcome of a probe in.
    pub(super) fn take_in(&mut self, succeeded: bool) -> Option<Change> {
        if succeeded {
            (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
        } else {
            (self.successes, self.failures) = (0, self.failures.saturating_add(1));
        }
        if !self.is_ready && self.successes >= self.probe.success_threshold.max(1) {
            self.is_ready = true;
            return Some(Change::Ready);
        }
        if self.is_ready && self.failures >= self.probe.failure_threshold.max(1) {
            self.is_ready = false;
            return Some(Change::NotReady);
        }
        None
    }

    /// When to probe next, of a replica that was started so long ago. One that starts and says no period is asked more often
    /// the younger it is, so that the asking adds about a twentieth to the start.
    pub(super) fn wait(&self, age: Duration) -> Duration {
        match self.probe.period {
            Some(period) => period,
            None if self.is_ready => PROBE_PERIOD,
            None => (age / 20).clamp(PROBE_PERIOD_MIN, PROBE_PERIOD_MAX),
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(super) const fn initial_delay(&self) -> Duration {
        self.probe.initial_delay
    }

    /// Probes a replica that serves on `port`; the reason if it fails.
    pub(super) async fn probe(&self, port: u16) -> Result<(), String> {
        let probed = timeout(self.probe.timeout, try_probe(&self.probe.action, port)).await;
        probed.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.probe.timeout)))
    }
}

async fn try_probe(action: &ProbeAction, port: u16) -> Result<(), String> {
    let (ProbeAction::TcpSocket { port: other } | ProbeAction::HttpGet { port: other, .. }) = action;
    let port = other.unwrap_or(port);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address).await.map_err(|error| format!("port {port}: {error}"))?;
    match action {
        ProbeAction::TcpSocket { .. } => Ok(()),
        ProbeAction::HttpGet { path, .. } => get(stream, path, address).await,
    }
}

/// Statuses from 200 to 399 are a success (Kubernetes, `httpGet` probes).
async fn get(stream: TcpStream, path: &str, address: SocketAddr) -> Result<(), String> {
    let failed = |error: hyper::Error| format!("GET {path}: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = http::Request::get(path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::USER_AGENT, "kube-probe/pelton")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("GET {path}: {error}"))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        match response.status().as_u16() {
            200..=399 => Ok(()),
            status => Err(format!("GET {path} is answered with {status}")),
        }
    };
    // When the connection ends, the answer is there or an error.
    let driven = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driven => match never {},
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn thresholds_count_in_a_row() {
        let probe =
            ReadinessProbe { success_threshold: 2, failure_threshold: 3, ..ReadinessProbe::default() };
        let mut prober = Prober::new(probe);
        let outcomes = [true, false, true, true, false, false, true, false, false, false, true, true];
        let changes: Vec<_> = outcomes.into_iter().map(|outcome| prober.take_in(outcome)).collect();
        let at = |index: usize| changes[index];
        assert_eq!(
            (at(3), at(9), at(11)),
            (Some(Change::Ready), Some(Change::NotReady), Some(Change::Ready))
        );
        assert_eq!(changes.iter().flatten().count(), 3);
    }

    #[test]
    fn a_young_replica_is_asked_often() {
        let mut prober = Prober::new(ReadinessProbe::default());
        assert_eq!(prober.wait(Duration::ZERO), PROBE_PERIOD_MIN);
        assert_eq!(prober.wait(Duration::from_secs(1)), Duration::from_millis(50));
        assert_eq!(prober.wait(Duration::from_secs(60)), PROBE_PERIOD_MAX);
        prober.take_in(true);
        assert_eq!(prober.wait(Duration::from_secs(60)), PROBE_PERIOD);
    }

    async fn serve(answer: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn a_get_is_answered_with_a_status_that_counts() {
        let get = ProbeAction::HttpGet { path: "/ready?deep=1".into(), port: None };
        let prober = Prober::new(ReadinessProbe { action: get, ..ReadinessProbe::default() });
        let answers = [("200 OK", true), ("399 X", true), ("404 Not Found", false), ("503 X", false)];
        for (status, is_success) in answers {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let port = serve(Box::leak(answer.into_boxed_str())).await;
            assert_eq!(prober.probe(port).await.is_ok(), is_success, "{status}");
        }
        assert!(prober.probe(serve("").await).await.is_err(), "closed without an answer");
    }

    #[tokio::test]
    async fn a_port_that_accepts_is_enough_unless_more_is_asked() {
        let prober = Prober::new(ReadinessProbe::default());
        assert_eq!(prober.probe(serve("").await).await, Ok(()));
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        assert!(prober.probe(port).await.is_err());
    }
}
