//! Who is in a group.
//!
//! ```text
//! key     i16 kind (2) · text group
//! value   i16 version
//!         text protocol type · i32 generation · text? protocol · text? leader
//!         [2+ i64 state since] · i32 count · count × member · [4 tagged fields]
//! member  text id · [3+ text? instance] · text client id · text client host
//!         [1+ i32 rebalance timeout] · i32 session timeout
//!         bytes subscription · bytes assignment · [4 tagged fields]
//! ```
//!
//! A text is an i16 length and UTF-8, `text?` may be -1 for none; bytes are an i32 length and so
//! many; in version 4 lengths are varints of one more. Times are ms. Versions 0 to 4 are read, 3 is
//! written, as Kafka does. Source: `GroupMetadataKey` and `GroupMetadataValue`.

use bytes::Bytes;
use walrus_types::TimestampMs;

use super::{
    DecodeError,
    bytes::{Reader, put_blob, put_nullable_text, put_text},
};

/// The kind of record.
pub(super) const KEY_VERSION: i16 = 2;
const VERSION: i16 = 3;
const FLEXIBLE_SINCE: i16 = 4;

/// A group's generation and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue {
    /// `consumer`, `connect` or anything else.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// What its members chose.
    pub protocol: Option<String>,
    /// The member that assigned.
    pub leader: Option<String>,
    /// Since when the group is as it is; [`TimestampMs::NONE`] from old versions.
    pub since: TimestampMs,
    /// Its members; none is an empty group.
    pub members: Vec<MemberValue>,
}

/// A member of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue {
    /// Its id.
    pub member: String,
    /// Its name, if it is static.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where its client connects from.
    pub client_host: String,
    /// How long others wait for it in a rebalance, ms.
    pub rebalance_timeout_ms: i32,
    /// Without a heartbeat for so long it is out, ms.
    pub session_timeout_ms: i32,
    /// What it said for the chosen protocol.
    pub subscription: Bytes,
    /// What it has to do.
    pub assignment: Bytes,
}

pub(super) fn encode_key(group: &str) -> Vec<u8> {
    let mut out = KEY_VERSION.to_be_bytes().to_vec();
    put_text(&mut out, group);
    out
}

impl GroupValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { protocol_type, generation, protocol, leader, since, members } = self;
        let mut out = VERSION.to_be_bytes().to_vec();
        put_text(&mut out, protocol_type);
        out.extend_from_slice(&generation.to_be_bytes());
        put_nullable_text(&mut out, protocol.as_deref());
        put_nullable_text(&mut out, leader.as_deref());
        out.extend_from_slice(&since.0.to_be_bytes());
        let count = i32::try_from(members.len()).expect("members are bounded");
        out.extend_from_slice(&count.to_be_bytes());
        for member in members {
            member.encode(&mut out);
        }
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = Reader::new(value, "value");
        let version = rest.i16()?;
        if !(0..=FLEXIBLE_SINCE).contains(&version) {
            return Err(DecodeError::Version(version));
        }
        if version >= FLEXIBLE_SINCE {
            rest.set_flexible();
        }
        let protocol_type = rest.text()?;
        let generation = rest.i32()?;
        let protocol = rest.nullable_text()?;
        let leader = rest.nullable_text()?;
        let since = if version >= 2 { TimestampMs(rest.i64()?) } else { TimestampMs::NONE };
        let mut members = Vec::new();
        for _ in 0..rest.count()? {
            members.push(MemberValue::decode(&mut rest, version)?);
        }
        rest.tags()?;
        Ok(Self { protocol_type, generation, protocol, leader, since, members })
    }
}

impl MemberValue {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.member);
        put_nullable_text(out, self.instance.as_deref());
        put_text(out, &self.client_id);
        put_text(out, &self.client_host);
        out.extend_from_slice(&self.rebalance_timeout_ms.to_be_bytes());
        out.extend_from_slice(&self.session_timeout_ms.to_be_bytes());
        put_blob(out, &self.subscription);
        put_blob(out, &self.assignment);
    }

    fn decode(rest: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let member = rest.text()?;
        let instance = if version >= 3 { rest.nullable_text()? } else { None };
        let client_id = rest.text()?;
        let client_host = rest.text()?;
        let rebalance_timeout_ms = if version >= 1 { Some(rest.i32()?) } else { None };
        let session_timeout_ms = rest.i32()?;
        let subscription = rest.blob()?;
        let assignment = rest.blob()?;
        rest.tags()?;
        Ok(Self {
            member,
            instance,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}
