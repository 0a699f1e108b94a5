//! The WAL's promises over the machine's own file system, with its threads.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use walrus_storage::{
    disk::{Backend, RealDisk},
    wal::{
        AppendRefused, Entry, EntryHead, Lsn, Replayed, ReplayedBody, Wal, WalConfig, WalFailed,
        WalOpenError, WalOpened,
    },
};

const BACKENDS: [Backend; 2] = [Backend::Auto, Backend::Blocking];

fn config() -> WalConfig {
    WalConfig {
        file_bytes: 64 << 10,
        files: 4,
        group_bytes_max: 16 << 10,
        groups_in_flight: 2,
        queue_bytes_max: 1 << 20,
        idle_mark_ms: 1,
    }
}

fn entry(name: u32, body_bytes: usize) -> Entry {
    let body = Bytes::from(vec![u8::try_from(name % 251).unwrap(); body_bytes]);
    Entry { kind: 16, head: EntryHead::new(&name.to_le_bytes()), body }
}

/// Opens and answers the names that were replayed, having checked each body.
fn open_with(
    dir: &Path,
    backend: Backend,
    config: WalConfig,
) -> Result<(Wal, WalOpened, Vec<u32>), WalOpenError> {
    let mut names = Vec::new();
    let mut replay = |replayed: Replayed<'_>| -> io::Result<()> {
        let name = u32::from_le_bytes(replayed.head.try_into().unwrap());
        let ReplayedBody::Intact(body) = replayed.body else { panic!("{name} is damaged") };
        assert!(body.iter().all(|byte| u32::from(*byte) == name % 251), "the body of {name}");
        names.push(name);
        Ok(())
    };
    let disk = Arc::new(RealDisk::new(backend));
    let (wal, opened) = Wal::open(disk, dir, config, &mut replay)?;
    Ok((wal, opened, names))
}

fn open(dir: &Path, backend: Backend) -> (Wal, WalOpened, Vec<u32>) {
    open_with(dir, backend, config()).unwrap()
}

/// Appends `names` and waits until all are durable.
fn append(wal: &Wal, names: std::ops::Range<u32>, body_bytes: usize) -> Vec<Lsn> {
    let (told, done) = mpsc::channel::<(u32, Result<Lsn, WalFailed>)>();
    for name in names.clone() {
        let told = told.clone();
        let done = Box::new(move |result| told.send((name, result)).unwrap());
        wal.append(entry(name, body_bytes), done).unwrap();
    }
    drop(told);
    let done: Vec<_> = done.iter().map(|(name, lsn)| (name, lsn.unwrap())).collect();
    assert!(done.iter().map(|(name, _)| *name).eq(names), "done in the order of appends");
    assert!(done.is_sorted_by_key(|(_, lsn)| *lsn));
    done.into_iter().map(|(_, lsn)| lsn).collect()
}

/// Waits until `is_so`, for what happens in another thread.
#[track_caller]
fn wait_for(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_was_appended_is_replayed_in_order() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let (wal, opened, names) = open(dir.path(), backend);
        assert_eq!((names.len(), opened.next), (0, Lsn(1)));
        append(&wal, 0..100, 500);
        append(&wal, 100..101, 0);
        wal.close();
        let (wal, opened, names) = open(dir.path(), backend);
        assert!(names.into_iter().eq(0..101));
        assert_eq!((opened.entries, opened.cut, opened.damage.len()), (101, None, 0));
        append(&wal, 101..110, 5);
        drop(wal);
        assert!(open(dir.path(), backend).2.into_iter().eq(0..110));
    }
}

#[test]
fn an_append_without_a_wait_is_durable_after_close() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let (wal, ..) = open(dir.path(), backend);
        for name in 0..50 {
            wal.append(entry(name, 100), Box::new(|done| assert!(done.is_ok()))).unwrap();
        }
        wal.close();
        assert!(open(dir.path(), backend).2.into_iter().eq(0..50));
    }
}

