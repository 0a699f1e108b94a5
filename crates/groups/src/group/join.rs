//! JoinGroup: who is taken in, and what a member is told that was in already.

use walrus_types::UptimeMs;

use super::{Group, Handed, Phase};
use crate::{
    effects::{Answer, Joined, JoinedMember, Waiter},
    errors::GroupError,
    limits::{GROUP_BYTES_MAX, PENDING_MEMBERS_MAX},
    member::{Member, Protocol, bytes_of},
    requests::Join,
    under_way::Turn,
};

impl Group {
    /// A JoinGroup whose names, sizes and timeouts were checked.
    pub(crate) fn join(&mut self, join: &Join, waiter: Waiter, turn: &mut Turn<'_>) {
        if self.is_full(&join.member, turn.limits.members_max) {
            if self.members.contains_key(&join.member) {
                self.remove(&join.member, turn);
                self.departed(turn);
            }
            return turn.refuse_join(waiter, GroupError::GroupFull, "");
        }
        let judged = if self.phase == Phase::Dead {
            Err(GroupError::NotAvailable)
        } else if !self.supports(&join.protocol_type, &join.protocols) {
            Err(GroupError::InconsistentProtocol)
        } else if self.bytes() + bytes_of(&join.protocols) > GROUP_BYTES_MAX {
            Err(GroupError::TooLarge)
        } else if join.member.is_empty() {
            self.new_member(join, waiter, turn);
            Ok(())
        } else {
            self.known_member(join, waiter, turn)
        };
        if let Err(error) = judged {
            turn.refuse_join(waiter, error, &join.member);
        }
    }

    fn is_full(&self, member: &str, members_max: usize) -> bool {
        let known = self.members.get(member);
        match self.phase {
            Phase::Empty | Phase::Dead => false,
            Phase::Preparing { .. } => {
                let waiting = self.members.values().filter(|member| member.joining.is_some());
                known.is_none_or(|known| known.joining.is_none()) && waiting.count() >= members_max
            }
            Phase::Completing { .. } | Phase::Stable { .. } => {
                known.is_none() && self.members.len() >= members_max
            }
        }
    }

    /// Whether all members could work with one of these protocols.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        self.phase == Phase::Empty
            || (self.protocol_type.as_deref() == Some(protocol_type)
                && protocols.iter().any(|protocol| self.all_can(&protocol.name)))
    }

    pub(super) fn all_can(&self, protocol: &str) -> bool {
        let can = |member: &Member| member.protocols.iter().any(|own| own.name == protocol);
        self.members.values().all(can)
    }

    fn new_member(&mut self, join: &Join, waiter: Waiter, turn: &mut Turn<'_>) {
        let name = join.instance.as_ref().unwrap_or(&join.client_id);
        let id = format!("{name}-{}", join.random);
        let old = join.instance.as_ref().and_then(|instance| self.instances.get(instance));
        if let Some(old) = old.cloned() {
            return self.replace(&old, id, join, waiter, turn);
        }
        if join.id_required && join.instance.is_none() {
            if self.handed.len() >= PENDING_MEMBERS_MAX {
                self.handed.pop_front();
            }
            let session_ms = u64::try_from(join.session_timeout_ms).unwrap_or(0);
            self.handed.push_back(Handed { id: id.clone(), expires: turn.after(session_ms) });
            return turn.refuse_join(waiter, GroupError::MemberIdRequired, &id);
        }
        self.add(id, join, waiter, turn);
    }

    fn known_member(
        &mut self,
        join: &Join,
        waiter: Waiter,
        turn: &mut Turn<'_>,
    ) -> Result<(), GroupError> {
        if self.take_handed(&join.member) {
            self.add(join.member.clone(), join, waiter, turn);
            return Ok(());
        }
        self.check_member(&join.member, join.instance.as_deref())?;
        let member = self.members.get_mut(&join.member).expect("it was found");
        let is_changed = member.protocols != join.protocols;
        let is_leader = self.leader.as_deref() == Some(join.member.as_str());
        let stays = match self.phase {
            Phase::Empty | Phase::Dead => return Err(GroupError::UnknownMember),
            Phase::Preparing { .. } => false,
            Phase::Completing { .. } => !is_changed,
            Phase::Stable { .. } => !is_changed && !is_leader,
        };
        if stays {
            // The answer to its last JoinGroup was lost, or it has nothing new to say.
            member.heard(turn.at.now);
            let joined = self.joined(&join.member);
            turn.answer(waiter, Answer::Join(Ok(joined)));
            return Ok(());
        }
        member.joins_again(join);
        if let Some(earlier) = member.joining.replace(waiter) {
            turn.refuse_join(earlier, GroupError::Rebalancing, &join.member);
        }
        self.gather(turn);
        Ok(())
    }

    /// Whether this id was given out and not used; it is used now.
    pub(super) fn take_handed(&mut self, id: &str) -> bool {
        let at = self.handed.iter().position(|handed| handed.id == id);
        at.and_then(|at| self.handed.remove(at)).is_some()
    }

    pub(super) fn expire_handed(&mut self, now: UptimeMs) -> bool {
        let before = self.handed.len();
        self.handed.retain(|handed| handed.expires > now);
        self.handed.len() < before
    }

    fn add(&mut self, id: String, join: &Join, waiter: Waiter, turn: &mut Turn<'_>) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let mut member = Member::new(id.clone(), join, turn.at.now);
        member.joining = Some(waiter);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        self.leader.get_or_insert(id);
        if let Phase::Preparing { initial: Some(initial), .. } = &mut self.phase {
            initial.came = true;
        }
        self.gather(turn);
    }

    /// What a member is told of the generation. Its leader is told all members.
    pub(super) fn joined(&self, member: &str) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == member { self.for_leader(&protocol) } else { Vec::new() };
        Joined {
            member: member.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol,
            leader,
            skip_assignment: false,
            members,
        }
    }

    pub(super) fn for_leader(&self, protocol: &str) -> Vec<JoinedMember> {
        let told = |member: &Member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(told).collect()
    }
}
