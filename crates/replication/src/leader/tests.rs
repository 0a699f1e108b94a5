//! The leader's rules, as scripts: what happens, and what the leader answers.

use walrus_types::{
    NodeId, ProducerEpoch, ProducerId, Sequence, StorageId,
    batch::{HEADER_BYTES, plain_header},
};

use super::*;
use crate::cursors::write_quorum;

mod members;

const BATCH: u64 = HEADER_BYTES as u64;

fn member(node: i32) -> Member {
    Member { node: NodeId(node), storage: StorageId::default() }
}

fn segment(epoch: i32, base: i64, n: i32, min_insync: usize) -> OpenSegment {
    let members: Vec<Member> = (1..=n).map(member).collect();
    let write_quorum = write_quorum(members.len(), min_insync);
    OpenSegment { epoch: Epoch(epoch), base: Offset(base), members, write_quorum }
}

fn limits(min_insync: usize) -> Limits {
    let roll =
        RollLimits { bytes: 10 * BATCH, entries: 100, age_ms: 1000, interval_ms: 100, burst: 1 };
    Limits { min_insync, roll }
}

/// `4` is a batch of 4 records, `7:0+4` one of producer 7 from sequence 0 on.
fn batch(text: &str) -> BatchHeader {
    let Some((id, sequences)) = text.split_once(':') else {
        return plain_header(text.parse().unwrap());
    };
    let (sequence, records) = sequences.split_once('+').unwrap();
    BatchHeader {
        producer_id: ProducerId(id.parse().unwrap()),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(sequence.parse().unwrap()),
        ..plain_header(records.parse().unwrap())
    }
}

fn say_append(answer: Result<Accepted, AppendRefusal>) -> String {
    match answer {
        Ok(Accepted::Fresh { base, end }) => format!("{base}..{end}"),
        Ok(Accepted::Duplicate { base, end, committed: true, .. }) => {
            format!("again {base}..{end}")
        }
        Ok(Accepted::Duplicate { base, end, .. }) => format!("again {base}..{end}, wait"),
        Ok(Accepted::Parked) => "parked".into(),
        Err(AppendRefusal::Fenced(epoch)) => format!("fenced in {epoch}"),
        Err(AppendRefusal::NotEnoughReplicas { live, min_insync }) => {
            format!("{live} of {min_insync}")
        }
        Err(AppendRefusal::Sequence(error)) => error.to_string(),
        Err(error) => format!("{error:?}"),
    }
}

fn say_proposal(proposal: Option<Proposal>) -> String {
    proposal.map_or_else(String::new, |Proposal { expected, end, bytes, .. }| {
        format!("propose e{expected} end {end}, {} batches", bytes / BATCH)
    })
}

fn say_advance(advance: Advance) -> String {
    let commit = advance.commit.map(|commit| format!("commit {commit}"));
    let propose = advance.propose.map(|proposal| say_proposal(Some(proposal)));
    commit.into_iter().chain(propose).collect::<Vec<_>>().join(", ")
}

/// One step of a script: see `check`.
fn step(leader: &mut PartitionLeader, now: &mut UptimeMs, text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |word: &str| word.parse::<i64>().unwrap();
    let epoch = leader.epoch();
    match words[..] {
        ["at", ms] => {
            *now = UptimeMs(ms.parse().unwrap());
            leader.roll_due(*now).map_or_else(String::new, |reason| format!("due: {reason}"))
        }
        ["put", text] => say_append(leader.append(&batch(text), Acks::All, *now)),
        ["put", text, "acks=1"] => say_append(leader.append(&batch(text), Acks::Leader, *now)),
        ["unpark", text] => say_append(leader.append_parked(&batch(text), Acks::All, *now)),
        ["retract", base] => {
            leader.retract(Offset(number(base)));
            String::new()
        }
        ["flush", end] => say_advance(leader.flushed(epoch, Offset(number(end)))),
        ["late", "flush", end] => say_advance(leader.flushed(Epoch(1), Offset(number(end)))),
        ["ack", node, end] => {
            let node = member(node.parse().unwrap());
            say_advance(leader.acked(epoch, node, Offset(number(end))))
        }
        ["late", "ack", node, end] => {
            let node = member(node.parse().unwrap());
            say_advance(leader.acked(Epoch(1), node, Offset(number(end))))
        }
        ["dead", node] => {
            leader.set_live(member(node.parse().unwrap()), false);
            String::new()
        }
        ["roll", reason] => {
            let reason = match reason {
                "bytes" => RollReason::Bytes,
                "operator" => RollReason::Operator,
                "lost" => RollReason::QuorumLost,
                _ => panic!("{reason}?"),
            };
            match leader.begin_roll(reason, *now) {
                Ok(proposal) => say_proposal(proposal),
                Err(error) => error.to_string(),
            }
        }
        ["repeat"] => say_proposal(leader.proposal()),
        ["cancel"] => if leader.cancel_roll() { "open" } else { "no" }.into(),
        ["fence"] => {
            leader.fenced();
            String::new()
        }
        ["member", "sealed"] => {
            leader.member_sealed();
            String::new()
        }
        ["quorum"] => leader.has_quorum().to_string(),
        ["sealed", end, "for", n] => {
            let next = segment(epoch.0 + 1, number(end), n.parse().unwrap(), 2);
            match leader.sealed(Offset(number(end)), Some(&next), *now) {
                Rolled::Leads { carry } if carry.is_empty() => "leads".into(),
                Rolled::Leads { carry } => format!("leads, carry {}..{}", carry.start, carry.end),
                Rolled::Stopped => "stopped".into(),
            }
        }
        ["sealed", end] => match leader.sealed(Offset(number(end)), None, *now) {
            Rolled::Leads { .. } => "leads".into(),
            Rolled::Stopped => "stopped".into(),
        },
        _ => panic!("{text}?"),
    }
}

