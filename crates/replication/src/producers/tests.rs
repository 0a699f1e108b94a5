//! The rules of the producer table, as scripts of batches.

use walrus_types::batch::plain_header;

use super::*;

/// A batch of producer `id` as a client sends it.
fn sent(id: i64, epoch: i16, sequence: i32, records: i32) -> BatchHeader {
    BatchHeader {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: Sequence(sequence),
        ..plain_header(records)
    }
}

/// Appends a batch at the end of the log.
fn put(table: &mut ProducerTable, batch: BatchHeader) {
    table.appended(&BatchHeader { base_offset: table.end(), ..batch });
}

fn say(verdict: Result<Verdict, SequenceError>) -> String {
    match verdict {
        Ok(Verdict::Fresh) => "fresh".into(),
        Ok(Verdict::Duplicate(original)) => format!("at {}..{}", original.base, original.end),
        Err(SequenceError::InvalidEpoch { current, .. }) => format!("epoch is {current}"),
        Err(SequenceError::OutOfOrder { expected, .. }) => format!("expected {expected}"),
        Err(SequenceError::DuplicateOld { .. }) => "old".into(),
        Err(SequenceError::Malformed { .. }) => "malformed".into(),
    }
}

/// Plays `script` for producer 7 and compares the answer to its last step. `0 5` is a batch from
/// sequence 0 with 5 records, `e1 0 5` one in epoch 1; both are appended when they are fresh.
/// `commit 5` and `cut 5` say what they mean.
#[track_caller]
fn check(script: &str, expected: &str) {
    let mut table = ProducerTable::default();
    let mut answer = String::new();
    for step in script.split(", ") {
        let words: Vec<&str> = step.split(' ').collect();
        let number = |word: &str| word.parse::<i32>().unwrap();
        let (epoch, sequence, records) = match words[..] {
            ["commit", end] => {
                table.committed(Offset(number(end).into()));
                continue;
            }
            ["cut", end] => {
                table.undo_from(Offset(number(end).into()));
                continue;
            }
            [epoch, sequence, records] => (number(&epoch[1..]), number(sequence), number(records)),
            [sequence, records] => (0, number(sequence), number(records)),
            _ => panic!("{step}?"),
        };
        let batch = sent(7, i16::try_from(epoch).unwrap(), sequence, records);
        let verdict = table.check(&batch);
        if verdict == Ok(Verdict::Fresh) {
            put(&mut table, batch);
        }
        answer = say(verdict);
    }
    assert_eq!(answer, expected, "{script}");
}

#[test]
fn batches_of_a_producer_follow_each_other_without_a_gap() {
    check("0 5, 5 1", "fresh");
    check("0 5, 6 1", "expected 5");
    check("0 5, 4 1", "expected 5"); // part of one that is there
    check("0 5, 0 6", "expected 5"); // same start, other count
}

#[test]
fn a_retry_gets_the_offsets_of_the_original() {
    check("0 5, 0 5", "at 0..5");
    check("0 5, 5 1, 6 2, 0 5", "at 0..5");
    check("0 5, 5 1, 6 2, 5 1", "at 5..6");
}

#[test]
fn an_unknown_producer_may_start_with_any_sequence() {
    check("41 1", "fresh");
    check("41 1, 42 1", "fresh");
    check("41 1, 40 1", "expected 42"); // older than what is known, so not known to be there
}

#[test]
fn a_new_epoch_starts_at_zero_and_an_old_one_is_refused() {
    check("0 5, e1 0 5", "fresh");
    check("0 5, e1 5 5", "expected 0");
    check("e1 0 5, 5 5", "epoch is 1");
    check("0 5, e1 0 5, 0 5", "epoch is 1"); // not even a retry
    check("0 5, e1 0 5, e1 0 5", "at 5..10");
}

#[test]
fn sequences_wrap_to_zero() {
    check("2147483647 1, 0 1", "fresh");
    check("2147483646 5, 3 1", "fresh");
    check("2147483646 5, 3 1, 2147483646 5", "at 0..5");
    check("2147483647 1, 1 1", "expected 0");
}

#[test]
fn five_committed_batches_are_remembered_and_older_ones_are_told_from_gaps() {
    check("0 1, 1 1, 2 1, 3 1, 4 1, commit 5, 5 1, 0 1", "at 0..1"); // five newer, one uncommitted
    check("0 1, 1 1, 2 1, 3 1, 4 1, 5 1, commit 6, 6 1, 0 1", "old");
    check("0 1, 1 1, 2 1, 3 1, 4 1, 5 1, commit 6, 6 1, 1 1", "at 1..2");
    check("0 1, 1 1, 2 1, 3 1, 4 1, 5 1, commit 6, 6 1, 8 1", "expected 7");
    check("9 1, 10 1, 11 1, 12 1, 13 1, 14 1, commit 6, 15 1, 9 1", "old");
    check("9 1, 10 1, 11 1, 12 1, 13 1, 14 1, commit 6, 15 1, 8 1", "expected 16"); // never seen
}

