//! Entries as records of a Kafka record batch, so that other tools can read the files.
//!
//! ```text
//! varint length · i8 0 · varint 0 · varint offset delta · varint -1 (no key)
//! varint value length · value · varint 0 (no headers)
//! ```
//!
//! Varints are zigzag LEB128, as in Kafka's record format, version 2.

use bytes::Bytes;

/// One record, without key, headers or a time of its own.
pub(super) fn encode(delta: i32, value: &[u8], into: &mut Vec<u8>) {
    let length = i64::try_from(value.len()).expect("a slice's length fits");
    let mut head = vec![0, 0];
    put_varint(i64::from(delta), &mut head);
    put_varint(-1, &mut head);
    put_varint(length, &mut head);
    let total = i64::try_from(head.len()).expect("a head is short") + length + 1;
    put_varint(total, into);
    into.extend_from_slice(&head);
    into.extend_from_slice(value);
    into.push(0);
}

/// The values of a batch's records, in order; nothing when they are not of this form.
pub(super) fn decode(records: &Bytes, count: usize) -> Option<Vec<Bytes>> {
    let mut values = Vec::new();
    let mut at = 0;
    for delta in 0..count {
        let length = usize::try_from(varint(records, &mut at)?).ok()?;
        let end = at.checked_add(length).filter(|end| *end <= records.len())?;
        at += 1;
        let (time, own_delta) = (varint(records, &mut at)?, varint(records, &mut at)?);
        let key = varint(records, &mut at)?;
        if time != 0 || usize::try_from(own_delta) != Ok(delta) || key != -1 {
            return None;
        }
        let value = usize::try_from(varint(records, &mut at)?).ok()?;
        let value_end = at.checked_add(value).filter(|value_end| *value_end < end)?;
        values.push(records.slice(at..value_end));
        at = end;
    }
    (at == records.len()).then_some(values)
}

fn put_varint(number: i64, into: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        into.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    into.push(rest.to_le_bytes()[0]);
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_and_a_cut_is_noticed() {
        let entries: [&[u8]; 3] = [b"", b"one", &[7; 300]];
        let mut records = Vec::new();
        for (delta, entry) in (0..).zip(entries) {
            encode(delta, entry, &mut records);
        }
        let records = Bytes::from(records);
        assert_eq!(decode(&records, 3).unwrap(), entries);
        assert_eq!(decode(&records, 2), None);
        for cut in 0..records.len() {
            assert_eq!(decode(&records.slice(..cut), 3), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_varint_is_kafkas() {
        for (number, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (64, &[0x80, 1])] {
            let mut encoded = Vec::new();
            put_varint(number, &mut encoded);
            assert_eq!(encoded, bytes);
            assert_eq!(varint(bytes, &mut 0), Some(number));
        }
    }
}
