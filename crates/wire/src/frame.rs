//! Frames: how many bytes the next request takes, and how much room to make for it.
//!
//! ```text
//!  0  i32  length of what follows
//!  4  i16  api key          ┐ the header's fixed part,
//!  6  i16  api version      │ whatever its version
//!  8  i32  correlation id   ┘
//! ```
//!
//! Pure rules about lengths; the socket is the shell's. A length is judged as soon as the key
//! is known and before any room is made, and room grows with the bytes that came. Where to read
//! next: `request.rs` takes the frame without its length.

use walrus_types::limits::{CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX, FRAME_STEP_BYTES};

use crate::versions::Api;

/// Bytes of the length field.
pub const LENGTH_BYTES: usize = 4;
/// The least a request has after its length: key, version, correlation id.
pub const HEADER_BYTES_MIN: usize = 8;
/// What must have come before a frame can be judged: its length and its key.
const JUDGED_AT: usize = LENGTH_BYTES + 2;

/// How long frames may be, without their length field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// A Produce.
    pub produce: usize,
    /// Anything else.
    pub control: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { produce: FRAME_BYTES_MAX, control: CONTROL_FRAME_BYTES_MAX }
    }
}

/// What can be said of a frame's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Read until this many bytes are there, then ask again.
    Need(usize),
    /// The frame takes this many bytes with its length field.
    Frame(usize),
}

/// A frame that is refused; the connection has lost its place and is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Negative, zero, or less than any header.
    #[error("frame says it has {0} bytes, a header has at least {HEADER_BYTES_MIN}")]
    Short(i32),
    /// Over the limit of its kind.
    #[error("frame of {bytes} bytes (api key {key}) is over the limit of {limit}")]
    TooLarge {
        /// What it says.
        bytes: usize,
        /// The request's key.
        key: i16,
        /// What is allowed.
        limit: usize,
    },
}

/// Judges the frame that begins at the start of `bytes`.
///
/// # Errors
/// [`FrameError`] when the frame is shorter than a header or longer than its kind may be.
pub fn measure(bytes: &[u8], limits: FrameLimits) -> Result<Measure, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(Measure::Need(JUDGED_AT));
    };
    let length = i32::from_be_bytes(*length);
    let Some(frame) = usize::try_from(length).ok().filter(|frame| *frame >= HEADER_BYTES_MIN)
    else {
        return Err(FrameError::Short(length));
    };
    let Some(key) = rest.first_chunk::<2>() else {
        return Ok(Measure::Need(JUDGED_AT));
    };
    let key = i16::from_be_bytes(*key);
    let limit = if key == Api::Produce.key() { limits.produce } else { limits.control };
    if frame > limit {
        return Err(FrameError::TooLarge { bytes: frame, key, limit });
    }
    Ok(Measure::Frame(LENGTH_BYTES + frame))
}

/// How many more bytes to make room for, when `have` of a frame's `total` are there.
///
/// At most a step, or as much again as has come: a length alone makes nobody allocate.
#[must_use]
pub fn room(total: usize, have: usize) -> usize {
    total.saturating_sub(have).min(have.max(FRAME_STEP_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { produce: 1000, control: 100 };

    #[track_caller]
    fn check(length: i32, key: i16, expected: Result<Measure, FrameError>) {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&key.to_be_bytes());
        assert_eq!(measure(&bytes, LIMITS), expected, "length {length}, key {key}");
    }

    #[test]
    fn a_length_below_a_header_is_refused() {
        for length in [i32::MIN, -1, 0, 7] {
            check(length, 0, Err(FrameError::Short(length)));
            // The key is not waited for.
            assert_eq!(measure(&length.to_be_bytes(), LIMITS), Err(FrameError::Short(length)));
        }
        check(8, 0, Ok(Measure::Frame(12)));
    }

    #[test]
    fn the_limit_depends_on_the_kind() {
        check(1000, 0, Ok(Measure::Frame(1004)));
        check(1001, 0, Err(FrameError::TooLarge { bytes: 1001, key: 0, limit: 1000 }));
        for key in [1, 3, 18, 1234, -1] {
            check(100, key, Ok(Measure::Frame(104)));
            check(101, key, Err(FrameError::TooLarge { bytes: 101, key, limit: 100 }));
        }
    }

    #[test]
    fn a_frame_is_judged_once_its_key_is_there() {
        for have in 0..6 {
            assert_eq!(measure(&[0, 0, 0, 50, 0, 3][..have], LIMITS), Ok(Measure::Need(6)));
        }
        assert_eq!(measure(&[0, 0, 0, 50, 0, 3], LIMITS), Ok(Measure::Frame(54)));
    }

    #[test]
    fn room_grows_with_what_came_and_never_with_what_was_announced() {
        let total = FRAME_BYTES_MAX;
        let (mut have, mut steps) = (6, 0);
        while have < total {
            let more = room(total, have);
            assert!(more > 0 && more <= have.max(FRAME_STEP_BYTES));
            have += more;
            steps += 1;
        }
        assert_eq!(have, total);
        assert!(steps < 12, "{steps} steps");
        assert_eq!(room(100, 6), 94, "a small frame is one step");
        assert_eq!(room(100, 100), 0);
    }
}
