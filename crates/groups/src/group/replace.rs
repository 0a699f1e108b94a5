//! A static member that comes back without its id (KIP-345): its new life takes the old one's
//! place, and the old one is fenced.
//!
//! In a group that is stable nobody else is disturbed, when what the group does would stay the
//! same: the protocol, and the topics that the member reads as far as they can be read from its
//! metadata. Kafka holds only the protocol against it; a member that came back with other topics
//! would wait for a rebalance that nobody asks for.

use super::{Group, Phase};
use crate::{
    effects::{Answer, Joined, Outcome, Waiter},
    errors::GroupError,
    member::Member,
    requests::Join,
    subscription::{self, CONSUMER},
    under_way::{Replacement, Turn, What},
};

impl Group {
    pub(super) fn replace(
        &mut self,
        old: &str,
        id: String,
        join: &Join,
        waiter: Waiter,
        turn: &mut Turn<'_>,
    ) {
        let mut old = self.members.remove(old).expect("names lead to members");
        old.answer_waiting(GroupError::FencedInstance, turn);
        let mut new = old.clone();
        new.id.clone_from(&id);
        new.joins_again(join);
        new.heard(turn.at.now);
        new.joining = Some(waiter);
        let stays = self.does_the_same(&old, &new);
        self.put_in_place(&old.id, new);
        match self.phase {
            Phase::Stable { .. } if stays && self.protocol == Some(self.choose_protocol()) => {
                let value = self.value(self.since, None);
                let can_skip_assignment = join.can_skip_assignment;
                let replacement =
                    Replacement { value: value.clone(), id, old, can_skip_assignment };
                self.append_value(turn, What::Replaced(Box::new(replacement)), value);
            }
            Phase::Empty
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Stable { .. }
            | Phase::Dead => self.gather(turn),
        }
    }

    /// Puts a member where another was: in its name, its lead and what is waited for.
    fn put_in_place(&mut self, old: &str, new: Member) {
        let instance = new.instance.clone().expect("only static members are replaced");
        self.instances.insert(instance, new.id.clone());
        if self.leader.as_deref() == Some(old) {
            self.leader = Some(new.id.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(new.id.clone());
        }
        self.members.insert(new.id.clone(), new);
    }

    fn does_the_same(&self, old: &Member, new: &Member) -> bool {
        let Some(protocol) = &self.protocol else { return false };
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return true;
        }
        let topics = |member: &Member| subscription::topics(&member.metadata(protocol));
        topics(old) == topics(new)
    }

    /// The record of a replacement is committed or not.
    pub(super) fn replaced(
        &mut self,
        replacement: Replacement,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) {
        let Replacement { value, id, old, can_skip_assignment } = replacement;
        let generation = value.generation;
        if outcome == Outcome::Committed {
            self.persisted = Some(value);
        }
        // In any other state the member waits for the next generation, or for nothing any more.
        let is_of_now = matches!(self.phase, Phase::Stable { .. }) && self.generation == generation;
        let Some(member) = self.members.get_mut(&id).filter(|_| is_of_now) else { return };
        let waiter = member.joining.take();
        member.heard(turn.at.now);
        if outcome == Outcome::Committed {
            let joined = self.returned(&id, &old.id, can_skip_assignment);
            if let Some(waiter) = waiter {
                turn.answer(waiter, Answer::Join(Ok(joined)));
            }
            return;
        }
        if let Some(waiter) = waiter {
            turn.refuse_join(waiter, GroupError::NotAvailable, &id);
        }
        self.members.remove(&id);
        self.put_in_place(&id, old);
    }

    /// What a static member is told that came back into its generation. A leader that would assign
    /// again for no reason is told that it need not (KIP-814), or, where it does not know of that,
    /// that its former id leads.
    fn returned(&self, id: &str, old: &str, can_skip_assignment: bool) -> Joined {
        let joined = self.joined(id);
        let is_leader = joined.leader == id;
        if !is_leader {
            return joined;
        }
        if can_skip_assignment {
            return Joined { skip_assignment: true, ..joined };
        }
        Joined { leader: old.to_owned(), members: Vec::new(), ..joined }
    }
}
