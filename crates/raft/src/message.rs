//! What members say to each other, and the bytes it travels as.
//!
//! ```text
//!  0  u8   version (1)
//!  1  …    postcard of [`Request`] or [`Response`]
//! ```
//!
//! Postcard numbers an enum's variants in their order: new ones go to the end.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};
use walrus_metadata::Reply;

use crate::{
    standing::Standing,
    types::{Proposal, RaftId, RaftPeer, SnapshotMeta, TypeConfig, Vote, as_bytes},
};

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

/// A request to a member.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Entries for its log, or none as a heartbeat.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Its vote.
    Vote(VoteRequest<TypeConfig>),
    /// Whether it would vote so.
    PreVote(VoteRequest<TypeConfig>),
    /// The state, for one whose next entries are gone from the leader's log.
    Snapshot(SnapshotRequest),
    /// It is to lead.
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// A command to be proposed by the leader.
    Propose(Proposal),
    /// A member to be taken in by the leader, as a learner.
    Admit(RaftId, RaftPeer),
    /// How far the members are.
    Standing,
}

/// A whole state.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotRequest {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    #[serde(with = "as_bytes")]
    pub(crate) state: Bytes,
}

/// The answer to a [`Request`], by its kind.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    /// To `Append`.
    Append(AppendEntriesResponse<TypeConfig>),
    /// To `Vote` and `PreVote`.
    Vote(VoteResponse<TypeConfig>),
    /// To `Snapshot`.
    Snapshot(SnapshotResponse<TypeConfig>),
    /// To `Transfer`.
    Transfer(TransferLeaderResponse<TypeConfig>),
    /// To `Propose`.
    Proposed(Result<Proposed, NotProposed>),
    /// To `Admit`: the index of the entry that took it in.
    Admitted(Result<u64, NotProposed>),
    /// To any: it could not be dealt with, for reasons that a person may read.
    Failed(String),
    /// To `Standing`; nothing from a member that does not lead.
    Standing(Option<Standing>),
}

/// A command that was applied.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Proposed {
    /// Where it stands in the log.
    pub(crate) index: u64,
    pub(crate) reply: Reply,
}

/// Why the asked member has no reply to a proposal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum NotProposed {
    /// It is larger than an entry may be.
    TooLarge { bytes: u64, limit: u64 },
    /// It does not lead.
    NotLeader,
    /// Its log has no room now.
    Full,
    /// It may have been applied.
    Unknown,
    /// It cannot be, as the group stands.
    Refused(String),
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("an empty message")]
    Empty,
    #[error("version {0} of the metadata group's messages is not known here")]
    Version(u8),
    #[error("malformed: {0}")]
    Malformed(#[from] postcard::Error),
    #[error("{0} bytes too many")]
    TooLong(usize),
}

/// The bytes of a request or a response.
pub(crate) fn encode(message: &impl Serialize) -> Bytes {
    let bytes = postcard::to_extend(message, vec![VERSION]);
    Bytes::from(bytes.expect("a message has only plain data"))
}

/// Reads what [`encode`] wrote.
///
/// Lists grow as their elements are read, so bytes that claim much make nobody allocate much.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, MessageError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => {
            let (message, rest) = postcard::take_from_bytes(body)?;
            if rest.is_empty() { Ok(message) } else { Err(MessageError::TooLong(rest.len())) }
        }
        Some((version, _)) => Err(MessageError::Version(*version)),
        None => Err(MessageError::Empty),
    }
}

#[cfg(test)]
mod tests {
    use openraft::{EntryPayload, Membership, entry::RaftEntry as _, vote::RaftLeaderId as _};
    use walrus_metadata::Command;

    use super::*;
    use crate::types::{Entry, LeaderId, LogId};

    fn some_requests() -> Vec<Request> {
        let vote = Vote::new_committed(3, RaftId::from(7));
        let log_id = |index| LogId::new(LeaderId::new(3, RaftId::from(7)), index);
        let command = Proposal(Command::ProducerIds.encode().into());
        let membership = Membership::new_with_defaults(vec![[RaftId::from(7)].into()], []);
        let entries = vec![
            Entry::new(log_id(5), EntryPayload::Normal(command.clone())),
            Entry::new(log_id(6), EntryPayload::Blank),
            Entry::new(log_id(7), EntryPayload::Membership(membership)),
        ];
        vec![
            Request::Append(AppendEntriesRequest {
                vote,
                prev_log_id: Some(log_id(4)),
                entries,
                leader_commit: None,
            }),
            Request::Vote(VoteRequest::new(vote, Some(log_id(7)))),
            Request::Snapshot(SnapshotRequest {
                vote,
                meta: SnapshotMeta::default(),
                state: Bytes::from_static(b"state"),
            }),
            Request::Propose(command),
            Request::Admit(RaftId::from(8), RaftPeer::default()),
            Request::Standing,
        ]
    }

    #[test]
    fn requests_come_back_as_they_went() {
        for request in some_requests() {
            let bytes = encode(&request);
            let back: Request = decode(&bytes).unwrap();
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
    }

    #[test]
    fn every_cut_and_every_other_version_of_a_message_is_an_error() {
        for request in some_requests() {
            let bytes = encode(&request);
            for cut in 0..bytes.len() {
                assert!(decode::<Request>(&bytes[..cut]).is_err(), "{request:?} cut at {cut}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(matches!(decode::<Request>(&longer), Err(MessageError::TooLong(1))));
            let mut newer = bytes.to_vec();
            newer[0] = VERSION + 1;
            assert!(matches!(decode::<Request>(&newer), Err(MessageError::Version(_))));
        }
    }
}
