//! Looks after a running group: takes a snapshot when the ring asks for one, and tells when the
//! core is dead.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{
    Raft, ServerState, async_runtime::WatchReceiver as _, errors::Fatal, metrics::RaftServerMetrics,
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    log::{LogStore, Pressure},
    machine::Machine,
    types::{RaftId, TypeConfig},
};

/// Who leads the group, as far as this member knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term that this is of.
    pub term: u64,
    /// Who leads, if that is known.
    pub leader: Option<RaftId>,
    /// Whether it is this member.
    pub here: bool,
}

impl Leadership {
    fn of(metrics: &RaftServerMetrics<TypeConfig>) -> Self {
        let leads = metrics.current_leader == Some(metrics.id);
        Self {
            term: metrics.vote.leader_id.term,
            leader: metrics.current_leader,
            here: leads && metrics.state == ServerState::Leader,
        }
    }
}

/// How often the ring is looked at while it needs a snapshot.
const PRESSED_LOOK: Duration = Duration::from_millis(5);

/// How long a snapshot that the ring needs is waited for before it is asked for again: one that
/// was under way when it was asked for may have come first.
const PRESSED_AGAIN: Duration = Duration::from_millis(100);

/// What a running group tells by itself.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Why the core is dead, once it is.
    pub(crate) fatal: watch::Receiver<Option<Arc<str>>>,
    /// Who leads.
    pub(crate) leadership: watch::Receiver<Leadership>,
}

/// Takes snapshots when the ring asks for them, and tells who leads and when the core is dead.
pub(crate) fn watch_over(raft: Raft<TypeConfig, Machine>, log: LogStore) -> (JoinHandle<()>, Told) {
    let (tell, fatal) = watch::channel(None);
    let (tell_leadership, leadership) = watch::channel(Leadership::default());
    let watcher = tokio::spawn(async move {
        let mut metrics = raft.server_metrics();
        let mut pressure = log.pressure();
        let mut asked: Option<Instant> = None;
        loop {
            let leads = Leadership::of(&metrics.borrow_watched());
            tell_leadership.send_if_modified(|told| std::mem::replace(told, leads) != leads);
            // The ring is released a moment after it is asked to be, on its own thread.
            log.gauge();
            let pressed = *pressure.borrow_and_update() != Pressure::Room;
            asked = asked.filter(|asked| pressed && asked.elapsed() < PRESSED_AGAIN);
            if pressed && asked.is_none() {
                if let Err(fatal) = raft.trigger().snapshot().await {
                    tell.send_replace(Some(why(&fatal, &log)));
                    return;
                }
                asked = Some(Instant::now());
            }
            tokio::select! {
                changed = pressure.changed() => if changed.is_err() { return },
                () = sleep(PRESSED_LOOK), if pressed => {}
                changed = metrics.changed() => {
                    let running = raft.metrics().borrow_watched().running_state.clone();
                    let dead = match (changed, running) {
                        (_, Err(fatal)) => fatal,
                        (Err(_), Ok(())) => Fatal::Stopped,
                        (Ok(()), Ok(())) => continue,
                    };
                    tell.send_replace(Some(why(&dead, &log)));
                    return;
                }
            }
        }
    });
    (watcher, Told { fatal, leadership })
}

fn why(fatal: &Fatal<TypeConfig>, log: &LogStore) -> Arc<str> {
    match log.failed() {
        Some(failed) => format!("{fatal}: {failed}").into(),
        None => fatal.to_string().into(),
    }
}
