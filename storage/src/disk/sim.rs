//! A disk in memory that fails as real ones do, by a seed.
//!
//! A power cut loses, keeps or tears each 512-byte sector that was not flushed, and keeps or
//! loses each name that was not synced. Writes and flushes can fail, the disk can be full or
//! slow, group writes complete in any order, bytes can flip. The same seed and the same calls
//! give the same disk.
//!
//! Kinder than a real disk in one thing: directories are durable as soon as they are made.
//!
//! Owns the bytes and what of them is durable; `sim_file.rs` has the rules for one file.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use walrus_types::chance::Chance;

use super::{
    AlignedBuffer, DirEntry, Disk, DiskFile, GroupWriter, GroupWritten, OpenMode, Waker,
    direct::Bell, sim_file::SimFile,
};
use crate::planted;

/// How a [`SimDisk`] misbehaves. Shares are of 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SimFaults {
    /// The share of writes that fail; any part of them may be there afterwards.
    pub write_fails: f64,
    /// The share of flushes that fail, those of group writes included.
    pub sync_fails: f64,
    /// The write that fails, counting from 1.
    pub write_fails_at: Option<u64>,
    /// The flush that fails, counting from 1.
    pub sync_fails_at: Option<u64>,
    /// What all files together may hold.
    pub bytes_max: Option<u64>,
    /// A group write completes after up to so many waits more than it must.
    pub waits_max: u32,
    /// The share of reads that a caller who does not want to wait is refused.
    pub cold_reads: f64,
}

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    random: Chance,
    faults: SimFaults,
    writes: u64,
    syncs: u64,
    dirs: BTreeMap<PathBuf, ()>,
    /// What the running system sees.
    names: BTreeMap<PathBuf, usize>,
    /// What is certain to be there after a power cut.
    names_durable: BTreeMap<PathBuf, usize>,
    /// Changes of names that were not synced, oldest first.
    changes: Vec<Change>,
    files: Vec<SimFile>,
}

