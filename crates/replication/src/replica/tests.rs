//! A member's rules, as scripts: what it is told, and what it says.

use walrus_types::{
    Incarnation, NodeId, ProducerEpoch, ProducerId, Sequence,
    batch::{HEADER_BYTES, plain_header},
};

use super::*;
use crate::cursors::write_quorum;

const BATCH: u64 = HEADER_BYTES as u64;
const APPLIED: u64 = 33;

fn disk(number: u8) -> StorageId {
    StorageId(format!("{number:032x}").parse().unwrap())
}

fn writer(incarnation: u64) -> Writer {
    Writer { node: NodeId(1), incarnation: Incarnation(incarnation) }
}

/// Member 2 with disk 2 of a segment of three from offset 10 on, in epoch 3, led by life 7 of node 1.
struct Script {
    replica: ReplicaSegment,
    fences: Fences,
}

fn segment() -> OpenSegment {
    let member = |node: u8| Member { node: NodeId(node.into()), storage: disk(node) };
    let members = vec![member(1), member(2), member(3)];
    OpenSegment { epoch: Epoch(3), base: Offset(10), members, write_quorum: write_quorum(3, 2) }
}

fn start(own_disk: u8, has: OnDisk) -> Script {
    let me = Member { node: NodeId(2), storage: disk(own_disk) };
    let mut producers = ProducerTable::starting_at(Offset(10));
    if has.end > Offset(10) {
        producers.appended(&batch("10+4", 3));
    }
    let producers = Some(producers);
    let replica = ReplicaSegment::open(me, writer(7), &segment(), has, producers);
    Script { replica, fences: Fences::default() }
}

/// `10+4` is a batch of 4 records from offset 10 on. Producer 5 sends them all, and its sequences
/// count as the offsets do.
fn batch(text: &str, epoch: i32) -> BatchHeader {
    let (base, records) = text.split_once('+').unwrap();
    BatchHeader {
        base_offset: Offset(base.parse().unwrap()),
        epoch: Epoch(epoch),
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(base.parse().unwrap()),
        ..plain_header(records.parse().unwrap())
    }
}

fn option(words: &[&str], name: &str, default: i64) -> i64 {
    let found = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.map_or(default, |value| value.parse().unwrap())
}

fn say_taken(answer: Result<Taken, Refusal>) -> String {
    match answer {
        Ok(Taken::Store { end }) => format!("store {end}"),
        Ok(Taken::Known(Position { durable, .. })) => format!("known, durable {durable}"),
        Err(Refusal::OtherStorage { .. }) => "other disk".into(),
        Err(refusal) => refusal.to_string(),
    }
}

fn say_sealing(Sealing { cut, pull, finish }: Sealing) -> String {
    let cut = cut.map(|end| format!("cut {end}"));
    let pull = pull.map(|range| format!("pull {}..{}", range.start, range.end));
    let finish = finish.map(|end| format!("finish {end}"));
    cut.into_iter().chain(pull).chain(finish).collect::<Vec<_>>().join(", ")
}

impl Script {
    fn step(&mut self, text: &str) -> String {
        let Self { replica, fences } = self;
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<i64>().unwrap();
        let offset = |name: &str, default| Offset(option(&words, name, default));
        let life = u64::try_from(option(&words, "life", 7)).unwrap();
        let epoch = i32::try_from(option(&words, "epoch", 3)).unwrap();
        let storage = disk(u8::try_from(option(&words, "disk", 2)).unwrap());
        let append = |prev_end| Append {
            from: writer(life),
            storage,
            epoch: Epoch(epoch),
            prev_end,
            commit: offset("commit", 10),
            stream: 0,
            sent_at: UptimeMs(0),
        };
        match words[..] {
            ["put", text, ..] => {
                let batch = batch(text, epoch);
                let append = append(batch.base_offset);
                say_taken(replica.append(&append, &batch, fences, APPLIED))
            }
            ["ask", ..] => match replica.ask(&append(Offset(10)), fences, APPLIED) {
                Ok(Position { end, durable, .. }) => format!("end {end}, durable {durable}"),
                Err(refusal) => refusal.to_string(),
            },
            ["copy", text, upto, ..] => {
                let copied =
                    replica.copy(storage, &batch(text, epoch), Offset(number(upto)), fences);
                say_taken(copied)
            }
            ["retract"] => {
                replica.retract();
                String::new()
            }
            ["flush", end] => {
                let Flushed { answer, finish } = replica.flushed(Offset(number(end)));
                let answer = answer.map(|position| format!("durable {}", position.durable));
                let finish = finish.map(|end| format!("finish {end}"));
                answer.into_iter().chain(finish).collect::<Vec<_>>().join(", ")
            }
            ["fence", life] => match fences.fence(writer(life.parse().unwrap())) {
                FenceEffect::FlushThenAnswer => "flush".into(),
                FenceEffect::Answer => "answer".into(),
            },
            ["fence", life, "durable"] => {
                fences.durable(writer(life.parse().unwrap()));
                String::new()
            }
            ["vote"] => match replica.answer_fence(fences) {
                Ok(FenceAnswer::Held(Held { end, bytes, commit, .. })) => {
                    format!("{end}, {} batches, commit {commit}", bytes / BATCH)
                }
                Ok(FenceAnswer::LostDisk { .. }) => "no vote: lost disk".into(),
                Ok(FenceAnswer::Sealed { end }) => format!("sealed at {end}"),
                Err(why) => why.to_string(),
            },
            ["seal", end] => say_sealing(replica.sealed(Offset(number(end)))),
            ["fail"] => {
                replica.failed();
                String::new()
            }
            ["read"] => replica.readable_end().to_string(),
            ["remembers"] => {
                let table = replica.producers().expect("it is known here");
                let ends = table.remembered(ProducerId(5)).map(|batch| batch.end.to_string());
                ends.collect::<Vec<_>>().join(" ")
            }
            _ => panic!("{text}?"),
        }
    }

