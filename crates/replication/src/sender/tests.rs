//! What a leader sends to its members, as scripts: what happens, and what is to be done.

use std::collections::BTreeSet;

use walrus_types::StorageId;

use super::*;

const LIMITS: SenderLimits =
    SenderLimits { window_bytes: 100, read_bytes_max: 60, lag_max_ms: 1000, commit_idle_ms: 5 };

fn member(node: i32) -> Member {
    Member { node: NodeId(node), storage: StorageId::default() }
}

fn say(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, stream } => format!("send {}.{stream}", to.node),
        Effect::ReadFromDisk { to, stream, from, bytes_max } => {
            format!("read {}.{stream} from {from} up to {bytes_max}", to.node)
        }
        Effect::Ask { to, stream } => format!("ask {}.{stream}", to.node),
        Effect::TellCommit { to, stream } => format!("tell {}.{stream}", to.node),
        Effect::MemberGone(member) => format!("gone {}", member.node),
        Effect::Fenced => "fenced".into(),
        Effect::Sealed => "sealed".into(),
    }
}

struct Script {
    senders: Senders,
    now: UptimeMs,
}

impl Script {
    fn step(&mut self, text: &str) -> String {
        let Self { senders, now } = self;
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<i64>().unwrap();
        let unsigned = |word: &str| word.parse::<u64>().unwrap();
        // `2.3` is stream 3 of member 2.
        let stream = |word: &str| {
            let (node, stream) = word.split_once('.').unwrap();
            (member(node.parse().unwrap()), stream.parse().unwrap())
        };
        let mut out = Vec::new();
        match words[..] {
            ["at", ms] => {
                *now = UptimeMs(unsigned(ms));
                senders.tick(*now, &mut out);
            }
            ["append", end, bytes] => {
                senders.appended(Offset(number(end)), unsigned(bytes), *now, &mut out);
            }
            ["commit", end] => senders.committed(Offset(number(end))),
            ["up", node] => senders.connected(member(node.parse().unwrap()), *now, &mut out),
            ["down", node] => senders.disconnected(member(node.parse().unwrap())),
            ["read", at, end, bytes] => {
                let read = (Offset(number(end)), unsigned(bytes));
                if !senders.read(stream(at), read, *now, &mut out) {
                    return "unwanted".into();
                }
            }
            ["unsent", at] => senders.not_sent(stream(at), *now),
            ["probe"] => senders.probe(*now, &mut out),
            ["ack", at, durable, ref rest @ ..] => {
                let (member, stream) = stream(at);
                let durable = Offset(number(durable));
                // `ack 2.1 4 of 6`: the log ends at 6 there. `sent 3`: of the message sent then.
                let after = |word| rest.iter().skip_while(|at| **at != word).nth(1).copied();
                let end = after("of").map_or(durable, |end| Offset(number(end)));
                let sent_at = after("sent").map_or(*now, |at| UptimeMs(unsigned(at)));
                let position = Position { epoch: Epoch(1), end, durable, stream, sent_at };
                senders.answered(member, &position, *now, &mut out);
            }
            ["refuse", at, why, ref rest @ ..] => {
                let end = Offset(rest.first().map_or(0, |end| number(end)));
                let refusal = match why {
                    "notyet" => Refusal::NotYet { applied: 1 },
                    "fenced" => Refusal::Fenced,
                    "sealed" => Refusal::Sealed { end },
                    "gap" => Refusal::Gap { end },
                    "busy" => Refusal::Busy,
                    "stranger" => Refusal::NotMember,
                    "disk" => Refusal::OtherStorage {
                        known: StorageId::default(),
                        given: StorageId::default(),
                    },
                    _ => panic!("{why}?"),
                };
                let (member, stream) = stream(at);
                senders.refused((member.node, stream), &refusal, *now, &mut out);
            }
            ["due"] => return senders.next_tick().map_or("never".into(), |at| at.0.to_string()),
            ["lease"] => {
                return senders.lease_from(*now).map_or("none".into(), |from| from.0.to_string());
            }
            ["isr"] => return in_sync(senders, *now),
            _ => panic!("{text}?"),
        }
        out.iter().map(say).collect::<Vec<_>>().join(", ")
    }
}

