//! Kafka's fields, read with bounds and written.

use super::DecodeError;

/// Takes fields off the front of a key or a value.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// What is read, for errors.
    what: &'static str,
    /// Lengths are varints, and tagged fields may follow (KIP-482).
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what, flexible: false }
    }

    /// From here on lengths are varints.
    pub(super) const fn set_flexible(&mut self) {
        self.flexible = true;
    }

    const fn cut(&self) -> DecodeError {
        DecodeError::Cut(self.what)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.cut())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// An unsigned varint of at most 32 bits.
    fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.cut())
    }

    /// A length; `None` is null. `wide` lengths have 32 bits where they are no varints.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, DecodeError> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else if wide {
            i64::from(self.i32()?)
        } else {
            i64::from(self.i16()?)
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_negative| self.cut()),
        }
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(self.cut())?;
        self.rest = rest;
        Ok(taken)
    }

    /// A text, or null. A varint can say a length that the versions we write cannot.
    pub(super) fn nullable_text(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        if i16::try_from(length).is_err() {
            return Err(self.cut());
        }
        let text = str::from_utf8(self.slice(length)?);
        let text = text.map_err(|_damaged| DecodeError::Text(self.what))?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn text(&mut self) -> Result<String, DecodeError> {
        self.nullable_text()?.ok_or(self.cut())
    }

    pub(super) fn blob(&mut self) -> Result<bytes::Bytes, DecodeError> {
        let length = self.length(true)?.ok_or(self.cut())?;
        Ok(bytes::Bytes::copy_from_slice(self.slice(length)?))
    }

    /// How many elements an array has; each takes a byte at least, so no more than there are bytes.
    pub(super) fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.length(true)?.ok_or(self.cut())?;
        if count > self.rest.len() { Err(self.cut()) } else { Ok(count) }
    }

    /// Passes over the tagged fields of a struct, where there may be some.
    pub(super) fn tags(&mut self) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            let length = usize::try_from(length).map_err(|_too_long| self.cut())?;
            self.slice(length)?;
        }
        Ok(())
    }
}

/// Appends a text, its length in an i16 before it.
///
/// # Panics
/// When it is longer than an i16 says: names are bounded where they come in and where they are read.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).expect("names and metadata are bounded on their way in");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a text, or -1.
pub(super) fn put_nullable_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.extend_from_slice(&(-1_i16).to_be_bytes()),
    }
}

/// Appends bytes, their length in an i32 before them.
///
/// # Panics
/// When they are 2 GiB or more.
pub(super) fn put_blob(out: &mut Vec<u8>, blob: &[u8]) {
    let length = i32::try_from(blob.len()).expect("what a member brings is bounded");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(blob);
}
