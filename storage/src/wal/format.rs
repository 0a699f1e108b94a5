//! The bytes of a group: what one durable write holds.
//!
//! ```text
//!  0         72                    72 + heads_bytes           used            bytes
//!  | header  | head, head, head .. | body, body, body ..      | zeros         |
//! ```
//!
//! All heads stand in front, so what a group held is known even where a body is damaged. Every
//! byte is covered once: the header by its own checksum, the heads together by one in the header
//! and each by its own, a body by one in its head, and the rest must be zero.
//!
//! A ring's random id stands in every header and is mixed into every head: bytes that a producer
//! sends cannot pass for a group or a head, for it does not know the id.
//!
//! Little-endian throughout. Owns no file and no position; `recover.rs` finds groups, `core.rs`
//! decides where they go.

use crc_fast::crc32_iscsi;

use super::{Entry, Lsn};
use crate::disk::ALIGN_BYTES;

/// The length of a group's header.
pub(crate) const HEADER_BYTES: usize = 72;

/// The length of an entry's head before the user's bytes.
pub(crate) const HEAD_FIXED_BYTES: usize = 28;

/// Entries that one group can hold: they are counted in 16 bits.
pub(crate) const ENTRIES_MAX: usize = 65_535;

const MAGIC: [u8; 4] = *b"WGr\x01";

/// What a group says about itself and about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which ring it belongs to.
    pub(crate) ring_id: u64,
    /// Its number.
    pub(crate) lsn: Lsn,
    /// How many times the log had moved on to another file.
    pub(crate) turn: u64,
    /// How many times the ring had been opened: groups that an earlier run left behind a cut do
    /// not continue what a later run wrote there.
    pub(crate) run: u32,
    /// Every group up to this one was durable when this one was written.
    pub(crate) durable: Lsn,
    /// Nothing below was needed any more.
    pub(crate) released: Lsn,
    /// How many entries it holds.
    pub(crate) entries: u32,
    /// The length of all heads.
    pub(crate) heads_bytes: u32,
    /// The length without the zeros at the end.
    pub(crate) used: u32,
    /// The whole length, a multiple of [`ALIGN_BYTES`].
    pub(crate) bytes: u32,
}

/// What an entry adds to its group.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    HEAD_FIXED_BYTES + entry.head.as_slice().len() + entry.body.len()
}

/// Writes a group's entries into `buffer` and answers its header, complete but for nothing.
///
/// `header` names the group; its lengths are set here. The buffer must be long enough.
pub(crate) fn encode<'a>(
    buffer: &mut [u8],
    mut header: Header,
    entries: impl Iterator<Item = &'a Entry> + Clone,
) -> Header {
    let heads_bytes: usize =
        entries.clone().map(|entry| HEAD_FIXED_BYTES + entry.head.as_slice().len()).sum();
    let salt = salt(header.ring_id, header.lsn, header.run);
    let mut head_at = HEADER_BYTES;
    let mut body_at = HEADER_BYTES + heads_bytes;
    let mut count = 0u16;
    for entry in entries {
        buffer[body_at..body_at + entry.body.len()].copy_from_slice(&entry.body);
        let head = Head {
            body_crc: crc32_iscsi(&entry.body),
            body_bytes: u32_of(entry.body.len()),
            body_at: u32_of(body_at),
            index: count,
            kind: entry.kind,
        };
        let head_end = head_at + HEAD_FIXED_BYTES + entry.head.as_slice().len();
        head.write(&mut buffer[head_at..head_end], salt, entry.head.as_slice());
        head_at = head_end;
        body_at += entry.body.len();
        count = count.checked_add(1).expect("the planner never packs more than ENTRIES_MAX");
    }
    let bytes = body_at.next_multiple_of(ALIGN_BYTES);
    buffer[body_at..bytes].fill(0);
    header.entries = u32::from(count);
    header.heads_bytes = u32_of(heads_bytes);
    header.used = u32_of(body_at);
    header.bytes = u32_of(bytes);
    header.write(buffer);
    header
}

impl Header {
    /// Puts the header in front of heads that are there already.
    fn write(&self, buffer: &mut [u8]) {
        let heads_end = HEADER_BYTES + self.heads_bytes as usize;
        let heads_crc = crc32_iscsi(&buffer[HEADER_BYTES..heads_end]);
        buffer[0..4].copy_from_slice(&MAGIC);
        buffer[8..12].copy_from_slice(&heads_crc.to_le_bytes());
        buffer[12..16].copy_from_slice(&self.entries.to_le_bytes());
        buffer[16..20].copy_from_slice(&self.heads_bytes.to_le_bytes());
        buffer[20..24].copy_from_slice(&self.used.to_le_bytes());
        buffer[24..28].copy_from_slice(&self.bytes.to_le_bytes());
        buffer[28..32].copy_from_slice(&self.run.to_le_bytes());
        buffer[32..40].copy_from_slice(&self.ring_id.to_le_bytes());
        buffer[40..48].copy_from_slice(&self.lsn.0.to_le_bytes());
        buffer[48..56].copy_from_slice(&self.turn.to_le_bytes());
        buffer[56..64].copy_from_slice(&self.durable.0.to_le_bytes());
        buffer[64..72].copy_from_slice(&self.released.0.to_le_bytes());
        let header_crc = crc32_iscsi(&buffer[8..HEADER_BYTES]);
        buffer[4..8].copy_from_slice(&header_crc.to_le_bytes());
    }

