//! Incremental fetch sessions (KIP-227): a consumer names its partitions once, then only changes.
//!
//! A session remembers for each partition what was asked and what was last told, so an answer
//! carries only partitions that have records, an error, or moved marks. The cache is bounded in
//! sessions and in partitions; a client that gets no session fetches in full, as before KIP-227.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use uuid::Uuid;
use walrus_types::{Offset, limits};

/// How a request names a topic: by name up to version 12, by id after (KIP-516).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKey {
    /// By name.
    Name(Arc<str>),
    /// By id.
    Id(Uuid),
}

/// A partition as a fetch names it.
pub type Key = (TopicKey, i32);

/// What a consumer asks of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// First offset that it does not have.
    pub from: Offset,
    /// The most bytes it takes of this partition.
    pub bytes_max: usize,
    /// The leader epoch it knows, -1 for none (KIP-320).
    pub leader_epoch: i32,
    /// The epoch of the last batch it has, -1 for none.
    pub last_fetched_epoch: i32,
}

/// What an answer told of a partition, to be told again only when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// High watermark.
    pub high_watermark: i64,
    /// Log start offset.
    pub log_start: i64,
    /// Kafka's error code; an error is told every time.
    pub error: i16,
}

/// One consumer's session.
#[derive(Debug)]
pub struct Session {
    id: i32,
    /// The epoch that its next request must carry.
    epoch_next: i32,
    partitions: BTreeMap<Key, (Wanted, Option<Told>)>,
    /// Where the next answer begins, so that a busy partition does not starve the others.
    turn: Option<Key>,
    used_last: Instant,
}

/// Why a request to a session is refused; the client starts a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionError {
    /// FETCH_SESSION_ID_NOT_FOUND.
    NotFound,
    /// INVALID_FETCH_SESSION_EPOCH.
    WrongEpoch,
}

/// What one fetch is about.
#[derive(Debug)]
pub enum Scope {
    /// The partitions of the request and no others; nothing is remembered.
    Full(Vec<(Key, Wanted)>),
    /// A new session: all are answered, and remembered.
    New(Arc<Mutex<Session>>),
    /// A session that goes on: only what has news is answered.
    Incremental(Arc<Mutex<Session>>),
}

/// All sessions of a node.
#[derive(Debug)]
pub struct Sessions {
    inner: Mutex<Cache>,
    slots_max: usize,
    partitions_max: usize,
}

#[derive(Debug, Default)]
struct Cache {
    by_id: HashMap<i32, Arc<Mutex<Session>>>,
    partitions: usize,
}

/// A session that was not used for this long may make room for another (Kafka's
/// `min.incremental.fetch.session.eviction.ms`).
const EVICTION_MIN: Duration = Duration::from_secs(120);
/// The session epoch of a request that wants no session.
const EPOCH_FINAL: i32 = -1;
/// The session epoch of a request that begins a session.
const EPOCH_INITIAL: i32 = 0;

impl Default for Sessions {
    fn default() -> Self {
        Self::new(limits::FETCH_SESSIONS_MAX, limits::FETCH_SESSION_PARTITIONS_MAX)
    }
}

impl Sessions {
    /// A cache of at most `slots_max` sessions over `partitions_max` partitions in all.
    pub fn new(slots_max: usize, partitions_max: usize) -> Self {
        Self { inner: Mutex::default(), slots_max, partitions_max }
    }

    /// Sessions that are kept now.
    pub fn count(&self) -> usize {
        self.inner.lock().by_id.len()
    }

    /// Which partitions a request is about. `id_new` proposes the id of a session that it may
    /// begin.
    ///
    /// # Errors
    /// [`SessionError`] when the request continues a session that is not there or out of step.
    pub fn scope(
        &self,
        (session_id, session_epoch): (i32, i32),
        wanted: Vec<(Key, Wanted)>,
        forgotten: &[Key],
        (now, id_new): (Instant, i32),
    ) -> Result<Scope, SessionError> {
        if session_epoch == EPOCH_FINAL || session_epoch == EPOCH_INITIAL {
            if session_id != 0 {
                self.inner.lock().remove(session_id);
            }
            if session_epoch == EPOCH_INITIAL && !wanted.is_empty() {
                return Ok(self.begin(wanted, now, id_new));
            }
            return Ok(Scope::Full(wanted));
        }
        let mut cache = self.inner.lock();
        let session = cache.by_id.get(&session_id).cloned().ok_or(SessionError::NotFound)?;
        let mut held = session.lock();
        if held.epoch_next != session_epoch {
            return Err(SessionError::WrongEpoch);
        }
        held.epoch_next = session_epoch.checked_add(1).unwrap_or(1);
        held.used_last = now;
        let before = held.partitions.len();
        for key in forgotten {
            held.partitions.remove(key);
        }
        for (key, wanted) in wanted {
            held.partitions
                .entry(key)
                .and_modify(|(known, _)| *known = wanted)
                .or_insert((wanted, None));
        }
        cache.partitions = cache.partitions + held.partitions.len() - before;
        drop(held);
        Ok(Scope::Incremental(session))
    }

    fn begin(&self, wanted: Vec<(Key, Wanted)>, now: Instant, id_new: i32) -> Scope {
        let mut cache = self.inner.lock();
        if cache.by_id.len() >= self.slots_max {
            cache.evict_idle(now);
        }
        let full = cache.by_id.len() >= self.slots_max
            || cache.partitions + wanted.len() > self.partitions_max;
        if full || id_new <= 0 || cache.by_id.contains_key(&id_new) {
            return Scope::Full(wanted);
        }
        let partitions: BTreeMap<_, _> =
            wanted.into_iter().map(|(key, wanted)| (key, (wanted, None))).collect();
        cache.partitions += partitions.len();
        let session = Session { id: id_new, epoch_next: 1, partitions, turn: None, used_last: now };
        let session = Arc::new(Mutex::new(session));
        cache.by_id.insert(id_new, Arc::clone(&session));
        Scope::New(session)
    }
}

