//! A recording as bytes. All numbers are little-endian; checksums are CRC-32C.
//!
//! ```text
//!  file     | "WALRUSRC" 8 | version u16 | checksum of those ten u32 | record | record | ...
//!
//!  record   | length u32 | checksum u32 | kind u8 | mark u8 | at u64 | wall i64 | body ...
//!                                       '--- length bytes, which the checksum is of ------'
//!
//!  kind     1 a whole snapshot, 2 what changed since the one before, 3 a chain or groups,
//!           4 that nobody answered
//!  mark     0 nothing happened, 1 something did, 2 somebody should look, 3 should look now
//!  at       milliseconds since the console began that recorded
//!  wall     the cluster's time, milliseconds since 1970; the least number where it is not known
//!  body     JSON in one frame of zstd
//! ```
//!
//! A file is only ever written to at its end. One that ends within a record was cut off there, and
//! is good up to that record.

use std::io::{self, Read, Write};

use crc_fast::crc32_iscsi;
use thiserror::Error;
use walrus_types::{TimestampMs, UptimeMs};

use super::{BODY_MAX, Kind, Record};
use crate::model::change::Level;

const MAGIC: [u8; 8] = *b"WALRUSRC";
/// What is written, and the newest that is read.
pub const VERSION: u16 = 1;
const FILE_HEAD: usize = 14;
/// Kind, mark and both times.
const RECORD_HEAD: usize = 18;
/// Where the cluster's time is not known.
const NO_WALL: i64 = i64::MIN;

/// Why a recording goes no further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Broken {
    /// It does not begin as a recording does.
    #[error("this is no recording of walrus-tui")]
    NoRecording,
    /// A later program wrote it.
    #[error(
        "this recording has version {found}, and this walrus-tui reads up to {VERSION}: a newer one plays it"
    )]
    Newer {
        /// Its version.
        found: u16,
    },
    /// It ends within a record.
    #[error("it is cut off at byte {at}")]
    CutOff {
        /// Where the record begins that is not whole.
        at: u64,
    },
    /// A record is not what was written.
    #[error("it is damaged at byte {at}: {what}")]
    Damaged {
        /// Where the record begins.
        at: u64,
        /// In which way.
        what: &'static str,
    },
    /// The file cannot be read.
    #[error("it cannot be read at byte {at}: {why}")]
    Failed {
        /// Where the record begins.
        at: u64,
        /// What the system said.
        why: String,
    },
}

/// The beginning of a file.
#[must_use]
pub fn file_head() -> [u8; FILE_HEAD] {
    let mut head = [0; FILE_HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..10].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = crc32_iscsi(&head[..10]);
    head[10..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Writes a record.
///
/// # Errors
/// What the file said. Then it may hold a part of the record.
pub fn write(record: &Record, file: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(8 + RECORD_HEAD + record.body.len());
    bytes.extend([0; 8]);
    bytes.push(kind_byte(record.kind));
    bytes.push(mark_byte(record.mark));
    bytes.extend(record.at.0.to_le_bytes());
    bytes.extend(record.wall.map_or(NO_WALL, |wall| wall.0).to_le_bytes());
    bytes.extend(&*record.body);
    let length = u32::try_from(bytes.len() - 8).map_err(io::Error::other)?;
    let checksum = crc32_iscsi(&bytes[8..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    file.write_all(&bytes)
}

/// Reads a recording, a record after the other.
#[derive(Debug)]
pub struct Reader<R> {
    file: R,
    at: u64,
}

impl<R: Read> Reader<R> {
    /// A recording, up to its first record.
    ///
    /// # Errors
    /// That it is none, or one of a later version.
    pub fn new(mut file: R) -> Result<Self, Broken> {
        let mut head = [0; FILE_HEAD];
        let read = fill(&mut file, &mut head)
            .map_err(|why| Broken::Failed { at: 0, why: why.to_string() })?;
        if read < FILE_HEAD || head[..8] != MAGIC {
            return Err(Broken::NoRecording);
        }
        let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let checksum = u32::from_le_bytes([head[10], head[11], head[12], head[13]]);
        if checksum != crc32_iscsi(&head[..10]) {
            return Err(Broken::Damaged { at: 0, what: "its head is not what was written" });
        }
        match number(8) {
            0 => Err(Broken::NoRecording),
            1..=VERSION => Ok(Self { file, at: u64::try_from(FILE_HEAD).unwrap_or(0) }),
            found => Err(Broken::Newer { found }),
        }
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// Why there is no further one, though the file goes on.
    pub fn next_record(&mut self) -> Result<Option<Record>, Broken> {
        let at = self.at;
        let failed = |why: io::Error| Broken::Failed { at, why: why.to_string() };
        let damaged = |what| Broken::Damaged { at, what };
        let mut head = [0; 8];
        match fill(&mut self.file, &mut head).map_err(failed)? {
            0 => return Ok(None),
            8 => {}
            _ => return Err(Broken::CutOff { at }),
        }
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = usize::try_from(number(0)).unwrap_or(usize::MAX);
        if !(RECORD_HEAD..=RECORD_HEAD + BODY_MAX).contains(&length) {
            return Err(damaged("a record has no such length"));
        }
        // It grows with what is there, whatever length it claims.
        let mut bytes = Vec::new();
        let most = u64::from(number(0));
        (&mut self.file).take(most).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() < length {
            return Err(Broken::CutOff { at });
        }
        if crc32_iscsi(&bytes) != number(4) {
            return Err(damaged("its checksum is another"));
        }
        self.at += 8 + most;
        record(&bytes).map(Some).ok_or_else(|| damaged("a record is of no kind"))
    }
}

fn record(bytes: &[u8]) -> Option<Record> {
    let (&[kind, mark], rest) = bytes.split_first_chunk()?;
    let (at, rest) = rest.split_first_chunk()?;
    let (wall, body) = rest.split_first_chunk()?;
    let wall = i64::from_le_bytes(*wall);
    Some(Record {
        kind: kind_of(kind)?,
        mark: mark_of(mark)?,
        at: UptimeMs(u64::from_le_bytes(*at)),
        wall: (wall != NO_WALL).then_some(TimestampMs(wall)),
        body: body.into(),
    })
}

/// As much as there is, up to all of `bytes`.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(filled)
}

const fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Whole => 1,
        Kind::Delta => 2,
        Kind::Also => 3,
        Kind::Lost => 4,
    }
}

const fn kind_of(byte: u8) -> Option<Kind> {
    Some(match byte {
        1 => Kind::Whole,
        2 => Kind::Delta,
        3 => Kind::Also,
        4 => Kind::Lost,
        _ => return None,
    })
}

const fn mark_byte(mark: Option<Level>) -> u8 {
    match mark {
        None => 0,
        Some(Level::Info) => 1,
        Some(Level::Warn) => 2,
        Some(Level::Error) => 3,
    }
}

const fn mark_of(byte: u8) -> Option<Option<Level>> {
    Some(match byte {
        0 => None,
        1 => Some(Level::Info),
        2 => Some(Level::Warn),
        3 => Some(Level::Error),
        _ => return None,
    })
}
