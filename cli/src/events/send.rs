//! `pelton send`: events to a broker.

mod compose;
mod post;
mod summary;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::Uri;
use indicatif::{ProgressBar, ProgressStyle};
use pelton_event::Event;
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::api::connection::Endpoint;
use crate::arguments::{Global, at_least_one};
use crate::failure::Failure;
use crate::output::{self, Format};
use compose::{Source, SourceError, Template};
use post::{Outcome, Poster};
use summary::Counts;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton send -t order.placed -s /shop -d '{\"order\": 1}'
  pelton send -b orders -f events.jsonl            one CloudEvent as JSON a line; what a line leaves out is filled in
  pelton send -t load -d '{}' --count 100000 --rate 5000 --connections 16

The ids of the events that were accepted are printed, one a line, once they are durable; a summary on standard error ends \
it. An event that is answered with 429 or 503 is sent again after `Retry-After`, with the same id.")]
pub(crate) struct Arguments {
    /// The broker: NAME or NAMESPACE/NAME
    #[arg(short, long, default_value = "default", value_name = "BROKER")]
    broker: String,
    /// `type` of the event
    #[arg(short = 't', long = "type", default_value = "pelton.test", value_name = "TYPE")]
    kind: String,
    /// `source` of the event
    #[arg(short, long, default_value = "/pelton/send", value_name = "SOURCE")]
    source: String,
    /// `id` of the event; random if not given
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Data of the event; `@FILE` reads it from a file
    #[arg(short, long, value_name = "DATA", conflicts_with = "file")]
    data: Option<String>,
    /// Content type of the data; JSON where the data is JSON, else text, if not given
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A further attribute, as `subject=a` or `partitionkey=k`; may be repeated
    #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// File with one CloudEvent as JSON a line; `-` is standard input
    #[arg(short, long, value_name = "FILE.jsonl", conflicts_with_all = ["id", "count"])]
    file: Option<std::path::PathBuf>,
    /// How many events
    #[arg(short, long, default_value_t = 1, value_name = "COUNT", conflicts_with = "id", value_parser = at_least_one)]
    count: u64,
    /// Events per second, at most
    #[arg(short, long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// How often an event that is answered with 429 or 503 is sent again
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    retries: u32,
    /// The ingress
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "PELTON_INGRESS", value_name = "URL")]
    ingress: String,
    /// Print no ids, only the summary
    #[arg(short, long)]
    quiet: bool,
}

/// From so many events on a progress bar is shown, and the rate at the end.
const LONG_WORK: u64 = 100;

pub(crate) async fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let endpoint = Endpoint::parse(&arguments.ingress, "--ingress (PELTON_INGRESS)")?;
    let path = broker_path(&arguments.broker, &global.namespace)?;
    let ticks = arguments.rate.map(ticks).transpose()?;
    let source = Source::open(Template::new(&arguments)?, arguments.file.as_deref(), arguments.count)?;
    let total = source.total();
    let progress = progress(total);

    let (queue, events) = mpsc::channel(usize::from(arguments.connections) * 2);
    let events = Arc::new(Mutex::new(events));
    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    let senders: Vec<_> = (0..arguments.connections)
        .map(|_| {
            let poster = Poster::new(endpoint.clone(), path.clone(), arguments.retries);
            let printer =
                Printer { format: global.output, quiet: arguments.quiet, progress: progress.clone() };
            tokio::spawn(send_all(poster, events.clone(), counts.clone(), printer))
        })
        .collect();
    drop(events);
    let mut fed = Fed { source, handed_out: 0 };
    let read = fed.feed(queue, ticks).await;
    let mut sent = Ok(());
    for sender in senders {
        let ended = sender.await.map_err(|error| Failure::failed(None, error.to_string())).flatten();
        sent = sent.and(ended);
    }
    progress.finish_and_clear();
    let summary = counts.summary();
    if let Err(failure) = sent {
        let not_sent = fed.handed_out - summary.ended();
        output::say(&summary.cut(fed.source.left().map(|left| not_sent + left)));
        return Err(failure);
    }
    output::say(&summary.whole(began.elapsed().as_secs_f64(), summary.ended() >= LONG_WORK));
    read.map_err(|error| summary.failed_at(&error))?;
    summary.judge(path.path().trim_start_matches('/'))
}

fn broker_path(broker: &str, namespace: &str) -> Result<Uri, Failure> {
    let path = if broker.contains('/') { format!("/{broker}") } else { format!("/{namespace}/{broker}") };
    path.parse()
        .map_err(|_| Failure::usage(Some("PEL-1708"), format!("--broker: `{broker}` is no name of a broker")))
}

fn ticks(rate: f64) -> Result<Interval, Failure> {
    if !rate.is_finite() || !(0.001..=1_000_000.0).contains(&rate) {
        return Err(Failure::usage(
            Some("PEL-1708"),
            format!("--rate {rate}: a rate is between 0.001 and 1000000"),
        ));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    // Late ticks are made up for, so that the rate holds over time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    Ok(ticks)
}

fn progress(total: Option<u64>) -> ProgressBar {
    let Some(total) = total.filter(|total| *total >= LONG_WORK && std::io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

struct Fed {
    source: Source,
    handed_out: u64,
}

impl Fed {
    /// Hands the events out, at most at the given rate. It ends early when every sender has given up.
    async fn feed(
        &mut self,
        queue: mpsc::Sender<Event>,
        mut ticks: Option<Interval>,
    ) -> Result<(), SourceError> {
        while let Some(event) = self.source.next()? {
            self.handed_out += 1;
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            if queue.send(event).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Printer {
    format: Format,
    quiet: bool,
    progress: ProgressBar,
}

impl Printer {
    fn print(&self, event: &Event, outcome: &Outcome) -> Result<(), Failure> {
        self.progress.inc(1);
        match outcome {
            Outcome::Accepted if self.quiet => Ok(()),
            Outcome::Accepted => self.progress.suspend(|| match self.format {
                Format::Table => output::line(event.id()),
                Format::Json => output::line(&json!({"id": event.id(), "status": 202}).to_string()),
                Format::Yaml => output::line(&format!("- {}", json!({"id": event.id(), "status": 202}))),
            }),
            Outcome::Refused { message, .. } => {
                self.progress.suspend(|| output::say(&format!("event {}: {message}", event.id())));
                Ok(())
            }
            Outcome::Unknown { message } => {
                let text = format!("event {}: {message}; it may be stored", event.id());
                self.progress.suspend(|| output::say(&text));
                Ok(())
            }
        }
    }
}

async fn send_all(
    mut poster: Poster,
    events: Arc<Mutex<mpsc::Receiver<Event>>>,
    counts: Arc<Counts>,
    printer: Printer,
) -> Result<(), Failure> {
    loop {
        let Some(event) = events.lock().await.recv().await else { return Ok(()) };
        let outcome = match poster.post(&event).await {
            Ok(outcome) => outcome,
            Err(gave_up) => {
                if gave_up.may_be_stored {
                    counts.add_unknown();
                }
                return Err(gave_up.failure);
            }
        };
        counts.add(&outcome);
        printer.print(&event, &outcome)?;
    }
}
