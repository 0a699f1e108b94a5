//! How far a group has read a partition.
//!
//! ```text
//! key    i16 kind (0 or 1) · text group · text topic · i32 partition
//! value  i16 version
//!        i64 offset · [3+ i32 leader epoch] · text metadata · i64 committed at
//!        [1 i64 expires at] · [4 tagged fields]
//! ```
//!
//! A text is an i16 length and UTF-8, in version 4 a varint of the length and 1 more. Times are ms
//! since 1970. Versions 0 to 4 are read; written is 3, or 1 where the client said how long the
//! offset is to be kept, as Kafka does. Source: `OffsetCommitKey` and `OffsetCommitValue`.

use std::ops::RangeInclusive;

use walrus_types::TimestampMs;

use super::{
    DecodeError,
    bytes::{Reader, put_text},
};
use crate::offsets::{CommittedOffset, NO_LEADER_EPOCH};

/// Both kinds of key look alike; 1 is written.
pub(super) const KEY_VERSIONS: RangeInclusive<i16> = 0..=1;
const FLEXIBLE_SINCE: i16 = 4;
const EPOCH_SINCE: i16 = 3;
const EXPIRES_IN: i16 = 1;

/// Whose offset, and of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    /// The group.
    pub group: String,
    /// The topic that it reads.
    pub topic: String,
    /// Which partition of it.
    pub partition: i32,
}

impl OffsetKey {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(10 + self.group.len() + self.topic.len());
        out.extend_from_slice(&KEY_VERSIONS.end().to_be_bytes());
        put_text(&mut out, &self.group);
        put_text(&mut out, &self.topic);
        out.extend_from_slice(&self.partition.to_be_bytes());
        out
    }

    pub(super) fn decode(rest: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { group: rest.text()?, topic: rest.text()?, partition: rest.i32()? })
    }
}

impl CommittedOffset {
    pub(super) fn encode(&self) -> Vec<u8> {
        let version = if self.expires_at.is_some() { EXPIRES_IN } else { EPOCH_SINCE };
        let mut out = version.to_be_bytes().to_vec();
        out.extend_from_slice(&self.offset.to_be_bytes());
        if version >= EPOCH_SINCE {
            out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        }
        put_text(&mut out, &self.metadata);
        out.extend_from_slice(&self.committed_at.0.to_be_bytes());
        if let Some(TimestampMs(expires_at)) = self.expires_at {
            out.extend_from_slice(&expires_at.to_be_bytes());
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
        let offset = rest.i64()?;
        let leader_epoch = if version >= EPOCH_SINCE { rest.i32()? } else { NO_LEADER_EPOCH };
        let metadata = rest.text()?;
        let committed_at = TimestampMs(rest.i64()?);
        let expires_at = if version == EXPIRES_IN { Some(rest.i64()?) } else { None };
        let expires_at = expires_at.filter(|at| *at >= 0).map(TimestampMs);
        rest.tags()?;
        Ok(Self { offset, leader_epoch, metadata, committed_at, expires_at })
    }
}
