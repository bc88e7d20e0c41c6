//! The settings: flags as the last of the configuration's layers, and what each part gets of them.

use std::path::PathBuf;

use clap::Args;
use pelton_event_log::{embedded, kafka};
use pelton_resources::{BackoffPolicy, Defaults, DeliveryPolicy, Engine, OnFull, RetentionPolicy};
use pelton_runtime::config::{self, Config, ConfigErrors, Effective, Flag, Row};

use super::Role;
use crate::failure::Failure;

/// The flags that are settings.
#[derive(Debug, Args)]
pub(crate) struct SettingArguments {
    /// Configuration file (deploy/config/default.toml explains every setting)
    #[arg(long, env = "PELTON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything Pelton keeps [default: ./pelton-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address where events come in [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    ingress: Option<String>,
    /// Address of health, metrics and the admin API [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Kafka as the event log, instead of the embedded one
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Address of the gateway to Services [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    gateway: Option<String>,
    /// Ports that replicas of Services listen on [default: 20000-29999]
    #[arg(long, value_name = "FIRST-LAST")]
    replica_ports: Option<String>,
    /// Address of the EventBridge API (arrives with the adapter)
    #[arg(long, hide = true, value_name = "ADDR")]
    event_bridge: Option<String>,
}

impl SettingArguments {
    /// All layers together.
    pub(crate) fn load(&self) -> Result<Effective, Failure> {
        config::load(self.config.as_deref(), std::env::vars_os(), self.flags())
            .map_err(|errors| wrong(&errors))
    }

    /// Every setting, and what is wrong with them.
    pub(crate) fn survey(&self) -> (Vec<Row>, Result<(), Failure>) {
        let (rows, told) = config::survey(self.config.as_deref(), std::env::vars_os(), self.flags());
        (rows, told.map_err(|errors| wrong(&errors)))
    }

    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("data.dir", "--data", &self.data),
            ("kafka.servers", "--kafka", &self.kafka),
            ("listen.ingress", "--ingress", &self.ingress),
            ("listen.admin", "--admin", &self.admin),
            ("listen.gateway", "--gateway", &self.gateway),
            ("serving.replica-ports", "--replica-ports", &self.replica_ports),
            ("listen.event-bridge", "--event-bridge", &self.event_bridge),
        ];
        let given = |(key, name, value): (&'static str, &'static str, &Option<String>)| {
            value.clone().map(|value| Flag { key, name, value })
        };
        flags.into_iter().filter_map(given).collect()
    }
}

fn wrong(errors: &ConfigErrors) -> Failure {
    Failure::usage(Some(errors.code()), errors.to_string())
}

/// The embedded log.
pub(super) fn log(config: &Config) -> embedded::Config {
    let mut log = embedded::Config::new(config.data.dir.join("log"));
    log.segment_bytes = config.log.segment_size.bytes();
    log.tail_cache_bytes = config.log.tail_cache.as_usize();
    log.queue_bytes = config.log.queue_size.as_usize();
    log
}

/// The log on Kafka.
pub(super) fn kafka(config: &Config) -> kafka::Config {
    let settings = &config.kafka;
    kafka::Config {
        connection: kafka::Connection::plaintext(settings.servers.as_str()),
        session_timeout: settings.session_timeout.get(),
        delivery_timeout: settings.delivery_timeout.get(),
        revoke_grace: settings.revoke_grace.get(),
        queue_bytes: settings.queue_size.as_usize(),
        replication_factor: Some(settings.replication_factor).filter(|factor| *factor > 0),
    }
}