/// Who is in sync; all others are behind.
fn in_sync(senders: &Senders, now: UptimeMs) -> String {
    let nodes: Vec<Member> = senders.in_sync(now).collect();
    let both: BTreeSet<Member> = nodes.iter().copied().chain(senders.behind(now)).collect();
    assert_eq!(both, senders.peers.iter().map(|peer| peer.member).collect());
    let nodes = nodes.iter().map(|member| member.node.to_string());
    nodes.collect::<Vec<_>>().join(" ")
}

/// Plays events against the sender of an empty segment of `n` members, of which 1 leads.
#[track_caller]
fn check(n: i32, log_end: i64, script: &[(&str, &str)]) {
    let members: Vec<Member> = (1..=n).map(member).collect();
    let write_quorum = members.len() / 2 + 1;
    let segment = OpenSegment { epoch: Epoch(1), base: Offset(0), members, write_quorum };
    let now = UptimeMs(0);
    let senders = Senders::open(member(1), &segment, Offset(log_end), LIMITS, now);
    let mut script_state = Script { senders, now };
    for (at, (event, expected)) in script.iter().enumerate() {
        assert_eq!(script_state.step(event), *expected, "step {at}: {event}");
    }
}

#[test]
fn members_that_keep_up_get_each_batch_as_it_is_appended() {
    check(
        3,
        0,
        &[
            ("append 1 10", ""), // nobody is connected
            ("up 2", "read n2.1 from 0 up to 60"),
            ("read 2.1 1 10", ""),
            ("append 2 10", "send n2.1"),
            ("up 2", ""), // said again
            ("up 3", "read n3.1 from 0 up to 60"),
            ("append 3 10", "send n2.1"),
            ("read 3.1 3 30", ""),
            ("append 4 10", "send n2.1, send n3.1"),
            ("append 5 10", "send n2.1, send n3.1"),
        ],
    );
}

#[test]
fn a_member_of_a_new_segment_is_sent_batches_without_a_question() {
    check(2, 0, &[("up 2", ""), ("append 1 10", "send n2.1")]);
}

#[test]
fn batches_that_a_leader_takes_along_go_first() {
    check(
        2,
        7,
        &[
            ("up 2", "read n2.1 from 0 up to 60"),
            ("read 2.1 7 50", ""),
            ("append 8 10", "send n2.1"),
        ],
    );
}

#[test]
fn a_slow_member_leaves_the_window_and_holds_up_nobody() {
    check(
        3,
        0,
        &[
            ("up 2", ""),
            ("up 3", ""),
            ("append 1 60", "send n2.1, send n3.1"),
            ("ack 2.1 1", ""),
            ("append 2 50", "send n2.1"), // 110 bytes would be unanswered by 3
            ("ack 2.1 2", ""),
            ("append 3 50", "send n2.1"), // what is left fits, but it comes after what was not sent
            ("append 4 50", "send n2.1"),
            ("ack 3.1 1", "read n3.1 from 1 up to 60"),
            ("read 3.1 2 50", "read n3.1 from 2 up to 50"), // half a window is free
            ("read 3.1 3 50", ""),
            ("ack 2.1 4", ""),
            ("append 5 10", "send n2.1"),
            ("ack 3.1 2", "read n3.1 from 3 up to 50"),
            ("read 3.1 5 50", ""), // caught up
            ("append 6 1", "send n2.1"),
            ("ack 3.1 5", "read n3.1 from 5 up to 60"),
            ("read 3.1 6 1", ""),
            ("append 7 10", "send n2.1, send n3.1"),
        ],
    );
}

#[test]
fn a_batch_larger_than_the_window_is_sent_all_the_same() {
    check(
        2,
        0,
        &[
            ("up 2", ""),
            ("append 1 500", "send n2.1"),
            ("append 2 1", ""),
            ("ack 2.1 1", "read n2.1 from 1 up to 60"),
            ("read 2.1 2 1", ""),
            ("append 3 500", "read n2.1 from 2 up to 60"),
            ("read 2.1 3 500", ""), // it was less than a window before
            ("append 4 1", ""),
            ("ack 2.1 2", ""),
            ("ack 2.1 3", "read n2.1 from 3 up to 60"),
        ],
    );
}

