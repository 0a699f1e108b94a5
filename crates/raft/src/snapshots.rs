//! Snapshots as files: the state as of one entry of the log, which needs none before it.
//!
//! ```text
//!  u32  bytes of the meta, little-endian
//!  …    postcard of the meta: last entry, membership
//!  …    the state, as `Metadata::encode` writes it
//! ```
//!
//! The two newest are kept; the older one is for the operator, not for recovery, for the log
//! before the newest is purged.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use walrus_storage::disk::Disk;

use crate::{
    file::{self, FileError, Kind},
    types::{Snapshot, SnapshotMeta},
};

const KIND: Kind = Kind { magic: *b"WALRUSMS", version: 1 };
const PREFIX: &str = "snapshot-";
const KEPT: usize = 2;

/// The snapshots in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Snapshots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.into() }
    }

    /// Makes a snapshot durable, then removes those that are too many. Blocks on the disk.
    pub(crate) fn write(&self, meta: &SnapshotMeta, state: &[u8]) -> io::Result<()> {
        let meta_bytes = postcard::to_stdvec(meta).map_err(io::Error::other)?;
        let meta_length = u32::try_from(meta_bytes.len()).map_err(io::Error::other)?;
        let mut body = meta_length.to_le_bytes().to_vec();
        body.extend(meta_bytes);
        body.extend(state);
        let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
        file::replace(&self.disk, &self.dir, &format!("{PREFIX}{index:020}"), KIND, &body)?;
        let names = self.names()?;
        for name in names.iter().rev().skip(KEPT) {
            self.disk.remove_file(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// The newest snapshot, if there is one. Blocks on the disk.
    pub(crate) fn newest(&self) -> Result<Option<Snapshot>, FileError> {
        let at = |source| FileError::Io { path: self.dir.clone(), source };
        let Some(name) = self.names().map_err(at)?.pop() else { return Ok(None) };
        let path = self.dir.join(name);
        let body = file::read(&self.disk, &path, KIND)?;
        let damaged = |what: String| FileError::Damaged { path: path.clone(), what };
        let body = body.ok_or_else(|| damaged("it went away".into()))?;
        let (meta, state) = split(&body).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(Snapshot { meta, snapshot: state }))
    }

    /// Oldest first: the numbers in the names have leading zeros.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.disk.list(&self.dir)?;
        let names = entries.into_iter().map(|entry| entry.name);
        let is_snapshot = |name: &String| {
            name.strip_prefix(PREFIX).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let mut names: Vec<String> = names.filter(is_snapshot).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn split(body: &Bytes) -> io::Result<(SnapshotMeta, Bytes)> {
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within its meta");
    let (length, rest) = body.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(io::Error::other)?;
    let meta = rest.get(..length).ok_or_else(short)?;
    let meta = postcard::from_bytes(meta).map_err(io::Error::other)?;
    Ok((meta, body.slice(4 + length..)))
}
