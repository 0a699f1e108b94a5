//! What a client does: join, share the work when it leads, work, commit, and believe its errors.

use walrus_groups::{GroupError, JoinedMember};

/// What a client has in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing: it will join.
    Out,
    /// It has asked, and asks again when no answer has come until then.
    Waiting { until: u64 },
    /// It has its generation and, when it leads, everybody in it.
    Joined { members: Vec<JoinedMember> },
    /// It works.
    Working { partitions: Vec<u8> },
    /// Another has its name.
    Fenced,
}

/// A client, through its lives.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) name: Option<String>,
    /// Counts its crashes: answers to an earlier life are lost.
    pub(crate) life: u64,
    pub(crate) member: String,
    pub(crate) generation: i32,
    pub(crate) doing: Doing,
    /// Does nothing before then.
    pub(crate) paused_until: u64,
    pub(crate) beats_at: u64,
}

impl Client {
    pub(crate) fn new(name: Option<String>) -> Self {
        Self {
            name,
            life: 0,
            member: String::new(),
            generation: -1,
            doing: Doing::Out,
            paused_until: 0,
            beats_at: 0,
        }
    }

    /// Dies and comes back knowing nothing.
    pub(crate) fn crash(&mut self) {
        *self = Self { life: self.life + 1, ..Self::new(self.name.clone()) };
    }

    /// Whom the work belongs to, through lives of a static member.
    pub(crate) fn owner(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.member.clone())
    }

    /// Believes an error.
    pub(crate) fn refused(&mut self, error: GroupError) {
        match error {
            GroupError::UnknownMember => {
                self.member.clear();
                self.doing = Doing::Out;
            }
            GroupError::FencedInstance => self.doing = Doing::Fenced,
            GroupError::IllegalGeneration
            | GroupError::Rebalancing
            | GroupError::MemberIdRequired => self.doing = Doing::Out,
            // It asks again, whoever coordinates now.
            _ => {
                if !matches!(self.doing, Doing::Working { .. }) {
                    self.doing = Doing::Out;
                }
            }
        }
    }
}
