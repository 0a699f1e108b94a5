//! What changed in the cluster, as this node saw it.
//!
//! One task looks at each version of the metadata that the node comes to, and keeps what is another
//! than before in a ring of [`EVENTS_MAX`]. It begins with what the metadata still tells of the past.
//! Which changes are told, and in which words, is `walrus_admin::event`'s.
//! Read next: `derive.rs` for the facts, `ring.rs` for what is kept, `views.rs` for
//! the versions themselves.

mod derive;
mod ring;
mod views;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};
use walrus_admin::event::{Event, Seen, derive::elected};
use walrus_metadata::Metadata;
use walrus_types::NodeId;

pub(crate) use self::derive::state as node_state;
pub use self::ring::Page;
use self::{ring::Ring, views::Views};
use crate::broker::Broker;

/// Events that are kept; the oldest go.
pub const EVENTS_MAX: usize = 10_000;
/// Of so many differences and more events are made on a thread of its own.
const MANY: usize = 1_000;
/// An election is told when an entry of its term is applied: looked at so often meanwhile.
const ELECTED_EVERY: Duration = Duration::from_millis(100);

/// The events that are kept, and up to where they go.
#[derive(Debug)]
pub struct Log {
    ring: Mutex<Ring>,
    told: watch::Sender<Option<Arc<Metadata>>>,
    /// What was, for whoever asks what changed since.
    pub views: Views,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            ring: Mutex::new(Ring::new(EVENTS_MAX)),
            told: watch::Sender::new(None),
            views: Views::default(),
        }
    }
}

impl Log {
    /// What came after a version, or the newest.
    pub fn page(&self, after: Option<u64>, limit: usize) -> Page {
        self.ring.lock().page(after, limit)
    }

    /// The newest view of which all is told that changed; `None` before the first.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Metadata>>> {
        self.told.subscribe()
    }

    fn begin(&self, events: Vec<Event>, view: &Arc<Metadata>) {
        self.ring.lock().begin(events, view.applied());
        self.told.send_replace(Some(Arc::clone(view)));
    }

    fn take(&self, events: Vec<Event>, view: &Arc<Metadata>) {
        self.ring.lock().take(events, view.applied());
        self.told.send_replace(Some(Arc::clone(view)));
    }
}

/// Keeps the log until the broker stops.
pub async fn run(broker: Arc<Broker>) {
    let mut views = broker.raft.watch();
    let mut leadership = broker.raft.leadership();
    let mut known = Arc::clone(&views.borrow_and_update());
    let began = Arc::clone(&known);
    let now = broker.clock.now();
    let past = tokio::task::spawn_blocking(move || derive::past(&began, now)).await;
    broker.events.begin(past.unwrap_or_default(), &known);
    let mut term = leadership.borrow_and_update().term;
    let mut elects = None;
    loop {
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            changed = leadership.changed() => if changed.is_err() { return },
            () = sleep(ELECTED_EVERY), if elects.is_some() => {}
            () = broker.draining() => return,
        }
        let now = *leadership.borrow_and_update();
        if now.leader.is_some() && now.term > term {
            (term, elects) = (now.term, Some(now.term));
        }
        let view = Arc::clone(&views.borrow_and_update());
        let seen = Seen { version: view.applied(), at_ms: broker.clock.now() };
        let Some(mut events) = differences(&known, &view, seen).await else { return };
        if let Some(leader) = elects.and_then(|term| leads(&broker, term, &view)) {
            elected(seen, leader, term, &mut events);
            elects = None;
        }
        if !events.is_empty() || view.applied() != known.applied() {
            broker.events.views.passed(&view, broker.clock.uptime());
            broker.events.take(events, &view);
        }
        known = view;
    }
}

/// What changed; `None` when the node is so far at its end that nobody can say.
async fn differences(old: &Arc<Metadata>, new: &Arc<Metadata>, seen: Seen) -> Option<Vec<Event>> {
    let differences = new.diff(old);
    if differences.len() < MANY {
        return Some(derive::between(old, new, differences, seen));
    }
    let (old, new) = (Arc::clone(old), Arc::clone(new));
    let look = move || derive::between(&old, &new, differences, seen);
    tokio::task::spawn_blocking(look).await.ok()
}

/// Who leads the metadata group in that term, once the view has an entry of it: then the event is
/// of a version that no node is told of before the election.
fn leads(broker: &Broker, term: u64, view: &Metadata) -> Option<NodeId> {
    let metrics = broker.raft.metrics();
    let applied = &metrics["last_applied"];
    let of_term = &applied["leader_id"];
    let of_term = of_term.as_u64().or_else(|| of_term["term"].as_u64());
    let is_there = of_term? >= term && view.applied() >= applied["index"].as_u64()?;
    let group = broker.raft.group();
    let leader = group.leader().filter(|_| is_there)?;
    group.members().into_iter().find(|one| one.id == leader).map(|one| one.peer.node)
}
