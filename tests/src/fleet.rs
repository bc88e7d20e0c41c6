//! Processes of single roles that share one Kafka.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::pelton::{Pelton, Site};

/// In the resources of a fleet: stands for the number of the process, so that each can have a path of its own at a
/// subscriber, which tells who has sent.
pub const PROCESS: &str = "{process}";

/// Any number of processes over the same resources and one Kafka.
#[derive(Debug)]
pub struct Fleet {
    yaml: String,
    settings: Vec<(String, String)>,
    started: AtomicU32,
}

/// A process of a fleet.
#[derive(Debug)]
pub struct Process {
    /// Counts from 1, in the order of their starts.
    pub number: u32,
    /// The process itself.
    pub pelton: Pelton,
}

impl Fleet {
    /// A fleet over `resources` ([`PROCESS`] is the number of the process) and the Kafka at `servers`, with a short session.
    #[must_use]
    pub fn new(resources: &str, servers: &str) -> Self {
        let fleet = Self { yaml: resources.to_owned(), settings: Vec::new(), started: AtomicU32::new(0) };
        fleet.with("PELTON__KAFKA__SERVERS", servers).with("PELTON__KAFKA__SESSION_TIMEOUT", "6s")
    }

    /// Adds a setting, as `PELTON__SECTION__KEY`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a process of a role (`broker`, `dispatcher`, `run`) and waits until it is ready.
    pub async fn start(&self, role: &'static str) -> Process {
        let (number, site) = self.site(role);
        Process { number, pelton: site.start().await }
    }

    /// Starts a process and waits until it says where it listens.
    pub async fn launch(&self, role: &'static str) -> Process {
        self.launch_with_site(role).await.0
    }

    /// The same, with the process's folder of resources, in which they can be changed.
    pub async fn launch_with_site(&self, role: &'static str) -> (Process, Site) {
        let (number, site) = self.site(role);
        (Process { number, pelton: site.launch().await }, site)
    }

    fn site(&self, role: &'static str) -> (u32, Site) {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let site = Site::new(&self.yaml.replace(PROCESS, &number.to_string())).role(role);
        (number, self.settings.iter().fold(site, |site, (name, value)| site.with(name, value)))
    }
}
