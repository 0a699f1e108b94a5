//! Ring files as bytes, valid ones and those of a test. Shared by the tests and the fuzz target.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use walrus_storage::{
    disk::{Disk as _, OpenMode, SimDisk},
    wal::{Entry, EntryHead, Wal, WalConfig, WalOpenError, WalOpened},
};

pub(crate) const DIR: &str = "/wal";

pub(crate) fn config() -> WalConfig {
    WalConfig {
        file_bytes: 32 << 10,
        files: 3,
        group_bytes_max: 8 << 10,
        groups_in_flight: 2,
        queue_bytes_max: 1 << 20,
        idle_mark_ms: 0,
    }
}

/// The files of a ring that has gone round once and holds a few groups.
pub(crate) fn valid() -> Vec<Vec<u8>> {
    let disk = SimDisk::new(1);
    let (wal, mut driver, _) =
        Wal::open_inline(Arc::new(disk.clone()), Path::new(DIR), config(), &mut |_| Ok(()))
            .expect("a simulated disk without faults lets a ring be made");
    for name in 0..60u8 {
        let entry = Entry {
            kind: 16,
            head: EntryHead::new(&[name; 24]),
            body: Bytes::from(vec![name; 40 * usize::from(name)]),
        };
        let release = wal.clone();
        let done = Box::new(move |done: Result<_, _>| {
            release.release(done.expect("nothing fails"));
        });
        wal.append(entry, if name < 50 { done } else { Box::new(drop) }).expect("it is not full");
        while driver.step() {}
    }
    drop(driver);
    (0..config().files)
        .map(|file| {
            let path = format!("{DIR}/{file:04}.wal");
            disk.content(Path::new(&path)).expect("every file was made")
        })
        .collect()
}

/// Opens a ring of these files. What opens once must open again.
pub(crate) fn open(files: &[Vec<u8>]) -> Result<WalOpened, WalOpenError> {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).expect("it is only memory");
    for (name, content) in files.iter().enumerate() {
        let path = format!("{DIR}/{name:04}.wal");
        let file = disk.open(Path::new(&path), OpenMode::Create).expect("it is only memory");
        file.write_at(content, 0).expect("it is only memory");
    }
    let once = reopen(&disk)?;
    reopen(&disk).expect("what was opened once opens again");
    Ok(once)
}

fn reopen(disk: &SimDisk) -> Result<WalOpened, WalOpenError> {
    let mut replay = |_: walrus_storage::wal::Replayed<'_>| -> io::Result<()> { Ok(()) };
    let disk = Arc::new(disk.clone());
    let (_, _, opened) = Wal::open_inline(disk, Path::new(DIR), config(), &mut replay)?;
    Ok(opened)
}