impl Cache {
    fn remove(&mut self, id: i32) {
        if let Some(session) = self.by_id.remove(&id) {
            self.partitions -= session.lock().partitions.len();
        }
    }

    /// Gives up the session that was idle longest, if it was idle long enough.
    fn evict_idle(&mut self, now: Instant) {
        let idle = self.by_id.iter().map(|(id, session)| (session.lock().used_last, *id)).min();
        if let Some((used_last, id)) = idle
            && now.duration_since(used_last) >= EVICTION_MIN
        {
            self.remove(id);
        }
    }
}

impl Session {
    /// What the answer carries as its session id.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The partitions to look at, beginning after the one that was served last.
    pub fn wanted(&self) -> Vec<(Key, Wanted)> {
        let all = |(key, (wanted, _)): (&Key, &(Wanted, Option<Told>))| (key.clone(), *wanted);
        match &self.turn {
            None => self.partitions.iter().map(all).collect(),
            Some(turn) => {
                let after = (std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded);
                let until = ..=turn;
                let first = self.partitions.range::<Key, _>(after);
                first.chain(self.partitions.range::<Key, _>(until)).map(all).collect()
            }
        }
    }

    /// Whether a partition without records is still worth a place in the answer; remembers what
    /// is told.
    pub fn has_news(&mut self, key: &Key, told: Told) -> bool {
        let Some((_, last)) = self.partitions.get_mut(key) else { return true };
        let news = told.error != 0 || *last != Some(told);
        // An error is told every time until it is gone.
        *last = (told.error == 0).then_some(told);
        news
    }

    /// The next answer begins after `key`, which had records.
    pub fn served(&mut self, key: &Key) {
        self.turn = Some(key.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> Key {
        (TopicKey::Name("t".into()), partition)
    }

    fn wanted(from: i64) -> Wanted {
        Wanted { from: Offset(from), bytes_max: 1, leader_epoch: -1, last_fetched_epoch: -1 }
    }

    fn begin(sessions: &Sessions, now: Instant, id: i32, partitions: i32) -> Scope {
        let all = (0..partitions).map(|partition| (key(partition), wanted(0))).collect();
        sessions.scope((0, 0), all, &[], (now, id)).unwrap()
    }

    #[test]
    fn a_session_goes_on_only_in_step() {
        let (sessions, now) = (Sessions::new(2, 100), Instant::now());
        assert!(matches!(begin(&sessions, now, 7, 2), Scope::New(_)));
        let next = |id, epoch| sessions.scope((id, epoch), vec![], &[], (now, 9)).map(drop);
        assert_eq!(next(8, 1), Err(SessionError::NotFound));
        assert_eq!(next(7, 2), Err(SessionError::WrongEpoch));
        assert_eq!(next(7, 1), Ok(()));
        assert_eq!(next(7, 1), Err(SessionError::WrongEpoch), "a repeated request");
        assert_eq!(next(7, 2), Ok(()));
    }

    #[test]
    fn changes_and_forgotten_partitions_change_the_session() {
        let (sessions, now) = (Sessions::new(2, 100), Instant::now());
        begin(&sessions, now, 7, 3);
        let scope = sessions.scope((7, 1), vec![(key(1), wanted(5))], &[key(0)], (now, 9)).unwrap();
        let Scope::Incremental(session) = scope else { panic!("the session goes on") };
        assert_eq!(session.lock().wanted(), [(key(1), wanted(5)), (key(2), wanted(0))]);
    }

    #[test]
    fn the_turn_moves_past_what_was_served() {
        let (sessions, now) = (Sessions::new(2, 100), Instant::now());
        let Scope::New(session) = begin(&sessions, now, 7, 3) else { panic!("room is there") };
        let mut session = session.lock();
        session.served(&key(1));
        let order: Vec<i32> = session.wanted().into_iter().map(|((_, index), _)| index).collect();
        assert_eq!(order, [2, 0, 1]);
    }

    #[test]
    fn what_was_told_is_not_told_again_but_an_error_is() {
        let (sessions, now) = (Sessions::new(2, 100), Instant::now());
        let Scope::New(session) = begin(&sessions, now, 7, 1) else { panic!("room is there") };
        let mut session = session.lock();
        let told = |high_watermark, error| Told { high_watermark, log_start: 0, error };
        for (told, news) in [
            (told(4, 0), true),
            (told(4, 0), false),
            (told(5, 0), true),
            (told(5, 3), true),
            (told(5, 3), true),
            (told(5, 0), true),
            (told(5, 0), false),
        ] {
            assert_eq!(session.has_news(&key(0), told), news, "{told:?}");
        }
    }

    #[test]
    fn the_cache_is_bounded_and_only_idle_sessions_make_room() {
        let (sessions, now) = (Sessions::new(2, 5), Instant::now());
        assert!(matches!(begin(&sessions, now, 1, 2), Scope::New(_)));
        assert!(matches!(begin(&sessions, now, 2, 2), Scope::New(_)));
        assert!(matches!(begin(&sessions, now, 3, 1), Scope::Full(_)), "no slot");
        let later = now + EVICTION_MIN;
        assert!(matches!(begin(&sessions, later, 3, 4), Scope::Full(_)), "too many partitions");
        assert!(matches!(begin(&sessions, later, 3, 1), Scope::New(_)), "an idle one made room");
        assert!(sessions.count() <= 2);
    }
}
