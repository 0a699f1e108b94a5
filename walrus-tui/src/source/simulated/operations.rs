//! What operators do with a made-up cluster: the same plans and operations as a real one tells, at a
//! pace that can be watched.

use walrus_admin::{
    ApiError, Code,
    health::count,
    node::NodeState,
    operation::{Operation, OperationState},
    plan::{Impact, PLAN_LIVES_MS, Plan, Wanted, Which},
};
use walrus_types::{NodeId, OperationId, PlanId, TimestampMs};

use super::{Simulated, node_id};
use crate::app::doing::{Act, Acted};

/// Partitions that a step rolls or moves.
const EACH_STEP: usize = 4;
/// Operations that are kept; the oldest ended one goes.
const KEPT_MAX: usize = 32;
/// Plans that are kept.
const PLANS_MAX: usize = 16;

/// An operation, and what is left of it.
#[derive(Debug)]
struct Under {
    told: Operation,
    wanted: Wanted,
    /// Places in the list of logs that are still to be rolled or moved.
    left: Vec<usize>,
}

/// What was planned and begun.
#[derive(Debug, Default)]
pub(super) struct Operators {
    plans: Vec<Plan>,
    all: Vec<Under>,
    next_plan: u64,
}

/// What something would come to.
#[derive(Debug, Default)]
struct Judged {
    changes: bool,
    effects: Vec<String>,
    warnings: Vec<String>,
    refusals: Vec<ApiError>,
    impact: Impact,
}

impl Simulated {
    /// Does what was asked for.
    pub fn act(&mut self, act: &Act) -> Acted {
        match act {
            Act::Plan(wanted) => Acted::Planned(self.plan(wanted).map(Box::new)),
            Act::Run { plan, .. } => Acted::Begun(self.run_plan(*plan, "you").map(Box::new)),
            Act::Cancel(id) => Acted::Begun(self.cancel(*id).map(Box::new)),
        }
    }

    /// What something would come to.
    ///
    /// # Errors
    /// It names what is not there.
    fn plan(&mut self, wanted: &Wanted) -> Result<Plan, ApiError> {
        let logs = self.concerned(wanted)?.len();
        let Judged { changes, effects, warnings, refusals, mut impact } = self.judge(wanted, logs);
        impact.quorum = impact.voters / 2 + 1;
        self.operators.next_plan += 1;
        let id = PlanId::of(0x9c1f_0000_0000 + self.operators.next_plan);
        let at = self.now();
        let plan = Plan {
            id,
            subject: wanted.subject(),
            danger: wanted.danger(),
            command: format!("{} --plan {id}", wanted.command()),
            wanted: wanted.clone(),
            made_by: node_id(self.controller),
            metadata_version: self.version,
            at_ms: at,
            expires_at_ms: TimestampMs(at.0.saturating_add_unsigned(PLAN_LIVES_MS)),
            changes,
            effects,
            warnings,
            refusals,
            impact,
        };
        if self.operators.plans.len() == PLANS_MAX {
            self.operators.plans.remove(0);
        }
        self.operators.plans.push(plan.clone());
        Ok(plan)
    }

    fn judge(&self, wanted: &Wanted, logs: usize) -> Judged {
        let impact = Impact { voters: self.voters(), ..Impact::default() };
        let mut judged = Judged { changes: true, impact, ..Judged::default() };
        let moves = u64::try_from(logs).unwrap_or(u64::MAX);
        match wanted {
            Wanted::Drain { node } => self.emptied(*node, logs, &mut judged),
            Wanted::Remove { node } => {
                self.emptied(*node, logs, &mut judged);
                judged.effects.push(format!("{node} and its disk leave the cluster for good"));
                judged.impact.voters = judged.impact.voters.saturating_sub(1);
            }
            Wanted::Undrain { node } => {
                judged.changes = self.nodes[place(*node)].drains;
                judged.effects.push(format!("{node} takes part again"));
            }
            Wanted::Rollover { .. } => {
                judged.changes = logs > 0;
                judged.impact.segments_roll = moves;
                judged.effects.push(format!("rolls over {}", count(logs, "partition")));
            }
            Wanted::TransferRaft { to } => {
                judged.changes = place(*to) != self.controller;
                let what = format!("{to} leads the metadata group, and is the controller");
                judged.effects.push(what);
            }
            Wanted::UnsafeSeal { .. } => {
                let error = ApiError::new(Code::NotBlocked, "nothing waits for votes here");
                judged.refusals.push(error.hint("nothing has to be given up"));
            }
        }
        judged
    }

