//! `pelton sink`: a subscriber that prints what it gets, and answers as told.

mod behaviour;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{HeaderValue, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use pelton_event::http::{Mode, Options, Received, decode, encode};
use pelton_event::{Event, EventBuilder, Kind, SpecVersion};
use pelton_runtime::config::{HumanDuration, TlsFiles};
use pelton_runtime::drain::{StopSignals, drain};
use pelton_runtime::listen::{ListenOptions, Listener};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::show;
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};
use behaviour::{Fail, Reaction, react};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton sink                                  print events sent to http://127.0.0.1:9000/
  pelton sink --fail 500:10% --fail hang:1%    a subscriber with bad days
  pelton sink --fail 429:50% --retry-after 2   one that asks for patience
  pelton sink --reply order.confirmed          one that replies to every event")]
pub(crate) struct Arguments {
    /// Address to listen on
    #[arg(default_value = "127.0.0.1:9000", value_name = "ADDR", value_parser = address)]
    address: SocketAddr,
    /// Status of the answer
    #[arg(long, default_value_t = 204, value_name = "STATUS")]
    status: u16,
    /// Fail a part of the requests: a status, `reset` (close the connection) or `hang` (never answer); may be repeated
    #[arg(long, value_name = "STATUS|reset|hang:PERCENT%")]
    fail: Vec<Fail>,
    /// Wait before each answer
    #[arg(long, value_name = "DURATION")]
    delay: Option<HumanDuration>,
    /// `Retry-After` of failed answers, in seconds
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u64>,
    /// Reply to each event with one of this type and the same data
    #[arg(long, value_name = "TYPE")]
    reply: Option<String>,
    /// Stop after so many events that were not failed
    #[arg(long, value_name = "COUNT")]
    max: Option<u64>,
    /// Print only the count at the end
    #[arg(short, long)]
    quiet: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address is an IP address and a port, like 127.0.0.1:9000 or [::1]:9000".to_owned())
}

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

struct Sink {
    arguments: Arguments,
    format: Format,
    taken: AtomicU64,
    failed: AtomicU64,
    full: tokio::sync::Notify,
}

pub(crate) async fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    behaviour::check(arguments.status, &arguments.fail)?;
    let mut signals = StopSignals::install().map_err(|error| Failure::failed(None, error.to_string()))?;
    let listener = Listener::bind("sink", arguments.address, &TlsFiles::default(), ListenOptions::default())
        .map_err(|error| Failure::failed(Some(error.code()), error.to_string()))?;
    output::say(&format!("a subscriber listens on http://{}/ (Ctrl-C ends it)", listener.local_address()));
    let sink = Arc::new(Sink {
        arguments,
        format: global.output,
        taken: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        full: tokio::sync::Notify::new(),
    });
    let service = {
        let sink = sink.clone();
        service_fn(move |request| {
            let sink = sink.clone();
            async move { sink.answer(request).await }
        })
    };
    let (trigger, drain) = drain();
    let serving = tokio::spawn(listener.serve(service, drain));
    tokio::select! {
        _ = signals.next() => {}
        () = sink.full.notified() => {}
    }
    // What hangs by order is not waited for.
    let _ = trigger.stop(Duration::from_secs(1), async { _ = signals.next().await }).await;
    serving.abort();
    let (taken, failed) = (sink.taken.load(Ordering::Relaxed), sink.failed.load(Ordering::Relaxed));
    output::say(&format!("{} taken, {failed} failed", output::counted(taken, "event")));
    Ok(())
}

/// What is printed of an event.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    answered: &'a str,
    event: Box<RawValue>,
}

/// Makes hyper close the connection without an answer.
#[derive(Debug)]
struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reset as told")
    }
}

impl std::error::Error for Reset {}

