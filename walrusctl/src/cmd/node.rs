//! `walrusctl node`.

use walrus_admin::{
    client::Client,
    cluster::SelfStatus,
    node::{Holding, Node, NodeList, NodeState},
    operation::OperationState,
    plan::Wanted,
};
use walrus_types::NodeId;

use super::operation::{Agreed, Asked, begun, carry_out};
use crate::{
    cli,
    failure::{Exit, Failure},
    out::{Console, Flush, table},
};

/// Shows the nodes.
///
/// # Errors
/// Nobody answers.
pub(super) async fn list(client: &Client, console: &Console, all: bool) -> Result<(), Failure> {
    let mut list: NodeList = client.get("/v1/nodes").await?;
    list.items.retain(|node| all || node.state != NodeState::Removed);
    console.show(&list, |list| table_of(list.items.iter()))
}

/// Tells whether the node at the first endpoint serves.
///
/// # Errors
/// It does not, or does not answer.
pub(super) async fn ready(client: &Client, console: &Console) -> Result<(), Failure> {
    let at = &client.endpoints()[0];
    let told: SelfStatus = client.get_at(at, "/v1/self").await?;
    console.show(&told, |told| format!("{at} is {}\n", told.state))?;
    if told.state == "ready" {
        return Ok(());
    }
    let why = told.reason.unwrap_or(told.state);
    Err(Failure::new(Exit::Unhealthy, format_args!("the node at {at} does not serve"), why))
}

/// Nodes as rows.
pub(super) fn table_of<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    let head = [
        ("NODE", Flush::Left),
        ("STATE", Flush::Left),
        ("RAFT", Flush::Left),
        ("LEADS", Flush::Right),
        ("OPEN", Flush::Right),
        ("SEALED", Flush::Right),
        ("ALONE", Flush::Right),
        ("RACK", Flush::Left),
        ("CLIENTS", Flush::Left),
        ("ADMIN", Flush::Left),
    ];
    let rows: Vec<Vec<String>> = nodes
        .map(|node| {
            let part = node.raft.as_ref().map_or("", |raft| match (raft.leads, raft.votes) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            });
            let drains = node.drains && node.state == NodeState::Fenced;
            let Holding { leads, open, sealed, sole, .. } = node.holding;
            vec![
                node.node.to_string(),
                if drains { "fenced, drains".to_owned() } else { node.state.name().to_owned() },
                part.to_owned(),
                leads.to_string(),
                open.to_string(),
                sealed.to_string(),
                sole.to_string(),
                node.rack.clone().unwrap_or_default(),
                node.addresses.client.clone(),
                node.addresses.admin.clone(),
            ]
        })
        .collect();
    table(&head, &rows)
}

/// Changes a node.
///
/// # Errors
/// Something stands against it, or nobody answers.
pub(super) async fn change(
    verb: cli::Node,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    match verb {
        cli::Node::List { all } => list(client, console, all).await,
        cli::Node::Ready => ready(client, console).await,
        cli::Node::Drain(change) => drain(client, console, change).await,
        cli::Node::Undrain(cli::Change { node, yes, order, follow }) => {
            let wanted = Wanted::Undrain { node };
            let asked = Asked { wanted, agreed: Agreed::Yes(yes), order, follow };
            let Some(told) = carry_out(client, console, asked).await? else { return Ok(()) };
            console.show(&told, |_| format!("{node} takes part\n"))
        }
        cli::Node::Remove { node, confirm, order, follow } => {
            let wanted = Wanted::Remove { node };
            let agreed = Agreed::Name(confirm.map(|node| node.0.to_string()));
            let Some(told) =
                carry_out(client, console, Asked { wanted, agreed, order, follow }).await?
            else {
                return Ok(());
            };
            console.show(&told, |told| match told.state {
                OperationState::Done => format!(
                    "{node} is removed: it is safe to switch off, and its folder may be deleted\n"
                ),
                _ => begun(told),
            })
        }
    }
}

async fn drain(client: &Client, console: &Console, change: cli::Change) -> Result<(), Failure> {
    let cli::Change { node, yes, order, follow } = change;
    let wanted = Wanted::Drain { node };
    let asked = Asked { wanted, agreed: Agreed::Yes(yes), order, follow };
    let Some(told) = carry_out(client, console, asked).await? else { return Ok(()) };
    if told.state != OperationState::Done {
        return console.show(&told, begun);
    }
    // Whether it may be stopped is another question than whether it is drained.
    let list: NodeList = client.get("/v1/nodes").await?;
    let holding = list.items.iter().find(|one| one.node == node).map(|one| one.holding);
    console.show(&told, |_| drained_text(node, holding.unwrap_or_default()))
}

fn drained_text(node: NodeId, holding: Holding) -> String {
    let Holding { sealed, sole, .. } = holding;
    let text = format!("{node} is drained: it leads nothing and no open segment needs it\n");
    if holding.is_spare() {
        text + &format!("it may be stopped for a while; {sealed} sealed segments stay on it\n")
    } else {
        text + &format!(
            "{sole} of its {sealed} sealed segments are on no other node that serves: while it is \
             stopped they cannot be read\n"
        )
    }
}
