//! The command line of `walrusctl cluster`.

use clap::Subcommand;
use walrus_admin::Endpoint;

use super::{Consent, Follow};

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