#[test]
fn old_batches_are_told_from_gaps_across_the_wrap() {
    let six = "2147483646 1, 2147483647 1, 0 1, 1 1, 2 1, 3 1, 4 1, commit 7, 5 1";
    check(&format!("{six}, 2147483646 1"), "old");
    check(&format!("{six}, 2147483645 1"), "expected 6");
}

#[test]
fn what_a_cut_takes_is_forgotten_and_what_it_leaves_is_remembered() {
    check("0 5, 5 1, cut 5, 5 1", "fresh"); // M10: no longer a duplicate
    check("0 5, 5 1, cut 5, 0 5", "at 0..5");
    check("0 5, cut 0, 41 1", "fresh"); // wholly undone, so unknown again
    // Six uncommitted batches push nothing out, so that a cut finds the first again.
    check("0 1, 1 1, 2 1, 3 1, 4 1, 5 1, 6 1, cut 1, 0 1", "at 0..1");
    check("0 1, 1 1, 2 1, 3 1, 4 1, 5 1, 6 1, cut 1, 1 1", "fresh");
}

#[test]
fn a_cut_of_a_new_epoch_brings_the_old_one_back() {
    check("0 5, commit 5, e1 0 1, cut 5, 0 5", "at 0..5");
    check("0 5, commit 5, e1 0 1, cut 5, 5 1", "fresh");
    check("0 5, e1 0 1, commit 6, e1 1 1, cut 6, e1 1 1", "fresh");
}

#[test]
fn what_one_epoch_forgot_says_nothing_about_the_next() {
    let seven = "0 1, 1 1, 2 1, 3 1, 4 1, 5 1, commit 6, 6 1, commit 7";
    check(&format!("{seven}, e1 0 1, commit 8, e1 1 1, e1 2147483647 1"), "expected 2");
}

#[test]
#[should_panic(expected = "cut at 3, but 5 is committed")]
fn nothing_committed_is_ever_cut() {
    check("0 5, commit 5, cut 3", "");
}

#[test]
fn a_malformed_batch_is_refused_and_one_without_a_producer_is_always_fresh() {
    let table = ProducerTable::default();
    for (epoch, sequence, records) in [(-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, i32::MIN + 1)] {
        assert_eq!(say(table.check(&sent(7, epoch, sequence, records))), "malformed");
    }
    assert_eq!(say(table.check(&plain_header(1))), "fresh");
}

#[test]
fn a_log_that_goes_on_after_the_leader_forgot_the_producer_is_taken_as_it_is() {
    let mut table = ProducerTable::default();
    put(&mut table, sent(7, 3, 0, 5));
    put(&mut table, sent(7, 3, 90, 5)); // a gap
    assert_eq!(say(table.check(&sent(7, 3, 90, 5))), "at 5..10");
    assert_eq!(say(table.check(&sent(7, 3, 95, 5))), "fresh");
    put(&mut table, sent(7, 1, 2, 5)); // an older epoch
    assert_eq!(say(table.check(&sent(7, 1, 7, 5))), "fresh");
}

#[test]
fn markers_and_plain_batches_move_the_log_but_no_window() {
    let mut table = ProducerTable::default();
    put(&mut table, sent(7, 0, 0, 5));
    put(&mut table, sent(7, 0, -1, 1));
    put(&mut table, plain_header(3));
    assert_eq!(table.end(), Offset(9));
    assert_eq!(say(table.check(&sent(7, 0, 5, 1))), "fresh");
}

/// Producers 1, 2, … write one batch each at these timestamps, all is committed, then quiet ones
/// are expired after 100 ms.
#[track_caller]
fn check_expiry(timestamps: &[i64], now: i64, expected_left: &[i64]) {
    let mut table = ProducerTable::default();
    for (id, &at) in (1..).zip(timestamps) {
        put(&mut table, BatchHeader { max_timestamp: TimestampMs(at), ..sent(id, 0, 0, 1) });
    }
    table.committed(table.end());
    table.expire(100, TimestampMs(now));
    let left: Vec<i64> = table.producers.keys().map(|id| id.0).collect();
    assert_eq!(left, expected_left, "{timestamps:?} at {now}");
}

#[test]
fn quiet_producers_expire_by_the_time_of_the_log() {
    check_expiry(&[1000, 1050, 1100], 9999, &[2, 3]);
    check_expiry(&[1000, 1050], 9999, &[1, 2]); // an idle log does not age
    check_expiry(&[1000, 7, 1050], 9999, &[1, 2, 3]); // replayed history is not quiet
    check_expiry(&[1000, 1050, i64::MAX], 1080, &[1, 2, 3]); // the future does not wipe the table
}