/// Plays events against the leader of an empty segment of `n` members, of which 1 leads, with
/// `min.insync.replicas=2`, and compares each answer.
#[track_caller]
fn check(n: i32, script: &[(&str, &str)]) -> PartitionLeader {
    let mut now = UptimeMs(0);
    let segment = segment(1, 0, n, 2);
    let producers = ProducerTable::default();
    let mut leader =
        PartitionLeader::open(member(1), &segment, Offset::ZERO, producers, limits(2), now);
    for (at, (event, expected)) in script.iter().enumerate() {
        let answer = step(&mut leader, &mut now, event);
        assert_eq!(answer, *expected, "step {at}: {event}");
    }
    leader
}

#[test]
fn appends_take_offsets_in_order_and_are_committed_by_w_members() {
    check(
        3,
        &[
            ("put 4", "0..4"),
            ("put 1", "4..5"),
            ("flush 5", ""),
            ("ack 2 4", "commit 4"),
            ("ack 3 5", "commit 5"),
            ("ack 2 5", ""),
        ],
    );
}

#[test]
fn a_retry_waits_until_the_original_is_committed() {
    check(
        3,
        &[
            ("put 7:0+4", "0..4"),
            ("put 7:0+4", "again 0..4, wait"),
            ("flush 4", ""),
            ("put 7:0+4", "again 0..4, wait"),
            ("ack 2 4", "commit 4"),
            ("put 7:0+4", "again 0..4"),
            ("put 7:5+1", "sequence 5 where 4 comes next"),
        ],
    );
}

#[test]
fn acks_all_is_refused_while_fewer_than_min_insync_members_live() {
    check(
        3,
        &[
            ("dead 2", ""),
            ("put 1", "0..1"),
            ("dead 3", ""),
            ("put 1", "1 of 2"),
            ("put 1 acks=1", "1..2"),
            ("dead 1", ""), // the leader hears no such thing of itself
            ("put 1", "1 of 2"),
        ],
    );
}

#[test]
fn a_segment_of_one_commits_alone_and_still_refuses_acks_all_below_min_insync() {
    check(1, &[("put 4 acks=1", "0..4"), ("flush 4", "commit 4"), ("put 1", "1 of 2")]);
}

#[test]
fn an_ack_that_cannot_be_is_ignored() {
    check(
        3,
        &[
            ("put 4", "0..4"),
            ("flush 4", ""),
            ("ack 2 3", ""), // inside a batch
            ("ack 2 5", ""), // past the end
            ("ack 9 4", ""), // not a member
            ("ack 1 4", ""), // the leader itself, from the network
            ("ack 2 4", "commit 4"),
        ],
    );
}

#[test]
#[should_panic(expected = "flushed up to 3, where no batch ends")]
fn the_leaders_own_flush_is_never_wrong() {
    check(3, &[("put 4", "0..4"), ("flush 3", "")]);
}

#[test]
fn a_batch_that_the_store_refused_was_never_there() {
    let leader = check(
        3,
        &[
            ("put 7:0+4", "0..4"),
            ("put 7:4+1", "4..5"),
            ("retract 4", ""),
            ("put 7:4+2", "4..6"),
            ("retract 4", ""),
            ("retract 0", ""),
            ("put 7:9+1", "0..1"), // the producer is unknown again
            ("retract 0", ""),
            ("at 99999", ""), // and the segment empty: it is never due
        ],
    );
    assert_eq!(leader.facts().bytes, 0);
    assert!(leader.producers().is_empty());
}

