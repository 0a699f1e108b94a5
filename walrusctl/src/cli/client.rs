//! The command line of `walrusctl client`.

use clap::Subcommand;
use walrus_types::NodeId;

/// `walrusctl client`.
#[derive(Debug, Subcommand)]
pub enum Client {
    /// List who is connected, what they are and what they do
    ///
    /// One line for each connection; a client has several. What it calls itself is its own choice.
    #[command(after_help = "\
Examples:
  walrusctl client list
  walrusctl client list --node 2
  walrusctl client list -o json | jq -r '.items[] | [.client_id, .software, .software_version] | @tsv' | sort | uniq -c")]
    List {
        /// Those of one node only
        #[arg(long, value_name = "NODE")]
        node: Option<NodeId>,
        /// So many at most
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        limit: usize,
    },
}
