//! The command line: nouns, verbs, flags. Doc comments are the help text.

mod event;

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use walrus_admin::Endpoint;
use walrus_types::{NodeId, OperationId, PlanId};

pub use self::event::{Event, EventFilter, EventWatch, Events};
use crate::pace::{Rate, duration};

const EXAMPLES: &str = "\
Examples:
  walrusctl cluster health
      One sentence and what is behind it, asked of every node; exit status 7 unless all is well
  walrusctl --endpoint node1:7071 --endpoint node2:7071 cluster status
      Any node answers; the second is asked when the first is gone
  walrusctl rollover --all --rate 20/s --yes --wait
      Seal every partition's open segment and open the next, 20 a second
  walrusctl node drain 2 --yes --wait && sudo systemctl restart walrusd
      Empty a node before it is stopped
  walrusctl node remove 1 --confirm=1 --wait
      Take a node out for good; ends when it is safe to switch off
  walrusctl node drain 2 --dry-run
      Say what it would come to: leases, bytes, copies, quorum, clients; --plan carries that out
  walrusctl op list
      What is under way, how far it is and what it waits for
  walrusctl group list
      How far each consumer group is behind, and which is about to lose records to retention
  walrusctl event watch
      What changes from now on: nodes, leases, topics, settings; goes on at another node
  walrusctl segment chain orders/0 -o json
      Who wrote which offsets of a partition, and why each segment was opened

Environment:
  WALRUS_ENDPOINTS  endpoints, separated by commas, where neither --endpoint nor --context is given
  WALRUS_CONTEXT    the context where WALRUS_ENDPOINTS is not set either
  XDG_CONFIG_HOME   walrus/config.toml in there has the contexts; else under ~/.config

Exit status:
  0    done, or nothing was to be done
  1    failed
  2    wrong usage, or a question that nobody was there to answer: give --yes or --confirm
  3    no such node, topic, partition or group
  4    not allowed
  5    no node answered in time
  6    refused: something stands against it, which the error names
  7    not healthy
  8    still under way when the time was up; it goes on in the cluster
  130  interrupted (SIGINT); what was begun goes on in the cluster
  141  nobody reads standard output any more";

/// Drive a Walrus cluster
///
/// Answers go to standard output, everything else to standard error. A change says what it will
/// do and asks, unless --yes answers.
#[derive(Debug, Parser)]
#[command(name = "walrusctl", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    /// Admin port of a node, as host:port; may be given several times [default: 127.0.0.1:7071]
    #[arg(long = "endpoint", global = true, value_name = "HOST:ADMINPORT")]
    pub endpoints: Vec<Endpoint>,
    /// The cluster of this context; walrusctl context list has them
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "endpoints")]
    pub context: Option<String>,
    /// The file of contexts [default: walrus/config.toml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of answers; json is the interface for scripts
    #[arg(short, long, global = true, value_name = "FORM", default_value = "table")]
    pub output: Output,
    /// Say nothing on standard error but errors and questions
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How long to wait for one answer of a node
    #[arg(long, global = true, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub answer_timeout: Duration,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// The API's documents
    Json,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The cluster as a whole
    Cluster {
        /// What of it.
        #[command(subcommand)]
        verb: Cluster,
    },
    /// The nodes
    Node {
        /// What of them.
        #[command(subcommand)]
        verb: Node,
    },
    /// Seal open segments and open their successors
    ///
    /// Producers see nothing of it but a moment's wait. Nothing that was written moves.
    #[command(after_help = "\
