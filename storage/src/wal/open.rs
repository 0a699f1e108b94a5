//! Opens a WAL: finds or makes the ring, recovers it, and puts the parts together.
//!
//! Owns nothing that stays. `handle.rs` calls it for both kinds of WAL, with and without thread.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Lsn, WalConfig, WalOpenError, WalOpened,
    core::{Core, Pace, Start},
    driver::Driver,
    find::{self, Ring, failed},
    recover::{self, Recovered, Replay, Unsure},
    ring::{GROUPS_START, Shape, make_file, path_of, write_header},
    shared::Shared,
};
use crate::{
    disk::{ALIGN_BYTES, AlignedBuffer, Disk, GroupWriter, OpenMode},
    planted,
};

/// A WAL that is ready, without anything that drives it.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) driver: Driver,
    pub(crate) shape: Shape,
    pub(crate) report: WalOpened,
}

pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    config: &WalConfig,
    replay: &mut Replay<'_>,
) -> Result<Opened, WalOpenError> {
    let begun = Instant::now();
    config.check()?;
    disk.create_dir_all(dir).map_err(failed("creating", dir))?;
    let found = find::find(&**disk, dir)?;
    let recovered = match found {
        Some(ring) => {
            warn_of_sizes(dir, &ring.shape, config);
            let mut recovered = recover::recover(&ring, dir, replay)?;
            recovered.start.files_ready = mend(&**disk, dir, &ring)?;
            blank(&**disk, dir, &recovered.leftovers)?;
            // The names that were found may not be durable either.
            disk.sync_dir(dir).map_err(failed("syncing", dir))?;
            recovered
        }
        None => begin(&**disk, dir, config)?,
    };
    let Recovered { start, unsure, leftovers: _, groups, entries, bytes, from, cut, damage } =
        recovered;
    let files: Vec<_> = (0..start.files_ready).map(|index| path_of(dir, index)).collect();
    let depth = config.groups_in_flight;
    let writer = || disk.group_writer(&files, depth).map_err(failed("opening for writing", dir));
    if !unsure.is_empty() && !planted::is("unsure-trusted") {
        // A writer belongs to the thread that first uses it, and this is not the log's.
        let mut writer = writer()?;
        for group in unsure {
            write_again(&mut *writer, dir, &group)?;
        }
    }
    let writer = writer()?;
    let report = WalOpened {
        groups,
        entries,
        bytes,
        from,
        next: start.next,
        cut,
        damage,
        backend: writer.name(),
        took: Duration::ZERO,
    };
    let (shape, files_ready) = (start.shape, start.files_ready);
    let shared = Arc::new(Shared::new(dir, config, &shape, writer.waker()));
    shared.release(start.released);
    shared.files_were_made(files_ready);
    let pace =
        Pace { group_bytes_max: config.group_bytes_max, groups_in_flight: config.groups_in_flight };
    let core = Core::new(start, pace);
    let buffer_bytes = config.group_bytes_max.next_multiple_of(ALIGN_BYTES);
    let driver = Driver::new(Arc::clone(&shared), core, writer, dir.to_path_buf(), buffer_bytes);
    driver.show();
    let report = WalOpened { took: begun.elapsed(), ..report };
    Ok(Opened { shared, driver, shape, report })
}

/// Makes a new ring of which only the first file is filled.
fn begin(disk: &dyn Disk, dir: &Path, config: &WalConfig) -> Result<Recovered, WalOpenError> {
    let (ring_id, _) = uuid::Uuid::new_v4().as_u64_pair();
    let shape = Shape { ring_id, file_bytes: config.file_bytes, files: config.files };
    let path = path_of(dir, 0);
    make_file(disk, dir, &shape, 0).map_err(failed("making", &path))?;
    if let Some(parent) = dir.parent() {
        disk.sync_dir(parent).map_err(failed("syncing", parent))?;
    }
    let start = Start {
        shape,
        run: 1,
        next: Lsn(1),
        turn: 0,
        at: GROUPS_START,
        marked: Lsn::ZERO,
        last_full: Lsn::ZERO,
        released: Lsn::ZERO,
        released_durable: Lsn::ZERO,
        turns: [(0, Lsn(1))].into(),
        files_ready: 1,
    };
    Ok(Recovered {
        start,
        unsure: Vec::new(),
        leftovers: Vec::new(),
        groups: 0,
        entries: 0,
        bytes: 0,
        from: Lsn(1),
        cut: None,
        damage: Vec::new(),
    })
}

/// Makes files that are missing between others and writes damaged headers again. Answers how
/// many files there are from the first one on.
fn mend(disk: &dyn Disk, dir: &Path, ring: &Ring) -> Result<u32, WalOpenError> {
    for index in &ring.headers_damaged {
        let path = path_of(dir, *index);
        tracing::warn!(file = %path.display(), "a ring file's header was damaged; written again");
        write_header(disk, &path, &ring.shape, *index).map_err(failed("mending", &path))?;
    }
    let made = (0u32..).zip(&ring.files).filter(|(_, file)| file.is_some());
    let files = made.map(|(index, _)| index + 1).max().unwrap_or(0);
    for (index, file) in (0..files).zip(&ring.files) {
        if file.is_none() {
            let path = path_of(dir, index);
            tracing::warn!(file = %path.display(), "a ring file was missing; made again");
            make_file(disk, dir, &ring.shape, index).map_err(failed("making", &path))?;
        }
    }
    Ok(files)
}

/// Makes sure that no group begins at these places.
fn blank(disk: &dyn Disk, dir: &Path, places: &[(u32, u64)]) -> Result<(), WalOpenError> {
    for (index, at) in places {
        let path = path_of(dir, *index);
        let blanked = disk.open(&path, OpenMode::ReadWrite).and_then(|file| {
            file.write_at(&[0; ALIGN_BYTES], *at)?;
            file.sync()
        });
        blanked.map_err(failed("cutting leftovers in", &path))?;
    }
    Ok(())
}

/// Writes a group where it already stands, this time durably for certain.
fn write_again(
    writer: &mut dyn GroupWriter,
    dir: &Path,
    group: &Unsure,
) -> Result<(), WalOpenError> {
    let path = path_of(dir, group.file);
    let mut buffer = AlignedBuffer::zeroed(group.bytes.len());
    buffer[..group.bytes.len()].copy_from_slice(&group.bytes);
    writer
        .submit(group.lsn.0, group.file as usize, buffer, group.bytes.len(), group.at)
        .map_err(failed("writing again", &path))?;
    let mut finished = Vec::new();
    while finished.is_empty() {
        writer.wait(&mut finished, None).map_err(failed("writing again", &path))?;
    }
    finished.into_iter().try_for_each(|group| group.result).map_err(failed("writing again", &path))
}

fn warn_of_sizes(dir: &Path, shape: &Shape, config: &WalConfig) {
    if shape.file_bytes != config.file_bytes || shape.files != config.files {
        tracing::warn!(
            dir = %dir.display(), files = shape.files, file_bytes = shape.file_bytes,
            files_asked = config.files, file_bytes_asked = config.file_bytes,
            "the write-ahead log keeps the sizes it was made with",
        );
    }
}
