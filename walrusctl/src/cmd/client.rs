//! `walrusctl client`.

use walrus_admin::{
    client::Client,
    connection::{CLIENTS_PAGE_MAX, Client as Connected, ClientList},
};
use walrus_types::NodeId;

use crate::{
    failure::Failure,
    out::{Console, Flush, age, bytes, table},
};

/// Lists who is connected to the cluster, or to one node.
///
/// # Errors
/// Nobody answers, or there is no such node.
pub(super) async fn list(
    client: &Client,
    console: &Console,
    node: Option<NodeId>,
    limit: usize,
) -> Result<(), Failure> {
    let only = node.map_or_else(String::new, |node| format!("&node={node}"));
    let mut all: Option<ClientList> = None;
    let mut after = String::new();
    loop {
        let told = all.as_ref().map_or(0, |all| all.items.len());
        let room = limit.max(1).saturating_sub(told).min(CLIENTS_PAGE_MAX);
        let path = format!("/v1/clients?limit={room}{only}{after}");
        let page: ClientList = client.get(&path).await?;
        let next = page.next.clone();
        match &mut all {
            Some(all) => {
                all.items.extend(page.items);
                let is_new = |one: &_| !all.missing.contains(one);
                let missing: Vec<_> = page.missing.into_iter().filter(is_new).collect();
                all.missing.extend(missing);
                all.next = page.next;
            }
            None => all = Some(page),
        }
        let told = all.as_ref().map_or(0, |all| all.items.len());
        let Some(next) = next.filter(|_| told < limit) else { break };
        after = format!("&after={next}");
    }
    let Some(all) = all else { return Ok(()) };
    console.show(&all, list_text)?;
    if all.next.is_some() {
        console.note(format_args!("there are more: --limit {} shows so many", limit * 2));
    }
    for missing in &all.missing {
        console.note(format_args!("the clients of {} are missing: {}", missing.node, missing.why));
    }
    Ok(())
}

fn list_text(list: &ClientList) -> String {
    let head = [
        ("NODE", Flush::Left),
        ("CONNECTION", Flush::Right),
        ("CLIENT", Flush::Left),
        ("SOFTWARE", Flush::Left),
        ("ADDRESS", Flush::Left),
        ("FOR", Flush::Right),
        ("MOSTLY", Flush::Left),
        ("REQUESTS", Flush::Right),
        ("UNDER WAY", Flush::Right),
        ("IN", Flush::Right),
        ("OUT", Flush::Right),
        ("LAST", Flush::Left),
        ("IDLE", Flush::Right),
    ];
    table(&head, &list.items.iter().map(row).collect::<Vec<_>>())
}

fn row(one: &Connected) -> Vec<String> {
    let software = one.software.iter().chain(&one.software_version).cloned().collect::<Vec<_>>();
    vec![
        one.node.to_string(),
        one.connection.to_string(),
        one.client_id.clone().unwrap_or_default(),
        software.join(" "),
        one.address.clone(),
        age(one.for_ms),
        one.mostly.map_or_else(String::new, |mostly| mostly.word().to_owned()),
        one.requests.to_string(),
        one.under_way.to_string(),
        bytes(one.bytes_in),
        bytes(one.bytes_out),
        one.last.clone().unwrap_or_default(),
        one.idle_ms.map_or_else(String::new, age),
    ]
}
