//! Picks out of damaged groups what is still there.
//!
//! Each head has a checksum of its own and its group's salt, so heads that are whole can be told
//! from the rest even where the group's header is gone. Owns nothing.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Lsn,
    format::{HEADER_BYTES, Head, Header, salt},
};

/// The longest stretch of runs that is tried when a group's own is not known.
const RUNS_MAX: u32 = 4;

/// Where groups are damaged.
#[derive(Debug)]
pub(crate) struct Lost<'a> {
    /// From the start of the first damaged group to the next whole one, or to the file's end.
    pub(crate) region: &'a Bytes,
    /// The number of the first damaged group.
    pub(crate) first: Lsn,
    /// Its header, when that is whole.
    pub(crate) header: Option<Header>,
}

/// An entry of a damaged group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Saved<'a> {
    pub(crate) kind: u8,
    pub(crate) head: &'a [u8],
    pub(crate) body_bytes: u32,
    /// Where its body lies in the region, when that is whole.
    pub(crate) body: Option<Range<usize>>,
}

/// The entries of the first damaged group whose heads are whole, in order.
///
/// `run` is that of the last group before, which the damaged one's cannot be below.
pub(crate) fn entries<'a>(lost: &Lost<'a>, ring_id: u64, run: u32) -> Vec<Saved<'a>> {
    let runs = lost.header.map_or(run..=run.saturating_add(RUNS_MAX), |own| own.run..=own.run);
    let mut saved = Vec::new();
    for run in runs {
        let salt = salt(ring_id, lost.first, run);
        let mut at = HEADER_BYTES;
        let heads_end = lost.header.map_or(lost.region.len(), |header| {
            lost.region.len().min(HEADER_BYTES + header.heads_bytes as usize)
        });
        while let Some(start) = find(&lost.region[..heads_end], at, salt) {
            let Some((head, user)) = Head::parse(&lost.region[start..heads_end], salt) else {
                at = start + 1;
                continue;
            };
            saved.push(Saved {
                kind: head.kind,
                head: user,
                body_bytes: head.body_bytes,
                body: head.intact_body(lost.region),
            });
            at = start + Head::bytes(user);
        }
        if !saved.is_empty() {
            break;
        }
    }
    saved
}

/// Whether anything of the first damaged group can be picked out.
pub(crate) fn is_there(lost: &Lost<'_>, ring_id: u64, run: u32) -> bool {
    !entries(lost, ring_id, run).is_empty()
}

/// Where the next head with this salt may begin, at `from` or behind.
fn find(region: &[u8], from: usize, salt: u64) -> Option<usize> {
    const SALT_AT: usize = Head::SALT_AT;
    let salt = salt.to_le_bytes();
    let behind = region.get(from + SALT_AT..)?;
    behind.windows(salt.len()).position(|window| window == salt).map(|place| from + place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::{Entry, EntryHead, format};

    const RING: u64 = 77;

    /// A group of four entries named 0 to 3, with body lengths 100, 200, 300, 400.
    fn group() -> (Vec<u8>, Header) {
        let entries: Vec<_> = (0..4u8)
            .map(|name| Entry {
                kind: 16,
                head: EntryHead::new(&[name; 40]),
                body: Bytes::from(vec![name; 100 * (usize::from(name) + 1)]),
            })
            .collect();
        let header = Header {
            ring_id: RING,
            lsn: Lsn(5),
            turn: 0,
            run: 3,
            durable: Lsn(4),
            released: Lsn(0),
            entries: 0,
            heads_bytes: 0,
            used: 0,
            bytes: 0,
        };
        let mut bytes = vec![0; 8192];
        let header = format::encode(&mut bytes, header, entries.iter());
        bytes.truncate(header.bytes as usize);
        (bytes, header)
    }

    /// Flips the byte at each of `flips` and compares who is named, with `!` for a lost body.
    #[track_caller]
    fn check(flips: &[usize], keep_header: bool, expected: &str) {
        let (mut bytes, header) = group();
        for at in flips {
            bytes[*at] ^= 0xFF;
        }
        let region = Bytes::from(bytes);
        let header = keep_header.then_some(header);
        let lost = Lost { region: &region, first: Lsn(5), header };
        let named: Vec<_> = entries(&lost, RING, 2)
            .iter()
            .map(|saved| {
                format!("{}{}", saved.head[0], if saved.body.is_some() { "" } else { "!" })
            })
            .collect();
        assert_eq!(named.join(" "), expected);
    }

    const HEAD: usize = format::HEAD_FIXED_BYTES + 40;
    const BODIES: usize = HEADER_BYTES + 4 * HEAD;

    #[test]
    fn an_entry_whose_body_is_damaged_is_still_named() {
        check(&[BODIES + 150], true, "0 1! 2 3");
    }

    #[test]
    fn a_damaged_head_hides_only_its_own_entry() {
        check(&[HEADER_BYTES + HEAD + 30], true, "0 2 3");
    }

    #[test]
    fn entries_are_named_without_the_group_header() {
        check(&[40], false, "0 1 2 3");
        check(&[40, HEADER_BYTES, BODIES], false, "1 2 3");
    }
}
