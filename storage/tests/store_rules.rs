//! The rules of segments and of the store, one test each, on a real folder.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod store_support;

use std::{
    fs,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use store_support::*;
use walrus_storage::segment::{AppendError, CutError, ReadError};
use walrus_types::{Offset, TimestampMs};

const ALL: Offset = Offset(i64::MAX);

#[test]
fn what_was_appended_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = store.segment(id(0, 100, 1));
    let batches = fill(&segment, 50);
    assert_eq!(segment.end().unwrap(), Offset(250));
    assert_eq!(read_all(&segment, Offset(100), 1000), batches.concat());
    store.close().unwrap();
}

#[test]
fn an_append_must_be_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = store.segment(id(0, 10, 1));
    append(&segment, batch_of(segment.id(), 10, 3, 10, 0));
    for given in [0, 10, 12, 14, 1000] {
        let refused = try_append(&segment, batch_of(segment.id(), given, 1, 10, 0));
        assert!(
            matches!(refused, Err(AppendError::NotNext { expected: Offset(13), .. })),
            "{given}: {refused:?}"
        );
    }
    append(&segment, batch_of(segment.id(), 13, 1, 10, 0));
}

#[test]
fn an_append_is_exactly_one_batch_of_the_segments_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = store.segment(id(0, 0, 7));
    let batch = batch_of(segment.id(), 0, 1, 10, 0);
    let other = batch_of(id(0, 0, 8), 0, 1, 10, 0);
    let refused = try_append(&segment, other);
    assert!(matches!(refused, Err(AppendError::OtherEpoch { .. })), "{refused:?}");
    for bad in [batch.slice(..batch.len() - 1), Bytes::from([&batch[..], &batch[..]].concat())] {
        let refused = try_append(&segment, bad);
        assert!(matches!(refused, Err(AppendError::NotABatch { .. })), "{refused:?}");
    }
}

#[test]
fn a_sealed_segment_refuses_appends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = store.segment(id(0, 0, 1));
    fill(&segment, 4);
    let sealed = segment.seal(Offset(12)).unwrap();
    assert_eq!((sealed.end, sealed.sealed), (Offset(12), true));
    let refused = try_append(&segment, batch_of(segment.id(), 12, 1, 10, 0));
    assert!(matches!(refused, Err(AppendError::Sealed { end: Offset(12), .. })), "{refused:?}");
    store.close().unwrap();

    let store = open(dir.path());
    let segment = store.segment(id(0, 0, 1));
    let refused = try_append(&segment, batch_of(segment.id(), 12, 1, 10, 0));
    assert!(matches!(refused, Err(AppendError::Sealed { .. })), "after a restart: {refused:?}");
}

#[test]
fn a_seal_cuts_what_lies_past_it_and_can_be_asked_for_again() {
    for lazy in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = open_with(dir.path(), if lazy { lazy_config() } else { config() }).0;
        let segment = store.segment(id(0, 0, 1));
        let batches = fill(&segment, 10);
        assert!(matches!(segment.seal(Offset(31)), Err(CutError::Short { .. })));
        assert!(matches!(segment.seal(Offset(11)), Err(CutError::InsideBatch { .. })));
        let sealed = segment.seal(Offset(12)).unwrap();
        assert_eq!(sealed.bytes, 4 * batches[0].len() as u64);
        assert_eq!(sealed.max_timestamp, TimestampMs(90));
        assert_eq!(segment.seal(Offset(12)).unwrap(), sealed);
        assert!(matches!(segment.seal(Offset(9)), Err(CutError::Sealed { .. })));
        assert_eq!(read_all(&segment, Offset(0), 1 << 20), batches[..4].concat());
        store.close().unwrap();
        assert_eq!(fs::metadata(log_path(dir.path(), segment.id())).unwrap().len(), sealed.bytes);
    }
}

#[test]
fn a_truncated_segment_goes_on_from_its_new_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    {
        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        expected.extend(fill(&segment, 10));
        for end in [24, 6] {
            segment.truncate(Offset(end), Box::new(|_| {})).unwrap();
            expected.truncate(usize::try_from(end).unwrap() / 3);
            let batch = batch_of(segment.id(), end, 3, 333, 5);
            append(&segment, batch.clone());
            expected.push(batch);
            assert_eq!(read_all(&segment, Offset(0), 500), expected.concat());
        }
        // Not closed: recovery has to do the cuts again.
    }
    let store = open(dir.path());
    let segment = store.segment(id(0, 0, 1));
    assert_eq!(segment.end().unwrap(), Offset(9));
    assert_eq!(read_all(&segment, Offset(0), 500), expected.concat());
}

