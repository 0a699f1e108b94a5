//! What operators see of groups.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    group::{Group, Phase},
    subscription,
};

/// A group's state, in Kafka's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No members.
    Empty,
    /// Members are gathered.
    PreparingRebalance,
    /// The leader assigns.
    CompletingRebalance,
    /// Members do their work.
    Stable,
    /// It is being deleted.
    Dead,
}

impl State {
    /// Kafka's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub group: String,
    /// `consumer` or another; empty when it never had members.
    pub protocol_type: String,
    /// How it stands.
    pub state: State,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// How it stands.
    pub state: State,
    /// `consumer` or another; empty when it never had members.
    pub protocol_type: String,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: String,
    /// The generation, which Kafka's answer has no place for.
    pub generation: i32,
    /// The member that assigns, if there is one.
    pub leader: Option<String>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: String,
    /// Its name, if it is static.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it said for the protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it has to do; empty unless the group is stable.
    pub assignment: Bytes,
}

impl DescribedMember {
    /// The partitions that its assignment names, as consumers' assignments do; none where it is
    /// something else.
    #[must_use]
    pub fn partitions(&self) -> Vec<(Arc<str>, i32)> {
        subscription::partitions(&self.assignment).unwrap_or_default()
    }
}

impl Group {
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Empty => State::Empty,
            Phase::Preparing { .. } => State::PreparingRebalance,
            Phase::Completing { .. } => State::CompletingRebalance,
            Phase::Stable { .. } => State::Stable,
            Phase::Dead => State::Dead,
        }
    }

    pub(crate) fn listed(&self) -> Listed {
        Listed {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.state(),
        }
    }

    pub(crate) fn described(&self) -> Described {
        let state = self.state();
        let protocol = self.protocol.clone().filter(|_| state == State::Stable);
        let members = self.members.values().map(|member| DescribedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.as_deref().map(|name| member.metadata(name)).unwrap_or_default(),
            assignment: protocol.as_ref().map(|_| member.assignment.clone()).unwrap_or_default(),
        });
        Described {
            state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            leader: self.leader().map(str::to_owned),
            members: members.collect(),
            protocol: protocol.unwrap_or_default(),
        }
    }
}
