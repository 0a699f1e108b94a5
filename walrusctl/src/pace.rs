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

/// Not more than so many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// Shorter pauses are not worth their timer.
const STEP: Duration = Duration::from_millis(50);

impl Rate {
    /// How many go at once, and the pause after them: even steps, and one at a time where the
    /// rate allows no more.
    pub fn steps(self) -> (usize, Duration) {
        let each = self.per / self.count;
        if each >= STEP {
            return (1, each);
        }
        let steps = self.per.as_millis() / STEP.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX).max(1);
        let at_once = self.count.div_ceil(steps);
        (usize::try_from(at_once).unwrap_or(usize::MAX), each * at_once)
    }

    /// How long so many take.
    pub fn takes(self, number: usize) -> Duration {
        let (at_once, pause) = self.steps();
        let pauses = number.div_ceil(at_once).saturating_sub(1);
        pause.saturating_mul(u32::try_from(pauses).unwrap_or(u32::MAX))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let refuse = || format!("{given:?} is no rate: give it like 20/s or 30/m");
        let (count, unit) = given.split_once('/').ok_or_else(refuse)?;
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && (1..=100_000).contains(count));
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            _ => return Err(refuse()),
        };
        Ok(Self { count: count.ok_or_else(refuse)?, per })
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
    fn a_rate_is_kept_in_even_steps() {
        let steps = |given: &str| given.parse::<Rate>().unwrap().steps();
        assert_eq!(steps("20/s"), (1, Duration::from_millis(50)));
        assert_eq!(steps("1/s"), (1, Duration::from_secs(1)));
        assert_eq!(steps("30/m"), (1, Duration::from_secs(2)));
        assert_eq!(steps("1000/s"), (50, Duration::from_millis(50)));
        for given in ["1/s", "7/m", "33/s", "999/s", "100000/s", "100000/m"] {
            let rate: Rate = given.parse().unwrap();
            let (at_once, pause) = rate.steps();
            let in_time = u128::try_from(at_once).unwrap() * rate.per.as_nanos();
            let allowed = u128::from(rate.count) * (pause.as_nanos() + 1_000_000);
            assert!(in_time <= allowed, "{given}: {at_once} each {pause:?}");
        }
        for given in ["", "20", "0/s", "/s", "20/", "20/h", "+2/s", "200000/s"] {
            assert!(given.parse::<Rate>().is_err(), "{given:?}");
        }
    }

    #[test]
    fn the_first_ones_wait_for_nothing() {
        let rate: Rate = "20/s".parse().unwrap();
        assert_eq!(rate.takes(0), Duration::ZERO);
        assert_eq!(rate.takes(1), Duration::ZERO);
        assert_eq!(rate.takes(21), Duration::from_secs(1));
    }
}