#[test]
fn a_segment_is_due_by_its_limits_once_the_bucket_has_a_token() {
    check(
        1,
        &[
            ("at 9999", ""),
            ("put 99 acks=1", "0..99"),
            ("at 9999", ""),
            ("put 1 acks=1", "99..100"),
            ("at 9999", "due: entries"),
            ("roll bytes", ""),
            ("at 99999", ""), // one is under way
            ("flush 100", "commit 100, propose e1 end 100, 2 batches"),
            ("sealed 100 for 1", "leads"),
            ("put 100 acks=1", "100..200"),
            ("at 99999", "due: entries"),
            ("flush 200", "commit 200"),
            ("roll bytes", "propose e2 end 200, 1 batches"),
            ("sealed 200 for 1", "leads"),
            ("put 100 acks=1", "200..300"),
            ("at 100098", ""), // throttled
            ("roll bytes", "rolls of this partition are limited; wait"),
            ("at 100099", "due: entries"),
        ],
    );
    check(1, &[("put 1 acks=1", "0..1"), ("at 999", ""), ("at 1000", "due: age")]);
}

#[test]
fn an_empty_segment_rolls_only_when_someone_wants_it() {
    check(
        3,
        &[
            ("roll bytes", "an empty segment does not roll for bytes"),
            ("roll operator", "propose e1 end 0, 0 batches"),
            ("sealed 0 for 3", "leads"),
            ("put 1", "0..1"),
        ],
    );
}

#[test]
fn a_roll_parks_drains_and_proposes_and_what_was_parked_goes_first() {
    check(
        3,
        &[
            ("put 7:0+4", "0..4"),
            ("roll operator", ""),
            ("put 7:4+1", "parked"),
            ("put 7:5+1", "parked"),
            ("roll bytes", "a roll for operator is under way"),
            ("flush 4", ""),
            ("ack 3 4", "commit 4, propose e1 end 4, 1 batches"),
            ("unpark 7:4+1", "parked"),
            ("sealed 4 for 3", "leads"),
            ("put 7:6+1", "parked"), // it came after those two
            ("unpark 7:4+1", "4..5"),
            ("unpark 7:5+1", "5..6"),
            ("unpark 7:6+1", "6..7"),
            ("put 7:7+1", "7..8"),
            ("put 7:0+4", "again 0..4"), // the table crossed the roll
        ],
    );
}

#[test]
fn after_a_proposal_nothing_is_appended_and_it_can_only_be_repeated() {
    check(
        1,
        &[
            ("put 4 acks=1", "0..4"),
            ("flush 4", "commit 4"),
            ("roll operator", "propose e1 end 4, 1 batches"),
            ("put 1 acks=1", "parked"),
            ("cancel", "no"), // M1: whatever was heard of the proposal
            ("put 1 acks=1", "parked"),
            ("repeat", "propose e1 end 4, 1 batches"),
            ("roll lost", "a roll for operator is under way"),
            ("repeat", "propose e1 end 4, 1 batches"),
            ("sealed 4", "stopped"),
            ("unpark 1", "fenced in 1"),
            ("repeat", ""),
        ],
    );
}

#[test]
fn a_drain_may_be_given_up() {
    check(
        3,
        &[
            ("put 4", "0..4"),
            ("roll operator", ""),
            ("put 1", "parked"),
            ("cancel", "open"),
            ("put 1", "parked"),
            ("unpark 1", "4..5"),
            ("unpark 1", "5..6"),
            ("flush 6", ""),
            ("ack 2 6", "commit 6"),
        ],
    );
}

#[test]
fn a_leader_without_its_quorum_seals_at_the_commit_offset_and_takes_the_rest_along() {
    let leader = check(
        2,
        &[
            ("put 7:0+4", "0..4"),
            ("flush 4", ""),
            ("ack 2 4", "commit 4"),
            ("put 7:4+1", "4..5"),
            ("put 7:5+2", "5..7"),
            ("flush 7", ""),
            ("roll operator", ""), // drains for ever
            ("put 7:7+1", "parked"),
            ("roll lost", "propose e1 end 4, 1 batches"),
            ("ack 2 7", ""), // from before the fence: too late to count
            ("sealed 4 for 1", "leads, carry 4..7"),
            ("late flush 7", ""),
            ("late ack 2 7", ""),
            ("put 7:4+1 acks=1", "parked"),
            ("flush 5", "commit 5"), // the carried batches, now in the successor
            ("flush 7", "commit 7"),
        ],
    );
    assert_eq!(leader.facts().bytes, 2 * BATCH);
    assert_eq!(leader.parked(), 2);
}

