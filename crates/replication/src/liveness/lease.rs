//! The leases of a node, as it counts them itself.

use std::collections::BTreeMap;

use walrus_types::NodeId;

use super::Terms;
use crate::{planted, roll::UptimeMs};

/// What heartbeats give one life of a node: the lease on all that it leads.
///
/// Invariants: the lease never gets shorter but by a fence; after a fence there is none again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLease {
    terms: Terms,
    /// When the last heartbeat that was answered was sent.
    sent: Option<UptimeMs>,
    /// The Raft term of the controller that answered last.
    term: u64,
    fenced: bool,
}

impl NodeLease {
    /// A life that has just begun: it has no lease yet.
    ///
    /// # Panics
    /// When the margin leaves nothing of the lease.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let Terms { ttl_ms, margin_ms, .. } = terms;
        assert!(margin_ms < ttl_ms, "a margin of {margin_ms} ms leaves nothing of {ttl_ms} ms");
        Self { terms, sent: None, term: 0, fenced: false }
    }

    /// The controller of Raft term `term` answered the heartbeat that was sent at `sent`. One
    /// that was deposed is not listened to once its successor was heard.
    pub fn heartbeat_answered(&mut self, term: u64, sent: UptimeMs) {
        if term >= self.term {
            self.term = term;
            self.sent = self.sent.max(Some(sent));
        }
    }

    /// Somebody said that this life is fenced: a member, metadata, or the controller. It may
    /// never write again, whatever else is heard; the next life may.
    pub const fn fence_heard(&mut self) {
        self.fenced = true;
    }

    /// Whether this life was fenced.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// When the newest word that extends the lease on `partition` was asked for.
    fn newest(&self, partition: &PartitionLease, now: UptimeMs) -> Option<UptimeMs> {
        self.sent.max(partition.quorum_sent(now)).filter(|_| !self.fenced)
    }

    fn lasts_from(&self, sent: UptimeMs) -> UptimeMs {
        let Terms { ttl_ms, margin_ms, .. } = self.terms;
        UptimeMs(sent.0.saturating_add(ttl_ms - margin_ms))
    }

    /// Whether the leader of `partition` may take appends now. Once a roll is proposed they are
    /// only parked, which nothing speaks against for as long as its outcome is not known.
    #[must_use]
    pub fn may_append(&self, partition: &PartitionLease, now: UptimeMs) -> bool {
        self.newest(partition, now).is_some_and(|sent| now < self.lasts_from(sent))
    }

    /// Until when the leader of `partition` may answer reads by itself, if it may at all.
    #[must_use]
    pub fn reads_until(&self, partition: &PartitionLease, now: UptimeMs) -> Option<UptimeMs> {
        let newest = self.newest(partition, now)?;
        let sent = partition.proposed.map_or(newest, |proposed| newest.min(proposed));
        Some(self.lasts_from(sent))
    }

    /// Whether the leader of `partition` may answer reads by itself now.
    #[must_use]
    pub fn may_read(&self, partition: &PartitionLease, now: UptimeMs) -> bool {
        self.reads_until(partition, now).is_some_and(|until| now < until)
    }

    /// Whether the leader of `partition` is known to have led it after `asked`: a quorum of its
    /// members took a message that was sent later. Unlike a lease this needs no clock but the
    /// leader's own (L6). Never once a roll is proposed, for its outcome is not known here.
    #[must_use]
    pub fn led_after(&self, partition: &PartitionLease, asked: UptimeMs) -> bool {
        let sent = if partition.w == 1 { Some(UptimeMs(u64::MAX)) } else { partition.w_sent() };
        !self.fenced && partition.proposed.is_none() && sent > Some(asked)
    }
}

/// What members' answers to appends give one open segment, and what its own roll takes away.
///
/// Invariant: `others` are the members beside the leader, `1 <= w <= others + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLease {
    w: usize,
    /// When the newest append that each other member has answered was sent.
    others: BTreeMap<NodeId, Option<UptimeMs>>,
    /// When the roll of this segment was proposed first.
    proposed: Option<UptimeMs>,
}

