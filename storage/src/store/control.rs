//! Small facts that outlive turns of the ring: incarnation, fences, storage facts.
//!
//! A control record is durable with the WAL's next flush. Before the ring behind it is freed, a
//! checkpoint saves all of them into two small files of the same content, so that a rotten one
//! loses nothing. (Appending them to the WAL again instead could wait for ever: for room in a full
//! ring that is full because the old copies hold it.)
//!
//! A save is flushed under another name before it takes a file's place. Written in place it would
//! be torn on the disk when its flush fails, and whole in the page cache; a node that starts again
//! would see two whole files, begin its next save with the other one, and a power cut then would
//! leave none.
//!
//! ```text
//! 0 "WLCT" · 4 u16 version · 6 u16 0 · 8 u64 number of the save · 16 u32 records
//! 20 n x (u32 key · u64 group · u32 bytes · value) · u32 CRC-32C of all before
//! ```
//!
//! All numbers are little-endian. A record carries the WAL's group it was durable in: what replay
//! brings from an older one does not replace it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use walrus_types::batch::crc32c;

use super::{entry, shared::Shared, unsynced::failed};
use crate::{
    disk::{Disk, OpenMode},
    planted,
    segment::{StoreFailed, sizes::in_memory},
    wal::{AppendRefused, Done, Lsn},
};

/// How many keys there may be.
pub const CONTROLS_MAX: usize = 4096;
/// How long one value may be.
pub const CONTROL_BYTES_MAX: usize = 16 << 10;

const MAGIC: [u8; 4] = *b"WLCT";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 20;
const RECORD_BYTES: usize = 16;
/// The two files.
const NAMES: [&str; 2] = ["controls.1", "controls.2"];
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Why a control record was not taken. Nothing was written, and its `done` is not called.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The value is too long.
    #[error("control record {key} has {bytes} bytes, at most {CONTROL_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its key.
        key: u32,
        /// Its length.
        bytes: usize,
    },
    /// There are too many keys.
    #[error("there are {CONTROLS_MAX} control records already; {key} would be one more")]
    TooMany {
        /// The new key.
        key: u32,
    },
    /// The WAL's queue is full; try again.
    #[error("the write-ahead log's queue is full; try again")]
    Busy,
    /// Final.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

/// A value and the group that it was durable in.
pub(super) type Durable = (Bytes, Lsn);

/// The records by key.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    /// The newest value that was given for each key, durable or not.
    newest: BTreeMap<u32, Bytes>,
    durable: BTreeMap<u32, Durable>,
    /// Something became durable since the last save.
    changed: bool,
    saves: u64,
}

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Saved {
    number: u64,
    pub(super) records: BTreeMap<u32, Durable>,
}

impl Controls {
    /// The records as recovery found them.
    pub(super) fn recovered(saved: Saved) -> Self {
        let newest = saved.records.iter().map(|(key, (value, _))| (*key, value.clone())).collect();
        // Saved again with the next checkpoint: replay may have brought newer ones.
        let records =
            Records { newest, durable: saved.records, changed: true, saves: saved.number };
        Self { records: Mutex::new(records) }
    }

    pub(super) fn get(&self, key: u32) -> Option<Bytes> {
        self.records.lock().newest.get(&key).cloned()
    }

    fn made_durable(&self, key: u32, value: Bytes, lsn: Lsn) {
        let mut records = self.records.lock();
        records.durable.insert(key, (value, lsn));
        records.changed = true;
    }

    /// Whether the WAL holds a record that is not saved.
    pub(super) fn has_changed(&self) -> bool {
        self.records.lock().changed
    }

    /// The next save, if anything changed since the last.
    fn to_save(&self) -> Option<Vec<u8>> {
        let mut records = self.records.lock();
        if !std::mem::take(&mut records.changed) || planted::is("control-record-lost") {
            return None;
        }
        records.saves += 1;
        Some(encode(records.saves, &records.durable))
    }
}

impl Shared {
    pub(super) fn put_control(
        self: &Arc<Self>,
        key: u32,
        value: Bytes,
        done: Done,
    ) -> Result<(), ControlError> {
        self.check()?;
        if value.len() > CONTROL_BYTES_MAX {
            return Err(ControlError::TooLarge { key, bytes: value.len() });
        }
        let (shared, kept) = (Arc::clone(self), value.clone());
        let on_done: Done = Box::new(move |result| {
            if let Ok(lsn) = &result {
                // Before the group counts as durable: a checkpoint that frees it saves this.
                shared.controls.made_durable(key, kept, *lsn);
                shared.progress.durable_up_to(*lsn);
                // A checkpoint is due some time, or the ring would fill with nothing but these.
                shared.progress.nudge();
            }
            done(result);
        });
        // Appended under the lock, so that the order in the WAL is the order of calls.
        let mut records = self.controls.records.lock();
        if records.newest.len() >= CONTROLS_MAX && !records.newest.contains_key(&key) {
            return Err(ControlError::TooMany { key });
        }
        self.wal.append(entry::control(key, value.clone()), on_done).map_err(|refused| {
            match refused {
                AppendRefused::Full | AppendRefused::TooLarge { .. } => ControlError::Busy,
                AppendRefused::Failed(failed) => ControlError::Failed(failed.into()),
            }
        })?;
        records.newest.insert(key, value);
        Ok(())
    }