    /// A node that is to be empty.
    fn emptied(&self, node: NodeId, leases: usize, judged: &mut Judged) {
        let others = self.active_beside(node);
        judged.effects.push(format!("{node} is given no leases and no new segments"));
        judged.effects.push(format!("its {} go to other nodes", count(leases, "lease")));
        judged.impact.leases_move = u64::try_from(leases).unwrap_or(u64::MAX);
        judged.impact.clients = Some(24);
        if others == 0 {
            let error = ApiError::new(Code::LastNode, format!("{node} is the only one"));
            judged.refusals.push(error.hint("start another node first"));
        }
        if others < 3 {
            judged.warnings.push(format!(
                "with {} left the next segments have fewer copies than asked for",
                count(others, "active node")
            ));
        }
    }

    /// Carries a plan out.
    ///
    /// # Errors
    /// There is none, or something stands against it.
    fn run_plan(&mut self, id: PlanId, actor: &str) -> Result<Operation, ApiError> {
        let plan = self.operators.plans.iter().find(|plan| plan.id == id).cloned();
        let Some(plan) = plan else {
            return Err(ApiError::new(Code::Expired, format!("there is no plan {id} any more")));
        };
        if let Some(first) = plan.refusals.first() {
            return Err(first.clone());
        }
        let left = self.concerned(&plan.wanted)?;
        self.version += 1;
        if let Wanted::Drain { node } | Wanted::Remove { node } = &plan.wanted {
            let life = &mut self.nodes[place(*node)];
            (life.drains, life.state) = (true, NodeState::Draining);
        }
        if let Wanted::Undrain { node } = &plan.wanted {
            let life = &mut self.nodes[place(*node)];
            (life.drains, life.state) = (false, NodeState::Active);
        }
        let total = u64::try_from(left.len()).unwrap_or(u64::MAX).max(1);
        let told = Operation {
            id: OperationId(self.version),
            plan: id,
            verb: plan.wanted.verb().to_owned(),
            subject: plan.subject,
            state: OperationState::Running,
            actor: actor.to_owned(),
            reason: String::new(),
            began_at_ms: self.now(),
            ended_at_ms: None,
            done: 0,
            total,
            left_ms: None,
            now: "it begins".to_owned(),
            blockers: Vec::new(),
        };
        if self.operators.all.len() == KEPT_MAX {
            self.operators.all.remove(0);
        }
        self.operators.all.push(Under { told: told.clone(), wanted: plan.wanted, left });
        Ok(told)
    }

    /// Takes an operation back.
    ///
    /// # Errors
    /// It is not there, or has ended.
    fn cancel(&mut self, id: OperationId) -> Result<Operation, ApiError> {
        let now = self.now();
        let Some(under) = self.operators.all.iter_mut().find(|under| under.told.id == id) else {
            return Err(ApiError::new(Code::NotFound, format!("there is no operation {id}")));
        };
        if under.told.state != OperationState::Running {
            return Err(ApiError::new(Code::Ended, format!("operation {id} has ended")));
        }
        under.told.state = OperationState::Cancelled;
        under.told.ended_at_ms = Some(now);
        "taken back".clone_into(&mut under.told.now);
        let told = under.told.clone();
        if let Wanted::Drain { node } | Wanted::Remove { node } = under.wanted {
            let life = &mut self.nodes[place(node)];
            (life.drains, life.state) = (false, NodeState::Active);
        }
        self.version += 1;
        Ok(told)
    }

    /// Newest first, as a snapshot has them.
    pub(super) fn operations(&self) -> Vec<Operation> {
        self.operators.all.iter().rev().map(|under| under.told.clone()).collect()
    }

