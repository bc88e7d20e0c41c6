//! A disk in memory that fails like a real one: what was not synced persists, tears and is reordered page by page; names
//! persist up to some point; new space holds what somebody left there; it runs full, and its syncs fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use rustix::io::Errno;

use crate::embedded::disk::{Disk, DiskFile};
use crate::embedded::partition::lock;

const SECTOR: usize = 512;

/// The disk; clones are the same disk.
#[derive(Debug, Clone)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: Rng,
    files: HashMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names that are not durable, by folder, in order.
    pending: BTreeMap<String, Vec<NameChange>>,
    /// Operations until the machine dies.
    fuse: Option<u64>,
    dead: bool,
    /// Handles of an earlier life do nothing.
    life: u64,
    capacity: u64,
    fail_syncs: bool,
    panic_in_syncs: bool,
    /// Bytes that cannot be read, by file.
    unreadable: HashMap<u64, Range<usize>>,
    /// What new space holds: the content of files that are gone.
    stale: Vec<u8>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, u64),
    Gone(String),
}

#[derive(Debug, Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    durable_length: usize,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
    /// Where it was cut since the last sync: what was behind is gone with the next one.
    cut: Option<usize>,
}

impl SimulatedDisk {
    pub(super) fn new(seed: u64) -> Self {
        let names: BTreeMap<String, u64> = BTreeMap::new();
        Self(Arc::new(Mutex::new(State {
            rng: Rng::with_seed(seed),
            files: HashMap::new(),
            next_file: 0,
            names: names.clone(),
            durable_names: names,
            pending: BTreeMap::new(),
            fuse: None,
            dead: false,
            life: 0,
            capacity: u64::MAX,
            fail_syncs: false,
            panic_in_syncs: false,
            unreadable: HashMap::new(),
            stale: Vec::new(),
        })))
    }

    /// The machine dies after so many operations that change something.
    pub(super) fn die_after(&self, operations: u64) {
        lock(&self.0).fuse = Some(operations);
    }

    pub(super) fn is_dead(&self) -> bool {
        lock(&self.0).dead
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        lock(&self.0).capacity = bytes;
    }

    pub(super) fn used(&self) -> u64 {
        lock(&self.0).used()
    }

    pub(super) fn fail_syncs(&self) {
        lock(&self.0).fail_syncs = true;
    }

    /// Stands for a defect in whatever syncs.
    pub(super) fn panic_in_syncs(&self) {
        lock(&self.0).panic_in_syncs = true;
    }

    /// The bytes of a file cannot be read any more; an empty range: they can again.
    pub(super) fn fail_reads(&self, name: &str, bytes: Range<usize>) {
        let mut state = lock(&self.0);
        let file = state.names[name];
        state.unreadable.insert(file, bytes);
    }

