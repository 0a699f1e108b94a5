//! Who is in the group: members are taken in as learners, become voters, and go.
//!
//! A learner has the log and the state and no vote. Only the leader changes the membership; a
//! member that is asked to admit another one passes that on. Which learner should vote is for
//! the shell to say: it knows which nodes are alive.

use std::{collections::BTreeSet, time::Duration};

use openraft::{
    ChangeMembers, Instant as _, Raft,
    async_runtime::WatchReceiver as _,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::time::{Instant, sleep};

use crate::{
    group::Group,
    machine::Machine,
    message::{NotProposed, Request, Response},
    propose::{LOOK_AGAIN, ProposeError},
    types::{RaftId, RaftPeer, TypeConfig},
};

/// The most members that vote. More make a commit slower and no cluster safer.
pub const VOTERS_MAX: usize = 5;

/// A member, as the log says and as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its disk.
    pub id: RaftId,
    /// Its node and where that is.
    pub peer: RaftPeer,
    /// Whether it votes.
    pub votes: bool,
    /// How many entries it lacks; only the leader knows.
    pub lag_entries: Option<u64>,
}

/// Why the membership was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Another member leads, or none.
    #[error("this node does not lead the metadata group")]
    NotLeader,
    /// The change before this one is not through yet. Try again.
    #[error("another change of the members is under way")]
    UnderWay,
    /// It cannot be, as the group stands.
    #[error("{0}")]
    Refused(String),
    /// It may or may not have happened. Only the membership can tell.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
}

impl Group {
    /// The members of the group, in order of their ids.
    pub fn members(&self) -> Vec<Member> {
        // Cloned at once: a borrow that is held stops the core.
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<RaftId> = membership.voter_ids().collect();
        let last = metrics.last_log_index.map_or(0, |index| index + 1);
        let lag = |id: &RaftId| {
            let matched = *metrics.replication.as_ref()?.get(id)?;
            Some(last.saturating_sub(matched.map_or(0, |log_id| log_id.index + 1)))
        };
        let member = |(id, peer): (&RaftId, &RaftPeer)| Member {
            id: *id,
            peer: peer.clone(),
            votes: voters.contains(id),
            lag_entries: lag(id),
        };
        membership.nodes().map(member).collect()
    }

    /// Whether this member leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.raft.is_leader()
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<RaftId> {
        self.raft.metrics().borrow_watched().current_leader
    }

