//! How fast something moves, by a few samples of how far it was.

use std::collections::VecDeque;

use crate::roll::UptimeMs;

/// A rate is of this time at most: what was before is no measure of today.
pub const WINDOW_MS: u64 = 300_000;
/// Samples that a history keeps are about so far apart.
pub const SAMPLE_APART_MS: u64 = 10_000;
/// Samples that a history has at most.
pub const SAMPLES_MAX: usize = 32;
/// A rate over less than this says nothing: many clients commit every five seconds.
pub const RATE_OVER_MIN_MS: u64 = 10_000;

const _: () = assert!(SAMPLES_MAX as u64 * SAMPLE_APART_MS >= WINDOW_MS);

/// So much in so long. Kept as it was measured, so that little in a long time is not rounded to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How much.
    pub amount: u64,
    /// In how many milliseconds. Not zero.
    pub over_ms: u64,
}

impl Rate {
    /// How long `amount` takes, in milliseconds, rounded up; `None` when it never comes to that.
    #[must_use]
    pub fn time_for(self, amount: u64) -> Option<u64> {
        if amount == 0 {
            return Some(0);
        }
        let ms = u128::from(amount) * u128::from(self.over_ms);
        let ms = ms.div_ceil(u128::from((self.amount > 0).then_some(self.amount)?));
        Some(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// How much comes in so long, rounded down.
    #[must_use]
    pub fn within(self, ms: u64) -> u64 {
        let amount = u128::from(self.amount) * u128::from(ms) / u128::from(self.over_ms.max(1));
        u64::try_from(amount).unwrap_or(u64::MAX)
    }
}

/// How far something was lately. It only goes forward; where it goes back, as an offset does that is
/// reset, its history begins anew.
///
/// Invariant: times and amounts rise along the samples, of which there are [`SAMPLES_MAX`] at most.
#[derive(Debug, Clone, Default)]
pub struct History {
    samples: VecDeque<(UptimeMs, u64)>,
}

impl History {
    /// It is so far at this moment. The newest sample always counts: one that follows another too
    /// soon takes its place.
    pub fn note(&mut self, now: UptimeMs, amount: u64) {
        match self.samples.back() {
            Some((_, last)) if amount < *last => self.samples.clear(),
            Some((at, _)) if now <= *at => return,
            Some(_) | None => {}
        }
        let before = self.samples.len().checked_sub(2).and_then(|at| self.samples.get(at));
        if before.is_some_and(|(at, _)| now.since(*at) < SAMPLE_APART_MS) {
            self.samples.pop_back();
        }
        let is_old = |at: UptimeMs| now.since(at) > WINDOW_MS;
        while self.samples.front().is_some_and(|(at, _)| is_old(*at))
            || self.samples.len() >= SAMPLES_MAX
        {
            self.samples.pop_front();
        }
        self.samples.push_back((now, amount));
    }

    /// How fast it moved from the oldest sample to the newest; `None` while that is too short a time.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let ((from, first), (to, last)) = (*self.samples.front()?, *self.samples.back()?);
        let over_ms = to.since(from);
        (over_ms >= RATE_OVER_MIN_MS).then_some(Rate { amount: last - first, over_ms })
    }

    /// When it was looked at last.
    #[must_use]
    pub fn last_at(&self) -> Option<UptimeMs> {
        self.samples.back().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes `at:amount`, one after the other.
    fn history(samples: &str) -> History {
        let mut history = History::default();
        for sample in samples.split_whitespace() {
            let (at, amount) = sample.split_once(':').unwrap();
            history.note(UptimeMs(at.parse().unwrap()), amount.parse().unwrap());
        }
        history
    }

    #[track_caller]
    fn check(samples: &str, expected: Option<(u64, u64)>) {
        let rate = history(samples).rate().map(|rate| (rate.amount, rate.over_ms));
        assert_eq!(rate, expected, "{samples}");
    }

    #[test]
    fn a_rate_is_from_the_oldest_sample_to_the_newest() {
        check("", None);
        check("0:5", None);
        check("0:5 9999:9", None);
        check("0:5 10000:9", Some((4, 10_000)));
        check("0:5 1000:6 2000:7 13000:9", Some((4, 13_000)));
        check("0:5 20000:5", Some((0, 20_000)));
    }

    #[test]
    fn a_history_that_goes_back_begins_anew() {
        check("0:50 20000:90 30000:10", None);
        check("0:50 20000:90 30000:10 40000:12", Some((2, 10_000)));
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_adds_nothing() {
        check("5000:1 5000:2 4000:3 18000:4", Some((3, 13_000)));
    }

    #[test]
    fn what_was_before_the_window_counts_no_more() {
        check("0:0 100000:1000 290000:1001 300000:1001", Some((1001, 300_000)));
        check("0:0 100000:1000 290000:1001 300001:1001", Some((1, 200_001)));
    }

    #[test]
    fn a_history_is_bounded_however_often_it_is_asked_for() {
        let mut history = History::default();
        for at in 0..4_000_u64 {
            history.note(UptimeMs(at * 100), at);
            assert!(history.samples.len() <= SAMPLES_MAX, "at {at}");
        }
        let rate = history.rate().unwrap();
        assert!(rate.over_ms > WINDOW_MS - 2 * SAMPLE_APART_MS, "{rate:?}");
        assert_eq!(history.last_at(), Some(UptimeMs(399_900)));
    }

    #[test]
    fn a_rate_tells_times_and_amounts_and_a_rate_of_none_never_comes_to_anything() {
        let slow = Rate { amount: 3, over_ms: 10_000 };
        assert_eq!(slow.time_for(1), Some(3_334));
        assert_eq!((slow.time_for(0), slow.within(9_999), slow.within(10_000)), (Some(0), 2, 3));
        let none = Rate { amount: 0, over_ms: 10_000 };
        assert_eq!((none.time_for(0), none.time_for(1), none.within(u64::MAX)), (Some(0), None, 0));
        assert_eq!(Rate { amount: 1, over_ms: u64::MAX }.time_for(u64::MAX), Some(u64::MAX));
    }
}
