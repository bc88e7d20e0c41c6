//! The state of a folder: its files, the overrides, the resources they make.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pelton_resources::{
    Assembly, Defaults, Document, Kind, NamespacedName, Overrides, Severity, Snapshot, assemble,
};
use tokio::sync::{OwnedMutexGuard, watch};

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
    /// Locked to look at it or to replace it, never while files are read or written: requests wait for it.
    state: Mutex<Arc<State>>,
    published: watch::Sender<Arc<Snapshot>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The right to read and write the files of a store; one after the other has it. It goes along with the work, to whatever
/// thread: whoever asked for the work may go away before it is done.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held, not looked at")] OwnedMutexGuard<()>);

/// What was read, and what it makes.
#[derive(Debug, Clone)]
pub(super) struct State {
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
        let mut state = State { scan, overrides, assembly };
        drop_stale_overrides(&config.dir, &mut state);
        Ok(Self { config, state: Mutex::new(Arc::new(state)), published, turn: Arc::default() })
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

    /// What was read last.
    pub(super) fn state(&self) -> Arc<State> {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Arc<State>> {
        // The state is replaced as a whole, so a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to read and write files.
    pub(super) async fn turn(&self) -> Turn {
        Turn(self.turn.clone().lock_owned().await)
    }

    /// Reads the folder and puts in force what it finds. If a resource is gone, only when `confirmed`.
    pub(super) fn read(&self, _: &Turn, confirmed: bool) -> Reading {
        let before = self.state();
        let scan = scan::scan(&self.config.dir, &self.config.data_dir, &before.scan.files);
        let assembly = assemble(&before.assembly, &scan.sources(), &self.config.defaults, &before.overrides);
        if !confirmed && something_gone(&before.assembly.snapshot, &assembly.snapshot) {
            return Reading::SomethingGone;
        }
        log_changes(&before.assembly.snapshot, &assembly.snapshot);
        let mut state = State { scan, overrides: before.overrides.clone(), assembly };
        drop_stale_overrides(&self.config.dir, &mut state);
        let snapshot = state.assembly.snapshot.clone();
        *self.locked() = Arc::new(state);
        self.published.send_if_modified(|published| {
            let changed = !Arc::ptr_eq(published, &snapshot);
            *published = snapshot;
            changed
        });
        Reading::Done
    }

    /// Keeps `overrides` in their file and uses them from the next reading on.
    pub(super) fn replace_overrides(&self, _: &Turn, overrides: Overrides) -> std::io::Result<()> {
        overrides::save(&self.config.dir, &overrides)?;
        let state = State { overrides, ..State::clone(&self.state()) };
        *self.locked() = Arc::new(state);
        Ok(())
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
}

/// Forgets overrides whose resource's own file says something else now.
fn drop_stale_overrides(dir: &Path, state: &mut State) {
    let stale = state.assembly.stale_overrides();
    if stale.is_empty() {
        return;
    }
    for (kind, name, annotation) in stale {
        tracing::info!(%kind, %name, annotation, "an override by command is dropped: the file says otherwise now");
        state.overrides.remove(*kind, name, annotation);
    }
    if let Err(error) = overrides::save(dir, &state.overrides) {
        // Nothing but the file is wrong: the next change writes it again, and after a restart they are stale once more.
        tracing::warn!(%error, "overrides that no longer hold could not be removed from their file");
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