    /// How long ago a majority of the voters last answered this member, if it leads: one that is
    /// cut off does not know that another may lead.
    pub fn quorum_age(&self) -> Option<Duration> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let mut voters = metrics.membership_config.membership().voter_ids();
        let me = Some(metrics.id);
        if metrics.current_leader != me {
            return None;
        }
        if voters.next() == me && voters.next().is_none() {
            return Some(Duration::ZERO);
        }
        metrics.last_quorum_acked.map(|acked| acked.elapsed())
    }

    /// Waits until this member, which leads in `term`, has applied an entry of that term. Its own
    /// is the first, and before it stands all that was ever committed: until then this member may
    /// know less than its predecessor told others. Where it leads no more there may be no end.
    ///
    /// # Errors
    /// When the group stopped before.
    pub async fn caught_up(&self, term: u64) -> Result<(), ProposeError> {
        let applied = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            metrics.last_applied.is_some_and(|last| last.committed_leader_id().term >= term)
        };
        let waited = self.raft.wait(None).metrics(applied, "an entry of its term is applied").await;
        waited.map(drop).map_err(|why| ProposeError::Stopped(why.to_string().into()))
    }

    /// Asks the others to let this member lead, if they know of no leader any more: sooner than it
    /// would by itself. They refuse while the leader may be alive.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`] when the group has stopped.
    pub async fn elect(&self) -> Result<(), MembershipError> {
        let asked = self.raft.trigger().elect(true).await;
        asked.map_err(|fatal| MembershipError::Unknown(fatal.to_string()))
    }

    /// Takes a member in, as a learner, through whoever leads. One that is in already stays as it
    /// is. Answers the index of the entry that did it.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn admit(&self, member: RaftId, peer: RaftPeer) -> Result<u64, MembershipError> {
        let until = self.proposer.deadline();
        loop {
            let admitted = match admit_here(&self.raft, member, peer.clone()).await {
                Err(NotProposed::NotLeader) => self.admit_there(member, &peer, until).await?,
                known => Some(known),
            };
            match admitted {
                Some(Ok(index)) => return Ok(index),
                Some(Err(NotProposed::NotLeader)) | None => {}
                Some(Err(NotProposed::Refused(why))) => return Err(MembershipError::Refused(why)),
                Some(Err(NotProposed::Full | NotProposed::TooLarge { .. })) => {
                    return Err(MembershipError::UnderWay);
                }
                Some(Err(NotProposed::Unknown)) => {
                    return Err(MembershipError::Unknown("the leader did not say".into()));
                }
            }
            if Instant::now() + LOOK_AGAIN >= until {
                return Err(MembershipError::NotLeader);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn admit_there(
        &self,
        member: RaftId,
        peer: &RaftPeer,
        until: Instant,
    ) -> Result<Option<Result<u64, NotProposed>>, MembershipError> {
        let Some(leader) = self.leader() else { return Ok(None) };
        let members = self.members();
        let Some(known) = members.into_iter().find(|known| known.id == leader) else {
            return Ok(None);
        };
        let Some(to) = self.proposer.other(Some((leader, known.peer))) else { return Ok(None) };
        let request = Request::Admit(member, peer.clone());
        match self.proposer.ask(to, &request, until).await {
            None | Some(Ok(Response::Failed(_))) => Ok(None),
            Some(Ok(Response::Admitted(admitted))) => Ok(Some(admitted)),
            Some(Ok(other)) => Err(MembershipError::Unknown(format!("{other:?}"))),
            Some(Err(why)) => Err(MembershipError::Unknown(why)),
        }
    }

    /// Gives a learner a vote. Only where this member leads.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn promote(&self, member: RaftId) -> Result<(), MembershipError> {
        let voters = self.members().iter().filter(|member| member.votes).count();
        if voters >= VOTERS_MAX {
            let why = format!("{voters} members vote, and more than {VOTERS_MAX} may not");
            return Err(MembershipError::Refused(why));
        }
        let change = ChangeMembers::AddVoterIds([member].into());
        self.change(change).await
    }

    /// Takes a member out of the group: its vote first, then its place. Only where this member
    /// leads, and not itself: it hands the lead over first.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn expel(&self, member: RaftId) -> Result<(), MembershipError> {
        if member == *self.raft.node_id() {
            let why = "the leader cannot take itself out: transfer the lead first".to_owned();
            return Err(MembershipError::Refused(why));
        }
        let members = self.members();
        let Some(known) = members.into_iter().find(|known| known.id == member) else {
            return Ok(());
        };
        if known.votes {
            self.change(ChangeMembers::RemoveVoters([member].into())).await?;
        }
        match self.change(ChangeMembers::RemoveNodes([member].into())).await {
            // Somebody else took it out meanwhile.
            Err(MembershipError::Refused(_)) if !self.has(member) => Ok(()),
            changed => changed,
        }
    }

    fn has(&self, member: RaftId) -> bool {
        self.members().iter().any(|known| known.id == member)
    }

    /// Asks a voter to lead. Only where this member leads; it may take a moment, or not happen.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn transfer(&self, to: RaftId) -> Result<(), MembershipError> {
        if !self.leads() {
            return Err(MembershipError::NotLeader);
        }
        if !self.members().iter().any(|member| member.id == to && member.votes) {
            let why = format!("storage {to} is no voter of the metadata group");
            return Err(MembershipError::Refused(why));
        }
        let asked = self.raft.trigger().transfer_leader(to).await;
        asked.map_err(|fatal| MembershipError::Unknown(fatal.to_string()))
    }

    /// Makes a change, which may be made twice without harm: after those that are under way.
    async fn change(&self, change: ChangeMembers<RaftId, RaftPeer>) -> Result<(), MembershipError> {
        let until = self.proposer.deadline();
        loop {
            let Err(error) = self.raft.change_membership(change.clone(), true).await else {
                return Ok(());
            };
            match refused(error) {
                NotProposed::NotLeader => return Err(MembershipError::NotLeader),
                NotProposed::Refused(why) => return Err(MembershipError::Refused(why)),
                NotProposed::Unknown => {
                    return Err(MembershipError::Unknown("it was not confirmed".into()));
                }
                NotProposed::Full | NotProposed::TooLarge { .. } => {
                    if Instant::now() + LOOK_AGAIN >= until {
                        return Err(MembershipError::UnderWay);
                    }
                    sleep(LOOK_AGAIN).await;
                }
            }
        }
    }
}

/// Takes a member in, if this one leads.
pub(crate) async fn admit_here(
    raft: &Raft<TypeConfig, Machine>,
    member: RaftId,
    peer: RaftPeer,
) -> Result<u64, NotProposed> {
    // From now on there is somebody to beat for, and elections to be held.
    raft.runtime_config().tick(true);
    match raft.add_learner(member, peer, false).await {
        Ok(response) => Ok(response.log_id.index),
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> NotProposed {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => NotProposed::NotLeader,
        // A change goes in two steps, and another one came before this or between the two.
        RaftError::APIError(
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))
            | ClientWriteError::PreconditionFailed(_),
        ) => NotProposed::Full,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            NotProposed::Refused(error.to_string())
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_) => {
            NotProposed::Unknown
        }
    }
}
