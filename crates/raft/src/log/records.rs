//! What stands in the WAL: an entry of the log, a vote, a cut at the end, a cut at the front.
//!
//! ```text
//!  kind 16  log entry   u8   0 blank, 1 command, 2 membership
//!                       u64  term            ┐
//!                       16B  member          │ of the leader that made it
//!                       u64  index           ┘
//!                       u64  how far the log was known to be committed, all ones for not at all
//!                       body: nothing, the command's bytes, postcard of the membership
//!  kind 17  vote        postcard of the vote
//!  kind 18  truncate    u64  entries from this index on are gone
//!  kind 19  purge       term, member, index: entries up to here are gone
//! ```
//!
//! Numbers are little-endian. What stands for the commit rides on the entries, for it is a hint
//! that is not worth a flush of its own.

use std::io;

use bytes::Bytes;
use openraft::entry::RaftEntry as _;
use uuid::Uuid;
use walrus_storage::wal::{self, EntryHead, KIND_FIRST, Replayed, ReplayedBody};

use crate::types::{Entry, LeaderId, LogId, Payload, Proposal, RaftId, Vote};

const LOG: u8 = KIND_FIRST;
const VOTE: u8 = KIND_FIRST + 1;
const TRUNCATE: u8 = KIND_FIRST + 2;
const PURGE: u8 = KIND_FIRST + 3;

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

const NOT_COMMITTED: u64 = u64::MAX;

/// One record, read back.
#[derive(Debug)]
pub(super) enum Record {
    Log {
        entry: Entry,
        committed: Option<u64>,
    },
    /// The entry was durable and its body is lost.
    LostLog(LogId),
    Vote(Vote),
    TruncateFrom(u64),
    PurgeTo(LogId),
}

pub(super) fn log(entry: &Entry, committed: Option<u64>) -> wal::Entry {
    let (payload, body) = match &entry.payload {
        Payload::Blank => (BLANK, Bytes::new()),
        Payload::Normal(Proposal(bytes)) => (COMMAND, bytes.clone()),
        Payload::Membership(membership) => {
            let bytes = postcard::to_stdvec(membership).expect("a membership is plain data");
            (MEMBERSHIP, Bytes::from(bytes))
        }
    };
    let mut head = vec![payload];
    put_log_id(&mut head, &entry.log_id());
    head.extend(committed.unwrap_or(NOT_COMMITTED).to_le_bytes());
    wal::Entry { kind: LOG, head: EntryHead::new(&head), body }
}

pub(super) fn vote(vote: &Vote) -> wal::Entry {
    bare(VOTE, &postcard::to_stdvec(vote).expect("a vote is plain data"))
}

pub(super) fn truncate_from(index: u64) -> wal::Entry {
    bare(TRUNCATE, &index.to_le_bytes())
}

pub(super) fn purge_to(log_id: &LogId) -> wal::Entry {
    let mut head = Vec::new();
    put_log_id(&mut head, log_id);
    bare(PURGE, &head)
}

fn bare(kind: u8, head: &[u8]) -> wal::Entry {
    wal::Entry { kind, head: EntryHead::new(head), body: Bytes::new() }
}

/// Reads a record. Heads carry a checksum of their own, so one that does not parse was not written
/// by this program.
pub(super) fn read(replayed: &Replayed<'_>) -> io::Result<Record> {
    let mut head = replayed.head;
    let record = match replayed.kind {
        LOG => {
            let payload = take::<1>(&mut head)?[0];
            let log_id = take_log_id(&mut head)?;
            let committed = Some(take_u64(&mut head)?).filter(|index| *index != NOT_COMMITTED);
            match replayed.body {
                ReplayedBody::Intact(body) => {
                    let payload = read_payload(payload, body)?;
                    Record::Log { entry: Entry::new(log_id, payload), committed }
                }
                ReplayedBody::Damaged { .. } => Record::LostLog(log_id),
            }
        }
        VOTE => {
            let (vote, rest) = postcard::take_from_bytes(head).map_err(invalid)?;
            head = rest;
            Record::Vote(vote)
        }
        TRUNCATE => Record::TruncateFrom(take_u64(&mut head)?),
        PURGE => Record::PurgeTo(take_log_id(&mut head)?),
        kind => return Err(invalid(format!("a record of kind {kind} is not known here"))),
    };
    if head.is_empty() { Ok(record) } else { Err(invalid("a record's head is too long")) }
}

fn read_payload(payload: u8, body: &Bytes) -> io::Result<Payload> {
    match payload {
        BLANK => Ok(Payload::Blank),
        // A copy: a slice would keep the whole group in memory for as long as the entry lives.
        COMMAND => Ok(Payload::Normal(Proposal(Bytes::copy_from_slice(body)))),
        MEMBERSHIP => postcard::from_bytes(body).map(Payload::Membership).map_err(invalid),
        other => Err(invalid(format!("an entry of kind {other} is not known here"))),
    }
}

fn put_log_id(to: &mut Vec<u8>, log_id: &LogId) {
    to.extend(log_id.leader_id.term.to_le_bytes());
    to.extend(log_id.leader_id.node_id.0.as_bytes());
    to.extend(log_id.index.to_le_bytes());
}

fn take_log_id(from: &mut &[u8]) -> io::Result<LogId> {
    let term = take_u64(from)?;
    let node_id = RaftId(Uuid::from_bytes(*take::<16>(from)?));
    let index = take_u64(from)?;
    Ok(LogId::new(LeaderId { term, node_id }, index))
}

fn take_u64(from: &mut &[u8]) -> io::Result<u64> {
    take::<8>(from).map(|bytes| u64::from_le_bytes(*bytes))
}

fn take<'a, const N: usize>(from: &mut &'a [u8]) -> io::Result<&'a [u8; N]> {
    let (bytes, rest) =
        from.split_first_chunk().ok_or_else(|| invalid("a record's head is too short"))?;
    *from = rest;
    Ok(bytes)
}

fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
