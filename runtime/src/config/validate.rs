//! Bounds of single settings and rules between them.

use super::{ByteSize, Config, HumanDuration};
use crate::limits::{LOG_APPEND_BYTES_MAX, LOG_PARTITIONS_MAX, LOG_SEGMENT_BYTES_MAX};
use crate::telemetry;

/// Bytes that a record may take beside the bodies it was accepted with: attributes, and what was noted on the way.
const RECORD_MARGIN_BYTES: u64 = 1024 * 1024;

/// Every rule that is broken: the key to change and what would be right.
pub(super) fn conflicts(config: &Config) -> Vec<(String, String)> {
    let mut found = Found(Vec::new());
    found.counts(config);
    found.times(config);
    found.sizes(config);
    found.listeners(config);
    found.kafka(config);
    found.rest(config);
    found.0
}

struct Found(Vec<(String, String)>);

impl Found {
    fn unless(&mut self, holds: bool, key: &str, problem: impl Into<String>) {
        if !holds {
            self.0.push((key.to_owned(), problem.into()));
        }
    }

    /// librdkafka takes a server without a port for one at 9092, and tries it for ever.
    fn kafka(&mut self, config: &Config) {
        let servers = &config.kafka.servers;
        let has_port = |server: &str| {
            let parts = server.trim().rsplit_once(':');
            parts.is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        if let Some(wrong) = servers.split(',').find(|server| !servers.is_empty() && !has_port(server)) {
            let problem = format!("{wrong:?} is no server; write HOST:PORT, several with commas between");
            self.unless(false, "kafka.servers", problem);
        }
    }

    fn counts(&mut self, config: &Config) {
        for (key, value, max) in [
            ("log.default-partitions", config.log.default_partitions, LOG_PARTITIONS_MAX),
            ("ingress.batch-events", config.ingress.batch_events, 100_000),
            ("ingress.max-connections", config.ingress.max_connections, 1_000_000),
            ("ingress.client-share", config.ingress.client_share.into(), 100),
            ("ingress.broker-share", config.ingress.broker_share.into(), 100),
            ("dispatch.max-in-flight", config.dispatch.max_in_flight, 1_000_000),
            ("dispatch.lane-window", config.dispatch.lane_window, 1_000_000),
            ("dispatch.connections-per-subscriber", config.dispatch.connections_per_subscriber, 65_535),
            ("dispatch.open-retries", config.dispatch.open_retries, 10_000_000),
        ] {
            self.unless(
                (1..=max).contains(&value),
                key,
                format!("it is {value}; it must be from 1 to {max}"),
            );
        }
    }

    fn times(&mut self, config: &Config) {
        for (key, value) in [
            ("kafka.session-timeout", config.kafka.session_timeout),
            ("kafka.delivery-timeout", config.kafka.delivery_timeout),
            ("kafka.revoke-grace", config.kafka.revoke_grace),
            ("log.retention-age", config.log.retention_age),
            ("log.dead-letter-age", config.log.dead_letter_age),
            ("ingress.header-timeout", config.ingress.header_timeout),
            ("ingress.body-timeout", config.ingress.body_timeout),
            ("ingress.idle-timeout", config.ingress.idle_timeout),
            ("dispatch.save-interval", config.dispatch.save_interval),
            ("dispatch.connect-timeout", config.dispatch.connect_timeout),
            ("dispatch.connection-idle-timeout", config.dispatch.connection_idle_timeout),
            ("delivery.timeout", config.delivery.timeout),
        ] {
            self.unless(value > HumanDuration::from_millis(0), key, "it is zero; it must be longer");
        }
        let (delay, max) = (config.delivery.backoff_delay, config.delivery.backoff_max);
        self.unless(
            delay <= max,
            "delivery.backoff-delay",
            format!("it is {delay}, longer than delivery.backoff-max ({max})"),
        );
    }

    fn sizes(&mut self, config: &Config) {
        let (log, ingress) = (&config.log, &config.ingress);
        let (body, batch) = (ingress.body_limit, ingress.batch_limit);
        self.unless(body.bytes() > 0, "ingress.body-limit", "it is zero; it must be larger");
        self.unless(
            batch >= body,
            "ingress.batch-limit",
            format!("it is {batch}; a batch of one event needs at least ingress.body-limit ({body})"),
        );
        for (key, value) in
            [("log.queue-size", log.queue_size), ("dispatch.body-budget", config.dispatch.body_budget)]
        {
            let problem = format!("it is {value}; it must be at least ingress.batch-limit ({batch})");
            self.unless(value >= batch, key, problem);
        }
        self.unless(
            log.segment_size.bytes() <= LOG_SEGMENT_BYTES_MAX,
            "log.segment-size",
            format!(
                "it is {}; it must be at most {}",
                log.segment_size,
                ByteSize::from_bytes(LOG_SEGMENT_BYTES_MAX)
            ),
        );
        self.appends(log.segment_size, batch);
        self.unless(
            log.retention_size.bytes() / 2 >= log.segment_size.bytes(),
            "log.retention-size",
            format!(
                "it is {}; it must be at least twice log.segment-size ({})",
                log.retention_size, log.segment_size
            ),
        );
        for (key, share) in
            [("ingress.client-share", ingress.client_share), ("ingress.broker-share", ingress.broker_share)]
        {
            self.unless(
                share == 0 || ingress.in_flight.percent(share) >= batch,
                key,
                format!("{share} % of ingress.in-flight ({}) is less than ingress.batch-limit ({batch}), so no full batch could ever come in", ingress.in_flight),
            );
        }
    }

    /// What was accepted must fit into one append of the log again: alone, as a retry or as a dead letter. Otherwise its end
    /// could never be stored. The log takes a quarter of a segment at once.
    fn appends(&mut self, segment: ByteSize, batch: ByteSize) {
        let needed = batch.bytes().saturating_add(RECORD_MARGIN_BYTES);
        self.unless(
            needed <= LOG_APPEND_BYTES_MAX as u64,
            "ingress.batch-limit",
            format!(
                "it is {batch}; it must be at most {}, so that a dead letter of that size fits into one append",
                ByteSize::from_bytes(LOG_APPEND_BYTES_MAX as u64 - RECORD_MARGIN_BYTES)
            ),
        );
        self.unless(
            segment.bytes() / 4 >= needed,
            "log.segment-size",
            format!(
                "it is {segment}; it must be at least {}: four times ingress.batch-limit ({batch}) and {}",
                ByteSize::from_bytes(needed.saturating_mul(4)),
                ByteSize::from_bytes(RECORD_MARGIN_BYTES)
            ),
        );
    }

    fn listeners(&mut self, config: &Config) {
        let listeners = config.listen.served();
        for (index, (name, address)) in listeners.into_iter().enumerate() {
            // Port 0 asks the system for a free port, each time another.
            let same = |(_, other): &&(&str, std::net::SocketAddr)| *other == address && address.port() != 0;
            if let Some((other, _)) = listeners[..index].iter().find(same) {
                let problem = format!(
                    "it is {address}, the address of listen.{other} too; each listener needs its own"
                );
                self.unless(false, &format!("listen.{name}"), problem);
            }
        }
        for (name, files) in
            [("ingress", &config.tls.ingress), ("gateway", &config.tls.gateway), ("admin", &config.tls.admin)]
        {
            let missing = match (&files.certificate, &files.key) {
                (Some(_), None) => Some("key"),
                (None, Some(_)) => Some("certificate"),
                _ => None,
            };
            if let Some(missing) = missing {
                self.unless(
                    false,
                    &format!("tls.{name}.{missing}"),
                    "a certificate and its key go together; set both or neither",
                );
            }
        }
        // The admin API goes without a token only while no other machine can reach anything here.
        let open = listeners.iter().find(|(_, address)| !address.ip().is_loopback());
        if let (Some((name, address)), None) = (open, config.admin.token.reveal()) {
            let problem = format!(
                "it is {address}, which is not loopback: set a token (PELTON__ADMIN__TOKEN), or bind every listener to loopback"
            );
            self.unless(false, &format!("listen.{name}"), problem);
        }
    }

    fn rest(&mut self, config: &Config) {
        self.unless(!config.data.dir.as_os_str().is_empty(), "data.dir", "it is empty; name a directory");
        if let Err(error) = telemetry::check_level(&config.log_output.level) {
            self.unless(false, "log-output.level", error);
        }
        if let Err(problem) = telemetry::check_endpoint(&config.traces.endpoint) {
            self.unless(false, "traces.endpoint", problem);
        }
    }
}
