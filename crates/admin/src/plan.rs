//! What is asked of the cluster, and what it would come to. A plan is made by the controller, told
//! to whoever asked, and carried out by naming it: then it is an [operation](crate::operation).

use std::fmt;

use serde::{Deserialize, Serialize};
use walrus_types::{NodeId, PartitionIndex, PlanId, TimestampMs};

use crate::{document::Kind, error::ApiError};

/// How long a plan may be carried out. What was told is judged again then.
pub const PLAN_LIVES_MS: u64 = 300_000;
/// Partitions that one rollover takes.
pub const ROLLOVER_PARTITIONS_MAX: usize = 10_000;
/// Rollovers that are begun in a minute, where nobody says otherwise.
pub const ROLLOVER_PER_MINUTE: u32 = 1_200;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wanted {
    /// Empty a node.
    Drain {
        /// Which.
        node: NodeId,
    },
    /// Let a node take part again.
    Undrain {
        /// Which.
        node: NodeId,
    },
    /// Drain a node, wait until nothing needs it, and take it out for good.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// Seal open segments and open their successors.
    Rollover {
        /// Which partitions.
        which: Which,
        /// How many are begun in a minute at most.
        #[serde(default = "per_minute")]
        per_minute: u32,
    },
    /// Have another voter lead the metadata group.
    TransferRaft {
        /// Which.
        to: NodeId,
    },
    /// Seal a segment without the votes that its seal needs.
    UnsafeSeal {
        /// Of which topic.
        topic: String,
        /// Of which of its partitions.
        partition: PartitionIndex,
    },
}

fn per_minute() -> u32 {
    ROLLOVER_PER_MINUTE
}

/// Which partitions are rolled over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Which {
    /// Those of all topics.
    All,
    /// Those that a node leads.
    LedBy(NodeId),
    /// Topics, or single partitions of them.
    These(Vec<Place>),
}

/// A topic, or one of its partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The topic's name.
    pub topic: String,
    /// The partition; all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionIndex>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "{}/{partition}", self.topic),
            None => f.write_str(&self.topic),
        }
    }
}

impl Wanted {
    /// The verb, as JSON and `walrusctl op list` have it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Drain { .. } => "drain",
            Self::Undrain { .. } => "undrain",
            Self::Remove { .. } => "remove",
            Self::Rollover { .. } => "rollover",
            Self::TransferRaft { .. } => "transfer_raft",
            Self::UnsafeSeal { .. } => "unsafe_seal",
        }
    }

    /// How much an operator can spoil with it.
    pub const fn danger(&self) -> Danger {
        match self {
            Self::Undrain { .. } | Self::Rollover { .. } => Danger::Low,
            Self::TransferRaft { .. } => Danger::Moderate,
            Self::Drain { .. } | Self::Remove { .. } | Self::UnsafeSeal { .. } => Danger::Severe,
        }
    }

    /// What is changed, as it is typed to confirm it.
    pub fn subject(&self) -> String {
        match self {
            Self::Drain { node } | Self::Undrain { node } | Self::Remove { node } => {
                node.to_string()
            }
            Self::TransferRaft { to } => to.to_string(),
            Self::UnsafeSeal { topic, partition } => format!("{topic}/{partition}"),
            Self::Rollover { which: Which::All, .. } => "all".to_owned(),
            Self::Rollover { which: Which::LedBy(node), .. } => format!("led by {node}"),
            Self::Rollover { which: Which::These(places), .. } => match places.as_slice() {
                [] => "nothing".to_owned(),
                [only] => only.to_string(),
                [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            },
        }
    }

    /// The command line that asks for the same.
    pub fn command(&self) -> String {
        match self {
            Self::Drain { node } => format!("walrusctl node drain {}", node.0),
            Self::Undrain { node } => format!("walrusctl node undrain {}", node.0),
            Self::Remove { node } => format!("walrusctl node remove {}", node.0),
            Self::TransferRaft { to } => format!("walrusctl raft transfer {}", to.0),
            Self::UnsafeSeal { topic, partition } => {
                format!("walrusctl segment unsafe-seal {topic}/{partition}")
            }
            Self::Rollover { which, per_minute } => {
                let which = match which {
                    Which::All => "--all".to_owned(),
                    Which::LedBy(node) => format!("--node {}", node.0),
                    Which::These(places) => {
                        places.iter().map(Place::to_string).collect::<Vec<_>>().join(" ")
                    }
                };
                let rate = match *per_minute {
                    0 | ROLLOVER_PER_MINUTE => String::new(),
                    per_minute => format!(" --rate {per_minute}/m"),
                };
                format!("walrusctl rollover {which}{rate}")
            }
        }
    }
}