    /// Power off and on again.
    pub(super) fn reboot(&self) {
        lock(&self.0).reboot();
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = lock(&self.0);
        state.files[&state.names[name]].current.clone()
    }

    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let state = lock(&self.0);
        state.names.keys().filter(|name| folder_of(name) == folder).cloned().collect()
    }

    /// Puts a durable file there.
    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = lock(&self.0);
        state.next_file += 1;
        let file = state.next_file;
        let durable_length = bytes.len();
        let content =
            Content { durable: bytes.clone(), current: bytes, durable_length, ..Content::default() };
        state.files.insert(file, content);
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    /// Changes a file behind everybody's back.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = lock(&self.0);
        let file = state.names[name];
        let content = state.files.get_mut(&file).unwrap();
        change(&mut content.current);
        content.durable.clone_from(&content.current);
        content.durable_length = content.current.len();
        content.dirty.clear();
    }

    pub(super) fn delete(&self, name: &str) {
        let mut state = lock(&self.0);
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    fn file(&self, file: u64, life: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimulatedFile { disk: self.clone(), file, life })
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl State {
    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|file| self.files.get(file))
            .map(|content| content.current.len() as u64)
            .sum()
    }

    /// Counts an operation that changes something; an error when the machine is dead, or dies now.
    fn operate(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the machine is off"));
        }
        if let Some(fuse) = &mut self.fuse {
            *fuse = fuse.saturating_sub(1);
            if *fuse == 0 {
                self.dead = true;
                return Err(io::Error::other("the power fails"));
            }
        }
        Ok(())
    }

    fn alive(&self, life: u64) -> io::Result<()> {
        if self.dead || life != self.life {
            return Err(io::Error::other("the machine is off"));
        }
        Ok(())
    }

    fn rename(&mut self, change: NameChange) {
        let folder = match &change {
            NameChange::Set(name, file) => {
                self.names.insert(name.clone(), *file);
                folder_of(name)
            }
            NameChange::Gone(name) => {
                if let Some(content) = self.names.remove(name).and_then(|file| self.files.get(&file)) {
                    self.stale.clone_from(&content.current);
                }
                folder_of(name)
            }
        };
        self.pending.entry(folder.to_owned()).or_default().push(change);
    }

    fn reboot(&mut self) {
        for changes in std::mem::take(&mut self.pending).into_values() {
            let kept = self.rng.usize(0..=changes.len());
            changes.into_iter().take(kept).for_each(|change| apply(&mut self.durable_names, change));
        }
        self.names.clone_from(&self.durable_names);
        let page = if self.rng.bool() { SECTOR } else { 8 * SECTOR };
        let mut order: Vec<u64> = self.files.keys().copied().collect();
        order.sort_unstable();
        for file in order {
            if let Some(content) = self.files.get_mut(&file) {
                content.lose(&mut self.rng, page);
            }
        }
        self.fuse = None;
        self.dead = false;
        self.life += 1;
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: NameChange) {
    match change {
        NameChange::Set(name, file) => drop(names.insert(name, file)),
        NameChange::Gone(name) => drop(names.remove(&name)),
    }
}

impl Content {
    /// Makes the space up to `length` exist, filled with what was left there.
    fn grow(&mut self, length: usize, stale: &[u8]) {
        let from = self.current.len();
        if length <= from {
            return;
        }
        let fill = (from..length).map(|at| stale.get(at).copied().unwrap_or(0));
        self.current.extend(fill);
        if self.durable.len() < length {
            let from = self.durable.len();
            self.durable.extend_from_slice(&self.current[from..length]);
        }
    }

    fn write(&mut self, bytes: &[u8], at: usize) {
        self.grow(at + bytes.len(), &[]);
        self.current[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..(at + bytes.len()).div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.persist(sector * SECTOR, SECTOR);
        }
        if let Some(cut) = self.cut.take() {
            self.durable.truncate(cut);
            self.durable.extend_from_slice(&self.current[cut.min(self.current.len())..]);
        }
        self.durable.truncate(self.current.len());
        self.durable_length = self.current.len();
    }

    fn persist(&mut self, at: usize, bytes: usize) {
        let end = (at + bytes).min(self.current.len());
        if at < end {
            self.durable[at..end].copy_from_slice(&self.current[at..end]);
        }
    }

    /// What survives: each unsynced page by itself, whole, in part or not at all.
    fn lose(&mut self, rng: &mut Rng, page: usize) {
        let pages: BTreeSet<usize> = self.dirty.iter().map(|sector| sector * SECTOR / page).collect();
        let dirty = std::mem::take(&mut self.dirty);
        // Often all or nothing, so that every mixture has its chance.
        let mood = rng.u8(0..6);
        for number in pages {
            let fate = match mood {
                0 => 0,
                1 => 1,
                _ => rng.u8(0..3),
            };
            let sectors = dirty.range(number * page / SECTOR..(number + 1) * page / SECTOR);
            match fate {
                0 => {}
                1 => sectors.for_each(|sector| self.persist(sector * SECTOR, SECTOR)),
                _ => {
                    // Torn: a part of the sectors, the last of them in part.
                    let sectors: Vec<usize> = sectors.copied().collect();
                    let whole = rng.usize(0..=sectors.len());
                    for sector in &sectors[..whole] {
                        self.persist(sector * SECTOR, SECTOR);
                    }
                    if let Some(sector) = sectors.get(whole).filter(|_| rng.bool()) {
                        self.persist(sector * SECTOR, rng.usize(0..SECTOR));
                    }
                }
            }
        }
        let length = if rng.bool() { self.current.len() } else { self.durable_length };
        self.cut = None;
        self.durable.resize(length, 0);
        self.durable_length = length;
        self.current.clone_from(&self.durable);
    }
}

