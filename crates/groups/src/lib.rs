//! Who is in a consumer group, which generation counts, and how far each group has read.
//!
//! One [`Coordinator`] decides for all groups of one partition of `__consumer_offsets`. Everything
//! here is plain structs: events in, [`Effect`]s out. No files, sockets, clocks, tasks or
//! randomness; the shell passes time and the random part of member ids in, appends the records
//! that it is told to, and says what became of them.
//!
//! A change that must outlive this node is a record first: it shows, and is answered, once the
//! record is committed. What is only of the moment (who waits in a rebalance, when a session ends)
//! is nowhere but here; a coordinator that is loaded elsewhere begins it anew.
//!
//! Where to read next: [`records`] draws the bytes; `coordinator.rs` is what the shell holds;
//! `group.rs` is one group, its rebalance in `group/`; `offsets.rs` what it committed; `under_way.rs`
//! the records whose outcome is not known.

#![warn(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]

mod coordinator;
mod effects;
mod errors;
mod group;
mod limits;
mod load;
mod member;
mod offsets;
pub mod records;
mod requests;
mod subscription;
mod under_way;
mod views;

pub use coordinator::Coordinator;
pub use effects::{
    Answer, AppendId, Effect, JoinRefusal, Joined, JoinedMember, Outcome, Synced, Waiter,
};
pub use errors::{GroupError, OffsetError};
pub use limits::{
    COMMIT_BYTES_MAX, GROUP_BYTES_MAX, GROUP_NAME_BYTES_MAX, GROUPS_MAX, GroupLimits,
    MEMBER_BYTES_MAX, NEW_MEMBER_MS, OFFSETS_MAX, PENDING_MEMBERS_MAX, PROTOCOLS_MAX,
    UNDER_WAY_MAX,
};
pub use load::Loader;
pub use member::Protocol;
pub use offsets::{CommittedOffset, IsGone, NO_LEADER_EPOCH};
pub use requests::{At, Commit, Identity, Join, Leaver, NewOffset, Sync};
pub use views::{Described, DescribedMember, Listed, State};

/// Groups of this name are the cursors of the text protocol's queues, one for each topic. A queue
/// that nobody asked for a week must not begin anew: their offsets go with the topic only.
pub const CURSOR_PREFIX: &str = "walrus.get.";

/// The partition of `__consumer_offsets`, of so many, that has a group: Java's hash of the name
/// over UTF-16, without its sign.
#[must_use]
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_hashed_as_java_does() {
        // "abc".hashCode() is 96354, "".hashCode() is 0; this one is negative in Java:
        // "polygenelubricants".hashCode() is i32::MIN, whose sign bit alone is dropped.
        for (group, expected) in [("abc", 96354 % 50), ("", 0), ("polygenelubricants", 0)] {
            assert_eq!(partition_of(group, 50), expected, "{group:?}");
        }
    }
}
