//! When each record of an open loop is meant to be sent.
//!
//! Record `i` is due at `i / rate`, whatever happened to those before it. Latency is counted from
//! that instant and not from the moment the client got round to sending: a broker that stalls for
//! a second is charged for every record that was due in that second, not only for the one that was
//! under way (the error known as coordinated omission).

use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The timetable of an open loop, in nanoseconds since the start of the run.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Due at a fixed rate.
    PerSecond(u64),
    /// Due as soon as the client has room.
    AsFastAsPossible,
}

impl Pace {
    /// When record `index` is due; `None` when it is due at once.
    pub fn due_ns(self, index: u64) -> Option<u64> {
        match self {
            Self::PerSecond(rate) => {
                let whole = index / rate * NANOS_PER_SECOND;
                Some(whole + index % rate * NANOS_PER_SECOND / rate)
            }
            Self::AsFastAsPossible => None,
        }
    }
}

/// Where a run's time goes: warm-up first, then the window that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Window {
    pub fn new(warmup: Duration, measured: Duration) -> Self {
        let start_ns = nanos(warmup);
        Self { start_ns, end_ns: start_ns + nanos(measured) }
    }

    pub fn contains(self, at_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&at_ns)
    }

    pub fn seconds(self) -> f64 {
        Duration::from_nanos(self.end_ns - self.start_ns).as_secs_f64()
    }
}

/// A run's clock fits 584 years into 64 bits of nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a run is shorter than 584 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_drift() {
        for rate in [1, 3, 7, 5000, 1_300_000] {
            let pace = Pace::PerSecond(rate);
            for second in [0, 1, 3600] {
                let due = pace.due_ns(second * rate).expect("a rate has due times");
                assert_eq!(due, second * NANOS_PER_SECOND, "rate {rate}");
            }
            let next = pace.due_ns(1).expect("a rate has due times");
            assert_eq!(next, NANOS_PER_SECOND / rate);
        }
    }

    #[test]
    fn as_fast_as_possible_has_no_timetable() {
        assert_eq!(Pace::AsFastAsPossible.due_ns(17), None);
    }

    #[test]
    fn the_window_leaves_the_warm_up_out_and_ends_before_its_end() {
        let window = Window::new(Duration::from_secs(2), Duration::from_secs(3));
        for (at, inside) in [(0, false), (2, true), (4, true), (5, false)] {
            assert_eq!(window.contains(at * NANOS_PER_SECOND), inside, "second {at}");
        }
        assert!((window.seconds() - 3.0).abs() < 1e-9);
    }
}
