//! How long and how fast: durations and rates as people write them.

use std::{str::FromStr, time::Duration};

/// The longest that is taken: a year.
const SECONDS_MAX: u64 = 366 * 24 * 3600;

/// Reads `500ms`, `30s`, `5m`, `1h`.
///
/// # Errors
/// It is none of these.
pub fn duration(given: &str) -> Result<Duration, String> {
    let refuse = || format!("{given:?} is no duration: give it like 500ms, 30s, 5m or 1h");
    let digits = given.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = given.split_at(digits);
    let number: u64 = number.parse().map_err(|_error| refuse())?;
    let ms = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    let ms = ms.filter(|ms| *ms > 0 && *ms <= SECONDS_MAX * 1000).ok_or_else(refuse)?;
    Ok(Duration::from_millis(ms))
}

/// Not more than so many in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: u32,
}

/// The highest rate that is taken, of a second or a minute.
const RATE_MAX: u32 = 100_000;

impl Rate {
    /// How many in a minute.
    pub const fn per_minute(self) -> u32 {
        self.per_minute
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let refuse = || format!("{given:?} is no rate: give it like 20/s or 30/m");
        let (count, unit) = given.split_once('/').ok_or_else(refuse)?;
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && (1..=RATE_MAX).contains(count));
        let per_minute = match (count.ok_or_else(refuse)?, unit) {
            (count, "s") => count * 60,
            (count, "m") => count,
            (_, _) => return Err(refuse()),
        };
        Ok(Self { per_minute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        for (given, ms) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(duration(given), Ok(Duration::from_millis(ms)));
        }
        for given in ["", "5", "s", "0s", "-1s", "1d", "1.5s", "99999999999999999999s", "9999999h"]
        {
            assert!(duration(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_rate_is_of_a_second_or_a_minute() {
        for (given, per_minute) in [("20/s", 1_200), ("30/m", 30), ("100000/s", 6_000_000)] {
            assert_eq!(given.parse::<Rate>().map(Rate::per_minute), Ok(per_minute), "{given}");
        }
        for given in ["", "20", "0/s", "/s", "20/", "20/h", "+2/s", "200000/s"] {
            assert!(given.parse::<Rate>().is_err(), "{given:?}");
        }
    }
}