/// One change of a name.
#[derive(Debug, Clone)]
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let in_dir = |path: &Path| path.parent() == Some(dir);
        match self {
            Self::Link(path, _) | Self::Unlink(path) => in_dir(path),
            Self::Rename(from, to, _) => in_dir(from) || in_dir(to),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(path, file) => drop(names.insert(path, file)),
            Self::Unlink(path) => drop(names.remove(&path)),
            Self::Rename(from, to, file) => {
                names.remove(&from);
                names.insert(to, file);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Chance::seeded(seed),
            faults: SimFaults::default(),
            writes: 0,
            syncs: 0,
            dirs: BTreeMap::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            changes: Vec::new(),
            files: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// From now on it misbehaves like this. Counting of writes and flushes begins anew.
    pub fn set_faults(&self, faults: SimFaults) {
        let mut state = self.state.lock();
        state.faults = faults;
        state.writes = 0;
        state.syncs = 0;
    }

    /// Writes so far, group writes included, since the faults were set.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state.lock().writes
    }

    /// Flushes so far, those of group writes included, since the faults were set.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The power goes. Answers the disk as the next boot sees it, without faults; this one goes
    /// on as if nothing had happened, for whatever still holds it.
    #[must_use]
    pub fn power_cut(&self) -> Self {
        let mut state = self.state.lock();
        let seed = state.random.draw();
        let mut random = Chance::seeded(state.random.draw());
        let mut names = state.names_durable.clone();
        for change in &state.changes {
            if random.one_in(2) {
                change.clone().apply(&mut names);
            }
        }
        let files: Vec<_> = state.files.iter().map(|file| file.after_cut(&mut random)).collect();
        let state = State {
            random: Chance::seeded(seed),
            faults: SimFaults::default(),
            writes: 0,
            syncs: 0,
            dirs: state.dirs.clone(),
            names_durable: names.clone(),
            names,
            changes: Vec::new(),
            files,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Turns bits of a stored byte, on the disk and in every cache: rot.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, or it is shorter.
    pub fn flip(&self, path: &Path, at: u64, mask: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.find(path)?;
        state.files[file].flip(at, mask).ok_or_else(|| not_found(path))
    }

    /// All of a file's bytes.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(state.files[state.find(path)?].bytes().to_vec())
    }
}

impl State {
    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| not_found(path))
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    fn bytes_left(&self) -> u64 {
        let used: u64 =
            self.names.values().map(|file| self.files[*file].bytes().len() as u64).sum();
        self.faults.bytes_max.unwrap_or(1 << 40).saturating_sub(used)
    }

    /// Counts a write and decides whether it fails.
    fn write_is_fine(&mut self) -> io::Result<()> {
        self.writes += 1;
        let fails = self.faults.write_fails_at == Some(self.writes)
            || self.random.share(self.faults.write_fails);
        if fails { Err(broken("write")) } else { Ok(()) }
    }

    /// Counts a flush and decides whether it fails.
    fn sync_is_fine(&mut self) -> io::Result<()> {
        self.syncs += 1;
        let fails = self.faults.sync_fails_at == Some(self.syncs)
            || self.random.share(self.faults.sync_fails);
        if fails { Err(broken("flush")) } else { Ok(()) }
    }

    fn write(&mut self, file: usize, bytes: &[u8], at: u64) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        let grows = end.saturating_sub(self.files[file].bytes().len() as u64);
        if grows > self.bytes_left() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full"));
        }
        if let Err(failed) = self.write_is_fine() {
            let written = self.random.below(bytes.len() as u64 + 1);
            let written = usize::try_from(written).expect("it is at most the slice's length");
            self.files[file].write(&bytes[..written], at);
            return Err(failed);
        }
        self.files[file].write(bytes, at);
        Ok(())
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        let fine = self.sync_is_fine();
        match &fine {
            Ok(()) => self.files[file].flush_all(),
            Err(_) => self.files[file].forget_all(),
        }
        fine
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        for dir in dir.ancestors() {
            state.dirs.insert(dir.to_path_buf(), ());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        if !state.dirs.contains_key(dir) {
            return Err(not_found(dir));
        }
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let inside = |path: &&PathBuf| path.parent() == Some(dir);
        let files = state.names.keys().filter(inside).filter_map(|path| name(path));
        let dirs = state.dirs.keys().filter(inside).filter_map(|path| name(path));
        let mut entries: Vec<_> = files
            .map(|name| DirEntry { name, is_dir: false })
            .chain(dirs.map(|name| DirEntry { name, is_dir: true }))
            .collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let file = match state.find(path) {
            Err(_) if mode == OpenMode::Create => {
                if !path.parent().is_some_and(|dir| state.dirs.contains_key(dir)) {
                    return Err(not_found(path));
                }
                state.files.push(SimFile::default());
                let file = state.files.len() - 1;
                state.change(Change::Link(path.to_path_buf(), file));
                file
            }
            found => found?,
        };
        Ok(Arc::new(OpenFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.find(from)?;
        state.change(Change::Rename(from.to_path_buf(), to.to_path_buf(), file));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.find(path)?;
        state.change(Change::Unlink(path.to_path_buf()));
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.dirs.contains_key(dir) {
            return Err(not_found(dir));
        }
        let files: Vec<_> =
            state.names.keys().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in files {
            state.change(Change::Unlink(path));
        }
        state.dirs.retain(|path, ()| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.dirs.contains_key(dir) {
            return Err(not_found(dir));
        }
        state.sync_is_fine()?;
        let (synced, rest) =
            std::mem::take(&mut state.changes).into_iter().partition(|change| change.touches(dir));
        state.changes = rest;
        let synced: Vec<Change> = synced;
        for change in synced {
            change.apply(&mut state.names_durable);
        }
        Ok(())
    }

    fn sync_files(&self, files: &[Arc<dyn DiskFile>]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.sync())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.state.lock().bytes_left())
    }

    fn fill(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = self.open(path, OpenMode::Create)?;
        file.set_len_bytes(0)?;
        let zeros = vec![0; usize::try_from(bytes).expect("a simulated file fits in memory")];
        file.write_at(&zeros, 0)?;
        file.sync()
    }

    fn group_writer(&self, files: &[PathBuf], depth: usize) -> io::Result<Box<dyn GroupWriter>> {
        let mut writer = SimWriter {
            disk: self.clone(),
            files: Vec::new(),
            depth,
            under_way: Vec::new(),
            bell: Arc::default(),
        };
        files.iter().try_for_each(|path| writer.add_file(path))?;
        Ok(Box::new(writer))
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("files", &self.state.lock().names).finish_non_exhaustive()
    }
}

