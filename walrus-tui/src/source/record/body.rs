//! What is in a record: JSON, compressed with zstd. JSON because the documents of the admin API
//! are; what later versions add is passed over.

use std::{
    borrow::Cow,
    io::{self, Read as _, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use walrus_admin::{
    connection::ClientList,
    event::Event,
    group::{GroupList, GroupStatus},
    partition::Chain,
    snapshot::Snapshot,
};
use walrus_types::UptimeMs;
use zstd::zstd_safe::{CCtx, CParameter, ResetDirective, get_error_name};

use super::super::Told;
use crate::model::PartitionName;

/// The longest body of a record, compressed.
pub const BODY_MAX: usize = 16 << 20;
/// The longest body, as it is when it is not.
pub const PLAIN_MAX: usize = 64 << 20;
/// The largest window of zstd, as a power of two: a level of 1 needs no more.
const WINDOW_LOG_MAX: u32 = 23;
/// Records are made each second, on a machine that has other things to do.
const LEVEL: i32 = 1;

/// Why something is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unkept {
    /// It is too large.
    #[error("it is more than {} MiB, which no record holds", PLAIN_MAX >> 20)]
    TooLarge,
    /// It cannot be written.
    #[error("it cannot be written: {0}")]
    Failed(String),
}

/// Why a record shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unread {
    /// Its bytes are not those of a record.
    #[error("a record cannot be read: {0}")]
    Damaged(String),
    /// It would be larger than any that is written.
    #[error("a record is more than {} MiB when it is unpacked", PLAIN_MAX >> 20)]
    TooLarge,
    /// The snapshot before it, on which it builds, is not there.
    #[error("the snapshot that a record builds on is missing")]
    Alone,
}

/// A message as it is kept.
#[derive(Debug, Serialize, Deserialize)]
enum Kept<'a> {
    /// A snapshot: all of it, or what changed since the one before.
    Snapshot(Cow<'a, Snapshot>),
    Events(Option<Cow<'a, [Event]>>),
    Chain {
        name: Cow<'a, PartitionName>,
        chain: Result<Cow<'a, Chain>, Cow<'a, str>>,
    },
    Groups(Result<Cow<'a, GroupList>, Cow<'a, str>>),
    Clients(Result<Cow<'a, ClientList>, Cow<'a, str>>),
    Group {
        name: Cow<'a, str>,
        group: Result<Cow<'a, GroupStatus>, Cow<'a, str>>,
    },
    Lost {
        why: Cow<'a, str>,
        next_at_ms: u64,
    },
    /// A message that is about the recording itself; never written.
    Nothing,
}

/// Makes bodies. Kept from one to the next: what zstd needs is more than most of them are.
#[derive(Default)]
pub(super) struct Packer(CCtx<'static>);

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// A snapshot's body.
    pub(super) fn snapshot(&mut self, snapshot: &Snapshot) -> Result<Vec<u8>, Unkept> {
        self.pack(&Kept::Snapshot(Cow::Borrowed(snapshot)))
    }

    /// The body of any other message.
    pub(super) fn plain(&mut self, told: &Told) -> Result<Vec<u8>, Unkept> {
        self.pack(&plain(told))
    }

    fn pack(&mut self, kept: &Kept<'_>) -> Result<Vec<u8>, Unkept> {
        let failed = |why: io::Error| match why.kind() {
            io::ErrorKind::FileTooLarge => Unkept::TooLarge,
            _ => Unkept::Failed(why.to_string()),
        };
        let refused = |code| Unkept::Failed(get_error_name(code).to_owned());
        // The one before may have ended half way.
        self.0.reset(ResetDirective::SessionOnly).map_err(refused)?;
        self.0.set_parameter(CParameter::CompressionLevel(LEVEL)).map_err(refused)?;
        let out = Capped { inner: Vec::new(), room: BODY_MAX };
        let encoder = zstd::stream::write::Encoder::with_context(out, &mut self.0);
        // JSON comes in small pieces.
        let mut plain =
            io::BufWriter::with_capacity(16 << 10, Capped { inner: encoder, room: PLAIN_MAX });
        serde_json::to_writer(&mut plain, kept).map_err(|why| failed(why.into()))?;
        let encoder = plain.into_inner().map_err(|why| failed(why.into_error()))?.inner;
        let mut body = encoder.finish().map_err(failed)?.inner;
        body.shrink_to_fit();
        Ok(body)
    }
}

fn plain(told: &Told) -> Kept<'_> {
    fn lent<T: Clone>(told: &Result<Arc<T>, String>) -> Result<Cow<'_, T>, Cow<'_, str>> {
        match told {
            Ok(told) => Ok(Cow::Borrowed(&**told)),
            Err(why) => Err(Cow::Borrowed(why)),
        }
    }
    match told {
        Told::Snapshot(snapshot) => Kept::Snapshot(Cow::Borrowed(&**snapshot)),
        Told::Chain { name, chain } => {
            Kept::Chain { name: Cow::Borrowed(name), chain: lent(chain) }
        }
        Told::Events(events) => Kept::Events(events.as_deref().map(Cow::Borrowed)),
        Told::Groups(groups) => Kept::Groups(lent(groups)),
        Told::Clients(clients) => Kept::Clients(lent(clients)),
        Told::Group { name, group } => {
            Kept::Group { name: Cow::Borrowed(name), group: lent(group) }
        }
        Told::Lost { why, next_at } => {
            Kept::Lost { why: Cow::Borrowed(why), next_at_ms: next_at.0 }
        }
        Told::Kept(_) | Told::Ended(_) => Kept::Nothing,
    }
}

