//! The text protocol, and telling apart who speaks what on the client port.
//!
//! A command and its reply are each a frame: four bytes of length, **little-endian**, then so
//! many bytes.
//!
//! ```text
//!  REGISTER <topic>          makes a topic                OK
//!  PUT <topic> <payload>     appends; bytes as they are   OK
//!  GET <topic>               the next entry               OK <payload> · EMPTY
//!  STATE <topic>             JSON                         OK <payload>
//!  METRICS                   JSON                         OK <payload>
//!                            whatever went wrong          ERR <message>
//! ```
//!
//! The payload begins after the one blank that ends the topic and reaches to the frame's end:
//! it may be empty, be no text at all, and begin or end with blanks.
//!
//! Owns the form of frames, commands and replies; what a command does is the shell's.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::frame::{LENGTH_BYTES, Measure};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A Kafka client.
    Kafka,
    /// The text protocol.
    Text,
    /// A browser or a probe that means the admin port.
    Http,
    /// A client that was told to encrypt.
    Tls,
    /// Nobody we know.
    Unknown,
}

/// Tells from a connection's first bytes who speaks; `None` until there are enough, which is
/// five, or six in one case.
///
/// The fifth byte decides: the high byte of Kafka's api key is 0, a text command begins with a
/// letter. Methods of HTTP and the head of a TLS record come first, for as a length they are over
/// every limit. But for one: a TLS record of under 256 bytes may begin like a text frame of 64 to
/// 65 KiB, and there the sixth byte, which in a ClientHello is 1, decides.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Option<Protocol> {
    const METHODS: [&[u8; 4]; 10] =
        [b"GET ", b"PUT ", b"HEAD", b"POST", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI "];
    let (start, rest) = bytes.split_first_chunk::<4>()?;
    let (fifth, rest) = rest.split_first()?;
    if METHODS.contains(&start) {
        return Some(Protocol::Http);
    }
    if matches!(start, [0x16, 3, 0..=4, _]) {
        return match rest.first() {
            Some(1) => Some(Protocol::Tls),
            Some(_) if fifth.is_ascii_alphabetic() => Some(Protocol::Text),
            Some(_) => Some(Protocol::Unknown),
            None => None,
        };
    }
    Some(match fifth {
        0 => Protocol::Kafka,
        letter if letter.is_ascii_alphabetic() => Protocol::Text,
        _ => Protocol::Unknown,
    })
}

/// A command, its parts slices of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Make a topic.
    Register {
        /// Its name: UTF-8 without blanks, else unjudged.
        topic: &'a str,
    },
    /// Append an entry.
    Put {
        /// Where to.
        topic: &'a str,
        /// The entry.
        payload: &'a [u8],
    },
    /// Read the next entry.
    Get {
        /// Where from.
        topic: &'a str,
    },
    /// How a topic stands.
    State {
        /// Which.
        topic: &'a str,
    },
    /// How Raft stands.
    Metrics,
}

/// Why a frame or command is refused. The text follows `ERR `.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The frame is longer than allowed. What it holds must be skipped, or the connection closed.
    #[error("invalid frame length: {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What it says.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The first word is none of ours.
    #[error("unknown command: expected REGISTER, PUT, GET, STATE or METRICS")]
    UnknownCommand,
    /// A command without the topic it needs.
    #[error("{0} needs a topic")]
    NoTopic(&'static str),
    /// Something follows where nothing may.
    #[error("{0} takes nothing after its topic")]
    TooMuch(&'static str),
    /// The topic is no text.
    #[error("invalid utf-8 in the topic")]
    NotUtf8,
}

/// Judges the frame that begins at the start of `bytes`.
///
/// # Errors
/// [`TextError::TooLarge`], with the limit.
pub fn measure(bytes: &[u8], limit: usize) -> Result<Measure, TextError> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else {
        return Ok(Measure::Need(LENGTH_BYTES));
    };
    let length =
        usize::try_from(u32::from_le_bytes(*length)).expect("an address has 32 bits or more");
    if length > limit {
        return Err(TextError::TooLarge { bytes: length, limit });
    }
    Ok(Measure::Frame(LENGTH_BYTES + length))
}

/// Parses a frame without its length. Commands may be in lower case.
///
/// # Errors
/// [`TextError`], to be sent as [`Reply::Err`]; the connection goes on.
pub fn parse(frame: &[u8]) -> Result<Command<'_>, TextError> {
    let (word, rest) = split_word(frame);
    if word.eq_ignore_ascii_case(b"PUT") {
        let (topic, payload) = split_word(rest);
        return Ok(Command::Put { topic: topic_of("PUT", topic)?, payload });
    }
    let alone = |command: &'static str| {
        let (topic, more) = split_word(rest.trim_ascii_end());
        if !more.is_empty() {
            return Err(TextError::TooMuch(command));
        }
        topic_of(command, topic)
    };
    if word.eq_ignore_ascii_case(b"GET") {
        Ok(Command::Get { topic: alone("GET")? })
    } else if word.eq_ignore_ascii_case(b"REGISTER") {
        Ok(Command::Register { topic: alone("REGISTER")? })
    } else if word.eq_ignore_ascii_case(b"STATE") {
        Ok(Command::State { topic: alone("STATE")? })
    } else if frame.trim_ascii_end().eq_ignore_ascii_case(b"METRICS") {
        Ok(Command::Metrics)
    } else {
        Err(TextError::UnknownCommand)
    }
}

/// The bytes up to the first blank, and those after it.
fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b' ') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

