//! Resources as files: a folder of YAML that is watched, and what API and commands add to it.
//!
//! Pelton never edits a file that it did not create. Resources made through it are files in [`MANAGED`]; settings changed
//! by command are kept in `overrides.yaml` there.

mod changes;
mod managed;
mod overrides;
mod scan;
mod store;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pelton_resources::contracts::{ResourceStatus, StatusSource};
use pelton_resources::{Defaults, Kind, NamespacedName, Snapshot};
use pelton_runtime::drain::Drain;
use tokio::sync::watch as channel;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::limits;
pub use scan::is_data_dir;
use store::{Reading, Store};
use watch::FolderWatch;
pub use writer::FolderWriter;

/// The folder, within the folder of resources, of what Pelton itself writes.
const MANAGED: &str = "pelton-managed";

/// Settings changed by command, within the folder of resources. The one YAML file there that holds no resources.
pub const OVERRIDES_FILE: &str = "pelton-managed/overrides.yaml";

/// Where resources are.
#[derive(Debug, Clone)]
pub struct FolderConfig {
    /// The folder of resources.
    pub dir: PathBuf,
    /// The data directory; like any other Pelton's it is not read even where it lies within `dir`.
    pub data_dir: PathBuf,
    /// What holds where no document says anything.
    pub defaults: Defaults,
}

/// The folder cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error(
        "cannot read the folder of resources {dir}: {problem}; name a folder that exists: pelton run DIR"
    )]
    Unreadable {
        /// The folder.
        dir: String,
        /// What the system said.
        problem: String,
    },
    /// The file of overrides is damaged. To go on without it would resume what was paused.
    #[error("{file}: {problem}; correct it, or remove it to drop all overrides made by command")]
    Overrides {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl FolderError {
    /// The stable code (`docs/errors/`).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "PEL-1620",
            Self::Overrides { .. } => "PEL-1621",
        }
    }
}

/// Keeps the resources of a folder up to date. [`FolderStore::run`] is its task.
#[derive(Debug)]
pub struct FolderStore {
    store: Arc<Store>,
}

impl FolderStore {
    /// Reads the folder once. Mistakes in its files are no error here: they are in [`Snapshot::problems`].
    ///
    /// # Errors
    /// If the folder cannot be read, or the file of overrides is damaged.
    pub fn open(config: FolderConfig) -> Result<Self, FolderError> {
        Ok(Self { store: Arc::new(Store::open(config)?) })
    }

    /// A cheap handle on it.
    #[must_use]
    pub fn handle(&self) -> FolderHandle {
        FolderHandle { store: self.store.clone() }
    }

    /// Follows the folder until the drain.
    pub async fn run(self, drain: Drain) {
        let mut watch = FolderWatch::start();
        let rescan = if watch.is_on() { limits::RESCAN } else { limits::RESCAN_WITHOUT_WATCH };
        let mut rescan = interval(rescan);
        rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            watch.follow(&self.store.folders());
            tokio::select! {
                () = drain.signaled() => return,
                () = watch.changed() => watch.quiet().await,
                _ = rescan.tick() => {}
            }
            if self.read(false).await == Reading::SomethingGone {
                // A save by deleting and creating again must not make a resource flicker: look twice before it goes.
                let _ = timeout(limits::UNQUIET_MAX, async {
                    sleep(limits::QUIET).await;
                    watch.quiet().await;
                })
                .await;
                self.read(true).await;
            }
        }
    }

    async fn read(&self, confirmed: bool) -> Reading {
        let (store, turn) = (self.store.clone(), self.store.turn().await);
        // Files are read on a thread that may block. A reading that panicked changes nothing.
        let reading = tokio::task::spawn_blocking(move || store.read(&turn, confirmed));
        reading.await.unwrap_or(Reading::Done)
    }
}

/// A cheap handle on a [`FolderStore`]: its snapshots, its writer, what it knows about resources.
#[derive(Debug, Clone)]
pub struct FolderHandle {
    store: Arc<Store>,
}

impl FolderHandle {
    /// The resources, and every change of them.
    #[must_use]
    pub fn snapshots(&self) -> channel::Receiver<Arc<Snapshot>> {
        self.store.snapshots()
    }

    /// Changes resources; a call answers once `in_force` has the change.
    #[must_use]
    pub fn writer(&self, in_force: crate::InForce) -> FolderWriter {
        FolderWriter::new(self.store.clone(), in_force)
    }
}

/// Replaces a file whole, also in the face of a crash.
pub(crate) fn write_file(path: &Path, text: &str) -> io::Result<()> {
    managed::write(path, text, managed::Mode::Normal)
}

impl StatusSource for FolderHandle {
    /// The file that defines it, and settings changed by command.
    fn status(&self, kind: Kind, name: &NamespacedName) -> Option<ResourceStatus> {
        self.store.facts(kind, name).map(|facts| ResourceStatus { facts, ..ResourceStatus::default() })
    }
}

const _: () = assert!(limits::QUIET.as_millis() < limits::UNQUIET_MAX.as_millis());
