//! The command line of `walrusctl gc`.

use clap::Subcommand;

/// `walrusctl gc`.
#[derive(Debug, Subcommand)]
pub enum Gc {
    /// Show what was unlinked, what waits for it, and who holds what is pruned
    ///
    /// Each node tells of its own files, and of the partitions that it leads. A segment that left
    /// its chain is unlinked at once; its bytes come back when nobody has it open any more.
    #[command(after_help = "\
Examples:
  walrusctl gc status
  walrusctl gc status -o json | jq -r '.items[] | .node as $node | .gc.held[]? | \"\\($node) \\(.topic)/\\(.partition)\"'")]
    Status,
}