    #[track_caller]
    fn check(mut self, script: &[(&str, &str)]) -> Self {
        for (at, (event, expected)) in script.iter().enumerate() {
            assert_eq!(self.step(event), *expected, "step {at}: {event}");
        }
        self
    }
}

#[track_caller]
fn check(script: &[(&str, &str)]) -> Script {
    start(2, OnDisk::nothing(Offset(10))).check(script)
}

#[test]
fn a_batch_is_taken_only_where_the_log_ends_and_answered_when_it_is_durable() {
    check(&[
        ("put 10+4", "store 14"),
        ("put 14+1", "store 15"),
        ("ask", "end 15, durable 10"),
        ("flush 14", "durable 14"),
        ("flush 14", ""), // nothing new
        ("put 18+1", "the log ends at 15 here"),
        ("put 13+4", "the log ends at 15 here"), // partly there
        ("flush 15", "durable 15"),
    ]);
}

#[test]
fn a_batch_that_is_there_is_answered_again_and_never_stored_twice() {
    let script = check(&[
        ("put 10+4", "store 14"),
        ("put 10+4", "known, durable 10"),
        ("flush 14", "durable 14"),
        ("put 10+4", "known, durable 14"),
        ("remembers", "14"),
    ]);
    assert_eq!(script.replica.end(), Offset(14));
}

#[test]
fn who_may_not_write_is_told_why() {
    check(&[
        ("put 10+4 epoch=4", "metadata is applied up to 33, the segment is opened later"), // M19
        ("put 10+4 epoch=2", "the leader is fenced"),
        ("put 10+4 life=6", "the leader is fenced"),
        ("put 10+4 disk=9", "other disk"), // M2
        ("put 10+4 epoch=4 disk=9", "other disk"),
        (
            "ask disk=9",
            "the disk here is 00000000-0000-0000-0000-000000000002, \
          the segment names 00000000-0000-0000-0000-000000000009",
        ),
        ("put 10+0", "the batch is not the one that is announced"),
        ("put 9+1", "the batch is not the one that is announced"), // before the segment
        ("remembers", ""),
        ("put 10+4", "store 14"),
    ]);
}

#[test]
fn a_batch_of_another_place_or_epoch_than_announced_is_refused() {
    let Script { mut replica, fences } = check(&[]);
    let append = Append {
        from: writer(7),
        storage: disk(2),
        epoch: Epoch(3),
        prev_end: Offset(10),
        commit: Offset(10),
        stream: 0,
        sent_at: UptimeMs(0),
    };
    for given in [batch("11+4", 3), batch("10+4", 2), batch("10+-1", 3)] {
        let refused = replica.append(&append, &given, &fences, APPLIED);
        assert_eq!(refused, Err(Refusal::Malformed), "{given:?}");
    }
}

#[test]
fn what_is_served_is_committed_and_on_this_disk() {
    check(&[
        ("put 10+4", "store 14"),
        ("read", "10"),
        ("put 14+1 commit=14", "store 15"),
        ("read", "10"), // not flushed
        ("flush 14", "durable 14"),
        ("read", "14"),
        ("flush 15", "durable 15"),
        ("read", "14"),
        ("ask commit=99", "end 15, durable 15"), // others have more
        ("read", "15"),
        ("ask commit=11", "end 15, durable 15"), // an old message
        ("read", "15"),
    ]);
}