#[test]
fn a_ring_goes_round_when_it_is_released_and_replays_only_what_is_not() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let (wal, ..) = open(dir.path(), backend);
        wait_for(|| wal.stats().files_ready == 4);
        let mut last = Lsn::ZERO;
        for round in 1..200 {
            last = *append(&wal, round * 10..round * 10 + 10, 1000).last().unwrap();
            wal.release(last);
        }
        assert!(wal.stats().bytes > 3 * wal.stats().ring_bytes);
        wal.close();
        let (wal, opened, names) = open(dir.path(), backend);
        assert_eq!(opened.from, last);
        assert!(!names.is_empty() && names.into_iter().all(|name| name >= 1990));
        wal.close();
    }
}

#[test]
fn a_full_ring_refuses_and_goes_on_once_something_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let config = WalConfig { queue_bytes_max: 20_000, ..config() };
    let (wal, ..) = open_with(dir.path(), Backend::Auto, config).unwrap();
    let (told, done) = mpsc::channel();
    let mut name = 0;
    wait_for(|| wal.stats().files_ready == 4);
    let mut full = 0;
    while full < 100 {
        let told = told.clone();
        match wal.append(entry(name, 3000), Box::new(move |done| told.send(done).unwrap())) {
            Ok(()) => {
                name += 1;
                full = 0;
            }
            Err(AppendRefused::Full) => {
                full += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(wal.stats().ring_full && wal.stats().queued_bytes > 0);
    wal.release(wal.stats().durable);
    for _ in 0..name {
        done.recv_timeout(Duration::from_secs(10)).expect("nothing is held up").unwrap();
    }
    assert!(wal.stats().refused_full > 0 && !wal.stats().ring_full);
}

#[test]
fn an_entry_that_never_fits_is_refused_and_the_largest_that_fits_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), Backend::Auto);
    let refused = wal.append(entry(0, 64 << 10), Box::new(drop)).unwrap_err();
    let AppendRefused::TooLarge { bytes, bytes_max } = refused else { panic!("{refused}") };
    assert!(bytes > bytes_max);
    let largest = bytes_max - (bytes - (64 << 10));
    append(&wal, 7..8, largest);
    wal.close();
    assert_eq!(open(dir.path(), Backend::Auto).2, [7]);
}

#[test]
fn an_idle_log_ends_with_a_group_that_calls_the_last_one_durable() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let (wal, ..) = open(dir.path(), backend);
        let lsn = append(&wal, 0..1, 10)[0];
        wait_for(|| wal.stats().durable == lsn.next());
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(wal.stats().next.0, lsn.0 + 2, "one mark is enough");
    }
}

#[test]
fn a_new_ring_is_filled_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), Backend::Auto);
    wait_for(|| wal.stats().files_ready == 4);
}

#[test]
fn nothing_is_taken_after_close() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), Backend::Auto);
    let other = wal.clone();
    wal.close();
    let refused = other.append(entry(0, 1), Box::new(drop)).unwrap_err();
    assert!(matches!(refused, AppendRefused::Failed(_)), "{refused}");
    assert!(refused.to_string().contains("closed"), "{refused}");
}

#[test]
fn a_ring_keeps_the_sizes_it_was_made_with() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), Backend::Auto);
    append(&wal, 0..10, 100);
    wal.close();
    let other = WalConfig { file_bytes: 128 << 10, files: 2, ..config() };
    let (wal, _, names) = open_with(dir.path(), Backend::Auto, other).unwrap();
    assert!(names.into_iter().eq(0..10));
    assert_eq!(wal.stats().ring_bytes, 4 * (64 << 10));
}

#[test]
fn a_caller_that_refuses_an_entry_stops_the_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), Backend::Auto);
    append(&wal, 0..1, 1);
    wal.close();
    let disk = Arc::new(RealDisk::new(Backend::Auto));
    let refused =
        Wal::open(disk, dir.path(), config(), &mut |_| Err(io::Error::other("no"))).unwrap_err();
    assert!(matches!(refused, WalOpenError::Replay { lsn: Lsn(1), .. }), "{refused}");
}