/// How much an operator can spoil, and so how it has to be agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Danger {
    /// Nothing that clients notice for more than a moment.
    Low,
    /// Something else is slower for a moment.
    Moderate,
    /// Copies, capacity or records are given up: the subject's name confirms it.
    Severe,
}

/// What an operation would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// By this it is carried out.
    pub id: PlanId,
    /// What was asked for.
    pub wanted: Wanted,
    /// What is changed; typed to confirm what is dangerous.
    pub subject: String,
    /// How it has to be agreed to.
    pub danger: Danger,
    /// The controller, who made it.
    pub made_by: NodeId,
    /// The metadata's index that it was judged by.
    pub metadata_version: u64,
    /// When it was made.
    pub at_ms: TimestampMs,
    /// After this it is not carried out.
    pub expires_at_ms: TimestampMs,
    /// Whether there is anything to change.
    pub changes: bool,
    /// What happens, one sentence each.
    pub effects: Vec<String>,
    /// What an operator may not want, one sentence each.
    pub warnings: Vec<String>,
    /// What stands against it: nothing is begun.
    pub refusals: Vec<ApiError>,
    /// The same in numbers.
    pub impact: Impact,
    /// The command line that carries it out.
    pub command: String,
}

impl Kind for Plan {
    const KIND: &'static str = "Plan";
}

/// What a plan comes to in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Impact {
    /// Leases that other nodes get.
    pub leases_move: u64,
    /// Open segments that are sealed.
    pub segments_roll: u64,
    /// Sealed segments that are copied to other nodes first.
    pub segments_copy: u64,
    /// Their bytes.
    pub bytes_copy: u64,
    /// Topics whose next segments have fewer copies than asked for.
    pub topics_short: u64,
    /// Voters of the metadata group afterwards.
    pub voters: u64,
    /// How many of them must be there.
    pub quorum: u64,
    /// Connections of clients to the node that is changed; missing where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
}

/// Carries a plan out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RunRequest {
    /// Who asks, for the record.
    pub actor: String,
    /// Why, for the record.
    pub reason: String,
    /// The plan's subject, where it is dangerous.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_plain_json_and_names_its_command() {
        let place = |topic: &str, partition| Place {
            topic: topic.to_owned(),
            partition: Some(PartitionIndex(partition)),
        };
        let orders = Place { topic: "orders".to_owned(), partition: None };
        for (json, wanted, subject, command) in [
            (
                r#"{"verb":"drain","node":2}"#,
                Wanted::Drain { node: NodeId(2) },
                "n2",
                "walrusctl node drain 2",
            ),
            (
                r#"{"verb":"rollover","which":"all","per_minute":1200}"#,
                Wanted::Rollover { which: Which::All, per_minute: ROLLOVER_PER_MINUTE },
                "all",
                "walrusctl rollover --all",
            ),
            (
                r#"{"verb":"rollover","which":{"led_by":3},"per_minute":60}"#,
                Wanted::Rollover { which: Which::LedBy(NodeId(3)), per_minute: 60 },
                "led by n3",
                "walrusctl rollover --node 3 --rate 60/m",
            ),
            (
                r#"{"verb":"rollover","which":{"these":[{"topic":"a","partition":3},{"topic":"orders"}]},"per_minute":1200}"#,
                Wanted::Rollover {
                    which: Which::These(vec![place("a", 3), orders]),
                    per_minute: ROLLOVER_PER_MINUTE,
                },
                "a/3 and 1 more",
                "walrusctl rollover a/3 orders",
            ),
            (
                r#"{"verb":"transfer_raft","to":1}"#,
                Wanted::TransferRaft { to: NodeId(1) },
                "n1",
                "walrusctl raft transfer 1",
            ),
            (
                r#"{"verb":"unsafe_seal","topic":"a","partition":0}"#,
                Wanted::UnsafeSeal { topic: "a".to_owned(), partition: PartitionIndex(0) },
                "a/0",
                "walrusctl segment unsafe-seal a/0",
            ),
        ] {
            assert_eq!(serde_json::to_string(&wanted).unwrap(), json);
            assert_eq!(serde_json::from_str::<Wanted>(json).unwrap(), wanted);
            assert_eq!((wanted.subject().as_str(), wanted.command().as_str()), (subject, command));
        }
        let short = r#"{"verb":"rollover","which":"all"}"#;
        assert!(serde_json::from_str::<Wanted>(short).is_ok());
        for wrong in [r#"{"verb":"drain"}"#, r#"{"verb":"drain","node":1,"x":2}"#, r#"{"node":1}"#]
        {
            assert!(serde_json::from_str::<Wanted>(wrong).is_err(), "{wrong}");
        }
    }
}
