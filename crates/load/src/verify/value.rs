//! A value that says who it is: which run, which partition, which number, and that it is whole.
//!
//! ```text
//!  0      4      12         16       24     32            size
//!  | WVAL | run  | partition | seq   | fnv  | filling ... |
//! ```
//! Little-endian. The check sum covers everything but itself, the filling included, so a value
//! that comes back altered anywhere is not taken for one that was sent.

/// Bytes before the filling; no value is shorter.
pub(crate) const HEAD_BYTES: usize = 32;
const MAGIC: &[u8; 4] = b"WVAL";

/// The identity of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ValueId {
    /// The producer session that made it.
    pub run: u64,
    pub partition: i32,
    /// Numbers count from 0 in each partition of a run.
    pub seq: u64,
}

impl ValueId {
    /// The value's bytes, `size` of them or [`HEAD_BYTES`] if that is more.
    pub fn encode(self, size: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(size.max(HEAD_BYTES));
        value.extend_from_slice(MAGIC);
        value.extend_from_slice(&self.run.to_le_bytes());
        value.extend_from_slice(&self.partition.to_le_bytes());
        value.extend_from_slice(&self.seq.to_le_bytes());
        value.extend_from_slice(&[0; 8]);
        let filling = self.run ^ self.seq.rotate_left(17);
        while value.len() < size {
            let rest = size - value.len();
            value.extend_from_slice(&filling.to_le_bytes()[..rest.min(8)]);
        }
        let sum = checksum(&value).to_le_bytes();
        value[24..32].copy_from_slice(&sum);
        value
    }

    /// `None` if these are not bytes that [`Self::encode`] made.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (head, _) = value.split_at_checked(HEAD_BYTES)?;
        let word = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        if !head.starts_with(MAGIC) || word(24)? != checksum(value) {
            return None;
        }
        let partition = i32::from_le_bytes(head[12..16].try_into().ok()?);
        Some(Self { run: word(4)?, partition, seq: word(16)? })
    }
}

/// FNV-1a over all bytes but the check sum's own.
fn checksum(value: &[u8]) -> u64 {
    let covered = value[..24].iter().chain(&value[HEAD_BYTES..]);
    covered.fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_it_was_and_not_when_a_bit_is_flipped() {
        let id = ValueId { run: 0xfeed_beef_0000_0001, partition: 4999, seq: u64::MAX - 3 };
        for size in [0, 32, 33, 40, 1024] {
            let value = id.encode(size);
            assert_eq!(value.len(), size.max(HEAD_BYTES));
            assert_eq!(ValueId::decode(&value), Some(id), "size {size}");
            for byte in 0..value.len() {
                let mut damaged = value.clone();
                damaged[byte] ^= 1;
                assert_eq!(ValueId::decode(&damaged), None, "size {size}, byte {byte}");
            }
        }
    }

    #[test]
    fn foreign_bytes_are_no_value() {
        for bytes in [&b""[..], b"WVAL", &[0; 32], &[b'W'; 100]] {
            assert_eq!(ValueId::decode(bytes), None);
        }
    }
}
