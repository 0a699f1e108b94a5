//! Which partition the next record goes to.
//!
//! librdkafka's own partitioners are random; here the choice is made outside, so that two brokers
//! are given exactly the same records in the same order.

use serde::Serialize;

/// How records are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// One partition until a batch is full, then the next, as the Java client does without keys
    Sticky,
    /// Every record goes to another partition, as with evenly spread keys
    EveryRecord,
}

/// One partition of one of the run's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub topic: usize,
    pub partition: i32,
}

/// Walks over `topics * partitions` places in a fixed order.
#[derive(Debug)]
pub struct Walk {
    topics: usize,
    places: usize,
    /// Records that stay on a place before the walk goes on.
    stay: usize,
    stayed: usize,
    at: usize,
}

impl Walk {
    /// A sticky walk goes on when `batch_bytes` worth of records were placed.
    pub fn new(
        spread: Spread,
        topics: usize,
        partitions: usize,
        record_bytes: usize,
        batch_bytes: usize,
    ) -> Self {
        // A record in a batch costs up to about ten bytes beside its value.
        let stay = match spread {
            Spread::Sticky => (batch_bytes / (record_bytes + 10)).max(1),
            Spread::EveryRecord => 1,
        };
        Self { topics, places: topics * partitions, stay, stayed: 0, at: 0 }
    }

    pub fn next_place(&mut self) -> Place {
        if self.stayed == self.stay {
            self.at = (self.at + 1) % self.places;
            self.stayed = 0;
        }
        self.stayed += 1;
        Place {
            topic: self.at % self.topics,
            partition: i32::try_from(self.at / self.topics).expect("partitions are an i32 count"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn visits(mut walk: Walk, records: usize) -> HashMap<(usize, i32), usize> {
        let mut seen = HashMap::new();
        for _ in 0..records {
            let place = walk.next_place();
            *seen.entry((place.topic, place.partition)).or_default() += 1;
        }
        seen
    }

    #[test]
    fn every_record_to_another_partition_visits_all_evenly() {
        let seen = visits(Walk::new(Spread::EveryRecord, 3, 7, 100, 1 << 20), 42);
        assert_eq!(seen.len(), 21);
        assert!(seen.values().all(|&count| count == 2), "{seen:?}");
    }

    #[test]
    fn a_sticky_walk_fills_a_batch_before_it_goes_on() {
        let mut walk = Walk::new(Spread::Sticky, 1, 4, 90, 1000);
        let first: Vec<i32> = (0..21).map(|_| walk.next_place().partition).collect();
        assert_eq!(first[..10], [0; 10]);
        assert_eq!(first[10..20], [1; 10]);
        assert_eq!(first[20], 2);
    }

    #[test]
    fn a_record_larger_than_a_batch_still_moves_on() {
        let seen = visits(Walk::new(Spread::Sticky, 1, 4, 5000, 1000), 4);
        assert_eq!(seen.len(), 4);
    }
}