impl PartitionLease {
    /// A segment that was just opened, with its members beside the leader.
    ///
    /// # Panics
    /// When the quorum is not one of these members.
    #[must_use]
    pub fn open(w: usize, others: impl IntoIterator<Item = NodeId>) -> Self {
        let others: BTreeMap<_, _> = others.into_iter().map(|node| (node, None)).collect();
        let n = others.len() + 1;
        assert!((1..=n).contains(&w), "w={w} with {n} members");
        Self { w, others, proposed: None }
    }

    /// The leader proposes the segment's roll: any moment from now on another may lead, and this
    /// node hears of it only through its metadata, which may be behind for long. Neither the
    /// controller nor a member would know any better for it: this life is not fenced. So no word
    /// of theirs is asked for after this extends the reads of this segment. Again: nothing changes.
    pub fn proposed(&mut self, now: UptimeMs) {
        if !planted::is("lease-after-proposal") {
            self.proposed.get_or_insert(now);
        }
    }

    /// `node` took an append, empty ones too, that was sent to it at `sent`: it had not fenced
    /// this life then. From the network: one that is no member is ignored.
    pub fn append_answered(&mut self, node: NodeId, sent: UptimeMs) {
        if let Some(newest) = self.others.get_mut(&node) {
            *newest = (*newest).max(Some(sent));
        }
    }

    /// The latest time at which `w` members are known to have been unfenced, the leader itself
    /// being one of them by now. A seal needs `n - w + 1` fenced ones, so none had finished then.
    fn quorum_sent(&self, now: UptimeMs) -> Option<UptimeMs> {
        if self.w == 1 { Some(now) } else { self.w_sent() }
    }