/// An open file; it stays readable when its name is removed.
#[derive(Debug)]
struct OpenFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for OpenFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(self.disk.state.lock().files[self.file].read(buf, at))
    }

    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        let mut state = self.disk.state.lock();
        let cold = state.faults.cold_reads;
        let is_cold = state.random.share(cold);
        Ok((!is_cold).then(|| state.files[self.file].read(buf, at)))
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.disk.state.lock().write(self.file, buf, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state.lock().sync(self.file)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().files[self.file].bytes().len() as u64)
    }

    fn set_len_bytes(&self, bytes: u64) -> io::Result<()> {
        self.disk.state.lock().files[self.file].set_len(bytes);
        Ok(())
    }
}

/// Group writes in a seeded order.
#[derive(Debug)]
struct SimWriter {
    disk: SimDisk,
    files: Vec<usize>,
    depth: usize,
    under_way: Vec<UnderWay>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct UnderWay {
    ticket: u64,
    file: usize,
    buffer: AlignedBuffer,
    bytes: usize,
    at: u64,
    waits: u64,
}

impl GroupWriter for SimWriter {
    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        self.files.push(self.disk.state.lock().find(path)?);
        Ok(())
    }

    fn submit(
        &mut self,
        ticket: u64,
        file: usize,
        buffer: AlignedBuffer,
        bytes: usize,
        at: u64,
    ) -> io::Result<()> {
        assert!(self.under_way.len() < self.depth, "more than {} writes at once", self.depth);
        let file = self.files[file];
        let mut state = self.disk.state.lock();
        // The bytes are on their way: any of the sectors may be there from now on.
        state.files[file].write(&buffer[..bytes], at);
        let waits_max = u64::from(state.faults.waits_max);
        let waits = state.random.below(waits_max + 1);
        self.under_way.push(UnderWay { ticket, file, buffer, bytes, at, waits });
        Ok(())
    }