Examples:
  walrusctl rollover orders/3 orders/4 --wait
  walrusctl rollover orders --yes
  walrusctl rollover --node 2 --rate 5/s --yes --wait
  walrusctl rollover --all --rate 20/s --yes --wait")]
    Rollover(Rollover),
    /// The segments of partitions
    Segment {
        /// What of them.
        #[command(subcommand)]
        verb: Segment,
    },
    /// Consumer groups, and what they have still to read
    Group {
        /// What of them.
        #[command(subcommand)]
        verb: Group,
    },
    /// What changed in the cluster
    Event {
        /// What of it.
        #[command(subcommand)]
        verb: Event,
    },
    /// The group of nodes that agrees on the metadata
    Raft {
        /// What of it.
        #[command(subcommand)]
        verb: Raft,
    },
    /// What the cluster is doing because somebody asked for it
    ///
    /// Drains, removals, rollovers and the like go on in the cluster, whoever is the controller and
    /// whether or not anybody follows them.
    #[command(after_help = "\
Examples:
  walrusctl op list
  walrusctl op list --all -o json | jq -r '.items[] | [.actor, .verb, .subject, .reason] | @tsv'
  walrusctl op wait 4711 --timeout 30m
  walrusctl op cancel 4711 --yes")]
    Op {
        /// What of it.
        #[command(subcommand)]
        verb: Op,
    },
    /// The clusters that have names, and which is meant where nobody says
    Context {
        /// What of them.
        #[command(subcommand)]
        verb: Context,
    },
    /// Write the man page to standard output, or all pages to a folder
    Man {
        /// Folder for one page of each command
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// `walrusctl cluster`.
#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Have a node that waits (walrusd --await-bootstrap) found a cluster
    ///
    /// Asks the first endpoint. A node that is in a cluster already is left alone.
    #[command(after_help = "\
Example:
  walrusctl --endpoint node1:7071 cluster bootstrap --yes --wait")]
    Bootstrap {
        /// Whether it may be done.
        #[command(flatten)]
        consent: Consent,
        /// How long it is followed.
        #[command(flatten)]
        follow: Follow,
    },
    /// Have a node that waits (walrusd --await-bootstrap) join the cluster of another
    ///
    /// Asks the first endpoint, which is the node that is to join.
    #[command(after_help = "\
Example:
  walrusctl --endpoint node2:7071 cluster join node1:6001 --yes --wait")]
    Join {
        /// Peer port of a node of the cluster
        #[arg(value_name = "HOST:PEERPORT")]
        peer: Endpoint,
        /// Whether it may be done.
        #[command(flatten)]
        consent: Consent,
        /// How long it is followed.
        #[command(flatten)]
        follow: Follow,
    },
    /// Show the cluster: nodes, partitions, copies, the metadata group
    Status,
    /// Judge the cluster, and ask every node how it stands
    ///
    /// Exit status 0 when all is well, 7 when it is degraded or failed.
    #[command(after_help = "\
Examples:
  walrusctl cluster health
  walrusctl cluster health --wait --timeout 2m
  walrusctl cluster health -o json | jq -r .verdict")]
    Health {
        /// How long it is followed.
        #[command(flatten)]
        follow: Follow,
    },
}

/// `walrusctl node`.
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List the nodes and what each is needed for
    List {
        /// Removed ones too
        #[arg(long)]
        all: bool,
    },
    /// Ask the node at the first endpoint whether it serves
    ///
    /// Exit status 0 when it does, 7 when it does not, 5 when it does not answer. It says nothing
    /// of the others: what restarts a node, or sends clients to it, asks this.
    #[command(after_help = "\
Example:
  walrusctl --endpoint node1:7071 --answer-timeout 3s node ready")]
    Ready,
    /// Empty a node: it is given nothing new, and what it has goes to others
    ///
    /// It goes on serving. A drain holds until it is taken back, over restarts too.
    Drain(Change),
    /// Let a node take part again
    Undrain(Change),
    /// Take a node out for good
    ///
    /// Drains it first, waits until no segment needs it, has another lead the metadata group where
    /// it did, and ends its vote. Refused when it would lose a last copy or the quorum. With
    /// --wait it ends when the node is safe to switch off.
    #[command(after_help = "\
Examples:
  walrusctl node remove 1 --dry-run
  walrusctl node remove 1 --confirm=1 --wait")]
    Remove {
        /// Which node, like 1 or n1
        #[arg(value_name = "NODE")]
        node: NodeId,
        /// The node again, in the place of an answer to the question
        #[arg(long, value_name = "NODE")]
        confirm: Option<NodeId>,
        /// What is ordered.
        #[command(flatten)]
        order: Order,
        /// How long it is followed.
        #[command(flatten)]
        follow: Follow,
    },
}

