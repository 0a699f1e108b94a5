//! Producer ids of this node: handed out one by one from a block that Raft gave it alone.
//!
//! What is left of a block when the node stops is never used by anybody.

use tokio::sync::Mutex;
use walrus_metadata::ProducerIdBlock;
use walrus_types::ProducerId;

/// The ids that are left.
#[derive(Debug, Default)]
pub struct ProducerIds {
    left: Mutex<Left>,
}

/// Invariant: the next `count` ids from `next` on belong to this node and were not handed out.
#[derive(Debug, Default)]
struct Left {
    next: i64,
    count: i64,
}

impl ProducerIds {
    /// An id that nobody else has. `refill` is awaited only when none is left; those who ask
    /// meanwhile wait for the same block.
    ///
    /// # Errors
    /// What `refill` says; the next to ask tries again.
    pub async fn next<E>(
        &self,
        refill: impl Future<Output = Result<ProducerIdBlock, E>>,
    ) -> Result<ProducerId, E> {
        let mut left = self.left.lock().await;
        if left.count == 0 {
            let block = refill.await?;
            assert!(block.count > 0 && block.first.is_some(), "no block of ids: {block:?}");
            *left = Left { next: block.first.0, count: block.count };
        }
        let id = ProducerId(left.next);
        *left = Left { next: left.next + 1, count: left.count - 1 };
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{
            Arc,
            atomic::{AtomicI64, Ordering},
        },
    };

    use super::*;

    const BLOCK: i64 = 100;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_id_is_given_twice_and_each_block_is_asked_for_once() {
        let ids = Arc::new(ProducerIds::default());
        let blocks = Arc::new(AtomicI64::new(0));
        let askers: Vec<_> = (0..250)
            .map(|_| {
                let (ids, blocks) = (Arc::clone(&ids), Arc::clone(&blocks));
                tokio::spawn(async move {
                    let refill = async {
                        tokio::task::yield_now().await;
                        let first = ProducerId(blocks.fetch_add(1, Ordering::Relaxed) * BLOCK);
                        Ok::<_, ()>(ProducerIdBlock { first, count: BLOCK })
                    };
                    ids.next(refill).await.unwrap()
                })
            })
            .collect();
        let mut given = BTreeSet::new();
        for asker in askers {
            assert!(given.insert(asker.await.unwrap()), "an id was given twice");
        }
        assert_eq!(blocks.load(Ordering::Relaxed), 3);
        assert_eq!(given.last(), Some(&ProducerId(249)), "blocks are used up in order");
    }

    #[tokio::test]
    async fn a_refill_that_fails_costs_no_id() {
        let ids = ProducerIds::default();
        assert_eq!(ids.next(async { Err("no leader") }).await, Err("no leader"));
        let block = ProducerIdBlock { first: ProducerId(7), count: 1 };
        assert_eq!(ids.next(async { Ok::<_, ()>(block) }).await, Ok(ProducerId(7)));
        assert_eq!(ids.next(async { Err("again") }).await, Err("again"));
    }
}
