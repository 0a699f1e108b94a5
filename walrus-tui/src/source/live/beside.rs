//! What is looked at beside the cluster as a whole: a chain or a group, asked for each second, or a
//! list, which a node tells by a stream for as long as somebody looks at it.

use std::{future::pending, pin::Pin, sync::Arc};

use serde::de::DeserializeOwned;
use walrus_admin::{
    Endpoint, Kind,
    client::Client,
    escape,
    stream::{Following, News, SILENT_MAX},
};

use super::{
    super::{Also, CHAIN_LINKS, Told},
    ANSWER_MAX,
};
use crate::model::PartitionName;

/// What is being asked for.
pub(super) type Asking = Pin<Box<dyn Future<Output = Beside>>>;

/// What was told, and who goes on telling it.
pub(super) struct Beside {
    pub(super) told: Told,
    pub(super) following: Option<(Also, Following)>,
    /// Whether the node tells lists by a stream, as far as is known.
    pub(super) tells_lists: bool,
}

/// What is being asked for, or for ever.
pub(super) async fn asking(asking: &mut Option<Asking>) -> Beside {
    match asking {
        Some(asking) => asking.await,
        None => pending().await,
    }
}

/// The first of what is wished for.
pub(super) async fn begin(client: Client, at: Endpoint, wish: Also, tells_lists: bool) -> Beside {
    let kinds = match &wish {
        Also::Groups => Some("kinds=group"),
        Also::Clients => Some("kinds=client"),
        Also::Chain(_) | Also::Group(_) => None,
    };
    let mut tells_lists = tells_lists;
    if let Some(kinds) = kinds.filter(|_| tells_lists) {
        match Following::begin(&at, kinds, None, (ANSWER_MAX, SILENT_MAX)).await {
            Ok(following) => return next(client, at, wish, following).await,
            // It is of an older version, or has no place left: it is asked each second.
            Err(_) => tells_lists = false,
        }
    }
    Beside { told: ask(client, at, wish).await, following: None, tells_lists }
}

/// The next of a list that is followed. Where that ends the node is asked, and followed again with
/// the next wish.
pub(super) async fn next(
    client: Client,
    at: Endpoint,
    wish: Also,
    mut following: Following,
) -> Beside {
    let tells_lists = true;
    loop {
        let told = match following.next().await {
            Ok(News::Groups(groups)) => Told::Groups(Ok(Arc::new(groups))),
            Ok(News::Clients(clients)) => Told::Clients(Ok(Arc::new(clients))),
            Ok(News::Snapshot(_) | News::Events(_) | News::Vitals(_)) => continue,
            Err(_) => {
                return Beside { told: ask(client, at, wish).await, following: None, tells_lists };
            }
        };
        return Beside { told, following: Some((wish, following)), tells_lists };
    }
}

async fn ask(client: Client, at: Endpoint, wish: Also) -> Told {
    match wish {
        Also::Chain(name) => {
            let PartitionName { topic, partition } = &name;
            let path =
                format!("/v1/topics/{topic}/partitions/{partition}/segments?limit={CHAIN_LINKS}");
            let chain = get(&client, &at, &path).await;
            Told::Chain { name, chain }
        }
        Also::Groups => Told::Groups(get(&client, &at, "/v1/groups").await),
        Also::Clients => Told::Clients(get(&client, &at, "/v1/clients").await),
        Also::Group(name) => {
            let group = get(&client, &at, &format!("/v1/groups/{}", escape(&name))).await;
            Told::Group { name, group }
        }
    }
}

async fn get<T: Kind + DeserializeOwned>(
    client: &Client,
    at: &Endpoint,
    path: &str,
) -> Result<Arc<T>, String> {
    client.get_at(at, path).await.map(Arc::new).map_err(|why| why.to_string())
}
