//! How far every member of the group has got. Only the leader knows: another member asks it.

use std::time::Duration;

use openraft::{Instant as _, ServerState, async_runtime::WatchReceiver as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    group::Group,
    message::{Request, Response},
    types::{RaftId, RaftPeer},
};

/// How long the leader may take to say.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The group, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The term that it leads in.
    pub term: u64,
    /// The leader.
    pub leader: RaftId,
    /// Entries below this index are committed.
    pub committed_end: u64,
    /// All members, in order of their ids.
    pub members: Vec<Reached>,
}

/// A member, and how far it has got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Its disk.
    pub id: RaftId,
    /// Its node and where that is.
    pub peer: RaftPeer,
    /// Whether it votes.
    pub votes: bool,
    /// Entries below this index are in its log; nothing while the leader has yet to find out.
    pub end: Option<u64>,
    /// How long ago it last answered the leader, in milliseconds; 0 for the leader itself.
    pub heard_ms: Option<u64>,
}

impl Group {
    /// How far the members are, as the leader says; `None` while nobody leads, or the leader does
    /// not answer.
    pub async fn standing(&self) -> Option<Standing> {
        if let Some(here) = self.standing_here() {
            return Some(here);
        }
        let leader = self.leader()?;
        let known = self.members().into_iter().find(|member| member.id == leader)?;
        let to = self.proposer.other(Some((leader, known.peer)))?;
        let until = Instant::now() + ANSWER_MAX;
        match self.proposer.ask(to, &Request::Standing, until).await? {
            Ok(Response::Standing(standing)) => standing,
            Ok(other) => {
                tracing::debug!(?other, "the leader does not say how far the members are");
                None
            }
            Err(why) => {
                tracing::debug!(%why, "the leader does not say how far the members are");
                None
            }
        }
    }

    /// As [`Group::standing`], where this member leads.
    pub(crate) fn standing_here(&self) -> Option<Standing> {
        // Cloned at once: a borrow that is held stops the core.
        let metrics = self.raft.metrics().borrow_watched().clone();
        if metrics.state != ServerState::Leader {
            return None;
        }
        let past = |index: Option<u64>| index.map_or(0, |index| index + 1);
        let reached = |member: crate::membership::Member| {
            let is_leader = member.id == metrics.id;
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&member.id).copied());
            let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(&member.id).copied());
            let heard_ms = heard
                .flatten()
                .map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
            Reached {
                end: if is_leader {
                    Some(past(metrics.last_log_index))
                } else {
                    matched.map(|log_id| past(log_id.map(|log_id| log_id.index)))
                },
                heard_ms: if is_leader { Some(0) } else { heard_ms },
                id: member.id,
                peer: member.peer,
                votes: member.votes,
            }
        };
        Some(Standing {
            term: metrics.current_term,
            leader: metrics.id,
            committed_end: past(metrics.cluster_committed.map(|log_id| log_id.index)),
            members: self.members().into_iter().map(reached).collect(),
        })
    }
}