impl Sink {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
        let (head, body) = request.into_parts();
        match head.method {
            Method::POST => {}
            Method::GET => return Ok(status(StatusCode::OK)),
            _ => return Ok(status(StatusCode::METHOD_NOT_ALLOWED)),
        }
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return Ok(status(StatusCode::BAD_REQUEST));
        };
        let events = match decode(&head.headers, body.to_bytes(), Options::default()) {
            Ok(Received::One(event)) => vec![event],
            Ok(Received::Batch(events)) => events,
            Err(error) => {
                output::say(&format!("a request that is no event: {error}"));
                return Ok(status(StatusCode::BAD_REQUEST));
            }
        };
        if let Some(delay) = self.arguments.delay {
            tokio::time::sleep(delay.get()).await;
        }
        let reaction = react(&self.arguments.fail, fastrand::f64() * 100.0);
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        self.print(path, &events, reaction);
        if reaction == Reaction::Take {
            return Ok(self.take(&events));
        }
        self.failed.fetch_add(events.len() as u64, Ordering::Relaxed);
        self.fail(reaction).await
    }

    fn take(&self, events: &[Event]) -> Response<Full<Bytes>> {
        let count = events.len() as u64;
        let taken = self.taken.fetch_add(count, Ordering::Relaxed) + count;
        if self.arguments.max.is_some_and(|max| taken >= max) {
            self.full.notify_one();
        }
        let code = StatusCode::from_u16(self.arguments.status).unwrap_or(StatusCode::NO_CONTENT);
        match (&self.arguments.reply, events) {
            (Some(kind), [event]) => reply(kind, event).unwrap_or_else(|| status(code)),
            _ => status(code),
        }
    }

    async fn fail(&self, failure: Reaction) -> Result<Response<Full<Bytes>>, Reset> {
        match failure {
            Reaction::Hang => std::future::pending::<Result<_, Reset>>().await,
            Reaction::Reset => Err(Reset),
            Reaction::Take => Ok(status(StatusCode::NO_CONTENT)),
            Reaction::Status(code) => {
                let mut response =
                    status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
                if let Some(seconds) = self.arguments.retry_after {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
                }
                Ok(response)
            }
        }
    }

    fn print(&self, path: &str, events: &[Event], reaction: Reaction) {
        if self.arguments.quiet {
            return;
        }
        let answered = match reaction {
            Reaction::Take => self.arguments.status.to_string(),
            other => other.to_string(),
        };
        for event in events {
            let text = match self.format {
                Format::Json => {
                    let line = Line { path, answered: &answered, event: show::structured(event) };
                    serde_json::to_string(&line).unwrap_or_default()
                }
                Format::Yaml => {
                    let value = json!({"path": path, "answered": answered});
                    let yaml = output::yaml_with_event(value, Some(&show::structured(event)));
                    yaml.map(|yaml| format!("---\n{yaml}")).unwrap_or_default()
                }
                Format::Table => {
                    format!("POST {path}  {}", show::pretty(event, &format!("→ {answered}")))
                }
            };
            if let Err(failure) = output::line(&text) {
                output::say(&failure.to_string());
            }
        }
    }
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}

/// A reply of type `kind` with the data of `event`; its id is that of the event, so that a second delivery replies the same.
fn reply(kind: &str, event: &Event) -> Option<Response<Full<Bytes>>> {
    let mut builder = EventBuilder::new(SpecVersion::V1_0);
    builder.attribute("id", event.id(), Kind::String).ok()?;
    builder.attribute("source", "/pelton/sink", Kind::String).ok()?;
    builder.attribute("type", kind, Kind::String).ok()?;
    if let Some(content_type) = event.data_content_type() {
        builder.attribute("datacontenttype", content_type, Kind::String).ok()?;
    }
    let reply = builder.build(event.data().cloned()).ok()?;
    let mut response = status(StatusCode::OK);
    let body = encode(&reply, Mode::Binary, Options::default(), response.headers_mut());
    *response.body_mut() = Full::new(body);
    Some(response)
}