#[test]
fn a_member_that_was_fed_before_is_asked_for_its_end_when_it_is_back() {
    check(
        2,
        0,
        &[
            ("up 2", ""),
            ("append 1 10", "send n2.1"),
            ("append 2 10", "send n2.1"),
            ("down 2", ""),
            ("append 3 10", ""),
            ("ack 2.1 1", ""), // late, and true
            ("up 2", "ask n2.4"),
            ("append 4 10", ""),
            ("ack 2.3 1 of 2", ""), // no answer to the question
            ("ack 2.4 1 of 2", "read n2.4 from 2 up to 60"),
            ("read 2.3 4 20", "unwanted"),
            ("read 2.4 4 20", ""),
            ("append 5 10", "send n2.4"),
        ],
    );
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    check(
        2,
        0,
        &[
            ("up 2", ""),
            ("append 1 10", "send n2.1"),
            ("down 2", ""),
            ("up 2", "ask n2.4"),
            ("due", "500"),
            ("at 499", ""),
            ("at 500", "ask n2.5"),
            ("ack 2.4 1", ""), // it still counts what is durable
            ("ack 2.5 1", ""),
            ("append 2 10", "send n2.5"),
        ],
    );
}

#[test]
fn a_member_that_has_not_applied_the_roll_is_asked_again_a_little_later_each_time() {
    check(
        2,
        0,
        &[
            ("up 2", ""),
            ("append 1 10", "send n2.1"),
            ("append 2 10", "send n2.1"),
            ("refuse 2.1 notyet", ""),
            ("refuse 2.1 notyet", ""), // the second batch of the same attempt
            ("due", "1"),
            ("at 1", "ask n2.3"),
            ("refuse 2.3 notyet", ""),
            ("due", "3"),
            ("at 3", "ask n2.5"),
            ("refuse 2.5 busy", ""), // a full disk is a slow member, not an error (L23)
            ("due", "7"),
            ("at 9", "ask n2.7"),
            ("ack 2.7 0", "read n2.7 from 0 up to 60"),
            ("read 2.7 2 20", ""),
            ("ack 2.7 2", ""),
            ("append 3 10", "send n2.7"),
        ],
    );
}

#[test]
fn a_gap_is_fed_from_where_the_member_stands() {
    check(
        2,
        0,
        &[
            ("up 2", ""),
            ("append 1 10", "send n2.1"),
            ("append 2 10", "send n2.1"),
            ("append 3 10", "send n2.1"),
            ("refuse 2.1 gap 1", "read n2.2 from 1 up to 60"),
            ("refuse 2.1 gap 1", ""), // the third batch, of the same attempt
            ("read 2.2 3 20", ""),
            ("refuse 2.2 gap 1", ""), // that did not help
            ("due", "2"),
            ("at 2", "ask n2.4"),
            ("ack 2.4 1", "read n2.4 from 1 up to 60"),
            ("refuse 2.4 gap 9", ""), // cannot be
            ("due", "6"),
        ],
    );
}

#[test]
fn what_was_not_sent_is_tried_again_from_where_the_member_stands() {
    check(
        2,
        3,
        &[
            ("up 2", "read n2.1 from 0 up to 60"),
            ("unsent 2.1", ""), // it cannot be read now
            ("unsent 2.1", ""),
            ("due", "1"),
            ("at 1", "ask n2.3"),
            ("ack 2.3 0", "read n2.3 from 0 up to 60"),
            ("read 2.3 3 10", ""),
            ("append 4 10", "send n2.3"),
            ("append 5 10", "send n2.3"),
            ("unsent 2.3", ""), // the connection is full
            ("append 6 10", ""),
            ("at 3", "ask n2.5"),
            ("ack 2.5 3 of 4", "read n2.5 from 4 up to 60"),
        ],
    );
}

#[test]
fn members_can_be_asked_for_an_answer_that_extends_the_lease() {
    check(
        3,
        0,
        &[
            ("up 2", ""),
            ("probe", "tell n2.1"), // 3 is not there
            ("at 40", ""),
            ("ack 2.1 0 sent 0", ""),
            ("lease", "0"),
            ("probe", "tell n2.1"),
            ("at 60", ""),
            ("ack 2.1 0 sent 40", ""),
            ("lease", "40"),
        ],
    );
}

