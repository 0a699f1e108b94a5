//! The command line: nouns, verbs, flags. Doc comments are the help text.

mod client;
mod cluster;
mod event;
mod gc;
mod node;
mod order;
mod segment;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use walrus_admin::Endpoint;
use walrus_types::{NodeId, OperationId};

pub use self::{
    client::Client,
    cluster::Cluster,
    event::{Event, EventFilter, EventWatch, Events},
    gc::Gc,
    node::{Change, Node},
    order::{Consent, Follow, Order},
    segment::{Place, Rollover, Segment},
};
use crate::pace::duration;

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
  walrusctl client list
      Who is connected to which node, with which library, and what they do
  walrusctl gc status
      What was unlinked, what retention takes next, and who holds what is pruned
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
    /// Who is connected
    Client {
        /// What of them.
        #[command(subcommand)]
        verb: Client,
    },
    /// What is unlinked, and what stands in its way
    Gc {
        /// What of it.
        #[command(subcommand)]
        verb: Gc,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