    /// A second of all that is under way.
    pub(super) fn carry_on(&mut self) {
        for at in 0..self.operators.all.len() {
            if self.operators.all[at].told.state != OperationState::Running {
                continue;
            }
            let under = &mut self.operators.all[at];
            let rest = under.left.len().saturating_sub(EACH_STEP);
            let (moved, wanted) = (under.left.split_off(rest), under.wanted.clone());
            let is_move = matches!(wanted, Wanted::Drain { .. } | Wanted::Remove { .. });
            for log in moved {
                self.roll(log, if is_move { "drain" } else { "operator" });
            }
            if rest == 0 {
                self.last_step(&wanted);
            }
            let now = self.now();
            let under = &mut self.operators.all[at];
            let told = &mut under.told;
            let left = u64::try_from(rest).unwrap_or(u64::MAX);
            told.done = told.total.saturating_sub(left);
            let took = u64::try_from(now.0 - told.began_at_ms.0).unwrap_or(0);
            told.left_ms = took.checked_mul(left).and_then(|ms| ms.checked_div(told.done));
            told.now = format!("{} to go", count(rest, "segment"));
            if rest == 0 {
                told.state = OperationState::Done;
                (told.ended_at_ms, told.left_ms) = (Some(now), None);
                "done".clone_into(&mut told.now);
            }
        }
    }

    fn last_step(&mut self, wanted: &Wanted) {
        match wanted {
            Wanted::TransferRaft { to } => {
                self.controller = place(*to);
                self.term += 1;
            }
            Wanted::Remove { node } => {
                let life = &mut self.nodes[place(*node)];
                (life.state, life.back_at_ms) = (NodeState::Removed, Some(u64::MAX));
                self.changed.extend(0..self.logs.len());
                if self.controller == place(*node) {
                    self.controller = self.another(place(*node));
                    self.term += 1;
                }
            }
            Wanted::Drain { .. }
            | Wanted::Undrain { .. }
            | Wanted::Rollover { .. }
            | Wanted::UnsafeSeal { .. } => {}
        }
        self.version += 1;
    }

    /// The logs that something rolls or moves.
    fn concerned(&self, wanted: &Wanted) -> Result<Vec<usize>, ApiError> {
        let led_by = |node: NodeId| {
            let logs = self.logs.iter().enumerate();
            logs.filter(move |(_, log)| node_id(log.leader) == node).map(|(at, _)| at)
        };
        match wanted {
            Wanted::Drain { node } | Wanted::Remove { node } => {
                self.known(*node).map(|()| led_by(*node).collect())
            }
            Wanted::Undrain { node } | Wanted::TransferRaft { to: node } => {
                self.known(*node).map(|()| Vec::new())
            }
            Wanted::UnsafeSeal { .. } => Ok(Vec::new()),
            Wanted::Rollover { which, .. } => Ok(match which {
                Which::All => (0..self.logs.len()).collect(),
                Which::LedBy(node) => led_by(*node).collect(),
                Which::These(places) => {
                    let named = |log: &super::Log| {
                        places.iter().any(|place| {
                            place.topic == log.name.topic
                                && place.partition.is_none_or(|index| index == log.name.partition)
                        })
                    };
                    let logs = self.logs.iter().enumerate();
                    logs.filter(|(_, log)| named(log)).map(|(at, _)| at).collect()
                }
            }),
        }
    }

    fn known(&self, node: NodeId) -> Result<(), ApiError> {
        let there =
            self.nodes.get(place(node)).is_some_and(|life| life.state != NodeState::Removed);
        let error = || ApiError::new(Code::NotFound, format!("there is no node {node}"));
        there.then_some(()).ok_or_else(error)
    }

    fn active_beside(&self, node: NodeId) -> usize {
        let lives = self.nodes.iter().enumerate();
        lives.filter(|(at, life)| *at != place(node) && life.state == NodeState::Active).count()
    }

    pub(super) fn voters(&self) -> u64 {
        let stay = self.nodes.iter().filter(|life| life.state != NodeState::Removed).count();
        u64::try_from(stay).unwrap_or(0)
    }
}

/// A node's place among the nodes; one that is not there is past their end.
fn place(node: NodeId) -> usize {
    usize::try_from(node.0).ok().and_then(|number| number.checked_sub(1)).unwrap_or(usize::MAX)
}