impl Disk for SimulatedDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let state = lock(&self.0);
        state.alive(state.life)?;
        let files = state.names.iter().filter(|(name, _)| folder_of(name) == folder);
        Ok(files
            .map(|(name, file)| {
                let short = name.rsplit('/').next().unwrap_or(name).to_owned();
                (short, state.files[file].current.len() as u64)
            })
            .collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.0);
        state.operate()?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.next_file += 1;
        let file = state.next_file;
        state.files.insert(file, Content::default());
        state.rename(NameChange::Set(name.to_owned(), file));
        Ok(self.file(file, state.life))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = lock(&self.0);
        state.alive(state.life)?;
        let file = state.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(self.file(*file, state.life))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.operate()?;
        if state.names.contains_key(name) {
            state.rename(NameChange::Gone(name.to_owned()));
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.operate()?;
        let file = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
        state.rename(NameChange::Set(to.to_owned(), file));
        state.rename(NameChange::Gone(from.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.operate()?;
        for change in state.pending.remove(folder).unwrap_or_default() {
            apply(&mut state.durable_names, change);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: u64,
    life: u64,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = lock(&self.disk.0);
        state.alive(self.life)?;
        act(&mut state, self.file)
    }
}

fn content(state: &mut State, file: u64) -> io::Result<&mut Content> {
    state.files.get_mut(&file).ok_or_else(|| ErrorKind::NotFound.into())
}

impl DiskFile for SimulatedFile {
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, file| {
            state.operate()?;
            let length = content(state, file)?.current.len() as u64;
            if state.used() + bytes.saturating_sub(length) > state.capacity {
                return Err(ErrorKind::StorageFull.into());
            }
            let stale = state.stale.clone();
            content(state, file)?.grow(usize::try_from(bytes).unwrap(), &stale);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.with(|state, file| {
            let outcome = state.operate();
            let at = usize::try_from(position).unwrap();
            let grows = (at + bytes.len()).saturating_sub(content(state, file)?.current.len()) as u64;
            if grows > 0 && state.used() + grows > state.capacity {
                // As a real disk: what fits is written.
                let fits = bytes.len() - usize::try_from(grows).unwrap();
                content(state, file)?.write(&bytes[..fits], at);
                return Err(ErrorKind::StorageFull.into());
            }
            content(state, file)?.write(bytes, at);
            outcome
        })
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|state, file| {
            let unreadable = state.unreadable.get(&file).cloned().unwrap_or_default();
            let bytes = &content(state, file)?.current;
            let at = usize::try_from(position).unwrap().min(bytes.len());
            let read = buffer.len().min(bytes.len() - at);
            if at < unreadable.end && unreadable.start < at + read {
                return Err(Errno::IO.into());
            }
            buffer[..read].copy_from_slice(&bytes[at..at + read]);
            Ok(read)
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.with(|state, file| Ok(content(state, file)?.current.len() as u64))
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, file| {
            state.operate()?;
            let content = content(state, file)?;
            let length = usize::try_from(bytes).unwrap();
            content.current.resize(length, 0);
            content.cut = Some(content.cut.map_or(length, |cut| cut.min(length)));
            content.dirty = content.dirty.iter().copied().filter(|sector| sector * SECTOR < length).collect();
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, file| {
            state.operate()?;
            assert!(!state.panic_in_syncs, "a defect, as the test wants it");
            if state.fail_syncs {
                return Err(io::Error::other("the medium failed"));
            }
            content(state, file)?.sync();
            Ok(())
        })
    }
}
