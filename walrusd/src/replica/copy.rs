//! What is read here for others, and what is brought from them: a suffix that a controller wants
//! copied before it seals, or what a sealed segment lacks.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{sync::oneshot, time::timeout};
use walrus_metadata::Metadata;
use walrus_raft::Lane;
use walrus_replication::{FenceAnswer, Member, Refusal};
use walrus_storage::segment::{CHUNK_BYTES_MAX, Chunk, Held, Purpose, Segment};
use walrus_types::{Offset, SegmentId, StorageId, batch};

use super::{
    Replicas,
    jobs::blocking,
    messages::{self, CopyOrder, CopyReply, PeerAddress, ProducersRequest, ReadRequest, Wanted},
    open::{Standing, standing},
    segment::{NotTaken, Replica},
};
use crate::peer::{Links, Subject};

/// How long another node may take to read.
const READ_MAX: Duration = Duration::from_secs(10);
/// How long the store here may take to make room, or to flush what was copied.
const STORE_MAX: Duration = Duration::from_secs(10);
/// A store that is busy is asked again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// The way to what other members hold.
pub trait Sources: Send + Sync + 'static {
    /// Asks the node at `at`, which must have the disk that `wanted` names.
    fn read(&self, at: PeerAddress, wanted: Wanted) -> BoxFuture<'static, Result<Bytes, String>>;
}

/// [`Links`], shared as [`Sources`] wants it.
#[derive(Debug)]
pub struct Linked(pub Arc<Links>);

impl Sources for Linked {
    fn read(
        &self,
        (host, port): PeerAddress,
        wanted: Wanted,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let links = Arc::clone(&self.0);
        let storage = match &wanted {
            Wanted::Batches(ReadRequest { storage, .. })
            | Wanted::Producers(ProducersRequest { storage, .. }) => *storage,
        };
        Box::pin(async move {
            let how = (Lane::Copy, Subject::Read);
            let body = messages::encode(&wanted);
            let asked = links.ask((&host, port), Some(storage), how, body, READ_MAX).await;
            let (_peer, found) = asked.map_err(|why| why.to_string())?;
            messages::decode_found(&found)
        })
    }
}

impl Replicas {
    /// Whole batches of a segment, as far as they are durable or decided here: none when there
    /// are none.
    ///
    /// # Errors
    /// Why nothing of it can be read here, for people.
    pub async fn read(self: &Arc<Self>, request: ReadRequest) -> Result<Bytes, String> {
        let ReadRequest { segment: id, storage, from, to, bytes_max } = request;
        self.check_storage(storage)?;
        if from < id.base {
            return Err(format!("{id} does not hold offset {from}"));
        }
        let (segment, end) = self.place(id).await?;
        let segment = segment.held_for(Purpose::Copy, None);
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
        let chunk = read_chunk(segment, (from, to.min(end)), bytes_max).await?;
        Ok(match <[Bytes; 1]>::try_from(chunk.bytes) {
            Ok([whole]) => whole,
            Err(pieces) => pieces.concat().into(),
        })
    }

