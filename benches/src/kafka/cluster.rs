//! The Kafka of the benches, and what it counts itself.

use pelton_tests::kafka::{Kafka, Options};

use crate::process::{Core, pin};

/// A Kafka of one node on the core of those who are not measured.
pub(super) struct Cluster {
    kafka: Kafka,
    /// `HOST:PORT`.
    pub(super) servers: String,
}

/// What Kafka has counted for a topic since it started.
pub(super) struct Counted {
    /// Bytes of records that were appended.
    pub(super) bytes_in: f64,
    /// Bytes of records that consumers were given.
    pub(super) bytes_out: f64,
    /// Requests of consumers for it, those that found nothing included.
    pub(super) fetches: f64,
}

impl Cluster {
    /// Starts it; `None` where there are no jars.
    pub(super) fn start() -> Option<Self> {
        std::env::var_os("PELTON_KAFKA_LIBS")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let kafka = runtime.expect("a runtime can be made").block_on(Kafka::start(Options::new()))?;
        pin(Core::Other, kafka.process_of(1));
        // Subscribers are threads of this process.
        pin(Core::Other, std::process::id());
        let servers = kafka.bootstrap();
        Some(Self { kafka, servers })
    }

    /// Asks Kafka by JMX.
    pub(super) fn counted(&self, topic: &str) -> Counted {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/Counted.java");
        let mut java = self.kafka.java();
        java.args([source, &self.kafka.process_of(1).to_string(), topic]);
        let output = java.stderr(std::process::Stdio::inherit()).output().expect("java can be run");
        let found: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("Kafka's counters come in JSON");
        let value = |name: &str| found[name].as_f64().expect("counters are numbers");
        Counted {
            bytes_in: value("BytesInPerSec"),
            bytes_out: value("BytesOutPerSec"),
            fetches: value("TotalFetchRequestsPerSec"),
        }
    }
}
