//! GET's cursor as it is kept: the committed offset of group `walrus.get.<topic>`, like that of any
//! group whose consumers are no members.

use std::{collections::BTreeMap, sync::Arc};

use walrus_groups::{Answer, Commit, GroupError, NO_LEADER_EPOCH, NewOffset};
use walrus_types::{NodeId, Offset};

use crate::{broker::Broker, groups::Unready, partition::Partition};

/// Why a cursor could not be read or kept.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CursorError {
    /// Another node keeps it, or this one not yet. Nothing was kept.
    #[error("{0}")]
    NotHere(String),
    /// It failed. It may have been kept, or not.
    #[error("{0}")]
    Failed(String),
}

impl From<Unready> for CursorError {
    fn from(why: Unready) -> Self {
        match why {
            Unready::NoTopic(_) | Unready::NotHere(_) | Unready::Loading => {
                Self::NotHere(why.to_string())
            }
            Unready::Failed(_) => Self::Failed(why.to_string()),
        }
    }
}

/// The node that keeps the cursor. Makes the place for it when there is none.
pub(super) async fn coordinator(broker: &Arc<Broker>, group: &str) -> Result<NodeId, CursorError> {
    let coordinator = broker.groups.coordinator(broker, group).await?;
    coordinator.ok_or_else(|| CursorError::NotHere("nobody keeps the cursor now".into()))
}

/// The partition that keeps the cursor, which this node leads, and has a lease for.
pub(super) async fn partition(
    broker: &Arc<Broker>,
    group: &str,
) -> Result<Arc<Partition>, CursorError> {
    // Makes the topic where it is not there.
    coordinator(broker, group).await?;
    Ok(broker.groups.partition(broker, group).await?)
}

/// The cursor's place in each partition of `topic`.
pub(super) async fn read(
    broker: &Arc<Broker>,
    group: &str,
    topic: &str,
) -> Result<BTreeMap<i32, Offset>, CursorError> {
    let shard = broker.groups.shard(broker, group).await?;
    let places = shard.ask_now(|coordinator, _, _| {
        let all = coordinator.offsets(group).filter(|(of, _, _)| *of == topic);
        all.map(|(_, partition, kept)| (partition, Offset(kept.offset))).collect()
    });
    Ok(places.await?)
}

/// Keeps the cursor's places in `topic`; they are durable when this returns.
pub(super) async fn keep(
    broker: &Arc<Broker>,
    group: &str,
    topic: &str,
    places: &BTreeMap<i32, Offset>,
) -> Result<(), CursorError> {
    let new = |(partition, offset): (&i32, &Offset)| NewOffset {
        topic: topic.to_owned(),
        partition: *partition,
        offset: offset.0,
        leader_epoch: NO_LEADER_EPOCH,
        metadata: String::new(),
    };
    let commit = Commit {
        group: group.to_owned(),
        member: String::new(),
        instance: None,
        generation: -1,
        retention_ms: None,
        offsets: places.iter().map(new).collect(),
    };
    let shard = broker.groups.shard(broker, group).await?;
    let asked = shard.ask(|coordinator, waiter, at, out| {
        coordinator.commit(commit, waiter, at, out);
    });
    match asked.await?.answer().await? {
        Answer::Commit(Ok(_)) => Ok(()),
        Answer::Commit(Err(why @ GroupError::NotCoordinator)) => {
            Err(CursorError::NotHere(why.to_string()))
        }
        Answer::Commit(Err(why)) => Err(CursorError::Failed(why.to_string())),
        other => Err(CursorError::Failed(format!("an answer to something else: {other:?}"))),
    }
}