#[test]
fn a_read_in_the_middle_of_a_batch_returns_the_whole_batch() {
    check_reads(|segment| {
        for from in 9..12 {
            let chunk = segment.read(Offset(from), ALL, 1).unwrap();
            assert_eq!((bases(&chunk), chunk.next), (vec![9], Offset(12)), "from {from}");
        }
    });
}

#[test]
fn the_first_batch_is_whole_even_past_the_limit() {
    check_reads(|segment| {
        for bytes_max in [0, 1, 260, 261] {
            let chunk = segment.read(Offset(6), ALL, bytes_max).unwrap();
            assert_eq!(bases(&chunk), [6], "{bytes_max} bytes");
        }
        // A batch is 261 bytes: two fit from 522 on.
        assert_eq!(bases(&segment.read(Offset(6), ALL, 521).unwrap()), [6]);
        assert_eq!(bases(&segment.read(Offset(6), ALL, 522).unwrap()), [6, 9]);
    });
}

#[test]
fn nothing_at_or_past_the_end_is_read() {
    check_reads(|segment| {
        for (end, expected) in [(0, vec![]), (2, vec![]), (3, vec![0]), (8, vec![0, 3])] {
            let chunk = segment.read(Offset(0), Offset(end), 1 << 20).unwrap();
            assert_eq!(bases(&chunk), expected, "end {end}");
        }
        let end = segment.end().unwrap();
        let chunk = segment.read(end, ALL, 1 << 20).unwrap();
        assert!(chunk.bytes.is_empty() && chunk.next == end);
    });
}

#[test]
fn what_lies_before_the_segment_is_not_read_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = store.segment(id(0, 10, 1));
    fill(&segment, 1);
    assert!(matches!(segment.read(Offset(9), ALL, 1), Err(ReadError::Below { .. })));
}

#[test]
fn find_timestamp_gives_the_first_batch_that_reaches_it() {
    check_reads(|segment| {
        let end = segment.end().unwrap();
        for (at, expected) in [(-1, 0), (0, 0), (1, 3), (30, 3), (31, 6), (870, 87)] {
            let found = segment.find_timestamp(TimestampMs(at), end).unwrap().unwrap();
            assert_eq!(base_of(&found), expected, "time {at}");
        }
        assert_eq!(segment.find_timestamp(TimestampMs(100_000), end).unwrap(), None);
        assert_eq!(segment.find_timestamp(TimestampMs(870), Offset(87)).unwrap(), None);
    });
}

#[test]
fn the_batch_of_an_offset_is_found_with_what_lies_before_it() {
    check_reads(|segment| {
        let end = segment.end().unwrap();
        for (offset, base) in [(0, 0), (2, 0), (3, 3), (4, 3), (50, 48), (87, 87), (89, 87)] {
            let (position, header) = segment.batch_at(Offset(offset), end).unwrap().unwrap();
            let expected = (u64::try_from(base).unwrap() / 3 * 261, Offset(base));
            assert_eq!((position, header.base_offset), expected, "offset {offset}");
        }
        assert_eq!(segment.batch_at(end, ALL).unwrap(), None);
        assert_eq!(segment.batch_at(Offset(7), Offset(8)).unwrap(), None, "its end is not there");
    });
}

#[test]
fn the_greatest_timestamp_is_that_of_the_batches_below_the_end() {
    check_reads(|segment| {
        let end = segment.end().unwrap();
        for (below, time) in [(end, (end.0 - 3) * 10), (Offset(30), 270), (Offset(3), 0)] {
            let (greatest, batch) = segment.max_timestamp(below).unwrap().unwrap();
            assert_eq!((greatest.0, base_of(&batch) * 10), (time, time), "below {below}");
        }
        assert_eq!(segment.max_timestamp(Offset(0)).unwrap(), None);
    });
}

#[test]
fn every_header_is_shown_once_and_in_order() {
    check_reads(|segment| {
        let mut seen = Vec::new();
        segment
            .headers(Offset(30), Offset(60), &mut |header| seen.push(header.base_offset.0))
            .unwrap();
        assert_eq!(seen, (30..60).step_by(3).collect::<Vec<_>>());
    });
}

#[test]
fn a_flipped_byte_is_named_and_never_served() {
    // Batch 10 of 261 bytes begins at 2610; every field of its header, and its body.
    for at in [2610, 2617, 2618, 2621, 2623, 2626, 2630, 2640, 2666, 2700, 2870] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let batches = fill(&store.segment(id(0, 0, 1)), 30);
        store.close().unwrap();
        flip(&log_path(dir.path(), id(0, 0, 1)), at);

        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        assert_eq!(segment.end().unwrap(), Offset(90), "byte {at}");
        for from in [30, 31] {
            let read = segment.read(Offset(from), ALL, 1 << 20);
            assert!(
                matches!(read, Err(ReadError::Damaged { from: Offset(30), to: Offset(33), .. })),
                "byte {at}, from {from}: {read:?}"
            );
        }
        let before = segment.read(Offset(0), ALL, 1 << 20).unwrap();
        assert_eq!(flat(&before), batches[..10].concat(), "byte {at}");
        let behind = segment.read(Offset(33), ALL, 1 << 20).unwrap();
        assert_eq!(flat(&behind), batches[11..].concat(), "byte {at}");
    }
}

