//! `walrusctl raft`.

use walrus_admin::{client::Client, operation::OperationState, plan::Wanted, raft::RaftStatus};
use walrus_types::NodeId;

use super::{
    addresses,
    operation::{Agreed, Asked, begun, carry_out},
};
use crate::{
    cli::{Follow, Order},
    failure::Failure,
    out::{Console, Flush, table},
};

/// Shows the group, as its leader sees it where that one answers.
///
/// # Errors
/// Nobody answers.
pub(super) async fn status(client: &Client, console: &Console) -> Result<(), Failure> {
    let mut status: RaftStatus = client.get("/v1/raft").await?;
    // Who lacks what only the leader knows.
    if let Some(leader) = status.leader.filter(|leader| *leader != status.answered_by)
        && let Ok(known) = addresses(client).await
        && let Some((_, at)) = known.iter().find(|(node, _)| *node == leader)
        && let Ok(there) = client.get_at(at, "/v1/raft").await
    {
        status = there;
    }
    console.show(&status, status_text)
}

fn status_text(status: &RaftStatus) -> String {
    let leader = status.leader.map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
    let text = format!(
        "leader     {leader} in term {}; {} of {} voters decide\n\
         log        committed {}, last {}, applied {}, snapshot {}, forgotten up to {}\n\
         told by    {}, {}\n\n",
        status.term,
        status.quorum,
        status.voters,
        status.committed,
        status.last_log,
        status.applied,
        status.snapshot,
        status.purged,
        status.answered_by,
        status.state,
    );
    let head = [
        ("NODE", Flush::Left),
        ("ROLE", Flush::Left),
        ("LACKS", Flush::Right),
        ("PEER", Flush::Left),
        ("STORAGE", Flush::Left),
    ];
    let rows: Vec<Vec<String>> = status
        .members
        .iter()
        .map(|member| {
            let role = match (status.leader == Some(member.node), member.votes) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            };
            vec![
                member.node.to_string(),
                role.to_owned(),
                member.lag_entries.map_or_else(String::new, |lag| lag.to_string()),
                member.peer.clone(),
                member.storage.to_string(),
            ]
        })
        .collect();
    text + &table(&head, &rows)
}

/// Has another voter lead.
///
/// # Errors
/// It cannot lead, or does not in time.
pub(super) async fn transfer(
    client: &Client,
    console: &Console,
    to: NodeId,
    (yes, order, follow): (bool, Order, Follow),
) -> Result<(), Failure> {
    let wanted = Wanted::TransferRaft { to };
    let asked = Asked { wanted, agreed: Agreed::Yes(yes), order, follow };
    let Some(told) = carry_out(client, console, asked).await? else { return Ok(()) };
    console.show(&told, |told| match told.state {
        OperationState::Done => format!("{to} leads\n"),
        _ => begun(told),
    })
}