    /// Makes the records durable outside of the WAL, one file after the other.
    pub(super) fn save_controls(&self) -> Result<(), StoreFailed> {
        let Some(bytes) = self.controls.to_save() else {
            return Ok(());
        };
        save(&*self.disk, &self.dir, &bytes)
    }
}

fn save(disk: &dyn Disk, dir: &Path, bytes: &[u8]) -> Result<(), StoreFailed> {
    for name in NAMES {
        let path = dir.join(name);
        replace(disk, &path, bytes).map_err(|source| failed(&path, "written", source))?;
    }
    disk.sync_dir(dir).map_err(|source| failed(dir, "flushed", source))
}

/// Puts new content in the place of a file's. The name is durable with its directory.
fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    let file = disk.open(&fresh, OpenMode::Create)?;
    file.set_len_bytes(0)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&fresh, path)
}

/// Reads the newer of the two files. One of them may be rotten; when both are, what they held is
/// lost and the store must not open as if it had never been.
pub(super) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Saved> {
    let mut best: Option<Saved> = None;
    let mut damaged: Vec<PathBuf> = Vec::new();
    for name in NAMES {
        let path = dir.join(name);
        let Some(bytes) = read(disk, &path)? else {
            continue;
        };
        match decode(&bytes) {
            Some(saved) if best.as_ref().is_none_or(|best| best.number < saved.number) => {
                best = Some(saved);
            }
            Some(_) => {}
            None => damaged.push(path),
        }
    }
    match (best, damaged.len()) {
        (Some(saved), _) => Ok(saved),
        (None, 2) => {
            let what = "both files of control records are damaged: what this node promised is \
                        not known; restore one of them, or wipe the node";
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
        // Until both are there for the first time nothing is freed behind them.
        (None, _) => Ok(Saved::default()),
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = vec![0; in_memory(file.len_bytes()?.min(FILE_BYTES_MAX))];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

fn encode(number: u64, records: &BTreeMap<u32, Durable>) -> Vec<u8> {
    let count = u32::try_from(records.len()).expect("there are at most CONTROLS_MAX");
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    for (key, (value, lsn)) in records {
        let length = u32::try_from(value.len()).expect("a value has at most CONTROL_BYTES_MAX");
        bytes.extend_from_slice(&key.to_le_bytes());
        bytes.extend_from_slice(&lsn.0.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(value);
    }
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Saved> {
    let (bytes, crc) = bytes.split_last_chunk::<4>()?;
    let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let version = u16::from_le_bytes([header[4], header[5]]);
    if header[..4] != MAGIC || version != VERSION || u32::from_le_bytes(*crc) != crc32c(bytes) {
        return None;
    }
    let number = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let count = u32::from_le_bytes(header[16..20].try_into().ok()?);
    let mut records = BTreeMap::new();
    for _ in 0..count {
        let (record, after) = rest.split_first_chunk::<RECORD_BYTES>()?;
        let key = u32::from_le_bytes(record[..4].try_into().ok()?);
        let lsn = Lsn(u64::from_le_bytes(record[4..12].try_into().ok()?));
        let length = in_memory(u64::from(u32::from_le_bytes(record[12..].try_into().ok()?)));
        let value = after.get(..length)?;
        records.insert(key, (Bytes::copy_from_slice(value), lsn));
        rest = &after[length..];
    }
    rest.is_empty().then_some(Saved { number, records })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{SimDisk, SimFaults};

    /// Whichever flush of a save fails, whichever of the next one after a restart, and whatever the
    /// power cut behind that leaves.
    #[test]
    fn saves_that_fail_leave_one_that_is_whole() {
        let dir = Path::new("/data");
        for seed in 0..200 {
            let (first, second) = (1 + seed % 4, 1 + seed / 4 % 4);
            let mut disk = SimDisk::new(seed);
            disk.create_dir_all(dir).unwrap();
            let number_of = |disk: &SimDisk| load(disk, dir).map(|saved| saved.number);
            let save_of = |number: u64| {
                let value = Bytes::from(vec![1; 700 * in_memory(number)]);
                encode(number, &BTreeMap::from([(7, (value, Lsn(number)))]))
            };
            save(&disk, dir, &save_of(1)).unwrap();
            for (number, sync_fails_at) in [(2, first), (3, second)] {
                let faults =
                    SimFaults { sync_fails_at: Some(sync_fails_at), ..SimFaults::default() };
                disk.set_faults(faults);
                let _fails_or_not = save(&disk, dir, &save_of(number));
                let found = number_of(&disk).unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
                assert!((1..=number).contains(&found), "seed {seed}: save {found}");
            }
            disk = disk.power_cut();
            let found = number_of(&disk).unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
            assert!((1..=3).contains(&found), "seed {seed}: save {found}");
        }
    }

    #[test]
    fn a_save_is_read_back_whole_or_not_at_all() {
        let mut records = BTreeMap::new();
        records.insert(7, (Bytes::from_static(b"incarnation 3"), Lsn(40)));
        records.insert(9, (Bytes::new(), Lsn(2)));
        let good = encode(5, &records);
        let saved = decode(&good).unwrap();
        assert_eq!((saved.number, saved.records), (5, records));
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_none(), "byte {at}");
            assert!(decode(&good[..at]).is_none(), "cut at {at}");
        }
    }
}