#[test]
fn a_segment_whose_last_bytes_are_damaged_does_not_tell_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let batches = fill(&store.segment(id(0, 0, 1)), 30);
    store.close().unwrap();
    flip(&log_path(dir.path(), id(0, 0, 1)), 29 * 261 + 3);

    let store = open(dir.path());
    let segment = store.segment(id(0, 0, 1));
    assert!(matches!(segment.end(), Err(ReadError::Damaged { from: Offset(87), .. })));
    let refused = try_append(&segment, batch_of(segment.id(), 87, 1, 10, 0));
    assert!(matches!(refused, Err(AppendError::Unreadable(_))), "{refused:?}");
    assert_eq!(read_all(&segment, Offset(0), 5000), batches[..29].concat());
    // Whoever has the rest from a replica cuts the damage off and goes on.
    segment.truncate(Offset(87), Box::new(|_| {})).unwrap();
    append(&segment, batches[29].clone());
    assert_eq!(read_all(&segment, Offset(0), 5000), batches.concat());
}

#[test]
fn a_damaged_or_missing_index_is_made_anew() {
    for damage in ["missing", "cut", "flipped", "foreign"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        let batches = fill(&segment, 30);
        segment.seal(Offset(90)).unwrap();
        store.close().unwrap();
        let index = log_path(dir.path(), id(0, 0, 1)).with_extension("index");
        let bytes = fs::read(&index).unwrap();
        match damage {
            "missing" => fs::remove_file(&index).unwrap(),
            "cut" => fs::write(&index, &bytes[..bytes.len() / 2]).unwrap(),
            "flipped" => flip(&index, 100),
            _ => {
                fs::write(&index, b"not an index at all, but it is long enough to be one").unwrap();
            }
        }
        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        assert_eq!(segment.end().unwrap(), Offset(90), "{damage}");
        assert_eq!(read_all(&segment, Offset(0), 700), batches.concat(), "{damage}");
        assert_eq!(segment.seal(Offset(90)).unwrap().end, Offset(90), "{damage}");
    }
}

#[test]
fn a_pruned_segment_is_gone_at_once_and_stays_gone() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        fill(&segment, 30);
        append(&store.segment(id(0, 90, 2)), batch_of(id(0, 90, 2), 90, 1, 10, 0));
        store.prune(id(0, 0, 1)).unwrap();
        assert!(matches!(segment.read(Offset(0), ALL, 1), Err(ReadError::Gone(_))));
        let refused = try_append(&segment, batch_of(segment.id(), 90, 1, 10, 0));
        assert!(matches!(refused, Err(AppendError::Gone(_))), "{refused:?}");
        // The writer lets go of it by itself; this test holds it.
        let held_once = |store: &walrus_storage::store::Store| match &store.stats().gone.held[..] {
            [held] => (held.id, held.unnamed, held.holders.len()) == (id(0, 0, 1), 1, 0),
            _ => false,
        };
        while !held_once(&store) {
            std::thread::yield_now();
        }
        store.prune(id(0, 0, 1)).unwrap();
        append(&store.segment(id(0, 90, 2)), batch_of(id(0, 90, 2), 91, 1, 10, 0));
    }
    let store = open(dir.path());
    assert_eq!(store.segments_on_disk(partition(0)).unwrap(), [id(0, 90, 2)]);
    assert_eq!(store.segment(id(0, 0, 1)).end().unwrap(), Offset(0));
    store.remove_partition(partition(0)).unwrap();
    assert_eq!(store.segments_on_disk(partition(0)).unwrap(), []);
    store.remove_topic(partition(0).topic).unwrap();
    assert_eq!(store.topics_on_disk().unwrap(), []);
}

#[test]
fn a_pruned_segment_can_be_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let batches = {
        let store = open(dir.path());
        fill(&store.segment(id(0, 0, 1)), 20);
        store.prune(id(0, 0, 1)).unwrap();
        let batches = fill(&store.segment(id(0, 0, 1)), 10);
        assert_eq!(read_all(&store.segment(id(0, 0, 1)), Offset(0), 1 << 20), batches.concat());
        store.remove_partition(partition(0)).unwrap();
        fill(&store.segment(id(0, 0, 1)), 5)
    };
    let store = open(dir.path());
    assert_eq!(read_all(&store.segment(id(0, 0, 1)), Offset(0), 1 << 20), batches.concat());
}