    fn wait(
        &mut self,
        finished: &mut Vec<GroupWritten>,
        at_most: Option<Duration>,
    ) -> io::Result<()> {
        if self.under_way.is_empty() {
            self.bell.wait(at_most);
            return Ok(());
        }
        let mut state = self.disk.state.lock();
        for group in &mut self.under_way {
            group.waits = group.waits.saturating_sub(1);
        }
        let ready: Vec<_> =
            (0..self.under_way.len()).filter(|place| self.under_way[*place].waits == 0).collect();
        if ready.is_empty() {
            return Ok(());
        }
        let place = usize::try_from(state.random.below(ready.len() as u64)).expect("it is small");
        let UnderWay { ticket, file, buffer, bytes, at, .. } =
            self.under_way.swap_remove(ready[place]);
        let result = state.write_is_fine().and_then(|()| state.sync_is_fine());
        match &result {
            Ok(()) if planted::is("flush-skipped") => {}
            Ok(()) => state.files[file].flush(at, bytes as u64),
            Err(_) => state.files[file].forget(at, bytes as u64),
        }
        finished.push(GroupWritten { ticket, buffer, result });
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::<Bell>::clone(&self.bell)
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

fn broken(what: &str) -> io::Error {
    io::Error::other(format!("a simulated {what} failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: &str = "/d";

    fn disk(seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new(DIR)).unwrap();
        disk
    }

    fn write(disk: &SimDisk, name: &str, bytes: &[u8]) -> io::Result<()> {
        disk.open(&Path::new(DIR).join(name), OpenMode::Create)?.write_at(bytes, 0)
    }

    fn sync(disk: &SimDisk, name: &str) -> io::Result<()> {
        disk.open(&Path::new(DIR).join(name), OpenMode::ReadWrite)?.sync()
    }

    fn names(disk: &SimDisk) -> Vec<String> {
        disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_name_that_was_not_synced_may_be_lost_and_a_synced_one_is_not() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = disk(seed);
            write(&disk, "kept", b"1").unwrap();
            disk.sync_dir(Path::new(DIR)).unwrap();
            write(&disk, "new", b"1").unwrap();
            let found = names(&disk.power_cut());
            assert!(found.contains(&"kept".to_owned()), "seed {seed}");
            lost += usize::from(!found.contains(&"new".to_owned()));
        }
        assert!((1..50).contains(&lost), "{lost} of 50");
    }

    #[test]
    fn a_rename_happens_or_does_not() {
        for seed in 0..50 {
            let disk = disk(seed);
            write(&disk, "old", b"1").unwrap();
            disk.sync_dir(Path::new(DIR)).unwrap();
            disk.rename(&Path::new(DIR).join("old"), &Path::new(DIR).join("new")).unwrap();
            assert_eq!(names(&disk), ["new"]);
            assert_eq!(names(&disk.power_cut()).len(), 1, "seed {seed}");
        }
    }

    #[test]
    fn the_write_or_flush_that_is_told_to_fail_fails() {
        let disk = disk(1);
        disk.set_faults(SimFaults {
            write_fails_at: Some(2),
            sync_fails_at: Some(1),
            ..SimFaults::default()
        });
        write(&disk, "a", b"1").unwrap();
        write(&disk, "a", b"2").unwrap_err();
        write(&disk, "a", b"3").unwrap();
        sync(&disk, "a").unwrap_err();
        sync(&disk, "a").unwrap();
        assert_eq!((disk.writes(), disk.syncs()), (3, 2));
    }

    #[test]
    fn a_full_disk_takes_no_more_until_something_is_removed() {
        let disk = disk(1);
        disk.set_faults(SimFaults { bytes_max: Some(1000), ..SimFaults::default() });
        write(&disk, "a", &[1; 900]).unwrap();
        assert_eq!(write(&disk, "b", &[1; 200]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        write(&disk, "a", &[2; 900]).unwrap();
        disk.remove_file(&Path::new(DIR).join("a")).unwrap();
        write(&disk, "b", &[1; 200]).unwrap();
        assert_eq!(disk.free_bytes(Path::new(DIR)).unwrap(), 800);
    }

    #[test]
    fn the_same_seed_gives_the_same_disk() {
        let run = |seed| {
            let disk = disk(seed);
            for name in ["a", "b", "c"] {
                write(&disk, name, &[7; 5000]).unwrap();
            }
            let after = disk.power_cut();
            names(&after)
                .into_iter()
                .map(|name| after.content(&Path::new(DIR).join(name)).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert!((0..20).any(|seed| run(seed) != run(3)));
    }

    #[test]
    fn group_writes_complete_in_any_order_and_are_durable_then() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..30 {
            let disk = disk(seed);
            let path = Path::new(DIR).join("ring");
            disk.fill(&path, 3 * 4096).unwrap();
            disk.sync_dir(Path::new(DIR)).unwrap();
            disk.set_faults(SimFaults { waits_max: 3, ..SimFaults::default() });
            let mut writer = disk.group_writer(std::slice::from_ref(&path), 3).unwrap();
            for ticket in 0..3u8 {
                let mut buffer = AlignedBuffer::zeroed(4096);
                buffer.fill(ticket + 1);
                writer.submit(ticket.into(), 0, buffer, 4096, u64::from(ticket) * 4096).unwrap();
            }
            let mut finished = Vec::new();
            while finished.len() < 2 {
                writer.wait(&mut finished, None).unwrap();
            }
            let after = disk.power_cut().content(&path).unwrap();
            for GroupWritten { ticket, result, .. } in &finished {
                result.as_ref().unwrap();
                let ticket = usize::try_from(*ticket).unwrap();
                let page = &after[ticket * 4096..][..4096];
                assert!(page.iter().all(|byte| usize::from(*byte) == ticket + 1), "seed {seed}");
            }
            orders.insert(finished.iter().map(|group| group.ticket).collect::<Vec<_>>());
        }
        assert!(orders.len() > 3, "{orders:?}");
    }

    #[test]
    fn a_flipped_byte_is_flipped_on_the_disk_too() {
        let disk = disk(1);
        write(&disk, "a", &[0; 10]).unwrap();
        sync(&disk, "a").unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        disk.flip(&Path::new(DIR).join("a"), 3, 0x80).unwrap();
        let expected = [0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0];
        assert_eq!(disk.power_cut().content(&Path::new(DIR).join("a")).unwrap(), expected);
        disk.flip(&Path::new(DIR).join("a"), 10, 1).unwrap_err();
    }
}
