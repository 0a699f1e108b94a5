//! Small files that are written whole and replaced whole.
//!
//! ```text
//!  0  [u8; 8]  what it is
//!  8  u32      format version
//! 12  u64      bytes of the body
//! 20  u32      CRC-32C of bytes 0..20 and of the body's own CRC-32C
//! 24  …        body
//! ```
//!
//! Numbers are little-endian. A file is written beside its place, made durable and renamed, so a
//! crash leaves the old one or the new one.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use walrus_storage::disk::{Disk, OpenMode};
use walrus_types::batch::crc32c;

const HEAD_BYTES: usize = 24;
const CRC_AT: usize = 20;

/// No file of these is larger: what claims to be is damaged.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// What a file is: eight letters and the format that this program writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no {expected} file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: String,
    },
    /// Another version of this program wrote it.
    #[error("{} has format version {found}, this program reads {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What can be read.
        known: u32,
    },
    /// Its bytes are not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what way.
        what: String,
    },
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { ref source, .. } => Self::new(source.kind(), error),
            FileError::Kind { .. } | FileError::Version { .. } | FileError::Damaged { .. } => {
                Self::new(io::ErrorKind::InvalidData, error)
            }
        }
    }
}

/// Puts a file with `body` in its place, durably.
pub(crate) fn replace(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    name: &str,
    kind: Kind,
    body: &[u8],
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend(kind.magic);
    bytes.extend(kind.version.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    let crc = checksum(&bytes);
    bytes[CRC_AT..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());

    let beside = dir.join(format!("{name}.new"));
    let file = disk.open(&beside, OpenMode::Create)?;
    file.set_len_bytes(0)?;
    file.write_at(&bytes, 0)?;
    file.sync()?;
    drop(file);
    disk.rename(&beside, &dir.join(name))?;
    disk.sync_dir(dir)
}

/// The body of a file, or `None` when there is none.
pub(crate) fn read(
    disk: &Arc<dyn Disk>,
    path: &Path,
    kind: Kind,
) -> Result<Option<Bytes>, FileError> {
    let at = |source| FileError::Io { path: path.into(), source };
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error)),
    };
    let damaged = |what: String| FileError::Damaged { path: path.into(), what };
    let length = file.len_bytes().map_err(at)?;
    let Some(length) = usize::try_from(length).ok().filter(|_| length <= FILE_BYTES_MAX) else {
        return Err(damaged(format!("it has {length} bytes")));
    };
    let mut bytes = vec![0; length];
    let found = file.read_at(&mut bytes, 0).map_err(at)?;
    bytes.truncate(found);
    check(&bytes, kind, path)?;
    Ok(Some(Bytes::from(bytes).slice(HEAD_BYTES..)))
}

fn check(bytes: &[u8], kind: Kind, path: &Path) -> Result<(), FileError> {
    let damaged = |what: String| FileError::Damaged { path: path.into(), what };
    if bytes.len() < HEAD_BYTES {
        return Err(damaged(format!("it has {} bytes", bytes.len())));
    }
    let (head, body) = bytes.split_at(HEAD_BYTES);
    if head[..8] != kind.magic {
        let expected = String::from_utf8_lossy(&kind.magic).trim_end().to_owned();
        return Err(FileError::Kind { path: path.into(), expected });
    }
    let version = u32_at(head, 8);
    if version != kind.version {
        let known = kind.version;
        return Err(FileError::Version { path: path.into(), found: version, known });
    }
    let length = u64::from(u32_at(head, 12)) | u64::from(u32_at(head, 16)) << 32;
    if length != body.len() as u64 {
        return Err(damaged(format!("{} bytes of {length}", body.len())));
    }
    let (stored, computed) = (u32_at(head, CRC_AT), checksum(bytes));
    if stored != computed {
        return Err(damaged(format!("crc is {computed:#010x}, its head says {stored:#010x}")));
    }
    Ok(())
}

/// Over everything but the checksum's own place.
fn checksum(bytes: &[u8]) -> u32 {
    let mut covered = bytes[..CRC_AT].to_vec();
    covered.extend(crc32c(&bytes[HEAD_BYTES..]).to_le_bytes());
    crc32c(&covered)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes[at..at + 4].try_into().expect("four bytes are four bytes");
    u32::from_le_bytes(four)
}