/// A change of a node.
#[derive(Debug, clap::Args)]
pub struct Change {
    /// Which node, like 1 or n1
    #[arg(value_name = "NODE")]
    pub node: NodeId,
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

/// `walrusctl group`.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// List the groups: how they stand, how far each is behind, what it is about to lose
    ///
    /// BEHIND is the age of the oldest record that is to be read next. RISK says what retention will
    /// take before the group has read it, if all goes on as in the last five minutes. A plus says
    /// that something is not known: group get says what, and why.
    #[command(after_help = "\
Examples:
  walrusctl group list
  walrusctl group list -o json | jq -r '.items[] | select(.risk != null) | .group'")]
    List,
    /// Show a group: its members, and its lag in each partition
    ///
    /// What is not known is a dash, and below the table stands why.
    #[command(after_help = "\
Examples:
  walrusctl group get readers
  walrusctl group get readers -o json | jq '.items[] | {topic, partition, lag_records, lag_ms}'
  walrusctl group get walrus.get.greetings
      What GET of the text protocol has still to hand out of a topic")]
    Get {
        /// Which group
        #[arg(value_name = "GROUP")]
        group: String,
    },
}

/// `walrusctl context`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Context {
    /// List the contexts of the file; a star stands at the one that is meant now
    List,
    /// Have another context meant where nobody says; writes that into the file
    Use {
        /// Which one
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show which cluster is meant: with these flags, this environment and this file
    Show,
}

/// `walrusctl raft`.
#[derive(Debug, Subcommand)]
pub enum Raft {
    /// Show the group: who leads, who votes, who lacks how much
    Status,
    /// Have another voter lead; the leader is the controller
    Transfer {
        /// Which node, like 1 or n1
        #[arg(value_name = "NODE")]
        node: NodeId,
        /// Answer the question with yes
        #[arg(short, long)]
        yes: bool,
        /// What is ordered.
        #[command(flatten)]
        order: Order,
        /// How long it is followed.
        #[command(flatten)]
        follow: Follow,
    },
}

/// `walrusctl op`.
#[derive(Debug, Subcommand)]
pub enum Op {
    /// List what is under way: how far it is, what it waits for
    List {
        /// What has ended too, as far as the cluster remembers it
        #[arg(long)]
        all: bool,
    },
    /// Show an operation: who asked for it and why, how far it is, what it waits for
    Get {
        /// Its number
        #[arg(value_name = "ID")]
        id: OperationId,
    },
    /// Follow an operation to its end
    ///
    /// Exit status 0 when it is done, 1 when it failed or was cancelled, 8 when the time is up.
    Wait {
        /// Its number
        #[arg(value_name = "ID")]
        id: OperationId,
        /// Follow it no longer than this; exit status 8 then
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
        timeout: Duration,
    },
    /// Take an operation back
    ///
    /// What it did stays. A node that it was to empty takes part again.
    Cancel {
        /// Its number
        #[arg(value_name = "ID")]
        id: OperationId,
        /// Answer the question with yes
        #[arg(short, long)]
        yes: bool,
    },
}

/// What is ordered with a change: the plan alone, or one that was looked at; and why.
#[derive(Debug, Clone, clap::Args)]
pub struct Order {
    /// Say what would happen, and change nothing; the plan that is told may be carried out
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Carry out a plan that --dry-run told, if it would still come to that
    #[arg(long, value_name = "PLAN", conflicts_with = "dry_run")]
    pub plan: Option<PlanId>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Whether a change may be made.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Consent {
    /// Answer the question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// Say what would happen, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Whether and how long something is followed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Follow {
    /// Follow it to its end
    #[arg(short, long)]
    pub wait: bool,
    /// Follow it no longer than this; exit status 8 then
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
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
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

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
