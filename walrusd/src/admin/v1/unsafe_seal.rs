//! Seals a segment without the votes that its seal needs, when an operator says so (L19).
//!
//! Only the controller knows what waits for votes. A plan is told first; what is to be done then
//! names the epoch and the end that it told, so that nobody agrees to one loss and gets another.

use std::sync::Arc;

use axum::extract::{Path, State as Extract, rejection::PathRejection};
use walrus_admin::{
    ApiError, Code,
    unsafe_seal::{MissingVote, UnsafeSeal, UnsafeSealRequest, UnsafeSealState},
};
use walrus_metadata::{Metadata, Partition, Topic};
use walrus_replication::seal::{UnsafePlan, UnsafeRefusal};
use walrus_types::{Epoch, Offset, PartitionIndex, SegmentId, TopicPartition};

use super::{
    answer::{Answer, Live, Sent, Told, elsewhere},
    partitions::{index_of, partition_of, topic_of},
};
use crate::admin::routes::Sources;

pub(super) async fn unsafe_seal(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    place: Result<Path<(String, String)>, PathRejection>,
    Sent(request): Sent<UnsafeSealRequest>,
) -> Answer<UnsafeSeal> {
    let Path((name, index)) =
        place.map_err(|why| ApiError::new(Code::BadRequest, why.body_text()))?;
    let index = index_of(&index)?;
    let metadata = broker.metadata();
    let topic = topic_of(&metadata, &name)?;
    let chain = partition_of(topic, index)?;
    let at = Place { topic, index, chain };
    if let Some(sealed) = request.epoch.and_then(|epoch| at.sealed(epoch)) {
        return Ok(Told(sealed));
    }
    if !broker.controller.is_controller() {
        let controller = super::raft::leader(&broker.raft.group());
        let controller = controller.filter(|node| *node != broker.identity.node);
        let what = "this node is not the controller and does not know what waits for votes";
        return Err(elsewhere(&sources, &broker, controller, what).into());
    }
    at.has_no_leader(&metadata)?;
    let plan = broker.controller.unsafe_plan(at.segment());
    if request.dry_run {
        let plan = plan.ok_or_else(|| at.not_blocked())?;
        return Ok(Told(at.shown(&plan, UnsafeSealState::Planned)));
    }
    let (epoch, end) = named(&request)?;
    let Some(plan) = plan else {
        // It is being sealed, or a controller that has just begun has yet to see that it cannot be.
        return Ok(Told(at.told(UnsafeSealState::UnderWay, (epoch, end), None)));
    };
    at.is_as_planned((epoch, end), &plan)?;
    tracing::warn!(segment = %plan.blocked.segment, end = %plan.end, "an operator seals unsafely");
    match broker.controller.seal_unsafe(plan.clone()).await {
        // Asked again, or who was missing has come back: it is being sealed, with nothing lost then.
        Ok(()) | Err(UnsafeRefusal::NotNeeded(_) | UnsafeRefusal::NotWaiting(_)) => {
            Ok(Told(at.shown(&plan, UnsafeSealState::UnderWay)))
        }
        Err(why @ UnsafeRefusal::Changed { .. }) => {
            let error = ApiError::new(Code::Changed, format!("{}: {why}", at.name()));
            Err(error.hint("look at the plan again").into())
        }
    }
}

/// What an order has to name: the epoch and the end that the plan told.
fn named(request: &UnsafeSealRequest) -> Result<(Epoch, Offset), ApiError> {
    match (request.epoch, request.end) {
        (Some(epoch), Some(end)) => Ok((epoch, end)),
        (None, _) | (_, None) => {
            let what = "the epoch and the end of the plan have to be named";
            Err(ApiError::new(Code::BadRequest, what).hint("ask with dry_run first"))
        }
    }
}

/// A partition, as it is asked for.
struct Place<'a> {
    topic: &'a Arc<Topic>,
    index: PartitionIndex,
    chain: &'a Partition,
}

impl Place<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.topic.name, self.index)
    }

    fn segment(&self) -> SegmentId {
        let partition = TopicPartition { topic: self.topic.id, partition: self.index };
        let key = self.chain.open().key;
        SegmentId { partition, base: key.base, epoch: key.epoch }
    }

    /// The answer when the segment of that epoch is sealed already, by whomever.
    fn sealed(&self, epoch: Epoch) -> Option<UnsafeSeal> {
        let next = self.chain.chain().find(|segment| segment.key().epoch > epoch)?;
        let loss = self.chain.losses().iter().find(|(key, _)| key.epoch == epoch);
        let seen = loss.map(|(_, loss)| loss.seen).filter(|seen| *seen > next.key().base);
        Some(self.told(UnsafeSealState::Sealed, (epoch, next.key().base), seen))
    }

    fn has_no_leader(&self, metadata: &Metadata) -> Result<(), ApiError> {
        let leader = self.chain.open().leader;
        if !metadata.may_lead(leader) {
            return Ok(());
        }
        let what = format!("{} is led by {}, which is in service", self.name(), leader.node);
        let hint = format!("nothing has to be given up: walrusctl segment chain {}", self.name());
        Err(ApiError::new(Code::NotBlocked, what).hint(hint))
    }

    fn not_blocked(&self) -> ApiError {
        let what = format!("{} is being sealed, and waits for no votes so far", self.name());
        ApiError::new(Code::NotBlocked, what).hint("ask again in a few seconds")
    }

    /// Whether what is asked for is what would happen now.
    fn is_as_planned(
        &self,
        (epoch, end): (Epoch, Offset),
        plan: &UnsafePlan,
    ) -> Result<(), ApiError> {
        let UnsafePlan { blocked, end: planned, .. } = plan;
        if (epoch, end) == (blocked.segment.epoch, *planned) {
            return Ok(());
        }
        let what = format!(
            "epoch {epoch} of {} was to end at {end}; now it would be epoch {}, at {planned}",
            self.name(),
            blocked.segment.epoch
        );
        Err(ApiError::new(Code::Changed, what).hint("look at the plan again"))
    }

    fn shown(&self, plan: &UnsafePlan, state: UnsafeSealState) -> UnsafeSeal {
        let UnsafePlan { blocked, end, seen } = plan;
        let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
        let missing = blocked.missing.iter();
        UnsafeSeal {
            votes: count(blocked.have),
            votes_needed: count(blocked.need),
            missing: missing
                .map(|(member, why)| MissingVote { node: member.node, why: why.to_string() })
                .collect(),
            ..self.told(state, (blocked.segment.epoch, *end), *seen)
        }
    }

    /// An answer without votes.
    fn told(
        &self,
        state: UnsafeSealState,
        (epoch, end): (Epoch, Offset),
        seen: Option<Offset>,
    ) -> UnsafeSeal {
        UnsafeSeal {
            topic: self.topic.name.to_string(),
            partition: self.index,
            state,
            epoch,
            end,
            seen,
            votes: 0,
            votes_needed: 0,
            missing: Vec::new(),
        }
    }
}
