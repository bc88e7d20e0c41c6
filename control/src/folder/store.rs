//! The state of a folder: its files, the overrides, the resources they make.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pelton_resources::{
    Assembly, Defaults, Document, Kind, NamespacedName, Overrides, Severity, Snapshot, assemble,
};
use tokio::sync::watch;

use super::scan::{self, Files, Scan};
use super::{FolderConfig, FolderError, overrides};

/// What came of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What was found is in force.
    Done,
    /// A resource is gone; nothing has changed yet. Read once more and confirm.
    SomethingGone,
}

/// The state of a folder.
#[derive(Debug)]
pub(super) struct Store {
    config: FolderConfig,
    state: Mutex<State>,
    published: watch::Sender<Arc<Snapshot>>,
    /// Held by whoever writes files, so that one change comes after the other.
    pub(super) writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    scan: Scan,
    overrides: Overrides,
    assembly: Assembly,
}

/// What a write starts from.
pub(super) struct Basis {
    pub(super) scan: Scan,
    pub(super) overrides: Overrides,
    pub(super) assembly: Assembly,
}

impl Store {
    pub(super) fn open(config: FolderConfig) -> Result<Self, FolderError> {
        let unreadable = |error: std::io::Error| FolderError::Unreadable {
            dir: config.dir.display().to_string(),
            problem: error.to_string(),
        };
        // Only here a folder that is not there is an error; later it is a problem like others.
        std::fs::read_dir(&config.dir).map_err(unreadable)?;
        let overrides = overrides::load(&config.dir)?;
        let scan = scan::scan(&config.dir, &config.data_dir, &Files::default());
        let assembly = assemble(&Assembly::default(), &scan.sources(), &config.defaults, &overrides);
        log_changes(&Snapshot::default(), &assembly.snapshot);
        let published = watch::Sender::new(assembly.snapshot.clone());
        let store = Self {
            config,
            state: Mutex::new(State { scan, overrides, assembly }),
            published,
            writing: tokio::sync::Mutex::default(),
        };
        store.drop_stale_overrides(&mut store.state());
        Ok(store)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.config.dir
    }

    pub(super) fn defaults(&self) -> &Defaults {
        &self.config.defaults
    }

    pub(super) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    /// The folders that were read.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        self.state().scan.folders.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is replaced as a whole, so a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the folder and puts in force what it finds. If a resource is gone, only when `confirmed`.
    pub(super) fn read(&self, confirmed: bool) -> Reading {
        let mut state = self.state();
        let scan = scan::scan(&self.config.dir, &self.config.data_dir, &state.scan.files);
        let assembly = assemble(&state.assembly, &scan.sources(), &self.config.defaults, &state.overrides);
        if !confirmed && something_gone(&state.assembly.snapshot, &assembly.snapshot) {
            return Reading::SomethingGone;
        }
        state.scan = scan;
        self.put_in_force(&mut state, assembly);
        self.drop_stale_overrides(&mut state);
        Reading::Done
    }

    /// Uses `overrides` from now on.
    pub(super) fn replace_overrides(&self, overrides: Overrides) {
        self.state().overrides = overrides;
    }

    pub(super) fn basis(&self) -> Basis {
        let state = self.state();
        Basis {
            scan: state.scan.clone(),
            overrides: state.overrides.clone(),
            assembly: state.assembly.clone(),
        }
    }

    /// What is known about a resource: its file and its overrides.
    pub(super) fn facts(&self, kind: Kind, name: &NamespacedName) -> Option<Vec<(&'static str, String)>> {
        let state = self.state();
        let document = state.assembly.document(kind, name)?;
        let mut facts = vec![("defined in", document.place())];
        let overrides = state.overrides.of(kind, name);
        facts.extend(
            overrides
                .map(|(annotation, setting)| ("set by command", format!("{annotation}: {}", setting.value))),
        );
        Some(facts)
    }

    fn put_in_force(&self, state: &mut State, assembly: Assembly) {
        log_changes(&state.assembly.snapshot, &assembly.snapshot);
        state.assembly = assembly;
        let snapshot = &state.assembly.snapshot;
        self.published.send_if_modified(|published| {
            let changed = !Arc::ptr_eq(published, snapshot);
            *published = snapshot.clone();
            changed
        });
    }

    /// Forgets overrides whose resource's own file says something else now.
    fn drop_stale_overrides(&self, state: &mut State) {
        let stale = state.assembly.stale_overrides().to_vec();
        if stale.is_empty() {
            return;
        }
        for (kind, name, annotation) in &stale {
            tracing::info!(%kind, %name, annotation, "an override by command is dropped: the file says otherwise now");
            state.overrides.remove(*kind, name, annotation);
        }
        if let Err(error) = overrides::save(&self.config.dir, &state.overrides) {
            // They stay stale, so nothing but the file is wrong; the next change writes it again.
            tracing::warn!(%error, "overrides that no longer hold could not be removed from their file");
        }
    }
}

fn something_gone(before: &Snapshot, after: &Snapshot) -> bool {
    before.brokers.keys().any(|name| !after.brokers.contains_key(name))
        || before.triggers.keys().any(|name| !after.triggers.contains_key(name))
}

/// Tells operators what changed, and each problem once.
fn log_changes(before: &Snapshot, after: &Snapshot) {
    for problem in after.problems.iter().filter(|problem| !before.problems.contains(problem)) {
        match problem.severity {
            Severity::Error => tracing::error!(code = problem.code, "{problem}"),
            Severity::Warning => tracing::warn!(code = problem.code, "{problem}"),
        }
    }
    if before.generation != after.generation {
        tracing::info!(
            generation = after.generation,
            brokers = after.brokers.len(),
            triggers = after.triggers.len(),
            problems = after.problems.len(),
            "resources changed"
        );
    }
}

/// Whether Pelton wrote the file of a document.
pub(super) fn is_managed(document: &Document) -> bool {
    scan::is_managed(document.file())
}