#[test]
fn a_state_is_replaced_whole_and_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    for state in ["first", "second", ""] {
        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |result| tell.send(result).unwrap());
        segment.write_state(Bytes::from(state), done).unwrap();
        told.recv().unwrap().unwrap();
        assert_eq!(segment.read_state().unwrap().as_deref(), Some(state.as_bytes()));
        drop((segment, store));
        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        assert_eq!(segment.read_state().unwrap().as_deref(), Some(state.as_bytes()), "restarted");
        store.close().unwrap();
        let store = open(dir.path());
        let segment = store.segment(id(0, 0, 1));
        assert_eq!(segment.read_state().unwrap().as_deref(), Some(state.as_bytes()), "closed");
    }
}

#[test]
fn a_clean_close_leaves_nothing_to_replay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store.segment(id(0, 0, 1)), 30);
    store.put_control(7, Bytes::from_static(b"kept"), Box::new(|_| {})).unwrap();
    store.close().unwrap();
    let (store, opened) = open_with(dir.path(), config());
    assert_eq!((opened.segments, opened.bytes), (0, 0));
    assert_eq!(store.control(7).as_deref(), Some(&b"kept"[..]));
}

#[test]
fn an_acknowledged_batch_is_there_after_a_crash_whatever_was_flushed() {
    for config in [lazy_config(), config()] {
        let dir = tempfile::tempdir().unwrap();
        let mut expected: Vec<Vec<Bytes>> = vec![Vec::new(); 3];
        for _ in 0..4 {
            let (store, opened) = open_with(dir.path(), config);
            assert_eq!(opened.damage, []);
            for (number, batches) in (0..).zip(&mut expected) {
                let segment = store.segment(id(number, 0, 1));
                batches.extend(fill(&segment, 40));
                assert_eq!(read_all(&segment, Offset(0), 3000), batches.concat());
            }
        }
    }
}

#[test]
fn a_closed_store_refuses_what_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = store.segment(id(0, 0, 1));
    fill(&segment, 1);
    store.clone().close().unwrap();
    let refused = try_append(&segment, batch_of(segment.id(), 3, 1, 10, 0));
    assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
    assert!(store.close().is_err());
}

#[test]
fn a_dropped_store_lets_go_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = 0;
    for _ in 0..10 {
        let (store, opened) = open_with(dir.path(), config());
        assert_eq!(opened.damage, []);
        let segment = store.segment(id(0, 0, 1));
        assert_eq!(segment.end().unwrap(), Offset(expected));
        for _ in 0..50 {
            let batch = batch_of(segment.id(), expected, 1, 500, 0);
            expected = segment.append(batch, Box::new(|_| {})).unwrap().0;
        }
        // Nothing was waited for: what was taken is made durable on the way out.
    }
}

#[test]
fn a_shortened_log_is_reported_with_its_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batches = fill(&store.segment(id(0, 0, 1)), 20);
    store.close().unwrap();
    {
        let store = open_with(dir.path(), lazy_config()).0;
        batches.extend(fill(&store.segment(id(0, 0, 1)), 2));
    }
    let log = log_path(dir.path(), id(0, 0, 1));
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(15 * 261 + 7).unwrap();

    let (store, opened) = open_with(dir.path(), lazy_config());
    let found: Vec<_> = opened.damage.iter().map(|d| (d.segment, d.from.0, d.to.0)).collect();
    assert_eq!(found, [(id(0, 0, 1), 45, 60)]);
    let segment = store.segment(id(0, 0, 1));
    assert_eq!(segment.end().unwrap(), Offset(66));
    assert!(matches!(
        segment.read(Offset(45), ALL, 1),
        Err(ReadError::Damaged { from: Offset(45), to: Offset(60), .. })
    ));
    assert_eq!(read_all(&segment, Offset(60), 5000), batches[20..].concat());
}

/// Runs `check` on a segment of 30 batches of 3 records: in the hot tail, in the file, and half
/// in each.
fn check_reads(check: impl Fn(&Arc<walrus_storage::segment::Segment>)) {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), lazy_config()).0;
    let segment = store.segment(id(0, 0, 1));
    fill(&segment, 30);
    check(&segment);
    store.close().unwrap();
    let store = open(dir.path());
    check(&store.segment(id(0, 0, 1)));

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store.segment(id(0, 0, 1)), 15);
    store.close().unwrap();
    let store = open_with(dir.path(), lazy_config()).0;
    let segment = store.segment(id(0, 0, 1));
    fill(&segment, 15);
    check(&segment);
}

fn base_of(batch: &[u8]) -> i64 {
    i64::from_be_bytes(batch[..8].try_into().unwrap())
}

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}
