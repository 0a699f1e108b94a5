//! What the leader sends to each other member of its open segment, and when.
//!
//! A member that keeps up is handed each batch as it is appended, out of the buffer that the
//! leader has in hand. Its unanswered bytes are bounded by a window; one that falls out of it
//! holds no buffers and is fed from the store, from where it stands, until it has caught up (L13).
//! An idle member is told the commit offset within milliseconds, or a follower's readers would
//! miss the last batch (L12).
//!
//! Answers go to [`PartitionLeader::acked`](crate::PartitionLeader::acked) too, which decides what
//! is committed. Nothing here is needed for that: whatever a sender gets wrong, a member takes
//! only what follows its log.
//!
//! Owns no buffers, connections or clocks: the shell carries out the [`Effect`]s. One member's
//! state is in `sender/peer.rs`.

mod peer;

use walrus_types::{Epoch, NodeId, Offset};

use self::peer::{Feed, Peer};
use crate::{
    cursors::{Member, OpenSegment},
    replica::{Position, Refusal},
    roll::UptimeMs,
};

/// The bounds that a sender keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderLimits {
    /// Unanswered bytes of one member; one batch may reach past it.
    pub window_bytes: u64,
    /// The most that is read at once for a member that is behind. Not zero.
    pub read_bytes_max: u64,
    /// `replica.lag.time.max.ms`: how far back a member may be and count as in sync.
    pub lag_max_ms: u64,
    /// A member that was sent nothing for so long is told a commit offset that rose.
    pub commit_idle_ms: u64,
}

/// What the shell is to do. A message carries the stream, the leader's commit offset and the time
/// of its sending: see [`Append`](crate::Append).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Hand the batch that was just appended to this member's connection, or report
    /// [`Senders::not_sent`].
    Send {
        /// The member.
        to: Member,
        /// Of which attempt.
        stream: u32,
    },
    /// Read whole batches from `from` on, one at least, then at most so many bytes; report
    /// [`Senders::read`] and send them if it says so, or [`Senders::not_sent`].
    ReadFromDisk {
        /// The member.
        to: Member,
        /// Of which attempt.
        stream: u32,
        /// The offset that comes next there.
        from: Offset,
        /// How much.
        bytes_max: u64,
    },
    /// Send a message without a batch, for the answer.
    Ask {
        /// The member.
        to: Member,
        /// Of which attempt.
        stream: u32,
    },
    /// Send a message without a batch, for the commit offset. Nothing waits for the answer.
    TellCommit {
        /// The member.
        to: Member,
        /// Of which attempt.
        stream: u32,
    },
    /// The member's disk is another one, or it never was a member: it cannot count any more.
    /// Goes to [`PartitionLeader::set_live`](crate::PartitionLeader::set_live).
    MemberGone(Member),
    /// A member has fenced this leader: goes to
    /// [`PartitionLeader::fenced`](crate::PartitionLeader::fenced).
    Fenced,
    /// A member knows that the segment is sealed: goes to
    /// [`PartitionLeader::member_sealed`](crate::PartitionLeader::member_sealed).
    Sealed,
}

/// The other members of a leader's open segment.
///
/// Invariant: `commit <= log_end`; each peer's durable end lies in `base ..= log_end`.
#[derive(Debug, Clone)]
pub struct Senders {
    epoch: Epoch,
    base: Offset,
    log_end: Offset,
    commit: Offset,
    write_quorum: usize,
    peers: Vec<Peer>,
    limits: SenderLimits,
}

impl Senders {
    /// The members of a segment that was just opened, none of them connected. `log_end` is past
    /// its base when the leader took batches along that were not committed.
    #[must_use]
    pub fn open(
        me: Member,
        segment: &OpenSegment,
        log_end: Offset,
        limits: SenderLimits,
        now: UptimeMs,
    ) -> Self {
        assert!(limits.read_bytes_max > 0, "a read of nothing never ends");
        let others = segment.members.iter().filter(|member| **member != me);
        let base = segment.base;
        Self {
            epoch: segment.epoch,
            base,
            log_end,
            commit: base,
            write_quorum: segment.write_quorum,
            peers: others.map(|member| Peer::new(*member, base, now)).collect(),
            limits,
        }
    }

    /// The leader appended the batch that ends at `end`, and its store took it.
    ///
    /// # Panics
    /// When the log does not grow by that.
    pub fn appended(&mut self, end: Offset, bytes: u64, now: UptimeMs, out: &mut Vec<Effect>) {
        let prev_end = std::mem::replace(&mut self.log_end, end);
        assert!(end > prev_end, "appended up to {end}, the log ends at {prev_end}");
        for peer in &mut self.peers {
            if peer.appended(prev_end, end, bytes, &self.limits, now) {
                out.push(Effect::Send { to: peer.member, stream: peer.stream });
                peer.told(self.commit, now);
            }
            peer.due((end, self.commit), &self.limits, now, out);
            peer.check(&self.limits);
        }
    }

    /// The commit offset rose. Members hear of it with the next batch, or by [`Senders::tick`].
    pub fn committed(&mut self, commit: Offset) {
        assert!(commit <= self.log_end, "{commit} is committed, the log ends at {}", self.log_end);
        self.commit = self.commit.max(commit);
    }

    /// There is a connection to a member. One that was never sent anything is fed at once, any
    /// other is asked for its end first.
    pub fn connected(&mut self, member: Member, now: UptimeMs, out: &mut Vec<Effect>) {
        let base = self.base;
        self.with(member, now, out, |peer| peer.connected(base, now));
    }

