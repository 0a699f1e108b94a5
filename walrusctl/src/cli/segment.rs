//! The command lines of `walrusctl rollover` and `walrusctl segment`, and how partitions are named.

use std::str::FromStr;

use clap::Subcommand;
use walrus_types::NodeId;

use super::{Follow, Order};
use crate::pace::Rate;

/// Which partitions are rolled over, and how fast.
#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = false, args = ["partitions", "node", "all"])]
pub struct Rollover {
    /// Topics, or single partitions of them
    #[arg(value_name = "TOPIC[/PARTITION]")]
    pub partitions: Vec<Place>,
    /// Those that a node leads
    #[arg(long, value_name = "NODE")]
    pub node: Option<NodeId>,
    /// Those of all topics
    #[arg(long)]
    pub all: bool,
    /// How many at most in a second or a minute, like 20/s or 30/m
    #[arg(long, value_name = "RATE", default_value = "20/s")]
    pub rate: Rate,
    /// Answer the question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// What is ordered.
    #[command(flatten)]
    pub order: Order,
    /// How long it is followed.
    #[command(flatten)]
    pub follow: Follow,
}

/// `walrusctl segment`.
#[derive(Debug, Subcommand)]
pub enum Segment {
    /// Show a partition's chain, oldest segment first
    Chain {
        /// Which partition
        #[arg(value_name = "TOPIC/PARTITION")]
        partition: Place,
        /// Show so many of the newest at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Give up what members that never come back may have, so that a partition can be written again
    ///
    /// A leader that is gone is replaced when enough members of its segment have told what they
    /// have. Where those are gone for good, this seals the segment with what the others have, or
    /// with nothing. What was acknowledged past that is lost, and the chain records it. While one
    /// of the missing may still be started, start it: with it nothing is lost. Shows first what it
    /// would come to.
    #[command(after_help = "\
Examples:
  walrusctl segment unsafe-seal orders/0 --dry-run
  walrusctl segment unsafe-seal orders/0 --confirm=orders/0 --wait")]
    UnsafeSeal {
        /// Which partition
        #[arg(value_name = "TOPIC/PARTITION")]
        partition: Place,
        /// The partition again, in the place of an answer to the question
        #[arg(long, value_name = "TOPIC/PARTITION")]
        confirm: Option<String>,
        /// What is ordered.
        #[command(flatten)]
        order: Order,
        /// How long it is followed.
        #[command(flatten)]
        follow: Follow,
    },
}

/// A topic, or one partition of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The topic's name.
    pub topic: String,
    /// The partition, if one was named.
    pub partition: Option<i32>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let (topic, partition) = match given.split_once('/') {
            Some((topic, partition)) => (topic, Some(partition)),
            None => (given, None),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > 249 || !topic.chars().all(fits) {
            return Err(format!("{topic:?} is no topic's name"));
        }
        let partition = partition.map(|partition| {
            let number = partition.parse::<i32>().ok().filter(|number| *number >= 0);
            number.ok_or_else(|| {
                format!("{partition:?} is no partition: give its number, like {topic}/0")
            })
        });
        Ok(Self { topic: topic.to_owned(), partition: partition.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_topic_or_one_of_its_partitions() {
        for (given, expected) in [("a", ("a", None)), ("a.b-c_1/12", ("a.b-c_1", Some(12)))] {
            let place: Place = given.parse().unwrap();
            assert_eq!((place.topic.as_str(), place.partition), expected);
        }
        for given in ["", "/1", "a/", "a/-1", "a/x", "a b", "a/1/2", "ä"] {
            assert!(given.parse::<Place>().is_err(), "{given:?}");
        }
    }
}
