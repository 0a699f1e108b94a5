//! `walrusctl rollover`: seals open segments and opens their successors, at a rate.

use walrus_admin::{
    client::Client,
    operation::{Operation, OperationState},
    plan::{self, Wanted, Which},
};
use walrus_types::PartitionIndex;

use super::operation::{Agreed, Asked, begun, carry_out, ended};
use crate::{
    cli::{Place, Rollover},
    failure::Failure,
    out::Console,
};

/// Rolls over what was named.
///
/// # Errors
/// Nothing was named that is there, or it was not done to its end.
pub(super) async fn run(
    wanted: Rollover,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let Rollover { partitions, node, all: _, rate, yes, order, follow } = wanted;
    let place = |Place { topic, partition }: Place| plan::Place {
        topic,
        partition: partition.map(PartitionIndex),
    };
    let which = match node {
        Some(node) => Which::LedBy(node),
        None if partitions.is_empty() => Which::All,
        None => Which::These(partitions.into_iter().map(place).collect()),
    };
    let wanted = Wanted::Rollover { which, per_minute: rate.per_minute() };
    let asked = Asked { wanted, agreed: Agreed::Yes(yes), order, follow };
    let Some(told) = carry_out(client, console, asked).await? else { return Ok(()) };
    console.show(&told, text)
}

fn text(told: &Operation) -> String {
    if told.state == OperationState::Running {
        return begun(told);
    }
    ended(told)
}
