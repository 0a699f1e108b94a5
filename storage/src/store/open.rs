//! Opening a store: the WAL, the replay, and what is built on it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Damage, StoreConfig, StoreConfigError,
    control::{self, Controls},
    files::OpenFiles,
    progress::Progress,
    recovery::{Finished, Recovered, Replay},
    shared::{Parts, Shared},
    thread::refresh_reserve,
    writer::Writer,
};
use crate::{
    disk::Disk,
    segment::{ReadError, Segment},
    wal::{Replayed, Wal, WalDriver, WalOpenError, WalOpened},
};

/// What opening a store found.
#[derive(Debug)]
pub struct StoreOpened {
    /// What the WAL found.
    pub wal: WalOpened,
    /// Segments that had entries in the WAL.
    pub segments: usize,
    /// Bytes that were written into segment files again.
    pub bytes: u64,
    /// Offsets that were durable and are lost on this disk; a replica has them. When
    /// `wal.damage` counts entries that are lost without a name, other segments may have lost
    /// their last batches too, and this node should not vote for any end by itself.
    pub damage: Vec<Damage>,
    /// How long it took.
    pub took: Duration,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] StoreConfigError),
    /// The WAL could not be opened or replayed.
    #[error(transparent)]
    Wal(#[from] WalOpenError),
    /// The disk said no.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

type Replayer<'a> = dyn FnMut(Replayed<'_>) -> io::Result<()> + 'a;

pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    config: StoreConfig,
) -> Result<(Writer, StoreOpened), StoreOpenError> {
    let (writer, (), opened) = open_with(disk, dir, config, false, |disk, dir, replay| {
        let (wal, opened) = Wal::open(disk, dir, config.wal, replay)?;
        Ok((wal, (), opened))
    })?;
    Ok((writer, opened))
}

pub(super) fn open_inline(
    disk: Arc<dyn Disk>,
    dir: &Path,
    config: StoreConfig,
) -> Result<(Writer, WalDriver, StoreOpened), StoreOpenError> {
    open_with(disk, dir, config, true, |disk, dir, replay| {
        Wal::open_inline(disk, dir, config.wal, replay)
    })
}

fn open_with<D>(
    disk: Arc<dyn Disk>,
    dir: &Path,
    config: StoreConfig,
    inline: bool,
    open_wal: impl FnOnce(
        Arc<dyn Disk>,
        &Path,
        &mut Replayer<'_>,
    ) -> Result<(Wal, D, WalOpened), WalOpenError>,
) -> Result<(Writer, D, StoreOpened), StoreOpenError> {
    let started = Instant::now();
    config.check()?;
    let io_error = |source| StoreOpenError::Io {
        doing: "recovering the segments in",
        path: dir.to_path_buf(),
        source,
    };
    disk.create_dir_all(dir).map_err(io_error)?;
    let files = OpenFiles::new(Arc::clone(&disk), dir.to_path_buf(), config.open_files_max);
    let controls = control::load(&*disk, dir).map_err(|source| StoreOpenError::Io {
        doing: "reading the control records in",
        path: dir.to_path_buf(),
        source,
    })?;
    let mut replay = Replay::new(&disk, dir, &config, &files, controls);
    let (wal, driver, wal_opened) =
        open_wal(Arc::clone(&disk), &dir.join("wal"), &mut |entry| replay.take(&entry))?;
    let mut finished = replay.finish().map_err(io_error)?;
    let controls = Controls::recovered(std::mem::take(&mut finished.controls));
    let progress = Progress::new(config.flush_bytes, finished.last);
    let dir = dir.to_path_buf();
    let shared =
        Arc::new(Shared::new(Parts { disk, dir, config, wal, files, progress, controls, inline }));
    let (segments, bytes) = (finished.recovered.len(), finished.written);
    let (writer, damage) = build(&shared, finished).map_err(|error| StoreOpenError::Io {
        doing: "recovering the segments in",
        path: shared.dir.clone(),
        source: io::Error::other(error),
    })?;
    refresh_reserve(&shared);
    let opened = StoreOpened { wal: wal_opened, segments, bytes, damage, took: started.elapsed() };
    Ok((writer, driver, opened))
}

/// Makes handles of what was recovered, and the writer that makes it durable.
fn build(shared: &Arc<Shared>, finished: Finished) -> Result<(Writer, Vec<Damage>), ReadError> {
    let Finished { recovered, controls: _, states, unsynced, last: _, written: _ } = finished;
    let mut handles: Vec<Arc<Segment>> = Vec::with_capacity(recovered.len());
    let mut damage = Vec::new();
    for Recovered { id, state, damage: found } in recovered {
        damage.extend(found);
        handles.push(shared.segment_with(id, || state));
    }
    for (id, bytes) in states {
        let segment = shared.segment(id);
        segment.keep_recovered_state(bytes)?;
        handles.push(segment);
    }
    for segment in &handles {
        segment.list_recovered();
    }
    Ok((Writer::new(Arc::clone(shared), unsynced, handles), damage))
}
