//! Numbers over time, the newest last, as many as there is room for.

use std::collections::VecDeque;

/// A ring of numbers.
#[derive(Debug, Clone)]
pub struct Series {
    values: VecDeque<f32>,
    room: usize,
}

impl Series {
    /// Keeps so many.
    ///
    /// # Panics
    /// Without room for one.
    #[must_use]
    pub fn new(room: usize) -> Self {
        assert!(room > 0, "a series keeps something");
        Self { values: VecDeque::new(), room }
    }

    /// One more; the oldest goes when there is no room.
    #[expect(clippy::cast_possible_truncation, reason = "a picture needs no more digits")]
    pub fn push(&mut self, value: f64) {
        if self.values.len() == self.room {
            self.values.pop_front();
        }
        self.values.push_back(value as f32);
    }

    /// The last `count`, the oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = f32> + '_ {
        self.values.iter().copied().skip(self.values.len().saturating_sub(count))
    }

    /// The greatest of the last `count`, 0 where there is none.
    #[must_use]
    pub fn max_of_last(&self, count: usize) -> f32 {
        self.last(count).fold(0.0, f32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut series = Series::new(3);
        for value in [5.0, 1.0, 2.0, 3.0] {
            series.push(value);
        }
        assert_eq!(series.last(10).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        assert_eq!(series.last(2).collect::<Vec<_>>(), [2.0, 3.0]);
        assert_eq!((series.max_of_last(1), Series::new(1).max_of_last(9)), (3.0, 0.0));
    }
}
