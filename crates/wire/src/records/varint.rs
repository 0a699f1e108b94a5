//! Zigzag varints, as records have them.

/// Reads a varint of at most 32 bits. `None`: cut, or too long.
pub(super) fn read_i32(rest: &mut &[u8]) -> Option<i32> {
    // Almost every length of a small record is one byte.
    if let Some((&byte, after)) = rest.split_first()
        && byte < 0x80
    {
        *rest = after;
        return Some(i32::from(byte >> 1) ^ -i32::from(byte & 1));
    }
    let raw = u32::try_from(read_raw(rest, 5)?).ok()?;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a varint of at most 64 bits. `None`: cut, or too long.
pub(super) fn read_i64(rest: &mut &[u8]) -> Option<i64> {
    let raw = read_raw(rest, 10)?;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn read_raw(rest: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let mut raw = 0_u64;
    for (at, &byte) in rest.iter().take(bytes_max).enumerate() {
        let shift = 7 * at;
        if shift == 63 && byte > 1 {
            return None;
        }
        raw |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *rest = &rest[at + 1..];
            return Some(raw);
        }
    }
    None
}

/// Reads a length and so many bytes: `Some(None)` for -1, which is null.
#[expect(clippy::option_option, reason = "damaged, null and bytes are three things")]
pub(super) fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let mut after = *rest;
    let length = read_i32(&mut after)?;
    if length == -1 {
        *rest = after;
        return Some(None);
    }
    let (bytes, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(bytes))
}

/// Appends a varint.
pub(super) fn write(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.push(raw.to_le_bytes()[0] | 0x80);
        raw >>= 7;
    }
    out.push(raw.to_le_bytes()[0]);
}

/// Appends a length and the bytes, or -1.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            let length = i32::try_from(bytes.len()).expect("a record is below the batch limit");
            write(out, length.into());
            out.extend_from_slice(bytes);
        }
        None => write(out, -1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for value in [0, 1, -1, 63, 64, -64, -65, 1 << 20, i64::MAX, i64::MIN, i64::MIN + 1] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            assert_eq!(read_i64(&mut &bytes[..]), Some(value));
            assert_eq!(read_i32(&mut &bytes[..]), i32::try_from(value).ok(), "{value}");
            for end in 0..bytes.len() {
                assert_eq!(read_i64(&mut &bytes[..end]), None, "{value} cut at {end}");
            }
        }
        for value in [i32::MIN, i32::MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, value.into());
            assert_eq!(read_i32(&mut &bytes[..]), Some(value));
        }
    }

    #[test]
    fn a_varint_without_end_or_with_too_many_bits_is_refused() {
        assert_eq!(read_i64(&mut &[0xff; 20][..]), None);
        assert_eq!(read_i32(&mut &[0xff; 20][..]), None);
        assert_eq!(read_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None);
        let mut eleven_bits = [0xff; 10];
        eleven_bits[9] = 2;
        assert_eq!(read_i64(&mut &eleven_bits[..]), None);
    }

    #[test]
    fn lengths_are_held_against_the_bytes() {
        assert_eq!(read_bytes(&mut &[1][..]), Some(None));
        assert_eq!(read_bytes(&mut &[0][..]), Some(Some(&[][..])));
        assert_eq!(read_bytes(&mut &[4, 7, 8][..]), Some(Some(&[7, 8][..])));
        assert_eq!(read_bytes(&mut &[4, 7][..]), None);
        assert_eq!(read_bytes(&mut &[3][..]), None, "-2");
    }
}
