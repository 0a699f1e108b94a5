//! What only other nodes hold: the leader reads it from one of them for its consumers, who ask
//! nobody else.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;
use walrus_storage::segment::{Chunk, Whose};
use walrus_types::{Offset, batch::BatchHeader};

use super::{
    Partition,
    read::{self, FetchFailure, Place},
};
use crate::{
    broker::Broker,
    replica::{
        Linked, Sources as _,
        messages::{ReadRequest, Wanted},
    },
};

/// Committed batches from `from` on, or from the log start where that is later, wherever they are;
/// with the offset they are read from. `whose` holds what is read meanwhile. `None` when there is nothing to read yet.
///
/// # Errors
/// [`FetchFailure`].
pub async fn read_committed(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    (from, bytes_max): (Offset, usize),
    whose: &Whose,
) -> Result<Option<(Offset, Chunk)>, FetchFailure> {
    loop {
        let metadata = broker.metadata();
        let Some(chain) = metadata.partition(partition.id()) else { return Ok(None) };
        let marks = partition.marks();
        let log_start = marks.log_start.max(chain.log_start());
        let at = from.max(log_start).min(marks.commit.max(log_start));
        let Some(place) = read::locate(&broker.store, chain, partition, (at, whose))? else {
            return Ok(None);
        };
        let found = match place.read_async(at, bytes_max).await {
            Ok(chunk) if chunk.total == 0 => read(broker, &place, at, bytes_max).await,
            found => found,
        };
        let now = broker.metadata();
        let log_start = now.partition(partition.id()).map(|chain| chain.log_start());
        match found {
            // Retention took the segment in the middle of it.
            Err(_gone) if log_start.is_some_and(|log_start| log_start > at) => {}
            found => return Ok(Some((at, found?))),
        }
    }
}

/// Reads from `from` on at the first holder that answers with something.
///
/// # Errors
/// [`FetchFailure::Storage`] when none does.
pub async fn read(
    broker: &Arc<Broker>,
    place: &Place,
    from: Offset,
    bytes_max: usize,
) -> Result<Chunk, FetchFailure> {
    let metadata = broker.metadata();
    let id = place.segment.id();
    let sources = Linked(Arc::clone(&broker.links));
    let mut refused = Vec::new();
    for holder in place.holders.iter().filter(|holder| holder.node != broker.identity.node) {
        let node = metadata.node(holder.node).filter(|node| node.storage == holder.storage);
        let Some(node) = node else { continue };
        let at = (node.addresses.peer.host.clone(), node.addresses.peer.port);
        let wanted = Wanted::Batches(ReadRequest {
            segment: id,
            storage: holder.storage,
            from,
            to: place.end,
            bytes_max: u32::try_from(bytes_max).unwrap_or(u32::MAX),
        });
        let read = sources.read(at, wanted).await.and_then(|bytes| chunk(bytes, from));
        match read {
            Ok(chunk) if chunk.total > 0 => return Ok(chunk),
            Ok(_nothing) => refused.push(format!("{} has none of it", holder.node)),
            Err(why) => refused.push(format!("{}: {why}", holder.node)),
        }
    }
    let why =
        format!("{id} is not on this node and was not read elsewhere: {}", refused.join("; "));
    debug!(%why, "a read was not relayed");
    Err(FetchFailure::Storage(why.into()))
}

/// What another node sent, if it is whole batches that belong here.
fn chunk(bytes: Bytes, from: Offset) -> Result<Chunk, String> {
    let (mut rest, mut next) = (&bytes[..], from);
    while !rest.is_empty() {
        let header = BatchHeader::parse(rest).map_err(|why| why.to_string())?;
        // The first may begin before what was asked for, the others follow each other.
        let is_first = rest.len() == bytes.len();
        let begins = if is_first { header.base_offset <= next } else { header.base_offset == next };
        if !begins || header.end() <= next || header.batch_bytes > rest.len() {
            return Err("what came is not what was asked for".into());
        }
        (rest, next) = (&rest[header.batch_bytes..], header.end());
    }
    Ok(Chunk { total: bytes.len(), bytes: vec![bytes], next })
}

#[cfg(test)]
mod tests {
    use walrus_types::batch::{build, plain_header};

    use super::*;

    fn batch(base: i64, count: i32) -> Vec<u8> {
        build(&BatchHeader { base_offset: Offset(base), ..plain_header(count) }, b"records")
    }

    #[test]
    fn only_whole_batches_that_follow_each_other_are_passed_on() {
        let two = [batch(4, 3), batch(7, 1)].concat();
        for (bytes, from, expected) in [
            (two.clone(), 4, Some(8)),
            (two.clone(), 5, Some(8)),
            (vec![], 4, Some(4)),
            (two[..two.len() - 1].to_vec(), 4, None),
            (two.clone(), 3, None),
            (two.clone(), 7, None),
            ([batch(4, 3), batch(8, 1)].concat(), 4, None),
            ([batch(4, 3), batch(4, 3)].concat(), 4, None),
            (
                b"nonsense that is long enough to be taken for a batch header, one would think"
                    .to_vec(),
                4,
                None,
            ),
        ] {
            let found = chunk(Bytes::from(bytes), Offset(from)).ok().map(|chunk| chunk.next.0);
            assert_eq!(found, expected, "from {from}");
        }
    }
}
