//! How far one member was fed, and how: nothing here knows of any other member, so a slow one
//! holds up nobody.
//!
//! ```text
//!                  position                next = log end
//!   Away --> Asked --------> Behind <------------------------> Tail
//!     ^        ^ |  refused    |  batch does not fit the window   |
//!     |        | v             | refused                          | refused
//!     |      Paused <----------+----------------------------------+
//!   disconnected: from anywhere            refused for good: Gone
//! ```

use std::collections::VecDeque;

use walrus_types::Offset;

use super::{Effect, SenderLimits};
use crate::{cursors::Member, replica::Position, roll::UptimeMs};

/// The first wait after a refusal; it doubles with each that follows without an answer between.
const PAUSE_MIN_MS: u64 = 1;
/// The longest wait after a refusal.
const PAUSE_MAX_MS: u64 = 100;
/// A question that got no answer is asked again after so long.
const ASK_AGAIN_MS: u64 = 500;

/// How a member is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// No connection.
    Away,
    /// It was asked where it stands, then.
    Asked(UptimeMs),
    /// It gets each batch as it is appended, out of the buffer that the leader has in hand.
    Tail,
    /// It is behind and holds no buffers: it is fed from the store, one read at a time.
    Behind { reading: bool },
    /// It refused. It is asked where it stands at this time.
    Paused(UptimeMs),
    /// It takes nothing of this segment any more.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unanswered {
    end: Offset,
    bytes: u64,
}

/// One other member, as the leader feeds it.
///
/// Invariants: the window's ends ascend and lie past `durable`, the last one's is `next`;
/// `unanswered` is the sum of its bytes, and above the limit by one batch at most.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) member: Member,
    pub(super) feed: Feed,
    /// Everything below it is on its disk, as it said. Never moves back.
    pub(super) durable: Offset,
    /// What it is sent next.
    next: Offset,
    window: VecDeque<Unanswered>,
    unanswered: u64,
    /// Counts the attempts to feed it, so that answers to an earlier one are known as such.
    pub(super) stream: u32,
    pause_ms: u64,
    commit_told: Offset,
    /// When it was last told anything.
    told_at: UptimeMs,
    /// The newest message of the leader's that it accepted was sent then.
    pub(super) heard: Option<UptimeMs>,
    /// It had all that the log had then.
    caught_up_at: UptimeMs,
    /// When it reaches this end, it is as far as the log was at that time.
    milestone: (Offset, UptimeMs),
}

impl Peer {
    pub(super) fn new(member: Member, base: Offset, now: UptimeMs) -> Self {
        Self {
            member,
            feed: Feed::Away,
            durable: base,
            next: base,
            window: VecDeque::new(),
            unanswered: 0,
            stream: 0,
            pause_ms: 0,
            commit_told: base,
            told_at: now,
            heard: None,
            caught_up_at: now,
            milestone: (base, now),
        }
    }

    /// Whether its log can only be empty: nothing was ever sent.
    fn is_fresh(&self, base: Offset) -> bool {
        self.stream == 0 && self.durable == base
    }

    /// Forgets what is under way. What answers it comes too late to be taken for an answer to
    /// what is sent from now on.
    fn restart(&mut self, feed: Feed) {
        self.stream += 1;
        self.window.clear();
        self.unanswered = 0;
        self.next = self.durable;
        self.feed = feed;
    }

    pub(super) fn disconnected(&mut self) {
        if self.feed != Feed::Gone {
            self.restart(Feed::Away);
        }
    }

    /// Connected: a log that can only be empty is fed at once, any other is asked for its end.
    pub(super) fn connected(&mut self, base: Offset, now: UptimeMs) {
        if self.feed != Feed::Away {
            return;
        }
        let feed =
            if self.is_fresh(base) { Feed::Behind { reading: false } } else { Feed::Paused(now) };
        self.restart(feed);
    }