/// The message that a body holds.
pub(super) fn told(body: &[u8], known: &mut Option<Arc<Snapshot>>) -> Result<Told, Unread> {
    fn owned<T: Clone>(told: Result<Cow<'_, T>, Cow<'_, str>>) -> Result<Arc<T>, String> {
        told.map(|told| Arc::new(told.into_owned())).map_err(Cow::into_owned)
    }
    Ok(match unpack(body)? {
        Kept::Snapshot(snapshot) => {
            let snapshot = snapshot.into_owned();
            let whole = match (&snapshot.since, &known) {
                (_, Some(known)) => snapshot.onto(known),
                (None, None) => Some(snapshot),
                (Some(_), None) => None,
            };
            let whole = Arc::new(whole.ok_or(Unread::Alone)?);
            *known = Some(Arc::clone(&whole));
            Told::Snapshot(whole)
        }
        Kept::Chain { name, chain } => Told::Chain { name: name.into_owned(), chain: owned(chain) },
        Kept::Events(events) => Told::Events(events.map(Cow::into_owned)),
        Kept::Groups(groups) => Told::Groups(owned(groups)),
        Kept::Clients(clients) => Told::Clients(owned(clients)),
        Kept::Group { name, group } => Told::Group { name: name.into_owned(), group: owned(group) },
        Kept::Lost { why, next_at_ms } => {
            Told::Lost { why: why.into_owned(), next_at: UptimeMs(next_at_ms) }
        }
        Kept::Nothing => return Err(Unread::Damaged("it says nothing".to_owned())),
    })
}

/// Counts what goes through, and stops at what no reader would take.
struct Capped<W> {
    inner: W,
    room: usize,
}

impl<W: Write> Write for Capped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn unpack(body: &[u8]) -> Result<Kept<'static>, Unread> {
    let damaged = |why: &dyn std::fmt::Display| Unread::Damaged(why.to_string());
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(body).map_err(|why| damaged(&why))?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|why| damaged(&why))?;
    let mut plain = Vec::new();
    let one_more = u64::try_from(PLAIN_MAX).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(one_more).read_to_end(&mut plain).map_err(|why| damaged(&why))?;
    if plain.len() > PLAIN_MAX {
        return Err(Unread::TooLarge);
    }
    serde_json::from_slice(&plain).map_err(|why| damaged(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_to_more_than_any_record_is_refused() {
        let bomb = zstd::stream::encode_all(&vec![b' '; PLAIN_MAX + 1][..], 1).unwrap();
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        assert_eq!(told(&bomb, &mut None).unwrap_err(), Unread::TooLarge);
    }

    #[test]
    fn a_body_that_is_none_is_damaged() {
        let nothing = zstd::stream::encode_all(&b"\"Nothing\""[..], 1).unwrap();
        for body in [&b""[..], b"{}", &nothing] {
            assert!(matches!(told(body, &mut None), Err(Unread::Damaged(_))), "{body:?}");
        }
    }
}
