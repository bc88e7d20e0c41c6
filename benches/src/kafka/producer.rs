//! A bare producer, a process of its own: librdkafka, set as Pelton sets it, with a thread that takes its reports and one
//! that sends. The baseline of the ingress, and what fills topics.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::PARTITIONS;
use crate::process::{Core, Process};

/// Bytes of data of each event, as those of the load over HTTP.
const DATA_BYTES: usize = 1024;

/// What is produced.
pub(super) struct Load<'a> {
    /// `HOST:PORT`.
    pub(super) servers: &'a str,
    /// Where to; events go to the partitions in turn, and their subject is the partition.
    pub(super) topic: &'a str,
    pub(super) events: u64,
    /// Not acknowledged yet, at most.
    pub(super) in_flight: u64,
    /// Events a second; 0: as many as go.
    pub(super) rate: u64,
    /// One of so many has a type that a trigger wants …
    pub(super) one_in: u64,
    /// … which are so many, in turn.
    pub(super) types: u64,
}

/// What it cost.
pub(super) struct Cost {
    pub(super) cpu_us: f64,
    pub(super) per_second: f64,
}

impl Load<'_> {
    fn arguments(&self) -> Vec<String> {
        let numbers = [self.events, self.in_flight, self.rate, self.one_in, self.types];
        let texts = ["produce", self.servers, self.topic].into_iter().map(str::to_owned);
        texts.chain(numbers.iter().map(u64::to_string)).collect()
    }

    /// Produces all of it in a process on `core`.
    pub(super) fn run(&self, core: Core) -> Cost {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let answer = Process::run(core, &arguments);
        let value = |name: &str| answer[name].as_f64().expect("a producer answers with numbers");
        Cost { cpu_us: value("cpu_us"), per_second: value("per_second") }
    }

    /// Begins to produce; ends when the process is dropped.
    pub(super) fn begin(&self, core: Core) -> Process {
        let arguments = self.arguments();
        Process::background(core, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// What is sent and not acknowledged.
#[derive(Default)]
struct InFlight {
    events: Mutex<u64>,
    fewer: Condvar,
}

impl InFlight {
    /// Waits until there are fewer than `limit`, and takes one more in.
    fn enter(&self, limit: u64) {
        let events = self.events.lock().expect("nobody panics with it");
        *self.fewer.wait_while(events, |events| *events >= limit).expect("nobody panics with it") += 1;
    }

    fn leave(&self) {
        *self.events.lock().expect("nobody panics with it") -= 1;
        self.fewer.notify_one();
    }

    fn end(&self) {
        let events = self.events.lock().expect("nobody panics with it");
        drop(self.fewer.wait_while(events, |events| *events > 0).expect("nobody panics with it"));
    }
}

struct Acknowledged(Arc<InFlight>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("a load is not stored whole: {error}");
            std::process::exit(1);
        }
        self.0.leave();
    }
}

/// The role: what [`Load::arguments`] says. Prints what it cost.
pub fn run(arguments: &[&str]) {
    let [servers, topic, numbers @ ..] = arguments else { panic!("a producer is told where to") };
    let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
    let [events, at_once, rate, one_in, types] = numbers[..] else { panic!("a producer is told how many") };
    let load = Load { servers, topic, events, in_flight: at_once, rate, one_in, types };
    let in_flight = Arc::<InFlight>::default();
    let client = client(servers, in_flight.clone());
    // It knows the partitions before the clock starts.
    client.client().fetch_metadata(Some(topic), Duration::from_secs(10)).expect("Kafka knows the topic");
    let (start, cpu) = (Instant::now(), crate::append::process_cpu());
    produce(&client, &load, &in_flight);
    let cpu = (crate::append::process_cpu() - cpu).as_secs_f64();
    println!(
        "{}",
        serde_json::json!({
            "cpu_us": cpu * 1e6 / events as f64,
            "per_second": events as f64 / start.elapsed().as_secs_f64(),
        })
    );
}

fn client(servers: &str, in_flight: Arc<InFlight>) -> ThreadedProducer<Acknowledged> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        // As Pelton's (event-log/src/kafka/producer.rs).
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("batch.num.messages", "10000")
        .set("batch.size", "900000")
        .set("message.max.bytes", "100000000")
        .set("queue.buffering.max.messages", "1000000");
    ThreadedProducer::from_config_and_context(&config, Acknowledged(in_flight))
        .expect("the settings are valid")
}

fn produce(client: &ThreadedProducer<Acknowledged>, load: &Load<'_>, in_flight: &InFlight) {
    let data = format!("{{\"some\":\"{}\"}}", "x".repeat(DATA_BYTES - 11));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the epoch is over");
    let (start, time) = (Instant::now(), now.as_millis().to_string());
    for sent in 0..load.events {
        if load.rate > 0 {
            let due = start + Duration::from_secs_f64(sent as f64 / load.rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        in_flight.enter(load.in_flight);
        let turn = sent / load.one_in;
        let partition = i32::try_from(turn % u64::from(PARTITIONS)).expect("partitions are few");
        let event_type = match sent % load.one_in {
            0 => format!("bench.type-{}", turn % load.types),
            _ => "bench.event".to_owned(),
        };
        let headers = headers(&event_type, &partition.to_string(), &time);
        let record = BaseRecord::<[u8], [u8]>::to(load.topic).partition(partition).headers(headers);
        client.send(record.payload(data.as_bytes())).expect("there is room for a record");
    }
    in_flight.end();
}

/// The headers that Pelton writes for an event of the load over HTTP.
fn headers(event_type: &str, subject: &str, time: &str) -> OwnedHeaders {
    [
        ("ce_specversion", "1.0"),
        ("ce_id", "0123456789abcdef"),
        ("ce_source", "/bench/source"),
        ("ce_type", event_type),
        ("ce_subject", subject),
        ("content-type", "application/json"),
        ("pelton_time", time),
        ("pelton_hops", "32"),
    ]
    .into_iter()
    .fold(OwnedHeaders::new_with_capacity(8), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