#[test]
fn a_fence_holds_at_once_and_is_answered_when_it_and_all_before_it_are_durable() {
    check(&[
        ("put 10+4 commit=10", "store 14"),
        ("flush 14", "durable 14"),
        ("put 14+2 commit=14", "store 16"),
        ("fence 7", "flush"),
        ("put 16+1", "the leader is fenced"),
        ("ask commit=16", "the leader is fenced"),
        ("vote", "the fence is not durable yet"), // M7
        ("fence 7 durable", ""),
        ("vote", "the log ends at 16 and is durable up to 14"),
        ("flush 16", "durable 16"), // accepted before the fence: the leader may count it
        ("vote", "16, 2 batches, commit 14"),
        ("vote", "16, 2 batches, commit 14"), // to any controller
        ("fence 7", "answer"),
        ("put 16+1", "the leader is fenced"),
    ]);
}

#[test]
fn a_fence_covers_earlier_lives_and_segments_not_heard_of_but_no_later_life() {
    let mut fences = Fences::default();
    assert_eq!(fences.fence(writer(7)), FenceEffect::FlushThenAnswer);
    for (life, fenced) in [(6, true), (7, true), (8, false)] {
        let append = Append {
            from: writer(life),
            storage: disk(2),
            epoch: Epoch(9),
            prev_end: Offset(0),
            commit: Offset(0),
            stream: 0,
            sent_at: UptimeMs(0),
        };
        let expected = if fenced { Refusal::Fenced } else { Refusal::NotYet { applied: APPLIED } };
        assert_eq!(Refusal::of_unknown(&append, &fences, APPLIED), expected, "life {life}"); // M8
        assert!(!fences.covers_durably(writer(life)));
    }
    // An older fence that becomes durable says nothing of the newer one.
    assert_eq!(fences.fence(writer(5)), FenceEffect::FlushThenAnswer);
    fences.durable(writer(5));
    assert_eq!(fences.fence(writer(7)), FenceEffect::FlushThenAnswer);
    assert!(fences.covers_durably(writer(5)) && !fences.covers_durably(writer(7)));
    fences.durable(writer(7));
    let restored = Fences::restore(fences.records());
    assert_eq!(restored, fences);
    assert!(restored.covers_durably(writer(6)) && !restored.covers(writer(8)));
}

#[test]
fn a_lost_disk_takes_nothing_and_is_no_vote() {
    start(8, OnDisk::nothing(Offset(10))).check(&[
        ("put 10+4", "other disk"),
        ("put 10+4 disk=8", "other disk"),
        ("fence 7", "flush"),
        ("fence 7 durable", ""),
        ("vote", "no vote: lost disk"),
        ("copy 10+4 14", "other disk"),
        ("seal 14", ""),
        ("read", "10"),
    ]);
}

#[test]
fn a_disk_that_failed_answers_an_error_and_no_end() {
    check(&[
        ("put 10+4", "store 14"),
        ("fence 7", "flush"),
        ("fence 7 durable", ""),
        ("fail", ""),
        ("flush 14", ""),
        ("vote", "the disk failed"),
        ("copy 14+4 18", "the disk failed"),
    ]);
    check(&[("fail", ""), ("put 10+4", "the disk failed")]);
}

#[test]
fn copies_for_a_seal_need_a_durable_fence_an_exact_place_and_stop_at_the_end_in_mind() {
    check(&[
        ("put 10+4", "store 14"),
        ("flush 14", "durable 14"),
        ("copy 14+2 16", "the leader is not fenced yet"),
        ("fence 7", "flush"),
        ("copy 14+2 16", "the leader is not fenced yet"),
        ("fence 7 durable", ""),
        ("vote", "14, 1 batches, commit 10"),
        ("copy 15+1 16", "the log ends at 14 here"),
        ("copy 14+3 16", "the batch is not the one that is announced"),
        ("copy 14+2 16 disk=9", "other disk"),
        ("copy 14+2 16 epoch=2", "the batch is not the one that is announced"),
        ("copy 14+2 16", "store 16"),
        ("copy 14+2 16", "known, durable 14"),
        ("vote", "the log ends at 16 and is durable up to 14"),
        // The leader is not told: it would count the copy, and an older answer may seal without it.
        ("flush 16", "durable 14"),
        ("vote", "16, 2 batches, commit 10"),
        ("remembers", "14 16"),
    ]);
}

