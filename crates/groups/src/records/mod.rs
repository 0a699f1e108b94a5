//! The records of `__consumer_offsets`, byte for byte as Kafka writes them and its tools read them.
//!
//! A key begins with an i16 that says what kind of record it is; a record without a value takes
//! back what was said under its key. All numbers are big-endian.
//!
//! ```text
//! kind    what                    drawn in
//! 0, 1    how far a group has read a partition    offset.rs
//! 2       who is in a group                       group.rs
//! other   later protocols of Kafka: passed over
//! ```
//!
//! The bytes come from a disk: nothing here panics on them, and what is built takes no more memory
//! than a small multiple of them.

mod bytes;
mod group;
mod offset;

pub use self::{
    group::{GroupValue, MemberValue},
    offset::OffsetKey,
};
use crate::offsets::CommittedOffset;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The key or value ends within a field, or a length is negative.
    #[error("the {0} is cut or has a length that cannot be")]
    Cut(&'static str),
    /// A text is no UTF-8.
    #[error("a text in the {0} is no UTF-8")]
    Text(&'static str),
    /// A later Kafka wrote the value.
    #[error("value of version {0}, which is not known here")]
    Version(i16),
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// How far a group has read a partition; without a value, that nothing is known any more.
    Offset {
        /// Whose, and of what.
        key: OffsetKey,
        /// How far.
        value: Option<CommittedOffset>,
    },
    /// Who is in a group; without a value, that there is no such group.
    Group {
        /// Which group.
        group: String,
        /// Who.
        value: Option<GroupValue>,
    },
}

impl Record {
    /// The group that it is about.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Self::Offset { key, .. } => &key.group,
            Self::Group { group, .. } => group,
        }
    }

    /// Key and value.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Offset { key, value } => {
                (key.encode(), value.as_ref().map(CommittedOffset::encode))
            }
            Self::Group { group, value } => {
                (group::encode_key(group), value.as_ref().map(GroupValue::encode))
            }
        }
    }

    /// Reads key and value; `None` for kinds of record that are passed over.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, DecodeError> {
        let mut rest = bytes::Reader::new(key, "key");
        let kind = rest.i16()?;
        let record = if offset::KEY_VERSIONS.contains(&kind) {
            let key = OffsetKey::decode(&mut rest)?;
            let value = value.map(CommittedOffset::decode).transpose()?;
            Self::Offset { key, value }
        } else if kind == group::KEY_VERSION {
            let group = rest.text()?;
            let value = value.map(GroupValue::decode).transpose()?;
            Self::Group { group, value }
        } else {
            return Ok(None);
        };
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests;