    /// The producers' table at the end of a sealed segment that is whole here.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub async fn read_producers(
        self: &Arc<Self>,
        request: ProducersRequest,
    ) -> Result<Bytes, String> {
        let ProducersRequest { segment: id, storage } = request;
        self.check_storage(storage)?;
        let chain = self.chain(id.partition);
        let Standing::Sealed(sealed) = standing(chain.as_deref(), id) else {
            return Err(format!("{id} is not sealed here"));
        };
        let (end, replicas) = (sealed.end, Arc::clone(self));
        let _turn = self.jobs.turn().await;
        let table = blocking(move || replicas.producers_at(id.partition, end)).await?;
        let table = table.ok_or_else(|| format!("{id} is not whole here"))?;
        Ok(table.encode().into())
    }

    /// Where a consumer finds a segment here, and up to where: what is committed of an open one
    /// that this node does not lead, and what this disk has of a sealed one. `None` when nothing
    /// can be read here.
    pub async fn readable(self: &Arc<Self>, id: SegmentId) -> Option<(Arc<Segment>, Offset)> {
        let chain = self.chain(id.partition);
        let place = match standing(chain.as_deref(), id) {
            Standing::Open(_) => {
                let replica = self.replica(id).await.ok()?;
                (Arc::clone(replica.segment()), replica.marks().readable)
            }
            Standing::Sealed(_) | Standing::Dropped | Standing::Unknown => {
                self.place(id).await.ok()?
            }
        };
        Some(place)
    }

    /// Whether this disk has all of a sealed segment. May wait for the disk.
    pub async fn is_whole(self: &Arc<Self>, id: SegmentId) -> bool {
        let chain = self.chain(id.partition);
        let Standing::Sealed(sealed) = standing(chain.as_deref(), id) else { return false };
        self.place(id).await.is_ok_and(|(_, end)| end == sealed.end)
    }

    pub(super) fn check_storage(&self, storage: StorageId) -> Result<(), String> {
        if storage == self.me.storage {
            return Ok(());
        }
        Err(format!("the disk here is {}, not {storage}", self.me.storage))
    }

    /// Where a segment is, and the end of what may be read of it by another member.
    async fn place(self: &Arc<Self>, id: SegmentId) -> Result<(Arc<Segment>, Offset), String> {
        let refused = |why: &dyn std::fmt::Display| format!("{id}: {why}");
        let chain = self.chain(id.partition);
        match standing(chain.as_deref(), id) {
            Standing::Open(_) => {
                let replica = self.replica(id).await.map_err(|why| refused(&why))?;
                Ok((Arc::clone(replica.segment()), replica.marks().durable))
            }
            Standing::Sealed(sealed) => {
                // Whatever this disk has below the end is right, durable or not: the end is
                // decided, and a log here is a prefix of what was written.
                let end = sealed.end;
                if let Some(replica) = self.opened(id) {
                    return Ok((Arc::clone(replica.segment()), replica.marks().end.min(end)));
                }
                let segment = self.store.segment(id);
                let looked = Arc::clone(&segment);
                let here = blocking(move || looked.end()).await?.map_err(|why| refused(&why))?;
                Ok((segment, here.min(end)))
            }
            Standing::Dropped | Standing::Unknown => Err(refused(&"there is no such segment")),
        }
    }

    /// A controller that seals has this node copy a suffix from another fenced member.
    ///
    /// # Errors
    /// Why it was not copied, for people.
    pub async fn copy(self: &Arc<Self>, order: CopyOrder) -> Result<CopyReply, String> {
        let CopyOrder { segment: id, from_member, from_addr, to_storage, from: _, to } = order;
        self.check_storage(to_storage)?;
        let replica = self.replica(id).await.map_err(|why| format!("{id}: {why}"))?;
        let _turn = self.jobs.pull_turn().await;
        self.bring(&replica, (from_member, from_addr), to).await?;
        let held = match replica.answer_fence(&self.fences) {
            Ok(FenceAnswer::Held(held)) => Some(held),
            Ok(FenceAnswer::LostDisk { .. } | FenceAnswer::Sealed { .. }) | Err(_) => None,
        };
        Ok(CopyReply { held })
    }

    /// Pulls what a sealed segment lacks from any other member.
    pub(super) async fn pull(self: &Arc<Self>, replica: &Arc<Replica>) -> Result<(), String> {
        let (id, metadata) = (replica.id(), self.state());
        let chain = metadata.partition(id.partition).map(|chain| &**chain);
        let Standing::Sealed(sealed) = standing(chain, id) else {
            return Err("it is not sealed".into());
        };
        let mut others: Vec<_> = sealed.members.iter().collect();
        others.retain(|member| member.node != self.me.node);
        // Who wrote it has all of it, most of the time.
        others.sort_by_key(|member| member.node != sealed.leader);
        let mut failed = "nobody else holds it".to_owned();
        for other in others {
            let member = Member { node: other.node, storage: other.storage };
            let Some(at) = peer_address(&metadata, member) else { continue };
            match self.bring(replica, (member, at), sealed.end).await {
                Ok(()) => return Ok(()),
                Err(why) => failed = format!("{}: {why}", member.node),
            }
        }
        Err(failed)
    }

    /// Copies from `source` until the log here ends at `to` and is durable.
    async fn bring(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        (source, at): (Member, PeerAddress),
        to: Offset,
    ) -> Result<(), String> {
        loop {
            let from = replica.marks().end;
            if from >= to {
                return self.until_durable(replica, to).await;
            }
            let wanted = Wanted::Batches(ReadRequest {
                segment: replica.id(),
                storage: source.storage,
                from,
                to,
                bytes_max: u32::try_from(CHUNK_BYTES_MAX).unwrap_or(u32::MAX),
            });
            let bytes = self.sources.read(at.clone(), wanted).await?;
            if bytes.is_empty() {
                return Err(format!("{} has nothing from {from} on", source.node));
            }
            self.take_copies(replica, &bytes, to).await?;
            if replica.marks().end <= from {
                return Err(format!("{} sent nothing that follows {from}", source.node));
            }
        }
    }

    /// Stores batches that lie back to back, and waits until they are durable.
    async fn take_copies(
        &self,
        replica: &Arc<Replica>,
        bytes: &Bytes,
        to: Offset,
    ) -> Result<(), String> {
        let mut last = None;
        for item in batch::batches(bytes) {
            let (header, batch) = item.map_err(|why| why.to_string())?;
            batch::check(batch).map_err(|why| why.to_string())?;
            let copied = (&header, bytes.slice_ref(batch));
            last = Some(
                timeout(STORE_MAX, self.take_copy(replica, copied, to))
                    .await
                    .map_err(|_elapsed| "the store here takes nothing for now".to_owned())??,
            );
        }
        match last {
            None => Ok(()),
            Some(flushed) => match timeout(STORE_MAX, flushed).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err("what was copied was not flushed".into()),
            },
        }
    }

    /// Stores one batch; the receiver hears when it is durable.
    async fn take_copy(
        &self,
        replica: &Arc<Replica>,
        (header, bytes): (&batch::BatchHeader, Bytes),
        to: Offset,
    ) -> Result<oneshot::Receiver<()>, String> {
        loop {
            let (flushed, is_durable) = oneshot::channel();
            let copied = (header, bytes.clone());
            match replica.copy(self.me.storage, copied, to, &self.fences, flushed) {
                Ok(_end) => return Ok(is_durable),
                Err(NotTaken::Refused(Refusal::Busy)) => {
                    self.store.room().await;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(NotTaken::Refused(refusal)) => return Err(refusal.to_string()),
                Err(NotTaken::Closed) => return Err("it is kept here no longer".into()),
            }
        }
    }

    /// Waits until everything below `to` is durable here.
    async fn until_durable(&self, replica: &Arc<Replica>, to: Offset) -> Result<(), String> {
        if replica.marks().durable >= to {
            return Ok(());
        }
        // Queued behind it in the WAL.
        self.flush_behind().await?;
        let durable = replica.marks().durable;
        if durable >= to { Ok(()) } else { Err(format!("only durable up to {durable}")) }
    }
}

/// Where a member's peer port is, if it is in the cluster.
pub(super) fn peer_address(metadata: &Metadata, member: Member) -> Option<PeerAddress> {
    let node = metadata.node(member.node).filter(|node| node.storage == member.storage)?;
    let peer = &node.addresses.peer;
    Some((peer.host.clone(), peer.port))
}

/// Reads from memory where that is possible, else on a thread that may wait.
async fn read_chunk(
    segment: Held,
    (from, to): (Offset, Offset),
    bytes_max: usize,
) -> Result<Chunk, String> {
    match segment.try_read(from, to, bytes_max) {
        Ok(Some(chunk)) => Ok(chunk),
        Ok(None) => {
            let read = blocking(move || segment.read(from, to, bytes_max)).await?;
            read.map_err(|why| why.to_string())
        }
        Err(why) => Err(why.to_string()),
    }
}
