//! The commands, one file for each noun.

mod client;
mod cluster;
pub(crate) mod context;
mod event;
mod gc;
mod group;
mod node;
mod operation;
mod raft;
mod rollover;
mod segment;

use walrus_admin::{
    ApiError,
    client::Client,
    node::{NodeList, NodeState},
    operation::OperationState,
    plan::Wanted,
};
use walrus_types::{NodeId, PartitionIndex};

use self::operation::{Agreed, Asked};

use crate::{
    cli::{self, Command, Event, Gc, Group, Node, Raft, Segment},
    failure::Failure,
    man,
    out::Console,
};

/// Does what was asked.
///
/// # Errors
/// It could not be done.
pub async fn run(command: Command, client: &Client, console: &Console) -> Result<(), Failure> {
    match command {
        Command::Cluster { verb } => cluster::run(verb, client, console).await,
        Command::Node { verb: Node::List { all } } => node::list(client, console, all).await,
        Command::Node { verb: Node::Ready } => node::ready(client, console).await,
        Command::Node { verb } => node::change(verb, client, console).await,
        Command::Rollover(what) => rollover::run(what, client, console).await,
        Command::Segment { verb: Segment::Chain { partition, limit } } => {
            segment::chain(client, console, &partition, limit).await
        }
        Command::Segment { verb: Segment::UnsafeSeal { partition, confirm, order, follow } } => {
            let (topic, partition) = segment::one(&partition, "unsafe-seal")?;
            let partition = PartitionIndex(partition);
            let wanted = Wanted::UnsafeSeal { topic: topic.to_owned(), partition };
            let agreed = Agreed::Name(confirm);
            let asked = Asked { wanted, agreed, order, follow };
            let Some(told) = operation::carry_out(client, console, asked).await? else {
                return Ok(());
            };
            console.show(&told, |told| match told.state {
                OperationState::Done => operation::ended(told),
                _ => operation::begun(told),
            })
        }
        Command::Op { verb } => operation::op(verb, client, console).await,
        Command::Group { verb: Group::List } => group::list(client, console).await,
        Command::Group { verb: Group::Get { group } } => group::get(client, console, &group).await,
        Command::Client { verb: cli::Client::List { node, limit } } => {
            client::list(client, console, node, limit).await
        }
        Command::Gc { verb: Gc::Status } => gc::status(client, console).await,
        Command::Event { verb: Event::List(which) } => event::list(client, console, which).await,
        Command::Event { verb: Event::Watch(which) } => {
            event::watch(client, console, which, client.answer_max()).await
        }
        Command::Raft { verb: Raft::Status } => raft::status(client, console).await,
        Command::Raft { verb: Raft::Transfer { node, yes, order, follow } } => {
            raft::transfer(client, console, node, (yes, order, follow)).await
        }
        Command::Man { dir } => man::write(dir.as_deref(), console),
        // It asks no node: `crate::run` did it.
        Command::Context { .. } => Ok(()),
    }
}

/// The first of what stands against a change.
fn refused(refusals: &[ApiError]) -> Result<(), Failure> {
    refusals.first().map_or(Ok(()), |first| Err(first.clone().into()))
}

/// Tells what a change comes to.
fn tell_plan(console: &Console, effects: &[String], warnings: &[String]) {
    for effect in effects {
        console.note(format_args!("  {effect}"));
    }
    for warning in warnings {
        console.note(format_args!("  warning: {warning}"));
    }
}

/// Where nodes are asked, by their numbers. Nodes that nobody can be sent to are left out.
async fn addresses(client: &Client) -> Result<Vec<(NodeId, walrus_admin::Endpoint)>, Failure> {
    client.meet().await;
    let list: NodeList = client.get("/v1/nodes").await?;
    let there = list.items.iter().filter(|node| node.state != NodeState::Removed);
    let known = there
        .filter_map(|node| Some((node.node, client.address(node.node, &node.addresses.admin)?)));
    Ok(known.collect())
}
