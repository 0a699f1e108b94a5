//! Operations as they are told: what stands in the metadata, and how far they are.

use walrus_admin::{
    health::count,
    operation::{Operation, OperationState},
};
use walrus_metadata::{Metadata, Operation as Known, Outcome, Work};
use walrus_types::{OperationId, TimestampMs, TopicPartition};

use super::{
    node_change::Facts,
    stand::{Stand, stand},
};

/// An operation as one look at the cluster has it.
pub fn shown(id: OperationId, known: &Known, facts: Facts<'_>, now: TimestampMs) -> Operation {
    let (verb, subject) = named(facts.metadata, &known.work);
    let told = Operation {
        id,
        plan: known.plan,
        verb: verb.to_owned(),
        subject,
        state: OperationState::Running,
        actor: known.actor.clone(),
        reason: known.reason.clone(),
        began_at_ms: known.began_at,
        ended_at_ms: known.end.as_ref().map(|end| end.at),
        done: known.segments,
        total: known.segments,
        left_ms: None,
        now: String::new(),
        blockers: Vec::new(),
    };
    let Some(end) = &known.end else {
        let Stand { done, total, now: waits, blockers, .. } = stand(known, facts, now);
        let left_ms = left_ms(known.began_at, now, (done, total)).filter(|_| blockers.is_empty());
        return Operation { done, total, left_ms, now: waits, blockers, ..told };
    };
    let (state, came_of_it) = match &end.outcome {
        Outcome::Done => (OperationState::Done, "done".to_owned()),
        Outcome::Cancelled { by } => (OperationState::Cancelled, format!("taken back by {by}")),
        Outcome::Failed { why } => (OperationState::Failed, why.clone()),
    };
    let done = if state == OperationState::Done { told.total } else { 0 };
    Operation { state, now: came_of_it, done, ..told }
}

/// The running operations and the last that ended, newest first.
pub fn all(facts: Facts<'_>, now: TimestampMs) -> Vec<Operation> {
    let known = facts.metadata.operations().iter();
    let mut told: Vec<Operation> = known.map(|(id, known)| shown(*id, known, facts, now)).collect();
    told.reverse();
    told
}

/// The verb, and what it is done to.
pub fn named(metadata: &Metadata, work: &Work) -> (&'static str, String) {
    match work {
        Work::Drain(node) => ("drain", node.to_string()),
        Work::Undrain(node) => ("undrain", node.to_string()),
        Work::Remove { node, .. } => ("remove", node.to_string()),
        Work::TransferRaft { to } => ("transfer_raft", to.to_string()),
        Work::UnsafeSeal { partition, .. } => ("unsafe_seal", place(metadata, *partition)),
        Work::Rollover(rollover) => {
            let subject = match rollover.targets.as_slice() {
                [only] => place(metadata, only.partition),
                _ => count(usize::try_from(rollover.total).unwrap_or(usize::MAX), "partition"),
            };
            ("rollover", subject)
        }
    }
}

fn place(metadata: &Metadata, of: TopicPartition) -> String {
    match metadata.topic(of.topic) {
        Some(topic) => format!("{}/{}", topic.name, of.partition),
        None => of.to_string(),
    }
}

/// If it goes on as so far.
fn left_ms(began: TimestampMs, now: TimestampMs, (done, total): (u64, u64)) -> Option<u64> {
    let since = u64::try_from(now.0.saturating_sub(began.0)).ok()?;
    let left = total.saturating_sub(done);
    since.checked_mul(left)?.checked_div(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done_took() {
        for (began, now, done, total, left) in [
            (0, 1_000, 1, 4, Some(3_000)),
            (0, 1_000, 4, 4, Some(0)),
            (0, 1_000, 0, 4, None),
            (5_000, 1_000, 1, 4, None),
            (0, i64::MAX, 1, u64::MAX, None),
        ] {
            let told = left_ms(TimestampMs(began), TimestampMs(now), (done, total));
            assert_eq!(told, left, "{done} of {total} at {now}");
        }
    }
}
