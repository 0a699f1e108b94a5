//! Who is connected to the cluster. Any node answers for all: it asks each of them.

use std::sync::Arc;

use axum::http::Uri;
use futures::future::join_all;
use walrus_admin::{
    ApiError, Code,
    connection::{CLIENTS_PAGE_MAX, Client, ClientList},
    group::Missing,
};
use walrus_metadata::NodeState;
use walrus_types::NodeId;

use super::answer::{Answer, Live, Told, node_id, parameter, parameters};
use crate::{
    broker::Broker,
    vitals::{self, ClientPage},
};

/// The last connection of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    node: NodeId,
    connection: u64,
}

pub(super) async fn list(Live(broker): Live, uri: Uri) -> Answer<ClientList> {
    let given = parameters(&uri, &["node", "after", "limit"])?;
    let limit = parameter(&given, "limit")?.unwrap_or(CLIENTS_PAGE_MAX).clamp(1, CLIENTS_PAGE_MAX);
    let after = given.get("after").map(|after| after_of(after)).transpose()?;
    let only = given.get("node").map(|node| node_id(node)).transpose()?;
    Ok(Told(page(&broker, only, after, limit).await?))
}

/// One page of the list.
pub(super) async fn page(
    broker: &Arc<Broker>,
    only: Option<NodeId>,
    after: Option<After>,
    limit: usize,
) -> Result<ClientList, ApiError> {
    let nodes = nodes(broker, only, after)?;
    let asked = nodes.into_iter().map(|node| {
        let after = after.filter(|after| after.node == node).map(|after| after.connection);
        let broker = Arc::clone(broker);
        async move { (node, vitals::clients_of(&broker, node, after, limit).await) }
    });
    let (items, next, missing) = joined(join_all(asked).await, limit);
    Ok(ClientList { answered_by: broker.identity.node, items, next, missing })
}

fn after_of(given: &str) -> Result<After, ApiError> {
    let wrong = || {
        let why = format!("{given:?} is no place in the list: it is NODE/CONNECTION, like n1/57");
        ApiError::new(Code::BadRequest, why).hint("give the `next` of the page before")
    };
    let (node, connection) = given.split_once('/').ok_or_else(wrong)?;
    let connection = connection.parse().map_err(|_not_a_number| wrong())?;
    Ok(After { node: node_id(node)?, connection })
}

/// The nodes to ask, in the order of the list.
fn nodes(
    broker: &Broker,
    only: Option<NodeId>,
    after: Option<After>,
) -> Result<Vec<NodeId>, ApiError> {
    let metadata = broker.metadata();
    if let Some(only) = only.filter(|only| metadata.node(*only).is_none()) {
        let error = ApiError::new(Code::NotFound, format!("there is no node {only}"));
        return Err(error.hint("walrusctl node list"));
    }
    let known = metadata.nodes().iter().filter(|(_, node)| node.state != NodeState::Removed);
    let wanted = known.map(|(id, _)| *id).filter(|id| only.is_none_or(|only| only == *id));
    Ok(wanted.filter(|id| after.is_none_or(|after| *id >= after.node)).collect())
}

type Joined = (Vec<Client>, Option<String>, Vec<Missing>);

/// One page out of what the nodes told.
fn joined(told: Vec<(NodeId, Result<ClientPage, String>)>, limit: usize) -> Joined {
    let (mut items, mut missing, mut more) = (Vec::new(), Vec::new(), false);
    for (node, page) in told {
        match page {
            Ok(page) => {
                let room = limit - items.len();
                more |= page.items.len() > room || page.more;
                items.extend(page.items.into_iter().take(room));
                if more {
                    // What comes after this is of the next page.
                    break;
                }
            }
            Err(why) => missing.push(Missing { node, why }),
        }
    }
    let last = items.last().filter(|_| more);
    let next = last.map(|last| format!("{}/{}", last.node, last.connection));
    (items, next, missing)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use walrus_types::UptimeMs;

    use super::*;
    use crate::net::clients::Clients;

    fn page(node: i32, count: u16, more: bool) -> (NodeId, Result<ClientPage, String>) {
        let clients = Clients::default();
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listed: Vec<_> = (0..count).map(|port| clients.enter(at(port), UptimeMs(0))).collect();
        let look = |one: &crate::net::clients::Listed<'_>| {
            one.connection().look(NodeId(node), UptimeMs(0))
        };
        (NodeId(node), Ok(ClientPage { items: listed.iter().map(look).collect(), more }))
    }

    #[test]
    fn a_page_ends_where_it_is_full_and_says_where_the_next_one_begins() {
        let silent = (NodeId(2), Err("refused".to_owned()));
        for (what, told, limit, count, next, missing) in [
            ("all fit", vec![page(1, 2, false), page(3, 1, false)], 3, 3, None, 0),
            ("one is silent", vec![page(1, 1, false), silent, page(3, 1, false)], 9, 2, None, 1),
            ("cut in a node", vec![page(1, 2, false), page(3, 2, false)], 3, 3, Some("n3/1"), 0),
            ("cut between", vec![page(1, 2, false), page(3, 2, false)], 2, 2, Some("n1/2"), 0),
            ("a node has more", vec![page(1, 2, true), page(3, 2, false)], 2, 2, Some("n1/2"), 0),
            ("the last has more", vec![page(1, 2, true)], 2, 2, Some("n1/2"), 0),
            ("nobody", vec![], 2, 0, None, 0),
        ] {
            let (items, found, silent) = joined(told, limit);
            assert_eq!((items.len(), silent.len()), (count, missing), "{what}");
            assert_eq!(found.as_deref(), next, "{what}");
            let Some(next) = found else { continue };
            let after = after_of(&next).unwrap();
            let last = items.last().unwrap();
            assert_eq!((after.node, after.connection), (last.node, last.connection), "{what}");
        }
        for bad in ["", "n1", "n1/", "/5", "x/5", "n1/-5", "n1/5/6"] {
            assert!(after_of(bad).is_err(), "{bad:?}");
        }
    }
}
