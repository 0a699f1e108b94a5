//! The command line of `walrusctl node`.

use clap::Subcommand;
use walrus_types::NodeId;

use super::{Follow, Order};

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
