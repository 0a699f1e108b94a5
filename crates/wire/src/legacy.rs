//! The refusal of Produce 0 to 2, in the format that such a client reads.
//!
//! These versions are advertised (see `versions.rs`) and kafka-protocol knows them no more, so
//! their few fields are read and written by hand:
//!
//! ```text
//! request   i16 acks, i32 timeout, [ string topic, [ i32 partition, bytes records ] ]
//! response  [ string topic, [ i32 partition, i16 error, i64 base offset, (2) i64 time ] ],
//!           (1, 2) i32 throttle
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    guard,
    request::{UNSUPPORTED_VERSION, header},
    versions::Api,
};

/// The whole reply that refuses every partition of the request in `frame`. `None` when there is
/// nobody to answer: another version, a malformed body, or acks=0, whose client reads no reply
/// and learns from the closed connection.
pub(crate) fn refuse_produce(version: i16, correlation_id: i32, frame: &[u8]) -> Option<Bytes> {
    if !(0..=2).contains(&version) {
        return None;
    }
    let (_, header_bytes) = header(frame, false).ok()?;
    let body = frame.get(header_bytes..)?;
    // The shape of Produce holds for these versions too: what follows walks checked bytes.
    guard::check(Api::Produce.key(), version, body)?.ok()?;
    let mut from = Reader(body);
    if from.i16()? == 0 {
        return None;
    }
    from.skip(4)?;
    let mut reply = BytesMut::with_capacity(256);
    reply.put_i32(0); // The length, known at the end.
    reply.put_i32(correlation_id);
    let topics = from.i32()?;
    reply.put_i32(topics);
    for _ in 0..topics {
        let name_bytes = from.i16()?;
        reply.put_i16(name_bytes);
        reply.put_slice(from.skip(name_bytes.into())?);
        let partitions = from.i32()?;
        reply.put_i32(partitions);
        for _ in 0..partitions {
            reply.put_i32(from.i32()?);
            reply.put_i16(UNSUPPORTED_VERSION);
            reply.put_i64(-1);
            if version == 2 {
                reply.put_i64(-1);
            }
            let records_bytes = from.i32()?;
            from.skip(records_bytes.max(0))?;
        }
    }
    if version >= 1 {
        reply.put_i32(0);
    }
    let length = i32::try_from(reply.len() - 4).ok()?;
    reply[..4].copy_from_slice(&length.to_be_bytes());
    Some(reply.freeze())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn i16(&mut self) -> Option<i16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*bytes))
    }

    fn i32(&mut self) -> Option<i32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*bytes))
    }

    fn skip(&mut self, bytes: i32) -> Option<&'a [u8]> {
        let (skipped, rest) = self.0.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.0 = rest;
        Some(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: u8, acks: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, version, 0, 0, 0, 42, 0, 1, b'c'];
        frame.extend_from_slice(&[0, acks, 0, 0, 0, 9]);
        frame.extend_from_slice(&[0, 0, 0, 1, 0, 2, b't', b'o', 0, 0, 0, 2]);
        frame.extend_from_slice(&[0, 0, 0, 5, 0, 0, 0, 3, 1, 2, 3]);
        frame.extend_from_slice(&[0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff]);
        frame
    }

    #[test]
    fn each_partition_is_refused_in_the_clients_own_format() {
        for (version, extra) in [(0_u8, 0), (1, 4), (2, 4 + 2 * 8)] {
            let reply = refuse_produce(version.into(), 42, &request(version, 1)).unwrap();
            let base = 4 + 4 + 4 + (2 + 2) + 4 + 2 * (4 + 2 + 8);
            assert_eq!(reply.len(), base + extra, "version {version}");
            assert_eq!(reply[..4], u32::try_from(base + extra - 4).unwrap().to_be_bytes());
            assert_eq!(reply[4..8], [0, 0, 0, 42]);
            assert_eq!(reply[8..20], [0, 0, 0, 1, 0, 2, b't', b'o', 0, 0, 0, 2]);
            assert_eq!(reply[20..26], [0, 0, 0, 5, 0, 35]);
        }
    }

    #[test]
    fn acks_0_other_versions_and_cut_frames_have_no_answer() {
        assert_eq!(refuse_produce(1, 42, &request(1, 0)), None);
        assert_eq!(refuse_produce(12, 42, &request(1, 1)), None);
        let whole = request(2, 1);
        for end in 0..whole.len() {
            assert_eq!(refuse_produce(2, 42, &whole[..end]), None, "cut at {end}");
        }
    }
}