fn topic_of<'a>(command: &'static str, topic: &'a [u8]) -> Result<&'a str, TextError> {
    if topic.is_empty() {
        return Err(TextError::NoTopic(command));
    }
    str::from_utf8(topic).map_err(|_not_utf8| TextError::NotUtf8)
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// It is done.
    Ok,
    /// It is done, and this came of it. An empty payload keeps its blank: `OK `.
    Payload(&'a [u8]),
    /// There is no entry.
    Empty,
    /// It is not done.
    Err(&'a str),
}

impl Reply<'_> {
    /// The whole frame.
    ///
    /// # Panics
    /// When a payload has 4 GiB or more, which no entry has.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let (word, rest): (&[u8], &[u8]) = match self {
            Self::Ok => (b"OK", b""),
            Self::Payload(payload) => (b"OK ", payload),
            Self::Empty => (b"EMPTY", b""),
            Self::Err(message) => (b"ERR ", message.as_bytes()),
        };
        let length = word.len() + rest.len();
        let mut frame = BytesMut::with_capacity(LENGTH_BYTES + length);
        frame.put_u32_le(u32::try_from(length).expect("an entry is below the frame limit"));
        frame.put_slice(word);
        frame.put_slice(rest);
        frame.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: &[u8], expected: Result<Command<'_>, TextError>) {
        assert_eq!(parse(frame), expected, "{:?}", String::from_utf8_lossy(frame));
    }

    #[test]
    fn commands_are_read() {
        check(b"REGISTER logs", Ok(Command::Register { topic: "logs" }));
        check(b"GET logs", Ok(Command::Get { topic: "logs" }));
        check(b"state logs\n", Ok(Command::State { topic: "logs" }));
        check(b"METRICS", Ok(Command::Metrics));
        check(b"METRICS\r\n", Ok(Command::Metrics));
    }

    #[test]
    fn a_payload_is_kept_byte_for_byte() {
        for payload in [&b"x"[..], b"", b" ", b"  a b\n", b"\0\xff\xfe", b"OK", b"\r\n"] {
            let frame = [b"PUT logs ", payload].concat();
            check(&frame, Ok(Command::Put { topic: "logs", payload }));
        }
        check(b"PUT logs", Ok(Command::Put { topic: "logs", payload: b"" }));
    }

    #[test]
    fn what_is_no_command_says_why() {
        check(b"", Err(TextError::UnknownCommand));
        check(b"FETCH logs 0 0", Err(TextError::UnknownCommand));
        check(b"METRICS now", Err(TextError::UnknownCommand));
        check(b"GET", Err(TextError::NoTopic("GET")));
        check(b"GET  logs", Err(TextError::TooMuch("GET")));
        check(b"PUT  payload", Err(TextError::NoTopic("PUT")));
        check(b"REGISTER a b", Err(TextError::TooMuch("REGISTER")));
        check(b"STATE \xff", Err(TextError::NotUtf8));
    }

    #[test]
    fn lengths_are_little_endian_and_limited() {
        assert_eq!(measure(&[5, 0, 0], 10), Ok(Measure::Need(4)));
        assert_eq!(measure(&[5, 0, 0, 0], 10), Ok(Measure::Frame(9)));
        assert_eq!(measure(&[10, 0, 0, 0, b'G'], 10), Ok(Measure::Frame(14)));
        let error = measure(&[11, 0, 0, 0], 10).unwrap_err();
        assert_eq!(error, TextError::TooLarge { bytes: 11, limit: 10 });
        assert!(error.to_string().contains("limit is 10"));
        assert!(measure(&[0xff; 4], 10).is_err());
    }

    #[test]
    fn replies_are_frames() {
        for (reply, text) in [
            (Reply::Ok, &b"OK"[..]),
            (Reply::Payload(b"a\0 b"), b"OK a\0 b"),
            (Reply::Payload(b""), b"OK "),
            (Reply::Empty, b"EMPTY"),
            (Reply::Err("no"), b"ERR no"),
        ] {
            let frame = reply.encode();
            assert_eq!(measure(&frame, 100), Ok(Measure::Frame(frame.len())));
            assert_eq!(frame[4..], *text);
        }
    }

    #[test]
    fn the_first_bytes_tell_who_speaks() {
        for (start, expected) in [
            (&b"\0\0\0\x20\0\x12"[..], Protocol::Kafka), // ApiVersions
            (b"\x0d\0\0\0REG", Protocol::Text),
            (b"\x05\0\0\0GET a", Protocol::Text),
            (b"\0\0\0\x01PUT a", Protocol::Text), // 16 MiB
            (b"GET / HTTP/1.1", Protocol::Http),
            (b"PUT /x", Protocol::Http),
            (b"POST /", Protocol::Http),
            (b"DELETE /", Protocol::Http),
            (b"OPTIONS *", Protocol::Http),
            (b"PRI * HTTP/2", Protocol::Http),
            (b"\x16\x03\x01\x02\x00\x01", Protocol::Tls),
            (b"\x16\x03\x01\x00P\x01", Protocol::Tls), // a short ClientHello
            (b"\x16\x03\x01\x00PUT a", Protocol::Text), // 66,326 bytes
            (b"\x05\0\0\0 GET", Protocol::Unknown),
            (b"\xff\xff\xff\xff\xff\xff", Protocol::Unknown),
            (b"SSH-2.0", Protocol::Unknown),
        ] {
            assert_eq!(sniff(start), Some(expected), "{start:?}");
            assert_eq!(sniff(&start[..4]), None);
        }
        assert_eq!(sniff(b"\x16\x03\x01\x00P"), None, "could be both");
    }
}
