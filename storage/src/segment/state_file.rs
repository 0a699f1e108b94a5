//! The file beside a log in which the segment's user keeps what must cross a seal.
//!
//! ```text
//! 0 "WLST" · 4 u16 version · 6 u16 0 · 8 u64 payload bytes · 16 u32 CRC-32C of the payload
//! 20 u32 CRC-32C of bytes 0..20 · 24 payload
//! ```
//!
//! All numbers are little-endian. What the payload means is its writer's business. It is durable
//! in the WAL before the file is replaced, and the file is written anew from there when the
//! power goes in between.

use bytes::Bytes;
use walrus_types::batch::crc32c;

use super::sizes::in_file;

const MAGIC: [u8; 4] = *b"WLST";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 24;
/// The longest file that is read back.
pub(crate) const FILE_BYTES_MAX: u64 = 256 << 20;

/// A whole state file.
pub(crate) fn encode(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&in_file(payload.len()).to_le_bytes());
    bytes.extend_from_slice(&crc32c(payload).to_le_bytes());
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of a state file, or nothing when the file is not whole.
pub(crate) fn decode(bytes: Vec<u8>) -> Option<Bytes> {
    let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let field = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let (payload_crc, header_crc) = (u32::from_le_bytes(field(16)), u32::from_le_bytes(field(20)));
    let [version_low, version_high] = VERSION.to_le_bytes();
    let whole = header_crc == crc32c(&header[..20])
        && header[..6] == [b'W', b'L', b'S', b'T', version_low, version_high]
        && header[8..16] == in_file(payload.len()).to_le_bytes()
        && payload_crc == crc32c(payload);
    whole.then(|| Bytes::from(bytes).slice(HEADER_BYTES..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_whole_or_not_at_all() {
        let payload = b"sequences of two producers";
        let good = encode(payload);
        assert_eq!(decode(good.clone()).as_deref(), Some(&payload[..]));
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            // Two bytes of the header are not used and covered all the same.
            assert_eq!(decode(flipped), None, "byte {at}");
            assert_eq!(decode(good[..at].to_vec()), None, "cut at {at}");
        }
    }
}