#[test]
fn a_retry_of_a_carried_batch_finds_the_original() {
    check(
        2,
        &[
            ("put 7:0+4 acks=1", "0..4"),
            ("flush 4", ""),
            ("roll lost", "propose e1 end 0, 0 batches"),
            ("sealed 0 for 1", "leads, carry 0..4"),
            ("put 7:0+4 acks=1", "again 0..4, wait"),
            ("flush 4", "commit 4"),
            ("put 7:0+4 acks=1", "again 0..4"),
            ("put 7:4+1 acks=1", "4..5"),
        ],
    );
}

#[test]
fn a_deposed_leader_commits_what_the_seal_covers_and_undoes_the_rest() {
    let leader = check(
        3,
        &[
            ("put 7:0+4", "0..4"),
            ("put 7:4+1", "4..5"),
            ("put 7:5+1", "5..6"),
            ("flush 6", ""),
            ("fence", ""),
            ("put 7:6+1", "fenced in 1"),
            ("ack 2 4", ""), // the end is Raft's to say now
            ("roll operator", "no longer the leader"),
            ("sealed 5", "stopped"),
            ("late flush 6", ""),
            ("put 7:5+1", "fenced in 1"),
        ],
    );
    assert_eq!(leader.cursors().commit(), Offset(5));
    let left: Vec<Offset> =
        leader.producers().remembered(ProducerId(7)).map(|batch| batch.end).collect();
    assert_eq!(left, [Offset(4), Offset(5)]);
}

#[test]
#[should_panic(expected = "sealed at 0, but 4 is committed")]
fn a_seal_never_cuts_what_is_committed() {
    check(1, &[("put 4 acks=1", "0..4"), ("flush 4", "commit 4"), ("sealed 0", "")]);
}

#[test]
fn a_late_answer_about_the_segment_before_counts_for_nothing() {
    check(
        3,
        &[
            ("roll operator", "propose e1 end 0, 0 batches"),
            ("sealed 0 for 3", "leads"),
            ("put 4", "0..4"),
            ("flush 4", ""),
            ("late ack 2 4", ""),
            ("ack 2 4", "commit 4"),
        ],
    );
}

#[test]
fn what_is_committed_is_forgotten_in_time() {
    let mut leader = check(1, &[]);
    for sequence in 0..100 {
        leader.append(&batch(&format!("7:{sequence}+1")), Acks::Leader, UptimeMs(0)).unwrap();
        leader.flushed(Epoch::FIRST, Offset(i64::from(sequence) + 1));
    }
    assert!(leader.producers().remembered(ProducerId(7)).count() <= 6);
}

#[test]
fn fetches_and_deletes_stay_inside_the_log() {
    let mut leader =
        check(3, &[("put 4", "0..4"), ("put 4", "4..8"), ("flush 8", ""), ("ack 2 4", "commit 4")]);
    leader.move_log_start(Offset(2));
    let fetch = |from| leader.check_fetch(Offset(from)).map(|upto| upto.0).ok();
    assert_eq!([-1, 1, 2, 4, 8, 9].map(fetch), [None, None, Some(4), Some(4), Some(4), None]);
    let delete = |to| leader.check_delete(Offset(to)).map(|start| start.0).ok();
    assert_eq!([-2, -1, 0, 3, 4, 5].map(delete), [None, Some(4), Some(2), Some(3), Some(4), None]);
}

#[test]
fn every_queue_has_an_end() {
    let mut leader = check(3, &[]);
    let now = UptimeMs(0);
    for _ in 0..UNCOMMITTED_BATCHES_MAX {
        leader.append(&plain_header(1), Acks::All, now).unwrap();
    }
    let refused = leader.append(&plain_header(1), Acks::All, now);
    assert_eq!(refused, Err(AppendRefusal::TooFarAhead));
    leader.begin_roll(RollReason::Operator, now).unwrap();
    for _ in 0..PARKED_MAX {
        assert_eq!(leader.append(&plain_header(1), Acks::All, now), Ok(Accepted::Parked));
    }
    let refused = leader.append(&plain_header(1), Acks::All, now);
    assert_eq!(refused, Err(AppendRefusal::TooManyParked));
    leader.parked_gone();
    assert_eq!(leader.append(&plain_header(1), Acks::All, now), Ok(Accepted::Parked));
}
