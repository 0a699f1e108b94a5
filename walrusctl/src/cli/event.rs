//! The command line of `walrusctl event`.

use clap::{
    Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use walrus_admin::event::EventKind;
use walrus_types::NodeId;

/// `walrusctl event`.
#[derive(Debug, Subcommand)]
pub enum Event {
    /// Show what changed, oldest first
    ///
    /// Nodes keep the newest ten thousand in memory. VERSION is the metadata's index at which the
    /// node that answers saw it; another may have seen the same a little later.
    #[command(after_help = "\
Examples:
  walrusctl event list
  walrusctl event list --kind lease --limit 20
  walrusctl event list -o json | jq -r '.items[] | select(.severity != \"info\") | .message'")]
    List(Events),
    /// Follow what changes until interrupted
    ///
    /// When the node that tells it is gone the next endpoint is asked for what came after. With
    /// -o json each event is a document on a line of its own.
    #[command(after_help = "\
Examples:
  walrusctl event watch
  walrusctl --endpoint node1:7071 --endpoint node2:7071 event watch --kind node
  walrusctl event watch --after 0 -o json | jq -r .event.message")]
    Watch(EventWatch),
}

/// Which events are listed.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Those after a version of the metadata, the oldest first [default: the newest]
    #[arg(long, value_name = "VERSION")]
    pub after: Option<u64>,
    /// So many at most, and the rest of the last one's version
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: u16,
    /// Of what they are.
    #[command(flatten)]
    pub filter: EventFilter,
}

/// Which events are followed.
#[derive(Debug, clap::Args)]
pub struct EventWatch {
    /// Begin after a version of the metadata [default: now]
    #[arg(long, value_name = "VERSION")]
    pub after: Option<u64>,
    /// Of what they are.
    #[command(flatten)]
    pub filter: EventFilter,
}

/// Of what events are.
#[derive(Debug, clap::Args)]
pub struct EventFilter {
    /// Of that kind; may be given several times
    #[arg(long = "kind", value_name = "KIND", value_parser = event_kind())]
    pub kinds: Vec<EventKind>,
    /// About that node, like 1 or n1
    #[arg(long, value_name = "NODE")]
    pub node: Option<NodeId>,
}

impl EventFilter {
    /// Whether it lets everything pass.
    pub const fn is_all(&self) -> bool {
        self.kinds.is_empty() && self.node.is_none()
    }

    /// Whether it lets that pass.
    pub fn wants(&self, event: &walrus_admin::event::Event) -> bool {
        let is_kind = self.kinds.is_empty() || self.kinds.contains(&event.kind);
        is_kind && self.node.is_none_or(|node| event.node == Some(node))
    }
}

fn event_kind() -> impl TypedValueParser<Value = EventKind> {
    let names = EventKind::ALL.map(EventKind::name);
    PossibleValuesParser::new(names)
        .map(|name| EventKind::of_name(&name).expect("it is one of them"))
}
