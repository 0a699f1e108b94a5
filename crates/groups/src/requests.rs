//! What clients ask of a coordinator, in its own words.

use bytes::Bytes;
use walrus_types::{TimestampMs, UptimeMs};

use crate::member::Protocol;

/// When something happens, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Sessions and rebalances go by this one.
    pub now: UptimeMs,
    /// Records and the retention of offsets go by this one.
    pub wall: TimestampMs,
}

/// JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Which group.
    pub group: String,
    /// The member's id; empty when it has none.
    pub member: String,
    /// The name of a static member (KIP-345).
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Without a heartbeat for so long it is out.
    pub session_timeout_ms: i32,
    /// How long others wait for it in a rebalance.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect` or anything else.
    pub protocol_type: String,
    /// What it can do, what it likes best first.
    pub protocols: Vec<Protocol>,
    /// Whether a new member has to come again with its id (KIP-394: from version 4 on).
    pub id_required: bool,
    /// Whether it understands that its assignment stays (KIP-814: from version 9 on).
    pub can_skip_assignment: bool,
    /// What makes a new member's id different from all others.
    pub random: String,
}

/// Who sends a request: a member of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Its id.
    pub member: &'a str,
    /// Its name, if it is static and says so.
    pub instance: Option<&'a str>,
    /// The generation that it believes in; negative for none.
    pub generation: i32,
}

/// SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Which group.
    pub group: String,
    /// Who.
    pub member: String,
    /// Its name, if it is static.
    pub instance: Option<String>,
    /// Of which generation.
    pub generation: i32,
    /// The group's type, if the client says so.
    pub protocol_type: Option<String>,
    /// The chosen protocol, if the client says so.
    pub protocol: Option<String>,
    /// The leader's answer to who does what, by member.
    pub assignments: Vec<(String, Bytes)>,
}

impl Sync {
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            member: &self.member,
            instance: self.instance.as_deref(),
            generation: self.generation,
        }
    }
}

/// One member that LeaveGroup names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// Its id; empty when only its name is known.
    pub member: String,
    /// Its name, if it is static.
    pub instance: Option<String>,
}

/// OffsetCommit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Which group.
    pub group: String,
    /// Who; empty for a client that is no member.
    pub member: String,
    /// Its name, if it is static.
    pub instance: Option<String>,
    /// Of which generation; negative for none.
    pub generation: i32,
    /// How long the offsets are kept, for clients that say so (versions 2 to 4).
    pub retention_ms: Option<u64>,
    /// What is committed.
    pub offsets: Vec<NewOffset>,
}

/// One partition's offset in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOffset {
    /// Which topic.
    pub topic: String,
    /// Which partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// The client's own words.
    pub metadata: String,
}