#[test]
fn a_refusal_for_good_ends_the_sending_and_is_passed_on() {
    for (why, expected) in
        [("fenced", "fenced"), ("sealed", "sealed"), ("disk", "gone n2"), ("stranger", "gone n2")]
    {
        let refuse = format!("refuse 2.0 {why}");
        check(
            3,
            0,
            &[
                ("up 2", ""),
                ("up 3", ""),
                ("append 1 10", "send n2.1, send n3.1"),
                (&refuse, expected), // of an earlier attempt as well
                (&refuse, ""),
                ("append 2 10", "send n3.1"),
                ("down 2", ""),
                ("up 2", ""),
                ("isr", "n3"),
                ("due", "never"),
            ],
        );
    }
}

#[test]
fn an_idle_member_is_told_the_commit_offset_within_milliseconds() {
    check(
        3,
        0,
        &[
            ("up 2", ""),
            ("up 3", ""),
            ("append 1 10", "send n2.1, send n3.1"),
            ("ack 2.1 1", ""),
            ("commit 1", ""),
            ("due", "5"),
            ("at 4", ""),
            ("append 2 10", "send n2.1, send n3.1"), // takes it along
            ("due", "never"),
            ("commit 2", ""),
            ("at 8", ""),
            ("at 9", "tell n2.1, tell n3.1"),
            ("at 99", ""),
        ],
    );
}

#[test]
fn the_lease_counts_from_when_w_members_had_not_fenced() {
    check(
        3,
        0,
        &[
            ("lease", "none"),
            ("up 2", ""),
            ("up 3", ""),
            ("at 10", ""),
            ("append 1 10", "send n2.1, send n3.1"),
            ("lease", "none"),
            ("at 30", ""),
            ("ack 2.1 0 sent 10", ""), // accepted, if not yet durable
            ("lease", "10"),
            ("ack 3.1 1 sent 9", ""),
            ("lease", "10"),
            ("ack 3.1 1 sent 77", ""), // no message was sent then
            ("lease", "30"),
        ],
    );
    check(1, 0, &[("at 7", ""), ("lease", "7")]); // nobody else could fence it
    check(5, 0, &[("up 2", ""), ("ack 2.1 0 sent 0", ""), ("lease", "none")]);
}

#[test]
fn members_within_the_lag_limit_are_in_sync() {
    check(
        3,
        0,
        &[
            ("up 2", ""),
            ("at 9000", ""),
            ("isr", "n2 n3"), // an idle log is nothing to be behind
            ("append 1 10", "send n2.1"),
            ("at 9600", ""),
            ("append 2 10", "send n2.1"),
            ("at 10001", ""),
            ("ack 2.1 1", ""), // it has what the log held 1,001 ms ago, and lacks what came since
            ("isr", ""),
            ("ack 2.1 2", ""),
            ("isr", "n2"),
            ("append 3 10", "send n2.1"),
            ("at 11000", ""),
            ("append 4 10", "send n2.1"),
            ("ack 2.1 3", ""), // it has what the log held at 10001
            ("at 11001", ""),
            ("isr", "n2"),
            ("at 11002", ""),
            ("isr", ""),
        ],
    );
}

#[test]
fn an_answer_that_cannot_be_is_ignored() {
    check(
        2,
        0,
        &[
            ("up 2", ""),
            ("append 1 10", "send n2.1"),
            ("ack 2.1 9", ""),
            ("ack 2.1 -1", ""),
            ("ack 2.1 1 of 0", ""),
            ("ack 7.1 1", ""),
            ("lease", "none"),
            ("down 2", ""),
            ("up 2", "ask n2.4"),
            ("ack 2.4 1", ""),
            ("down 2", ""),
            ("up 2", "ask n2.7"),
            ("ack 2.7 0", "read n2.7 from 0 up to 60"), // less than it said: fed again all the same
            ("read 2.7 1 10", ""),
            ("append 2 10", "send n2.7"),
        ],
    );
}