#[test]
fn a_producer_with_uncommitted_batches_does_not_expire() {
    let mut table = ProducerTable::default();
    put(&mut table, BatchHeader { max_timestamp: TimestampMs(0), ..sent(1, 0, 0, 1) });
    put(&mut table, BatchHeader { max_timestamp: TimestampMs(9000), ..sent(2, 0, 0, 1) });
    assert_eq!(table.expire(100, TimestampMs(9000)), 0);
    table.committed(Offset(1));
    assert_eq!(table.expire(100, TimestampMs(9000)), 1);
}

#[test]
fn at_the_limit_the_longest_idle_producers_make_room() {
    let mut table = ProducerTable::default();
    let limit = i64::try_from(PRODUCERS_PER_PARTITION_MAX).unwrap();
    for id in 0..limit {
        put(&mut table, sent(id, 0, 0, 1));
    }
    put(&mut table, sent(0, 0, 1, 1)); // the first is the last to have written
    assert_eq!(table.len(), PRODUCERS_PER_PARTITION_MAX);
    put(&mut table, sent(limit, 0, 0, 1));
    assert!(
        table.len() > PRODUCERS_PER_PARTITION_MAX * 9 / 10
            && table.len() < PRODUCERS_PER_PARTITION_MAX
    );
    assert_eq!(say(table.check(&sent(0, 0, 1, 1))), format!("at {limit}..{}", limit + 1));
    assert_eq!(table.remembered(ProducerId(1)).count(), 0);
}

/// Some of everything: two epochs in a window, forgotten records, a wrapped sequence.
fn rich_table() -> ProducerTable {
    let mut table = ProducerTable::default();
    for sequence in 0..8 {
        table.committed(table.end());
        put(&mut table, sent(3, 0, sequence, 1));
    }
    put(&mut table, sent(3, 1, 0, 4));
    put(&mut table, sent(9, 7, i32::MAX, 3));
    put(&mut table, BatchHeader { max_timestamp: TimestampMs(77), ..sent(9, 7, 2, 1) });
    table
}

#[test]
fn a_table_survives_its_bytes() {
    for table in [ProducerTable::default(), ProducerTable::starting_at(Offset(9)), rich_table()] {
        assert_eq!(ProducerTable::decode(&table.encode()), Ok(table));
    }
    assert_eq!(ProducerTable::default().encode().len(), 29);
}

#[test]
fn the_bytes_of_version_1_never_change() {
    let mut table = ProducerTable::starting_at(Offset(2));
    put(&mut table, BatchHeader { max_timestamp: TimestampMs(4), ..sent(5, 6, 7, 8) });
    let mut expected = vec![1];
    for number in [10_i64, 2, 4] {
        expected.extend(number.to_be_bytes());
    }
    expected.extend([0, 0, 0, 1]); // producers
    expected.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4]);
    assert_eq!(table.encode(), expected);
}

#[test]
fn damaged_bytes_are_refused_or_a_sound_table_and_never_a_panic() {
    let good = rich_table().encode();
    for cut in 0..good.len() {
        assert_eq!(
            ProducerTable::decode(&good[..cut]),
            Err(DecodeError::Truncated),
            "cut at {cut}"
        );
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(ProducerTable::decode(&longer), Err(DecodeError::Trailing(1)));
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1, good[at].wrapping_add(1)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            // What decodes must work: encode it, judge with it, cut it.
            if let Ok(mut table) = ProducerTable::decode(&bytes) {
                assert_eq!(ProducerTable::decode(&table.encode()), Ok(table.clone()));
                for id in [3, 9] {
                    say(table.check(&sent(id, 1, 4, 1)));
                }
                table.expire(0, TimestampMs(i64::MAX));
                table.undo_from(table.end());
            }
        }
    }
}

#[test]
fn a_count_of_billions_asks_for_no_memory() {
    let mut bytes = ProducerTable::default().encode();
    bytes[25..].fill(0xff);
    assert_eq!(ProducerTable::decode(&bytes), Err(DecodeError::Truncated));
}

#[test]
fn the_newest_batch_of_each_producer_is_told_with_its_last_sequence() {
    let mut table = ProducerTable::default();
    for batch in [sent(7, 0, 0, 5), sent(9, 2, i32::MAX, 2), sent(7, 0, 5, 3)] {
        put(&mut table, batch);
    }
    let newest: Vec<_> = table
        .newest()
        .map(|(producer, batch)| (producer.0, batch.epoch.0, batch.last_sequence().0))
        .collect();
    assert_eq!(newest, [(7, 0, 7), (9, 2, 0)], "after the greatest sequence comes 0");
}