    /// The same by what the others said alone; there are some where `w` is above 1.
    fn w_sent(&self) -> Option<UptimeMs> {
        let mut sent: Vec<UptimeMs> = self.others.values().copied().flatten().collect();
        sent.sort_unstable_by(|a, b| b.cmp(a));
        sent.get(self.w - 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `script` with `n` members and a TTL of 1000 ms, margin 100; compares until when
    /// the leader may serve at the end of it. `beat 50` is: the heartbeat sent at 50 was answered.
    #[track_caller]
    fn check(n: i32, w: usize, script: &str, expected: Option<u64>) {
        let mut node = NodeLease::new(Terms { ttl_ms: 1000, margin_ms: 100, flush_max_ms: 2000 });
        let mut partition = PartitionLease::open(w, (2..=n).map(NodeId));
        let now = UptimeMs(5000);
        for event in script.split(", ").filter(|event| !event.is_empty()) {
            let words: Vec<&str> = event.split(' ').collect();
            let time = |text: &str| UptimeMs(text.parse().unwrap());
            match words[..] {
                ["beat", sent] => node.heartbeat_answered(3, time(sent)),
                ["beat", sent, "of", term] => {
                    node.heartbeat_answered(term.parse().unwrap(), time(sent));
                }
                ["fence"] => node.fence_heard(),
                ["proposed", at] => partition.proposed(time(at)),
                [from, sent] => {
                    partition.append_answered(NodeId(from.parse().unwrap()), time(sent));
                }
                _ => panic!("{event}?"),
            }
        }
        let until = node.reads_until(&partition, now);
        assert_eq!(until, expected.map(UptimeMs), "n={n} w={w}: {script}");
        if let Some(UptimeMs(until)) = until {
            assert!(node.may_read(&partition, UptimeMs(until - 1)));
            assert!(!node.may_read(&partition, UptimeMs(until)) || w == 1);
        }
    }

    #[test]
    fn a_heartbeat_extends_all_leases_from_when_it_was_sent() {
        check(3, 2, "", None);
        check(3, 2, "beat 4000", Some(4900)); // a margin before 5000
        check(3, 2, "beat 4000, beat 4100", Some(5000));
        check(3, 2, "beat 4100, beat 4000", Some(5000)); // answers may overtake each other
    }

    #[test]
    fn a_deposed_controller_extends_nothing_once_its_successor_was_heard() {
        check(3, 2, "beat 4000 of 5, beat 4500 of 4", Some(4900));
        check(3, 2, "beat 4000 of 5, beat 4500 of 6", Some(5400));
    }

    #[test]
    fn w_append_answers_extend_one_lease_from_when_they_were_sent() {
        // M6. The leader is one of the w.
        check(3, 2, "2 4000", Some(4900));
        check(3, 2, "2 4000, 3 4200", Some(5100));
        check(3, 3, "2 4000", None);
        check(3, 3, "2 4000, 3 4200", Some(4900));
        check(5, 3, "2 4000, 3 4200, 4 4300", Some(5100));
        check(3, 2, "beat 4500, 2 4000", Some(5400));
        check(3, 2, "beat 4000, 2 4500", Some(5400));
        check(3, 2, "7 4000", None); // not a member
        check(3, 2, "2 4000, 2 3000", Some(4900));
        // Nobody can seal a segment of one without its only member.
        check(1, 1, "", Some(5900));
        check(2, 2, "beat 4000", Some(4900));
    }

    #[test]
    fn reads_of_a_segment_whose_roll_is_proposed_end_a_lease_later_whatever_is_heard() {
        check(3, 2, "beat 4000, proposed 4300", Some(4900));
        check(3, 2, "proposed 4300, beat 4500, 2 4600", Some(5200));
        check(3, 2, "proposed 4300, proposed 4800, beat 4900", Some(5200));
        check(1, 1, "proposed 4300", Some(5200));
        check(3, 2, "proposed 4300", None);
    }

    #[test]
    fn appends_are_parked_for_as_long_as_a_proposal_has_no_outcome() {
        let mut node = NodeLease::new(Terms::default());
        let mut partition = PartitionLease::open(2, [NodeId(2), NodeId(3)]);
        partition.proposed(UptimeMs(100));
        node.heartbeat_answered(1, UptimeMs(3000));
        let now = UptimeMs(3100);
        assert!(node.may_append(&partition, now) && !node.may_read(&partition, now));
        assert!(!node.may_append(&partition, UptimeMs(3900)));
    }

    #[test]
    fn a_quorum_that_answered_what_was_sent_later_confirms_the_lead() {
        // Who answered what was sent when.
        type Answered<'a> = &'a [(i32, u64)];
        // Members, w, answers, whether a roll is proposed, whether it is fenced; confirmed?
        let cases: &[(i32, usize, Answered<'_>, bool, bool, bool)] = &[
            (3, 2, &[], false, false, false),
            (3, 2, &[(2, 100)], false, false, false), // it may have been sent before
            (3, 2, &[(2, 101)], false, false, true),
            (3, 3, &[(2, 101)], false, false, false),
            (3, 3, &[(2, 101), (3, 102)], false, false, true),
            (3, 2, &[(7, 101)], false, false, false), // not a member
            (3, 2, &[(2, 101)], true, false, false),
            (3, 2, &[(2, 101)], false, true, false),
            (1, 1, &[], false, false, true),
            (1, 1, &[], false, true, false),
            (1, 1, &[], true, false, false),
        ];
        for case @ (n, w, answered, proposed, fenced, confirmed) in cases {
            let mut node = NodeLease::new(Terms::default());
            // A controller's word does not count: it may be a lease old.
            node.heartbeat_answered(1, UptimeMs(500));
            let mut partition = PartitionLease::open(*w, (2..=*n).map(NodeId));
            for (member, sent) in *answered {
                partition.append_answered(NodeId(*member), UptimeMs(*sent));
            }
            if *proposed {
                partition.proposed(UptimeMs(99));
            }
            if *fenced {
                node.fence_heard();
            }
            assert_eq!(node.led_after(&partition, UptimeMs(100)), *confirmed, "{case:?}");
        }
    }

    #[test]
    fn a_fence_ends_everything_for_good() {
        check(3, 2, "beat 4000, 2 4500, fence", None);
        check(3, 2, "fence, beat 4900, 2 4900", None);
        check(1, 1, "fence", None);
    }

    #[test]
    #[should_panic(expected = "leaves nothing")]
    fn a_lease_that_is_all_margin_is_refused() {
        let _lease = NodeLease::new(Terms { ttl_ms: 100, margin_ms: 100, flush_max_ms: 1 });
    }
}
