//! The files of a ring: their names, the header each one begins with, and how one is made.
//!
//! Owns no groups. The first page of a file says which ring it belongs to and what shape the
//! ring has; groups begin on the second page.

use std::{
    io,
    path::{Path, PathBuf},
};

use crc_fast::crc32_iscsi;

use super::{
    WalOpenError,
    format::{u32_at, u64_at},
};
use crate::disk::{ALIGN_BYTES, Disk, OpenMode};

/// Where a file's first group begins.
pub(crate) const GROUPS_START: u64 = ALIGN_BYTES as u64;

/// The one format there is.
pub(crate) const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"WALRUSwl";
const NAME_END: &str = ".wal";
const MAKING_END: &str = ".wal.new";

/// What all files of a ring have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Random, made with the ring.
    pub(crate) ring_id: u64,
    /// The length of each file.
    pub(crate) file_bytes: u64,
    /// How many there are.
    pub(crate) files: u32,
}

impl Shape {
    /// The file that a turn writes.
    pub(crate) fn file_of(&self, turn: u64) -> u32 {
        u32::try_from(turn % u64::from(self.files)).expect("a remainder is below its divisor")
    }

    /// Where groups with entries must end: the last page of a file is kept for one mark.
    pub(crate) const fn groups_end(&self) -> u64 {
        self.file_bytes - ALIGN_BYTES as u64
    }

    /// The largest group there can be.
    pub(crate) const fn group_bytes_max(&self) -> u64 {
        self.groups_end() - GROUPS_START
    }

    fn header(&self, index: u32) -> Vec<u8> {
        let mut page = vec![0; ALIGN_BYTES];
        page[0..8].copy_from_slice(&MAGIC);
        page[12..14].copy_from_slice(&VERSION.to_le_bytes());
        page[16..24].copy_from_slice(&self.ring_id.to_le_bytes());
        page[24..28].copy_from_slice(&index.to_le_bytes());
        page[28..32].copy_from_slice(&self.files.to_le_bytes());
        page[32..40].copy_from_slice(&self.file_bytes.to_le_bytes());
        let crc = crc32_iscsi(&page[12..]);
        page[8..12].copy_from_slice(&crc.to_le_bytes());
        page
    }
}

/// What the first page of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileHeader {
    /// A file of this program's format.
    Ours { shape: Shape, index: u32 },
    /// Of a later format, and undamaged.
    Newer(u16),
    /// One of ours, by its first bytes; the rest is damaged.
    Damaged,
    /// Something else.
    Foreign,
}

impl FileHeader {
    pub(crate) fn parse(page: &[u8]) -> Self {
        if page.len() < ALIGN_BYTES {
            return Self::Damaged;
        }
        if page[0..8] != MAGIC {
            return Self::Foreign;
        }
        if crc32_iscsi(&page[12..ALIGN_BYTES]) != u32_at(page, 8) {
            return Self::Damaged;
        }
        let version = u16::from_le_bytes([page[12], page[13]]);
        if version != VERSION {
            return Self::Newer(version);
        }
        let shape = Shape {
            ring_id: u64_at(page, 16),
            files: u32_at(page, 28),
            file_bytes: u64_at(page, 32),
        };
        Self::Ours { shape, index: u32_at(page, 24) }
    }
}

/// The path of file number `index`.
pub(crate) fn path_of(dir: &Path, index: u32) -> PathBuf {
    dir.join(format!("{index:04}{NAME_END}"))
}

/// What a name in the WAL's folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// A ring file, by its number.
    File(u32),
    /// A file that was being made when the node stopped.
    Making,
    /// Not ours.
    Other,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        if name.ends_with(MAKING_END) {
            return Self::Making;
        }
        let digits = name
            .strip_suffix(NAME_END)
            .filter(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map_or(Self::Other, Self::File)
    }
}

/// Makes file number `index`, filled and durable under its name, or not there at all.
pub(crate) fn make_file(disk: &dyn Disk, dir: &Path, shape: &Shape, index: u32) -> io::Result<()> {
    let making = dir.join(format!("{index:04}{MAKING_END}"));
    disk.fill(&making, shape.file_bytes)?;
    write_header(disk, &making, shape, index)?;
    disk.rename(&making, &path_of(dir, index))?;
    disk.sync_dir(dir)
}

/// Writes the first page of a file.
pub(crate) fn write_header(
    disk: &dyn Disk,
    path: &Path,
    shape: &Shape,
    index: u32,
) -> io::Result<()> {
    let file = disk.open(path, OpenMode::ReadWrite)?;
    file.write_at(&shape.header(index), 0)?;
    file.sync()
}

/// Refuses a shape that no configuration could have made.
pub(crate) fn check_shape(path: &Path, shape: &Shape, index: u32) -> Result<(), WalOpenError> {
    let whole_pages = shape.file_bytes.is_multiple_of(ALIGN_BYTES as u64);
    let sane = whole_pages && ((32 << 10)..=(1 << 30)).contains(&shape.file_bytes);
    if sane && (2..=1000).contains(&shape.files) && index < shape.files {
        return Ok(());
    }
    let why = format!(
        "its header says file {index} of {} with {} bytes each",
        shape.files, shape.file_bytes
    );
    Err(WalOpenError::NotOurs { path: path.to_path_buf(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { ring_id: 9, file_bytes: 65_536, files: 4 };

    #[test]
    fn a_file_header_says_which_file_of_which_ring_it_is() {
        let page = SHAPE.header(3);
        assert_eq!(FileHeader::parse(&page), FileHeader::Ours { shape: SHAPE, index: 3 });
    }

    #[test]
    fn a_file_header_that_is_not_ours_is_told_from_one_that_is_damaged_or_newer() {
        let page = SHAPE.header(0);
        assert_eq!(FileHeader::parse(&[0; ALIGN_BYTES]), FileHeader::Foreign);
        assert_eq!(FileHeader::parse(&page[..100]), FileHeader::Damaged);
        let mut damaged = page.clone();
        damaged[33] ^= 1;
        assert_eq!(FileHeader::parse(&damaged), FileHeader::Damaged);
        let mut newer = page;
        newer[12] = 2;
        let crc = crc32_iscsi(&newer[12..]);
        newer[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::parse(&newer), FileHeader::Newer(2));
    }

    #[test]
    fn only_ring_files_have_a_number() {
        for (name, expected) in [
            ("0000.wal", Name::File(0)),
            ("0123.wal", Name::File(123)),
            ("0123.wal.new", Name::Making),
            ("123.wal", Name::Other),
            ("+123.wal", Name::Other),
            ("lock", Name::Other),
        ] {
            assert_eq!(Name::parse(name), expected, "{name}");
        }
    }
}