    /// The connection to a member is gone, and with it what was under way.
    pub fn disconnected(&mut self, member: Member) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.member == member) {
            peer.disconnected();
        }
    }

    /// What [`Effect::ReadFromDisk`] asked for was read, up to `end`. Answers whether to send it:
    /// not when the member stands elsewhere by now.
    #[must_use]
    pub fn read(
        &mut self,
        (member, stream): (Member, u32),
        (end, bytes): (Offset, u64),
        now: UptimeMs,
        out: &mut Vec<Effect>,
    ) -> bool {
        let commit = self.commit;
        let mut wanted = false;
        self.with(member, now, out, |peer| {
            wanted = peer.read(stream, end, bytes);
            if wanted {
                peer.told(commit, now);
            }
        });
        wanted
    }

    /// Something of that stream was not sent: it cannot be read now, or the connection, which all
    /// segments share, takes no more. The member is asked where it stands after a while.
    pub fn not_sent(&mut self, (member, stream): (Member, u32), now: UptimeMs) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.member == member)
            && peer.stream == stream
            && peer.listens()
        {
            peer.pause(now);
        }
    }

    /// Sends every member that is connected a message without a batch, for the sake of the
    /// answers: they say that `w` members had not fenced this leader, of a partition that is idle
    /// as well (M6, L6).
    pub fn probe(&mut self, now: UptimeMs, out: &mut Vec<Effect>) {
        for peer in self.peers.iter_mut().filter(|peer| peer.listens()) {
            out.push(Effect::TellCommit { to: peer.member, stream: peer.stream });
            peer.told(self.commit, now);
        }
    }

    /// A member says where it stands. What cannot be is the peer's mistake and ignored.
    pub fn answered(
        &mut self,
        member: Member,
        position: &Position,
        now: UptimeMs,
        out: &mut Vec<Effect>,
    ) {
        let Position { epoch, end, durable, .. } = *position;
        let log_end = self.log_end;
        let possible = self.base <= durable && durable <= end && end <= log_end;
        if epoch == self.epoch && possible {
            self.with(member, now, out, |peer| peer.answered(position, log_end, now));
        }
    }

    /// A node refused a message of that stream. The disk that it speaks for may be another than
    /// the member's.
    pub fn refused(
        &mut self,
        (node, stream): (NodeId, u32),
        refusal: &Refusal,
        now: UptimeMs,
        out: &mut Vec<Effect>,
    ) {
        let Some(member) =
            self.peers.iter().map(|peer| peer.member).find(|member| member.node == node)
        else {
            return;
        };
        let possible = self.base..=self.log_end;
        let mut for_good = None;
        self.with(member, now, out, |peer| {
            let current = stream == peer.stream;
            match *refusal {
                Refusal::Fenced => for_good = Some(Effect::Fenced),
                Refusal::Sealed { .. } => for_good = Some(Effect::Sealed),
                Refusal::OtherStorage { .. } | Refusal::NotMember => {
                    for_good = Some(Effect::MemberGone(member));
                }
                Refusal::Gap { end } if current && possible.contains(&end) => {
                    peer.feed_from(end, now);
                }
                // Its log is not what it should be, it waits for something, or it is in trouble.
                Refusal::Gap { .. }
                | Refusal::NotYet { .. }
                | Refusal::Busy
                | Refusal::Malformed
                | Refusal::NotFenced
                | Refusal::Failed => {
                    if current {
                        peer.pause(now);
                    }
                }
            }
            if for_good.is_some() {
                peer.gone();
            }
        });
        out.extend(for_good);
    }

    /// Time has passed: what waits is sent, and idle members are told the commit offset.
    pub fn tick(&mut self, now: UptimeMs, out: &mut Vec<Effect>) {
        for peer in &mut self.peers {
            peer.due((self.log_end, self.commit), &self.limits, now, out);
        }
    }

    /// When to call [`Senders::tick`] next; `None` while only events bring work.
    #[must_use]
    pub fn next_tick(&self) -> Option<UptimeMs> {
        self.peers.iter().filter_map(|peer| peer.next_due(self.commit, &self.limits)).min()
    }

    /// From when on `w` members are known not to have fenced this leader, itself among them: no
    /// seal can have finished before, so the lease counts from then (M6).
    #[must_use]
    pub fn lease_from(&self, now: UptimeMs) -> Option<UptimeMs> {
        let mut heard: Vec<UptimeMs> = self.peers.iter().filter_map(|peer| peer.heard).collect();
        heard.push(now);
        heard.sort_unstable_by(|a, b| b.cmp(a));
        heard.get(self.write_quorum - 1).copied()
    }

    /// The members that Kafka's tools are shown as in sync, beside the leader.
    pub fn in_sync(&self, now: UptimeMs) -> impl Iterator<Item = Member> + '_ {
        let in_sync = self.peers.iter().filter(move |peer| self.keeps_up(peer, now));
        in_sync.map(|peer| peer.member)
    }

    /// The other members, which are not.
    pub fn behind(&self, now: UptimeMs) -> impl Iterator<Item = Member> + '_ {
        let behind = self.peers.iter().filter(move |peer| !self.keeps_up(peer, now));
        behind.map(|peer| peer.member)
    }

    fn keeps_up(&self, peer: &Peer, now: UptimeMs) -> bool {
        peer.feed != Feed::Gone && peer.is_in_sync(self.log_end, self.limits.lag_max_ms, now)
    }

    /// The segment that is fed.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn with(
        &mut self,
        member: Member,
        now: UptimeMs,
        out: &mut Vec<Effect>,
        event: impl FnOnce(&mut Peer),
    ) {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.member == member) else {
            return;
        };
        if peer.feed == Feed::Gone {
            return;
        }
        event(peer);
        peer.due((self.log_end, self.commit), &self.limits, now, out);
        peer.check(&self.limits);
    }
}

#[cfg(test)]
mod tests;
