//! Server-sent events out of bytes, whoever sent those. Pure, and bounded in what it keeps.

/// The longest message that is read: a whole snapshot of a large cluster.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Its name; empty where it has none.
    pub name: String,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// What it says.
    pub data: Vec<u8>,
}

/// A line, or a message, is longer than any of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than {MESSAGE_BYTES_MAX} bytes")]
pub struct TooLong;

/// Takes bytes as they come and gives the messages that are whole.
///
/// Lines end with LF or CR LF. What is no field that we know is passed over, comments too; an id
/// holds for the messages after it, as the format has it, but is given with its own only.
#[derive(Debug, Default)]
pub struct Frames {
    /// The bytes of the last line, as far as they are there.
    line: Vec<u8>,
    frame: Frame,
    /// Whether the message has a data line: without one it is none.
    has_data: bool,
}

impl Frames {
    /// Takes bytes; what they complete goes to `out`.
    ///
    /// # Errors
    /// [`TooLong`]; nothing is to be read after it.
    pub fn take(&mut self, mut bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), TooLong> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() {
                self.finish(out);
            } else {
                self.field(line)?;
            }
        }
        self.keep(bytes)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + self.frame.data.len() + bytes.len() > MESSAGE_BYTES_MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Frame>) {
        let frame = std::mem::take(&mut self.frame);
        // An id alone counts: the sender says how far it is.
        if std::mem::take(&mut self.has_data) || frame.id.is_some() {
            out.push(frame);
        }
    }

    fn field(&mut self, mut line: Vec<u8>) -> Result<(), TooLong> {
        let colon = line.iter().position(|byte| *byte == b':');
        if !self.has_data && line.starts_with(b"data:") {
            // The line becomes the message: it may be as long as there are any.
            let begin = if line.get(5) == Some(&b' ') { 6 } else { 5 };
            line.drain(..begin);
            (self.frame.data, self.has_data) = (line, true);
            return Ok(());
        }
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.frame.name = String::from_utf8_lossy(value).into_owned(),
            b"id" => self.frame.id = Some(String::from_utf8_lossy(value).into_owned()),
            b"data" => {
                if self.frame.data.len() + value.len() + 1 > MESSAGE_BYTES_MAX {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.frame.data.push(b'\n');
                }
                self.has_data = true;
                self.frame.data.extend_from_slice(value);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<Frame>, TooLong> {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.take(piece, &mut out)?;
        }
        Ok(out)
    }

    fn frame(name: &str, id: Option<&str>, data: &str) -> Frame {
        Frame { name: name.into(), id: id.map(str::to_owned), data: data.into() }
    }

    #[test]
    fn a_message_is_what_stands_before_a_blank_line() {
        for (bytes, expected) in [
            ("event: a\nid: 7\ndata: {}\n\n", vec![frame("a", Some("7"), "{}")]),
            ("event:a\r\ndata:x\r\ndata: y\r\n\r\n", vec![frame("a", None, "x\ny")]),
            (":\n\n: comment\nretry: 5\n\ndata\n\n", vec![frame("", None, "")]),
            (":\nid: 9\n\n", vec![frame("", Some("9"), "")]),
            ("event: a\n\ndata: 1\n\ndata: cut", vec![frame("", None, "1")]),
            ("data: \u{fffd}\nid: \u{fffd}\n\n", vec![frame("", Some("\u{fffd}"), "\u{fffd}")]),
        ] {
            assert_eq!(read(&[bytes.as_bytes()]).unwrap(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_kept() {
        let piece = vec![b'x'; 1 << 20];
        let mut pieces = vec![&b"data: "[..]];
        pieces.extend(vec![&*piece; 65]);
        assert_eq!(read(&pieces), Err(TooLong));
        let mut line = b"data: ".to_vec();
        line.extend_from_slice(&piece);
        line.push(b'\n');
        assert_eq!(read(&vec![&*line; 65]), Err(TooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever comes, in whatever pieces, is read the same and kept to its own length.
        #[test]
        fn any_bytes_are_read_the_same_in_any_pieces(
            bytes in proptest::collection::vec(
                prop_oneof![
                    Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'), any::<u8>()
                ],
                0..400,
            ),
            cuts in proptest::collection::vec(0_usize..400, 0..8),
            with_field in any::<bool>(),
        ) {
            let mut all = if with_field { b"event: x\ndata: ".to_vec() } else { Vec::new() };
            all.extend(bytes);
            let whole = read(&[&all]).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
            cuts.extend([0, all.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|two| &all[two[0]..two[1]]).collect();
            prop_assert_eq!(&read(&pieces).unwrap(), &whole);
            let kept: usize = whole.iter().map(|frame| frame.data.len()).sum();
            prop_assert!(kept <= all.len());
        }
    }
}