    /// The header at the start of `bytes`, when there is one of this ring and it is whole.
    ///
    /// Its lengths are consistent with each other, so a reader may use them after it has checked
    /// `bytes` against the file.
    pub(crate) fn parse(bytes: &[u8], ring_id: u64) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        if header[0..4] != MAGIC || crc32_iscsi(&header[8..]) != u32_at(header, 4) {
            return None;
        }
        let found = Self {
            ring_id: u64_at(header, 32),
            lsn: Lsn(u64_at(header, 40)),
            turn: u64_at(header, 48),
            run: u32_at(header, 28),
            durable: Lsn(u64_at(header, 56)),
            released: Lsn(u64_at(header, 64)),
            entries: u32_at(header, 12),
            heads_bytes: u32_at(header, 16),
            used: u32_at(header, 20),
            bytes: u32_at(header, 24),
        };
        (found.ring_id == ring_id && found.is_consistent()).then_some(found)
    }

    /// Whether the numbers can be true of any group. The checksum says that we wrote them, so
    /// this only keeps a mistake of ours from being followed.
    fn is_consistent(&self) -> bool {
        let entries = u64::from(self.entries);
        let heads_bytes = u64::from(self.heads_bytes);
        let used = u64::from(self.used);
        let bytes = u64::from(self.bytes);
        bytes.is_multiple_of(ALIGN_BYTES as u64)
            && used <= bytes
            && HEADER_BYTES as u64 + heads_bytes <= used
            && entries * HEAD_FIXED_BYTES as u64 <= heads_bytes
            && entries <= ENTRIES_MAX as u64
            && self.lsn > Lsn::ZERO
            && self.durable < self.lsn
            && self.released <= self.durable.next()
            && self.lsn.0 < u64::MAX / 2
            && self.turn < u64::MAX / 2
            && self.run < u32::MAX
    }
}

/// An entry's head without the user's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) body_crc: u32,
    pub(crate) body_bytes: u32,
    /// From the group's start.
    pub(crate) body_at: u32,
    /// Its place among the group's entries.
    pub(crate) index: u16,
    pub(crate) kind: u8,
}

impl Head {
    /// Where the salt stands in a head.
    pub(crate) const SALT_AT: usize = 16;

    /// The length of a head with the user's part of it.
    pub(crate) const fn bytes(user: &[u8]) -> usize {
        HEAD_FIXED_BYTES + user.len()
    }

    fn write(&self, out: &mut [u8], salt: u64, user: &[u8]) {
        out[4..8].copy_from_slice(&self.body_crc.to_le_bytes());
        out[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.body_at.to_le_bytes());
        out[16..24].copy_from_slice(&salt.to_le_bytes());
        out[24..26].copy_from_slice(&self.index.to_le_bytes());
        out[26] = self.kind;
        out[27] = u8::try_from(user.len()).expect("a head is at most 80 bytes");
        out[HEAD_FIXED_BYTES..].copy_from_slice(user);
        let crc = crc32_iscsi(&out[4..]);
        out[0..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// The head at the start of `bytes` with the user's part of it, when it is whole and of the
    /// group that `salt` stands for.
    pub(crate) fn parse(bytes: &[u8], salt: u64) -> Option<(Self, &[u8])> {
        let fixed = bytes.get(..HEAD_FIXED_BYTES)?;
        if u64_at(fixed, 16) != salt {
            return None;
        }
        let whole = bytes.get(..HEAD_FIXED_BYTES + usize::from(fixed[27]))?;
        if crc32_iscsi(&whole[4..]) != u32_at(fixed, 0) {
            return None;
        }
        let head = Self {
            body_crc: u32_at(fixed, 4),
            body_bytes: u32_at(fixed, 8),
            body_at: u32_at(fixed, 12),
            index: u16::from_le_bytes([fixed[24], fixed[25]]),
            kind: fixed[26],
        };
        Some((head, &whole[HEAD_FIXED_BYTES..]))
    }

    /// Where the body lies in its group, when it is there and its checksum holds.
    pub(crate) fn intact_body(&self, group: &[u8]) -> Option<std::ops::Range<usize>> {
        let start = self.body_at as usize;
        let range = start..start.checked_add(self.body_bytes as usize)?;
        (crc32_iscsi(group.get(range.clone())?) == self.body_crc).then_some(range)
    }
}

/// What stands in every head of a group and in no other group's.
pub(crate) fn salt(ring_id: u64, lsn: Lsn, run: u32) -> u64 {
    ring_id
        ^ lsn.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ u64::from(run).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
}

/// Whether every byte of a group is as it was written. `group` is as long as `header` says.
pub(crate) fn is_whole(group: &[u8], header: &Header) -> bool {
    let heads_end = HEADER_BYTES + header.heads_bytes as usize;
    let used = header.used as usize;
    if crc32_iscsi(&group[HEADER_BYTES..heads_end]) != u32_at(group, 8)
        || group[used..].iter().any(|byte| *byte != 0)
    {
        return false;
    }
    let mut found = 0;
    let bodies_are_whole = heads(group, header).all(|(head, _)| {
        found += 1;
        head.intact_body(group).is_some()
    });
    bodies_are_whole && found == header.entries
}

/// The heads of a group, up to the first one that is damaged.
pub(crate) fn heads<'a>(
    group: &'a [u8],
    header: &Header,
) -> impl Iterator<Item = (Head, &'a [u8])> {
    let salt = salt(header.ring_id, header.lsn, header.run);
    let heads_end = HEADER_BYTES + header.heads_bytes as usize;
    let mut rest = &group[HEADER_BYTES..heads_end.min(group.len())];
    let mut left = header.entries;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let (head, user) = Head::parse(rest, salt)?;
        rest = &rest[HEAD_FIXED_BYTES + user.len()..];
        Some((head, user))
    })
}

