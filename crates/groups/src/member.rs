//! One member of a group.

use std::collections::BTreeMap;

use bytes::Bytes;
use walrus_types::UptimeMs;

use crate::{effects::Waiter, limits::NEW_MEMBER_MS, records::MemberValue, requests::Join};

/// One way of sharing the work, and what the member says for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: String,
    /// The member's words, which its leader understands.
    pub metadata: Bytes,
}

/// A member of a group.
///
/// Invariant: `joining` only while the group gathers or a replacement is written, `syncing` only
/// while it waits for its leader.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: u32,
    pub(crate) rebalance_timeout_ms: u32,
    /// What it likes best first; never empty.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// Its JoinGroup.
    pub(crate) joining: Option<Waiter>,
    /// Its SyncGroup.
    pub(crate) syncing: Option<Waiter>,
    /// No rebalance has taken it in yet.
    pub(crate) is_new: bool,
    /// When it is out, unless it is heard of.
    pub(crate) expires: UptimeMs,
}

impl Member {
    /// A member that is to be taken in.
    pub(crate) fn new(id: String, join: &Join, now: UptimeMs) -> Self {
        Self {
            id,
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: timeout_ms(join.session_timeout_ms),
            rebalance_timeout_ms: timeout_ms(join.rebalance_timeout_ms),
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
            expires: UptimeMs(now.0.saturating_add(NEW_MEMBER_MS)),
        }
    }

    /// A member as its group's record has it. Its session begins now.
    pub(crate) fn restored(value: &MemberValue, protocol: &str, now: UptimeMs) -> Self {
        let mut member = Self {
            id: value.member.clone(),
            instance: value.instance.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            session_timeout_ms: timeout_ms(value.session_timeout_ms),
            rebalance_timeout_ms: timeout_ms(value.rebalance_timeout_ms),
            protocols: vec![Protocol {
                name: protocol.to_owned(),
                metadata: value.subscription.clone(),
            }],
            assignment: value.assignment.clone(),
            joining: None,
            syncing: None,
            is_new: false,
            expires: now,
        };
        member.heard(now);
        member
    }

    /// It joins again: what it says now counts.
    pub(crate) fn joins_again(&mut self, join: &Join) {
        self.session_timeout_ms = timeout_ms(join.session_timeout_ms);
        self.rebalance_timeout_ms = timeout_ms(join.rebalance_timeout_ms);
        self.client_id.clone_from(&join.client_id);
        self.client_host.clone_from(&join.client_host);
        self.protocols.clone_from(&join.protocols);
    }

    /// It is there: its session begins anew.
    pub(crate) fn heard(&mut self, now: UptimeMs) {
        self.expires = UptimeMs(now.0.saturating_add(u64::from(self.session_timeout_ms)));
    }

    /// When it is out. While its own request waits here only a new one's patience ends.
    pub(crate) fn deadline(&self) -> Option<UptimeMs> {
        let is_waiting = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !is_waiting).then_some(self.expires)
    }

    /// What it said for `protocol`.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let own = self.protocols.iter().find(|own| own.name == protocol);
        own.map(|own| own.metadata.clone()).unwrap_or_default()
    }

    /// What it brings, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.protocols) + self.assignment.len() + self.id.len() + 64
    }

    /// As its group's record has it.
    pub(crate) fn value(
        &self,
        protocol: &str,
        assignments: Option<&BTreeMap<String, Bytes>>,
    ) -> MemberValue {
        let assignment = match assignments {
            Some(all) => all.get(&self.id).cloned().unwrap_or_default(),
            None => self.assignment.clone(),
        };
        MemberValue {
            member: self.id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: i32::try_from(self.rebalance_timeout_ms).unwrap_or(i32::MAX),
            session_timeout_ms: i32::try_from(self.session_timeout_ms).unwrap_or(i32::MAX),
            subscription: self.metadata(protocol),
            assignment,
        }
    }
}

/// What these protocols take, in bytes.
pub(crate) fn bytes_of(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|one| one.name.len() + one.metadata.len()).sum()
}

/// A negative one, which clients do not send, is none.
fn timeout_ms(given: i32) -> u32 {
    u32::try_from(given).unwrap_or(0)
}
