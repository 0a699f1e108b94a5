//! Finds a ring in its folder: which files there are, and whether they belong together.
//!
//! Refuses by name what it must not touch. Owns no groups; `recover.rs` reads those.

use std::{path::Path, sync::Arc};

use super::{
    WalOpenError,
    ring::{FileHeader, Name, Shape, VERSION, check_shape, path_of},
};
use crate::disk::{ALIGN_BYTES, AlignedBuffer, Disk, DiskFile};

/// The files of a ring. Those that were never made are `None`.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) shape: Shape,
    pub(crate) files: Vec<Option<Arc<dyn DiskFile>>>,
    /// Files whose header is damaged; the others say what it was.
    pub(crate) headers_damaged: Vec<u32>,
}

/// What one file turned out to be.
struct Candidate {
    index: u32,
    file: Arc<dyn DiskFile>,
    bytes: u64,
    shape: Option<Shape>,
}

/// The ring in `dir`, or `None` when there is no file of one. Files that were being made when
/// the node stopped are removed.
pub(crate) fn find(disk: &dyn Disk, dir: &Path) -> Result<Option<Ring>, WalOpenError> {
    let mut found = Vec::new();
    for entry in disk.list(dir).map_err(failed("listing", dir))? {
        match Name::parse(&entry.name) {
            Name::File(index) if !entry.is_dir => found.push(examine(disk, dir, index)?),
            Name::Making if !entry.is_dir => {
                let path = dir.join(&entry.name);
                disk.remove_file(&path).map_err(failed("removing", &path))?;
            }
            Name::File(_) | Name::Making | Name::Other => {}
        }
    }
    let Some(first) = found.first() else { return Ok(None) };
    let Some(shape) = found.iter().find_map(|candidate| candidate.shape) else {
        let why = "its header is damaged, and so is that of every other file there".to_owned();
        return Err(WalOpenError::NotOurs { path: path_of(dir, first.index), why });
    };
    let mut ring = Ring {
        shape,
        files: (0..shape.files).map(|_| None).collect(),
        headers_damaged: Vec::new(),
    };
    for candidate in found {
        add(&mut ring, dir, candidate)?;
    }
    Ok(Some(ring))
}

fn examine(disk: &dyn Disk, dir: &Path, index: u32) -> Result<Candidate, WalOpenError> {
    let path = path_of(dir, index);
    let file = disk.open_direct(&path).map_err(failed("opening", &path))?;
    let bytes = file.len_bytes().map_err(failed("measuring", &path))?;
    let mut page = AlignedBuffer::zeroed(ALIGN_BYTES);
    let read = file.read_at(&mut page, 0).map_err(failed("reading", &path))?;
    let shape = match FileHeader::parse(&page[..read]) {
        FileHeader::Ours { shape, index: says } if says == index => {
            check_shape(&path, &shape, index)?;
            Some(shape)
        }
        FileHeader::Ours { index: says, .. } => {
            let why = format!("its header says it is file {says}: it was renamed");
            return Err(WalOpenError::NotOurs { path, why });
        }
        FileHeader::Newer(found) => {
            return Err(WalOpenError::Version { path, found, supported: VERSION });
        }
        FileHeader::Damaged => None,
        FileHeader::Foreign => {
            let why = "it does not begin as one".to_owned();
            return Err(WalOpenError::NotOurs { path, why });
        }
    };
    Ok(Candidate { index, file, bytes, shape })
}

fn add(ring: &mut Ring, dir: &Path, candidate: Candidate) -> Result<(), WalOpenError> {
    let Candidate { index, file, bytes, shape } = candidate;
    let path = path_of(dir, index);
    let refuse = |why| Err(WalOpenError::NotOurs { path: path.clone(), why });
    match shape {
        Some(shape) if shape.ring_id != ring.shape.ring_id => {
            return refuse("it belongs to another write-ahead log than the files beside it".into());
        }
        Some(shape) if shape != ring.shape => {
            return refuse("its header names other sizes than those of the files beside it".into());
        }
        Some(_) => {}
        None => ring.headers_damaged.push(index),
    }
    if bytes != ring.shape.file_bytes {
        let expected = ring.shape.file_bytes;
        return Err(WalOpenError::FileBytes { path, found: bytes, expected });
    }
    match ring.files.get_mut(index as usize) {
        Some(place) => *place = Some(file),
        None => return refuse(format!("the ring has {} files only", ring.shape.files)),
    }
    Ok(())
}

/// Puts what was being done, and to what, around the system's word.
pub(crate) fn failed(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> WalOpenError + use<> {
    let path = path.to_path_buf();
    move |source| WalOpenError::Io { doing, path, source }
}
