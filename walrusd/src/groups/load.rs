//! Reads the groups of a partition from its log.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tracing::{info, warn};
use walrus_groups::Loader;
use walrus_storage::segment::Whose;

use super::{records, shard::Shard};
use crate::{
    broker::Broker,
    partition::{Partition, relay},
};

/// What is read at once.
const READ_BYTES: usize = 1 << 20;
/// While what is in the log is not committed yet, it is looked at again after this at the latest.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Reads all that is in the log, up to where it ended at the beginning: what an earlier coordinator
/// appended here and did not see committed counts too.
pub(super) async fn load(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
) -> Result<Arc<Shard>, String> {
    let began = Instant::now();
    let marks = partition.marks();
    let (mut from, end) = (marks.log_start, marks.log_end);
    let (mut loader, mut count, mut unread) = (Loader::default(), 0_u64, 0);
    let whose: Whose = Arc::new("the coordinator, which loads its groups");
    while from < end {
        wait_for_commit(partition, from).await?;
        let read = relay::read_committed(broker, partition, (from, READ_BYTES), &whose).await;
        let Some((at, chunk)) = read.map_err(|why| why.to_string())? else {
            // The chain has not heard yet what the partition knows.
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        };
        for bytes in &chunk.bytes {
            unread += records::read(bytes, |record| {
                count += 1;
                loader.replay(record);
            })?;
        }
        if chunk.next <= at {
            return Err(format!("reading stopped at {at}"));
        }
        from = chunk.next;
    }
    if unread > 0 {
        warn!(partition = %partition.id(), unread, "records of another version were passed over");
    }
    let shard = Shard::begin(broker, partition, loader);
    // Topics that were deleted while nobody coordinated these groups.
    shard.forget_unknown(broker);
    let took_ms = began.elapsed().as_millis();
    info!(partition = %partition.id(), records = count, took_ms, "groups are coordinated here");
    Ok(shard)
}

async fn wait_for_commit(partition: &Partition, from: walrus_types::Offset) -> Result<(), String> {
    loop {
        if partition.is_closed() {
            return Err("another node leads the partition now".into());
        }
        if partition.commit_seen() > from || partition.marks().log_start > from {
            return Ok(());
        }
        let committed = Arc::new(Notify::new());
        if partition.watch(from, &committed) {
            // Either way it is looked at again.
            drop(timeout(LOOK_AGAIN, committed.notified()).await);
        }
    }
}