/// What holds where no resource says anything.
pub(super) fn defaults(config: &Config, role: Role) -> Defaults {
    let (delivery, log) = (&config.delivery, &config.log);
    Defaults {
        delivery: DeliveryPolicy {
            retry: delivery.retry,
            backoff_policy: match delivery.backoff_policy {
                config::BackoffPolicy::Linear => BackoffPolicy::Linear,
                config::BackoffPolicy::Exponential => BackoffPolicy::Exponential,
            },
            backoff_delay: delivery.backoff_delay.get(),
            backoff_max: delivery.backoff_max.get(),
            retry_after_max: delivery.retry_after_max.get(),
            timeout: delivery.timeout.get(),
            ..DeliveryPolicy::default()
        },
        partitions: log.default_partitions,
        retention: RetentionPolicy {
            age: log.retention_age.get(),
            dead_letter_age: log.dead_letter_age.get(),
            bytes: log.retention_size.bytes(),
            on_full: match log.on_full {
                config::OnFull::Refuse => OnFull::Refuse,
                config::OnFull::Expire => OnFull::Expire,
            },
        },
        engine: if config.kafka.servers.is_empty() { Engine::Embedded } else { Engine::Kafka },
        runs_services: role.serves(),
    }
}

/// The ingress.
pub(super) fn ingress(config: &Config) -> pelton_broker::Config {
    let ingress = &config.ingress;
    let share = |percent: u8| ingress.in_flight.percent(percent).bytes();
    pelton_broker::Config {
        body_bytes_max: ingress.body_limit.bytes(),
        batch_bytes_max: ingress.batch_limit.bytes(),
        batch_events_max: ingress.batch_events as usize,
        body_timeout: ingress.body_timeout.get(),
        in_flight_bytes: ingress.in_flight.bytes(),
        broker_in_flight_bytes: share(ingress.broker_share),
        client_in_flight_bytes: share(ingress.client_share),
        percent_encoded: ingress.decode_percent,
    }
}

/// The dispatcher.
pub(super) fn dispatcher(config: &Config) -> pelton_trigger_dispatcher::Config {
    pelton_trigger_dispatcher::Config {
        deliveries_in_flight: config.dispatch.max_in_flight,
        body_budget_bytes: config.dispatch.body_budget.as_usize(),
        lane_window: config.dispatch.lane_window as usize,
        retries_open_max: config.dispatch.open_retries as usize,
        save_interval: config.dispatch.save_interval.get(),
        wait_in_place_max: config.dispatch.durable_retry_after.get(),
        stop_grace: config.shutdown.grace.get(),
        ..pelton_trigger_dispatcher::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_parts() {
        let config = Config::default();
        assert_eq!(defaults(&config, Role::All), Defaults::default());
        assert_eq!(ingress(&config).body_bytes_max, pelton_broker::limits::BODY_BYTES_MAX);
        assert_eq!(ingress(&config).batch_bytes_max, pelton_broker::limits::BATCH_BYTES_MAX);
        assert_eq!(ingress(&config).batch_events_max, pelton_broker::limits::BATCH_EVENTS_MAX);
        assert_eq!(ingress(&config).body_timeout, pelton_broker::limits::BODY_TIMEOUT);
        assert_eq!(ingress(&config).in_flight_bytes, pelton_broker::limits::IN_FLIGHT_BYTES);
        let dispatcher_default = pelton_trigger_dispatcher::Config::default();
        let stop_grace = config.shutdown.grace.get();
        assert_eq!(
            dispatcher(&config),
            pelton_trigger_dispatcher::Config { stop_grace, ..dispatcher_default }
        );
    }

    #[test]
    fn the_settings_are_bounded_as_the_parts_are() {
        use pelton_runtime::limits::{LOG_PARTITIONS_MAX, LOG_SEGMENT_BYTES_MAX};
        assert_eq!(LOG_PARTITIONS_MAX, pelton_event_log::limits::PARTITIONS_MAX);
        assert_eq!(LOG_PARTITIONS_MAX, pelton_resources::limits::PARTITIONS_MAX);
        assert_eq!(LOG_SEGMENT_BYTES_MAX, pelton_event_log::limits::SEGMENT_BYTES_MAX);
    }
}
