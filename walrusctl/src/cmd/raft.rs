//! `walrusctl raft`.

use walrus_admin::{
    client::Client,
    raft::{RaftStatus, TransferAnswer, TransferRequest},
};
use walrus_types::NodeId;

use super::addresses;
use crate::{
    cli::{Consent, Follow},
    consent::agreed,
    failure::Failure,
    follow::{Until, follow},
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
    consent: Consent,
    wait: Follow,
) -> Result<(), Failure> {
    client.meet().await;
    let ask = TransferRequest { to, dry_run: true };
    let planned: TransferAnswer = client.send("/v1/raft/transfer", &ask).await?;
    if planned.from == to {
        return console.show(&planned, |_| format!("nothing to do: {to} leads already\n"));
    }
    console.note(format_args!(
        "{to} leads the metadata group, and is the controller, after {}",
        planned.from
    ));
    if consent.dry_run {
        return console.show(&planned, |_| String::new());
    }
    agreed(console, consent.yes, "Go on?")?;
    let answer =
        hand_over(client, console, to, wait.wait.then(|| Until::after(wait.timeout))).await?;
    console.show(&answer, |_| {
        if wait.wait { format!("{to} leads\n") } else { format!("{to} was asked to lead\n") }
    })
}

/// Asks the leader to hand over to `to`, and waits until that one leads if there is time for it.
///
/// # Errors
/// It cannot lead, or does not in time.
pub(super) async fn hand_over(
    client: &Client,
    console: &Console,
    to: NodeId,
    until: Option<Until>,
) -> Result<TransferAnswer, Failure> {
    let ask = TransferRequest { to, dry_run: false };
    let answer: TransferAnswer = client.send("/v1/raft/transfer", &ask).await?;
    console.goes_on(format!("{to} was asked to lead the metadata group"));
    if let Some(until) = until {
        let leads = |status: &RaftStatus| (status.leader == Some(to)).then_some(());
        let left = |status: Option<&RaftStatus>| match status.and_then(|status| status.leader) {
            Some(leader) => format!("{leader} leads the metadata group"),
            None => "nobody is known to lead the metadata group".to_owned(),
        };
        follow(until, || client.get("/v1/raft"), leads, left).await?;
    }
    Ok(answer)
}