    /// It refused what was sent: from `next` on again after a while, or at once when it has not
    /// refused since its last answer.
    pub(super) fn pause(&mut self, now: UptimeMs) {
        self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS);
        self.restart(Feed::Paused(UptimeMs(now.0.saturating_add(self.pause_ms))));
    }

    /// It said where its log ends. Said twice in a row without an answer between, something else
    /// is wrong: it gets time.
    pub(super) fn feed_from(&mut self, end: Offset, now: UptimeMs) {
        if self.pause_ms > 0 {
            self.pause(now);
            return;
        }
        self.pause_ms = PAUSE_MIN_MS;
        self.restart(Feed::Behind { reading: false });
        self.next = end;
    }

    pub(super) fn gone(&mut self) {
        self.restart(Feed::Gone);
    }

    /// A batch was appended at the log's end. Answers whether it is to be sent at once.
    pub(super) fn appended(
        &mut self,
        prev_end: Offset,
        end: Offset,
        bytes: u64,
        limits: &SenderLimits,
        now: UptimeMs,
    ) -> bool {
        if self.durable == prev_end {
            (self.caught_up_at, self.milestone) = (now, (end, now));
        }
        if self.feed != Feed::Tail {
            return false;
        }
        if self.unanswered > 0 && self.unanswered + bytes > limits.window_bytes {
            self.feed = Feed::Behind { reading: false };
            return false;
        }
        assert_eq!(self.next, prev_end, "{:?} is fed the tail", self.member);
        self.push(end, bytes);
        true
    }

    fn push(&mut self, end: Offset, bytes: u64) {
        // A late answer may have told of more than what is sent again here.
        if end > self.durable {
            self.window.push_back(Unanswered { end, bytes });
            self.unanswered += bytes;
        }
        self.next = end;
    }

    /// What was read for it is handed to its connection. False when that is not wanted any more.
    pub(super) fn read(&mut self, stream: u32, end: Offset, bytes: u64) -> bool {
        if stream != self.stream || self.feed != (Feed::Behind { reading: true }) {
            return false;
        }
        assert!(end > self.next, "a read from {} brought nothing, it ends at {end}", self.next);
        self.feed = Feed::Behind { reading: false };
        self.push(end, bytes);
        true
    }

    /// It answered. The caller looked whether that can be.
    pub(super) fn answered(&mut self, position: &Position, log_end: Offset, now: UptimeMs) {
        self.heard = self.heard.max(Some(position.sent_at.min(now)));
        let current = position.stream == self.stream;
        if position.durable > self.durable {
            self.durable = position.durable;
            self.look_at_milestone(log_end, now);
            while let Some(first) = self.window.pop_front_if(|first| first.end <= self.durable) {
                self.unanswered -= first.bytes;
            }
        }
        match self.feed {
            Feed::Asked(_) if current => {
                self.feed = Feed::Behind { reading: false };
                self.next = position.end;
            }
            // It proceeds: the next refusal is the first again.
            Feed::Tail | Feed::Behind { .. } if current => self.pause_ms = 0,
            Feed::Away
            | Feed::Asked(_)
            | Feed::Tail
            | Feed::Behind { .. }
            | Feed::Paused(_)
            | Feed::Gone => {}
        }
    }

    fn look_at_milestone(&mut self, log_end: Offset, now: UptimeMs) {
        let (end, at) = self.milestone;
        if self.durable >= log_end {
            self.caught_up_at = now;
        } else if self.durable >= end {
            self.caught_up_at = at;
        } else {
            return;
        }
        self.milestone = (log_end, now);
    }

    /// Whether it had all that the log held at some time within the lag limit.
    pub(super) fn is_in_sync(&self, log_end: Offset, lag_max_ms: u64, now: UptimeMs) -> bool {
        self.durable >= log_end || now.since(self.caught_up_at) <= lag_max_ms
    }

    /// What it is due now. `commit` is the leader's.
    pub(super) fn due(
        &mut self,
        (log_end, commit): (Offset, Offset),
        limits: &SenderLimits,
        now: UptimeMs,
        out: &mut Vec<Effect>,
    ) {
        let asks = match self.feed {
            Feed::Paused(until) => now >= until,
            Feed::Asked(at) => now.since(at) >= ASK_AGAIN_MS,
            Feed::Away | Feed::Tail | Feed::Behind { .. } | Feed::Gone => false,
        };
        if asks {
            self.restart(Feed::Asked(now));
            out.push(Effect::Ask { to: self.member, stream: self.stream });
            self.told(commit, now);
        }
        if self.feed == (Feed::Behind { reading: false }) {
            self.feed_behind(log_end, limits, out);
        }
        if self.commit_due(commit, limits).is_some_and(|at| at <= now) {
            out.push(Effect::TellCommit { to: self.member, stream: self.stream });
            self.told(commit, now);
        }
    }

    fn feed_behind(&mut self, log_end: Offset, limits: &SenderLimits, out: &mut Vec<Effect>) {
        if self.next >= log_end {
            self.feed = Feed::Tail;
            return;
        }
        // Many small reads would cost more than they bring: half a window must be free.
        let room = limits.window_bytes.saturating_sub(self.unanswered);
        if self.unanswered == 0 || room >= limits.window_bytes / 2 {
            self.feed = Feed::Behind { reading: true };
            let bytes_max = room.min(limits.read_bytes_max);
            let (to, stream, from) = (self.member, self.stream, self.next);
            out.push(Effect::ReadFromDisk { to, stream, from, bytes_max });
        }
    }

    /// It was told something, and the commit offset with it.
    pub(super) fn told(&mut self, commit: Offset, now: UptimeMs) {
        (self.commit_told, self.told_at) = (commit, now);
    }

    /// Whether it is connected and takes what it is sent, as far as is known.
    pub(super) const fn listens(&self) -> bool {
        matches!(self.feed, Feed::Tail | Feed::Behind { .. })
    }

    fn commit_due(&self, commit: Offset, limits: &SenderLimits) -> Option<UptimeMs> {
        let due = UptimeMs(self.told_at.0.saturating_add(limits.commit_idle_ms));
        (self.listens() && self.commit_told < commit).then_some(due)
    }

    /// When [`Peer::due`] has something to do for time's sake alone.
    pub(super) fn next_due(&self, commit: Offset, limits: &SenderLimits) -> Option<UptimeMs> {
        match self.feed {
            Feed::Paused(until) => Some(until),
            Feed::Asked(at) => Some(UptimeMs(at.0.saturating_add(ASK_AGAIN_MS))),
            Feed::Away | Feed::Tail | Feed::Behind { .. } | Feed::Gone => {
                self.commit_due(commit, limits)
            }
        }
    }

    pub(super) fn check(&self, limits: &SenderLimits) {
        let Self { window, unanswered, next, durable, .. } = self;
        let sum: u64 = window.iter().map(|sent| sent.bytes).sum();
        debug_assert_eq!(sum, *unanswered, "{:?}", self.member);
        if let (Some(first), Some(last)) = (window.front(), window.back()) {
            let before = unanswered - last.bytes;
            assert!(before <= limits.window_bytes, "{before} bytes were unanswered already");
            assert!(first.end > *durable, "{} is answered up to {durable}", first.end);
            assert_eq!(last.end, *next, "what is sent next follows what was sent");
        }
    }
}
