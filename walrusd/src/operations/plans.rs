//! The plans that were told: for some minutes, so many at most, in the controller's memory alone.

use std::collections::VecDeque;

use walrus_admin::plan::Plan;
use walrus_metadata::Work;
use walrus_types::{PlanId, TimestampMs};

/// Plans that are kept. Past it the oldest is forgotten. One that names very many partitions takes a
/// megabyte.
const PLANS_MAX: usize = 64;

/// A plan, and what carries it out; nothing where there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// As it was told.
    pub plan: Plan,
    /// What is begun.
    pub work: Option<Work>,
    /// How many segments that moves, rolls or copies.
    pub segments: u64,
}

/// They, the newest last.
#[derive(Debug, Default)]
pub struct Plans(VecDeque<Kept>);

impl Plans {
    /// Keeps a plan.
    pub fn keep(&mut self, kept: Kept, now: TimestampMs) {
        self.0.retain(|known| known.plan.expires_at_ms > now);
        if self.0.len() == PLANS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(kept);
    }

    /// A plan that was not expired at `now`.
    pub fn of(&self, id: PlanId, now: TimestampMs) -> Option<&Kept> {
        self.0.iter().find(|kept| kept.plan.id == id && kept.plan.expires_at_ms > now)
    }
}

#[cfg(test)]
mod tests {
    use walrus_admin::plan::{Danger, Impact, Wanted};
    use walrus_types::NodeId;

    use super::*;

    fn kept(id: u64, expires_at: i64) -> Kept {
        let wanted = Wanted::Undrain { node: NodeId(1) };
        let plan = Plan {
            id: PlanId::of(id),
            subject: wanted.subject(),
            command: wanted.command(),
            wanted,
            danger: Danger::Low,
            made_by: NodeId(1),
            metadata_version: 1,
            at_ms: TimestampMs(0),
            expires_at_ms: TimestampMs(expires_at),
            changes: true,
            effects: vec![],
            warnings: vec![],
            refusals: vec![],
            impact: Impact::default(),
        };
        Kept { plan, work: None, segments: 0 }
    }

    #[test]
    fn a_plan_is_there_until_it_expires() {
        let mut plans = Plans::default();
        plans.keep(kept(7, 100), TimestampMs(0));
        let there = |plans: &Plans, id, now| plans.of(PlanId::of(id), TimestampMs(now)).is_some();
        assert!(there(&plans, 7, 99));
        assert!(!there(&plans, 7, 100) && !there(&plans, 8, 0));
        plans.keep(kept(8, 300), TimestampMs(200));
        assert_eq!(plans.0.len(), 1, "what expired is forgotten");
    }

    #[test]
    fn as_many_plans_are_kept_as_there_is_room_for() {
        let mut plans = Plans::default();
        for id in 0..=PLANS_MAX as u64 {
            plans.keep(kept(id, 100), TimestampMs(0));
        }
        assert_eq!(plans.0.len(), PLANS_MAX);
        assert!(plans.of(PlanId::of(0), TimestampMs(1)).is_none());
        assert!(plans.of(PlanId::of(PLANS_MAX as u64), TimestampMs(1)).is_some());
    }
}