/// A length inside a group. A group lies in a file of at most 1 GiB.
fn u32_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a group is shorter than a ring file, which is at most 1 GiB")
}

/// The number at `at`, which the caller has checked to lie inside.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

/// The number at `at`, which the caller has checked to lie inside.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wal::EntryHead;

    const RING: u64 = 0x5EED;

    fn header(lsn: u64) -> Header {
        Header {
            ring_id: RING,
            lsn: Lsn(lsn),
            turn: 3,
            run: 2,
            durable: Lsn(lsn - 1),
            released: Lsn(1),
            entries: 0,
            heads_bytes: 0,
            used: 0,
            bytes: 0,
        }
    }

    fn entries() -> Vec<Entry> {
        [("first", 10), ("", 0), ("third", 5000)]
            .into_iter()
            .enumerate()
            .map(|(index, (head, bytes))| Entry {
                kind: 16 + u8::try_from(index).unwrap(),
                head: EntryHead::new(head.as_bytes()),
                body: Bytes::from(vec![u8::try_from(index).unwrap() + 1; bytes]),
            })
            .collect()
    }

    fn group() -> (Vec<u8>, Header) {
        let mut buffer = vec![0xAA; 4 * ALIGN_BYTES];
        let entries = entries();
        let written = encode(&mut buffer, header(7), entries.iter());
        buffer.truncate(written.bytes as usize);
        (buffer, written)
    }

    #[test]
    fn a_group_is_read_back_as_it_was_written() {
        let (bytes, written) = group();
        let found = Header::parse(&bytes, RING).unwrap();
        assert_eq!(found, written);
        assert!(is_whole(&bytes, &found));
        let read: Vec<_> = heads(&bytes, &found)
            .map(|(head, user)| {
                (head.kind, user.to_vec(), bytes[head.intact_body(&bytes).unwrap()].to_vec())
            })
            .collect();
        let expected: Vec<_> = entries()
            .iter()
            .map(|entry| (entry.kind, entry.head.as_slice().to_vec(), entry.body.to_vec()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_group_with_any_bit_flipped_is_not_whole() {
        let (bytes, _) = group();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let whole =
                Header::parse(&flipped, RING).is_some_and(|found| is_whole(&flipped, &found));
            assert!(!whole, "a flip at {at} went unseen");
        }
    }

    #[test]
    fn a_damaged_body_leaves_every_head_readable() {
        let (mut bytes, written) = group();
        let last = written.used as usize - 1;
        bytes[last] ^= 1;
        let found = Header::parse(&bytes, RING).unwrap();
        let intact: Vec<_> =
            heads(&bytes, &found).map(|(head, _)| head.intact_body(&bytes).is_some()).collect();
        assert_eq!(intact, [true, true, false]);
    }

    #[test]
    fn a_group_of_another_ring_is_no_group() {
        let (bytes, _) = group();
        assert_eq!(Header::parse(&bytes, RING + 1), None);
    }

    #[test]
    fn cut_off_bytes_are_no_group() {
        let (bytes, _) = group();
        for bytes_kept in 0..HEADER_BYTES {
            assert_eq!(Header::parse(&bytes[..bytes_kept], RING), None);
        }
    }
}
