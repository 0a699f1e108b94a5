//! The command line. Values stay text here: `load.rs` reads them as it reads the file and the
//! environment, so that a refusal sounds the same wherever the value stood.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::{
    Output,
    node::{JOIN, PEERS},
};

const EXAMPLES: &str = "\
Examples:
  walrusd
      A broker on 127.0.0.1:9091 with its data under ./walrus-data
  walrusd --data-dir /var/lib/walrus --client-host 0.0.0.0 --client-advertise kafka.example.org:9091
      Open to other machines, under the name they know
  walrusd --config /etc/walrus.yaml --log-format json
      Settings from a file; flags and environment stand above it
  walrusd --port 9191 --raft-port 6101 --admin-port 7171 --data-dir /tmp/second
      Beside another one on the same machine
  walrusd --node-id 2 --join node1:6001 --raft-host 0.0.0.0 --raft-advertise-host node2
      In the cluster that node1 belongs to, as a node of its own
  walrusd --node-id 2 --raft-host 10.0.0.2 --peers 10.0.0.1:6001,10.0.0.2:6001,10.0.0.3:6001
      One of three that form a cluster: each is given the same list
  walrusd config print --config /etc/walrus.yaml
      What would be in force, and where each value comes from
  walrusd config keys
      Every setting with its bounds, default, flag and variable
  echo hello | kcat -P -b 127.0.0.1:9091 -t greetings
      First record of a new topic

Environment:
  RUST_LOG, WALRUS_DATA_DIR, WALRUS_DISABLE_IO_URING, WALRUS_JOIN, WALRUS_MAX_SEGMENT_BYTES,
  WALRUS_MAX_SEGMENT_ENTRIES, WALRUS_MONITOR_CHECK_MS, WALRUS_PEERS, WALRUS_RETENTION_BYTES,
  WALRUS_RETENTION_GENERATIONS; an empty one counts as unset.
  A flag stands above the environment, that above the file, that above the default.

Exit status:
  0    stopped as asked (SIGTERM, SIGINT)
  1    could not start, or stopped because its disk or a part of it failed
  2    wrong usage or configuration; nothing was touched
  130  stopped at once by a second signal";

/// A Kafka-compatible broker on an io_uring write-ahead log
///
/// Without any flag it is a working broker: a cluster of one node, its data under ./walrus-data,
/// clients on 127.0.0.1:9091.
#[derive(Debug, Parser)]
#[command(name = "walrusd", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = false, subcommand_negates_reqs = true)]
pub struct Args {
    /// Settings.
    #[command(flatten)]
    pub flags: Flags,
    /// Something else than to run.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the settings
    Config {
        /// Which view.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write the man page to standard output
    Man,
}

/// The views of the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what would be in force with these flags, this environment and this file
    Print {
        /// Form; yaml can be used with --config
        #[arg(short, long, value_name = "FORM", default_value = "table")]
        output: Output,
    },
    /// Print every setting with its meaning, bounds, default, flag and variable
    Keys,
}

/// The settings that have a flag.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The node's number in its cluster, Kafka's broker id [default: 1]
    #[arg(long, global = true, value_name = "ID", help_heading = "Node")]
    pub node_id: Option<String>,
    /// Folder that holds node_<id>/ [default: ./walrus-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Node")]
    pub data_dir: Option<String>,
    /// YAML file with settings
    #[arg(long, global = true, value_name = "FILE", help_heading = "Node")]
    pub config: Option<PathBuf>,
    /// Rack or zone of the node
    #[arg(long, global = true, value_name = "NAME", help_heading = "Node")]
    pub rack: Option<String>,
    /// Address for Kafka clients and the text protocol [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "HOST", help_heading = "Clients")]
    pub client_host: Option<String>,
    /// Port for them; 0 lets the system choose [default: 9091]
    #[arg(
        long,
        global = true,
        visible_alias = "port",
        value_name = "PORT",
        help_heading = "Clients"
    )]
    pub client_port: Option<String>,
    /// What clients are told to connect to [default: the address they reached]
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = "Clients")]
    pub client_advertise: Option<String>,
    /// Address for operators, Prometheus and health checks [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "HOST", help_heading = "Operators")]
    pub admin_host: Option<String>,
    /// Port for them; 0 lets the system choose [default: 7071]
    #[arg(long, global = true, value_name = "PORT", help_heading = "Operators")]
    pub admin_port: Option<String>,
    /// File that log lines are appended to [default: standard error]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Operators")]
    pub log_file: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, global = true, value_name = "FORM", help_heading = "Operators")]
    pub log_format: Option<String>,
    /// Address for the other nodes [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "HOST", help_heading = "Cluster")]
    pub raft_host: Option<String>,
    /// Port for them; 0 lets the system choose [default: 6001]
    #[arg(long, global = true, value_name = "PORT", help_heading = "Cluster")]
    pub raft_port: Option<String>,
    /// What other nodes are told [default: --raft-host]
    #[arg(long, global = true, value_name = "HOST", help_heading = "Cluster")]
    pub raft_advertise_host: Option<String>,
    /// See [`JOIN`].
    #[arg(
        long,
        global = true,
        help = JOIN,
        alias = "initial-peer",
        value_name = "HOST:PORT",
        help_heading = "Cluster"
    )]
    pub join: Option<String>,
    /// See [`PEERS`].
    #[arg(long, global = true, help = PEERS, value_name = "HOST:PORT,…", help_heading = "Cluster")]
    pub peers: Option<String>,
    /// An empty node waits for `walrusctl cluster bootstrap` or `join`
    #[arg(long, global = true, help_heading = "Cluster")]
    pub await_bootstrap: bool,
    /// Let tests do harm to this node; never in production
    #[arg(long, global = true, hide_short_help = true, help_heading = "Operators")]
    pub enable_test_hooks: bool,
}

impl Flags {
    /// What was given, by flag. `--config` is no setting and is left out.
    pub(super) fn given(&self) -> Vec<(&'static str, String)> {
        let Self {
            node_id,
            data_dir,
            config: _,
            rack,
            client_host,
            client_port,
            client_advertise,
            admin_host,
            admin_port,
            log_file,
            log_format,
            raft_host,
            raft_port,
            raft_advertise_host,
            join,
            peers,
            await_bootstrap,
            enable_test_hooks,
        } = self.clone();
        let set = |given: bool| given.then(|| "true".into());
        let all = [
            ("--node-id", node_id),
            ("--data-dir", data_dir),
            ("--rack", rack),
            ("--client-host", client_host),
            ("--client-port", client_port),
            ("--client-advertise", client_advertise),
            ("--admin-host", admin_host),
            ("--admin-port", admin_port),
            ("--log-file", log_file),
            ("--log-format", log_format),
            ("--raft-host", raft_host),
            ("--raft-port", raft_port),
            ("--raft-advertise-host", raft_advertise_host),
            ("--join", join),
            ("--peers", peers),
            ("--await-bootstrap", set(await_bootstrap)),
            ("--enable-test-hooks", set(enable_test_hooks)),
        ];
        all.into_iter().filter_map(|(flag, given)| Some((flag, given?))).collect()
    }
}
