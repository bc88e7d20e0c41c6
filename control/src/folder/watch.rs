//! Hearing of changes. The folders are watched one by one, so that what is not read (the data directory above all) wakes
//! nobody.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::limits;

/// The watch over some folders.
pub(super) struct FolderWatch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// Those that could not be watched: told once, tried again at every change.
    unwatched: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
}

impl FolderWatch {
    /// A watch over nothing yet. Where the system offers none, it never tells anything.
    pub(super) fn start() -> Self {
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may mean lost events.
            if event.as_ref().map_or(true, is_change) {
                tell.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "folders cannot be watched here; they are read every few seconds");
        }
        Self { watcher: watcher.ok(), watched: BTreeSet::new(), unwatched: BTreeSet::new(), changed }
    }

    /// Whether changes are told.
    pub(super) const fn is_on(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches exactly `folders`.
    pub(super) fn follow(&mut self, folders: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.watched.difference(folders) {
            // A folder that is gone has lost its watch already.
            let _ = watcher.unwatch(gone);
        }
        self.watched.retain(|folder| folders.contains(folder));
        self.unwatched.retain(|folder| folders.contains(folder));
        for fresh in folders {
            if self.watched.contains(fresh) {
                continue;
            }
            match watcher.watch(fresh, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(fresh.clone());
                    self.unwatched.remove(fresh);
                    // Something may have changed between reading and watching.
                    self.changed.notify_one();
                }
                Err(error) if self.unwatched.insert(fresh.clone()) => {
                    tracing::warn!(folder = %fresh.display(), %error, "this folder is not watched, only read from time to time");
                }
                Err(_) => {}
            }
        }
    }

    /// Ends at the next change, at once if there was one since the last call.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends when nothing has changed for a while.
    pub(super) async fn quiet(&self) {
        let latest = Instant::now() + limits::UNQUIET_MAX;
        while Instant::now() < latest {
            if timeout(limits::QUIET, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// Reading is no change; Pelton's own reading would wake it again and again.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