#[test]
fn the_roll_cuts_a_tail_and_its_sequences_and_nothing_is_taken_or_served_past_the_end() {
    check(&[
        ("put 10+4", "store 14"),
        ("put 14+2 commit=14", "store 16"),
        ("put 16+1", "store 17"),
        ("flush 16", "durable 16"),
        ("remembers", "14 16 17"),
        ("seal 14", "cut 14, finish 14"),
        ("remembers", "14"), // M10
        ("read", "14"),
        ("flush 17", ""), // of what was cut
        ("put 14+1", "the segment is sealed at 14"),
        ("put 14+1 life=6", "the leader is fenced"),
        ("copy 14+1 15", "the segment is sealed at 14"),
        ("vote", "sealed at 14"),
        ("read", "14"),
        ("seal 14", ""), // said again
    ]);
}

#[test]
fn a_member_that_is_short_of_the_end_pulls_the_rest_and_is_finished_when_it_is_durable() {
    check(&[
        ("put 10+4 commit=10", "store 14"),
        ("seal 17", "pull 14..17"), // L3
        ("read", "10"),             // nothing of it is flushed
        ("flush 14", ""),
        ("read", "14"),
        ("copy 14+3 17", "store 17"),
        ("flush 17", "finish 17"),
        ("read", "17"),
        ("remembers", "14 17"),
        ("seal 17", ""),
    ]);
    // It has all, and some of it not on disk.
    check(&[("put 10+4", "store 14"), ("seal 14", ""), ("flush 14", "finish 14")]);
    check(&[("seal 10", "finish 10")]);
}

#[test]
#[should_panic(expected = "sealed at 13, but 14 was served")]
fn what_was_served_is_never_cut() {
    check(&[("put 10+4 commit=14", "store 14"), ("flush 14", "durable 14"), ("seal 13", "")]);
}

#[test]
#[should_panic(expected = "is decided once")]
fn a_segment_has_one_end() {
    check(&[("seal 14", "pull 10..14"), ("seal 15", "")]);
}

#[test]
fn a_batch_that_the_store_refused_was_never_there() {
    check(&[
        ("put 10+4", "store 14"),
        ("put 14+2 commit=16", "store 16"), // the others have it
        ("retract", ""),
        ("ask", "end 14, durable 10"),
        ("remembers", "14"),
        ("flush 14", "durable 14"),
        ("put 14+2", "store 16"),
        ("fence 7", "flush"),
        ("fence 7 durable", ""),
        ("flush 16", "durable 16"),
        ("vote", "16, 2 batches, commit 16"),
    ]);
}

#[test]
fn after_a_restart_it_goes_on_where_its_disk_ends() {
    let has = OnDisk { end: Offset(14), bytes: BATCH, max_timestamp: TimestampMs(5) };
    start(2, has).check(&[
        ("ask", "end 14, durable 14"),
        ("put 16+1", "the log ends at 14 here"),
        ("put 14+2", "store 16"),
        ("fence 7", "flush"),
        ("fence 7 durable", ""),
        ("flush 16", "durable 16"),
        ("vote", "16, 2 batches, commit 10"),
    ]);
    start(2, has).check(&[
        ("seal 10", "cut 10, finish 10"), // L4
        ("read", "10"),
        ("remembers", ""),
    ]);
}

#[test]
fn a_table_that_comes_later_must_know_all_that_is_here() {
    let me = Member { node: NodeId(2), storage: disk(2) };
    let nothing = OnDisk::nothing(Offset(10));
    let mut replica = ReplicaSegment::open(me, writer(7), &segment(), nothing, None);
    let mut table = ProducerTable::starting_at(Offset(10));
    replica.take(&batch("10+4", 3));
    assert_eq!(replica.learn_producers(table.clone()), Err(Offset(14)));
    table.appended(&batch("10+4", 3));
    assert_eq!(replica.learn_producers(table), Ok(()));
    replica.take(&batch("14+1", 3));
    assert_eq!(replica.producers().unwrap().end(), Offset(15));
}

#[test]
fn answers_carry_the_newest_message_that_was_accepted() {
    let Script { mut replica, fences } = check(&[]);
    let mut append = Append {
        from: writer(7),
        storage: disk(2),
        epoch: Epoch(3),
        prev_end: Offset(10),
        commit: Offset(10),
        stream: 4,
        sent_at: UptimeMs(50),
    };
    replica.append(&append, &batch("10+4", 3), &fences, APPLIED).unwrap();
    (append.stream, append.sent_at) = (3, UptimeMs(40)); // overtaken
    replica.ask(&append, &fences, APPLIED).unwrap();
    append.sent_at = UptimeMs(90);
    append.epoch = Epoch(4); // refused, so it says nothing of a fence
    replica.ask(&append, &fences, APPLIED).unwrap_err();
    let answer = replica.flushed(Offset(14)).answer.unwrap();
    assert_eq!((answer.stream, answer.sent_at), (4, UptimeMs(50)));
}
