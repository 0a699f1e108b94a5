//! Carries out the forced seal of one life: asks members, has suffixes copied, proposes rolls, and
//! reads every outcome off the metadata.
//!
//! [`ForcedSeal`] decides; here is what it takes to do that. Whatever is under way ends with the
//! [`Seal`], and another controller begins anew: members keep their fences and what was copied.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, timeout},
};
use tracing::{debug, error, info, warn};
use walrus_metadata::{Command, Leader, Metadata, Reply, Roll, RollRefusal};
use walrus_raft::ProposeError;
use walrus_replication::{
    Held, UptimeMs, Writer,
    placement::Nodes,
    seal::{
        Blocked, COPY_PATIENCE_MS, Effect, ForcedSeal, Orphan, Outcome, Report, SealDecision,
        UnsafePlan,
    },
};
use walrus_types::{Incarnation, NodeId, SegmentId};

use super::{
    cluster::{Cluster, Copying, Fencing},
    nodes,
    rolls::{self, ByHand, NoRoll},
    state::{Agreed, ControllerState},
};

/// How often the seal is told the time.
const TICK: Duration = Duration::from_millis(50);
/// How long a node may take to fence and report. It is asked again anyway.
const FENCE_MAX: Duration = Duration::from_secs(3);
/// Copies that one seal has under way.
const COPIES_MAX: usize = 64;
/// How long placements of one seal share one count of what nodes hold.
const COUNT_AGAIN_MS: u64 = 100;
/// How often an operator is told of the same refusal.
const TELL_AGAIN_MS: u64 = 1_000;

/// Something that was under way has ended.
#[derive(Debug)]
enum Event {
    Answered(NodeId, Result<Vec<(SegmentId, Report)>, String>),
    Copied(SegmentId, NodeId, Option<Held>),
    Proposed(Vec<(SegmentId, Outcome)>, Option<Refused>),
}

/// One of the rolls that metadata refused, and why.
type Refused = (SegmentId, String);

/// The seal of all that one life has left open.
pub(super) struct Seal<C> {
    cluster: Arc<C>,
    state: Arc<ControllerState>,
    machine: ForcedSeal,
    life: Leader,
    /// The metadata in which the life is over.
    index: u64,
    begun: UptimeMs,
    /// What is not sealed yet.
    left: BTreeSet<SegmentId>,
    /// Whom a request is under way to.
    asked: BTreeSet<NodeId>,
    under_way: JoinSet<Event>,
    copies: Arc<Semaphore>,
    /// The lives of nodes that serve, as they were last seen.
    lives: BTreeMap<NodeId, Incarnation>,
    /// What placements go by, and since when.
    placing: Option<(UptimeMs, Nodes)>,
    /// The metadata that was last searched for what others have sealed.
    searched: u64,
    told: Option<UptimeMs>,
    /// What an operator has sealed without enough votes.
    by_hand: BTreeMap<SegmentId, ByHand>,
}

impl<C: Cluster> Seal<C> {
    /// Begins to seal `orphans`, which `life` leads by `metadata` and may lead no more.
    pub(super) fn begin(
        cluster: Arc<C>,
        state: Arc<ControllerState>,
        life: Leader,
        metadata: &Metadata,
        orphans: Vec<Orphan>,
    ) -> Self {
        let begun = cluster.uptime();
        let left: BTreeSet<SegmentId> = orphans.iter().map(|orphan| orphan.id).collect();
        info!(
            node = %life.node, incarnation = %life.incarnation, segments = left.len(),
            "sealing what a life that is over has left open"
        );
        let fenced = Writer { node: life.node, incarnation: life.incarnation };
        let (machine, effects) = ForcedSeal::begin(fenced, orphans, begun);
        let mut seal = Self {
            cluster,
            state,
            machine,
            life,
            index: metadata.applied(),
            begun,
            left,
            asked: BTreeSet::new(),
            under_way: JoinSet::new(),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
            lives: lives(metadata),
            placing: None,
            searched: metadata.applied(),
            told: None,
            by_hand: BTreeMap::new(),
        };
        seal.carry_out(effects);
        seal
    }

    /// Goes on until nothing is left to seal.
    pub(super) async fn run(mut self) {
        let mut views = self.cluster.views();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.machine.remaining() > 0 {
            tokio::select! {
                Some(event) = self.under_way.join_next() => self.ended(event),
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let metadata = Arc::clone(&views.borrow_and_update());
                    self.review(&metadata);
                }
                _ = ticks.tick() => self.tick(),
            }
        }
        let took_ms = self.cluster.uptime().since(self.begun);
        info!(node = %self.life.node, incarnation = %self.life.incarnation, took_ms, "sealed");
    }

    fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.cluster.views().borrow())
    }

    /// Time has passed.
    fn tick(&mut self) {
        let metadata = self.metadata();
        if metadata.applied() != self.searched {
            self.searched = metadata.applied();
            // By another controller, whose proposal came late, or with the topic.
            let over = |id: &SegmentId| Some((*id, rolls::outcome(&metadata, *id, None)?));
            let outcomes = self.left.iter().filter_map(over).collect();
            self.proposed(outcomes);
        }
        self.take_agreed();
        let effects = self.machine.tick(self.cluster.uptime());
        self.carry_out(effects);
    }

    /// Goes on without votes where an operator has agreed to what that means.
    fn take_agreed(&mut self) {
        for Agreed { plan, answer } in self.state.take_agreed(&self.left) {
            let segment = plan.blocked.segment;
            let sealed = self.machine.seal_unsafe(&plan, self.cluster.uptime());
            let told = sealed.as_ref().map(|_effects| ()).map_err(|why| *why);
            // Who asked may wait no more.
            let _heard = answer.send(told);
            match sealed {
                Ok(effects) => {
                    let UnsafePlan { end, seen, .. } = plan;
                    warn!(%segment, %end, ?seen, "an operator has a segment sealed unsafely");
                    self.by_hand.insert(segment, ByHand { seen });
                    self.carry_out(effects);
                }
                Err(why) => {
                    info!(%segment, %why, "a segment is not sealed unsafely");
                    self.show_blocked(segment);
                }
            }
        }
    }

    /// Shows an operator what is blocked, as it is now.
    fn show_blocked(&self, segment: SegmentId) {
        match self.machine.plan_unsafe(segment, None) {
            Ok(plan) => self.state.is_blocked(plan),
            Err(_not_blocked) => self.state.is_sealed(segment),
        }
    }

    /// Metadata has changed: nodes may be back.
    fn review(&mut self, metadata: &Metadata) {
        let lives = lives(metadata);
        if lives == self.lives {
            return;
        }
        self.placing = None;
        let known = std::mem::replace(&mut self.lives, lives);
        let now = self.cluster.uptime();
        let lives = self.lives.clone();
        for (node, life) in lives {
            if known.get(&node) != Some(&life) {
                self.asked.remove(&node);
                let effects = self.machine.reached(node, now);
                self.carry_out(effects);
            }
        }
        let is_left = |id: &&SegmentId| {
            let partition = metadata.partition(id.partition);
            partition.is_some_and(|partition| rolls::is_left_to_its_node(metadata, partition))
        };
        let given_up = self.left.iter().filter(is_left).map(|id| (*id, Outcome::OtherEpoch));
        let given_up = given_up.collect();
        self.proposed(given_up);
    }

    fn ended(&mut self, event: Result<Event, JoinError>) {
        let now = self.cluster.uptime();
        let effects = match whole(event) {
            Event::Answered(node, answer) => {
                self.asked.remove(&node);
                match answer {
                    Ok(reports) => self.machine.answered(node, &reports, now),
                    Err(why) => {
                        debug!(%node, fenced = %self.life.node, why, "no answer to a fence");
                        Vec::new()
                    }
                }
            }
            Event::Copied(segment, to, held) => self.machine.copied(segment, to, held, now),
            Event::Proposed(outcomes, refused) => {
                if let Some((segment, why)) = refused {
                    self.tell_refused(segment, &why);
                }
                self.proposed(outcomes);
                return;
            }
        };
        self.carry_out(effects);
    }

    /// Tells the machine how proposals came out.
    fn proposed(&mut self, outcomes: Vec<(SegmentId, Outcome)>) {
        for (id, outcome) in &outcomes {
            match outcome {
                Outcome::Sealed | Outcome::OtherEpoch => {
                    self.left.remove(id);
                    self.state.is_sealed(*id);
                }
                Outcome::Refused | Outcome::Unknown => {}
            }
        }
        let effects = self.machine.proposed(&outcomes, self.cluster.uptime());
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut blocked = Vec::new();
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::AskFence { node, segments } => self.ask(node, segments),
                Effect::CopySuffix { segment, from_member, to_member, from, to } => {
                    self.copy(Copying { segment, from_member, to_member, from, to });
                }
                Effect::ProposeRolls(decisions) => {
                    let at_once = self.propose(&decisions);
                    todo.extend(self.machine.proposed(&at_once, self.cluster.uptime()));
                }
                Effect::Blocked(segment) => blocked.push(segment),
                Effect::Done => {}
            }
        }
        self.tell_blocked(blocked);
    }

    fn ask(&mut self, node: NodeId, segments: Vec<SegmentId>) {
        if !self.asked.insert(node) {
            return;
        }
        let Leader { node: fenced, incarnation } = self.life;
        let fenced = Writer { node: fenced, incarnation };
        let fencing = Fencing { fenced, index: self.index, segments };
        let cluster = Arc::clone(&self.cluster);
        self.under_way.spawn(async move {
            let answer = timeout(FENCE_MAX, cluster.fence(node, fencing)).await;
            let late = |_elapsed| Err(format!("none within {FENCE_MAX:?}"));
            Event::Answered(node, answer.unwrap_or_else(late))
        });
    }

    fn copy(&mut self, copying: Copying) {
        let (cluster, places) = (Arc::clone(&self.cluster), Arc::clone(&self.copies));
        self.under_way.spawn(async move {
            let Copying { segment, to_member, .. } = copying;
            // The machine counts from now on: what waits for a place for so long has failed.
            let patience = Duration::from_millis(COPY_PATIENCE_MS);
            let copied = timeout(patience, async {
                let _place = places.acquire().await;
                cluster.copy(copying).await
            });
            let held = match copied.await {
                Ok(Ok(held)) => held,
                Ok(Err(why)) => {
                    warn!(%segment, to = %to_member.node, why, "a suffix could not be copied");
                    None
                }
                Err(_elapsed) => None,
            };
            Event::Copied(segment, to_member.node, held)
        });
    }

    /// Proposes what can be; answers what cannot be, and how it stands with that.
    fn propose(&mut self, decisions: &[SealDecision]) -> Vec<(SegmentId, Outcome)> {
        let metadata = self.metadata();
        let at = self.cluster.now();
        let mut nodes = self.take_nodes(&metadata);
        let (mut proposals, mut at_once, mut nowhere) = (Vec::new(), Vec::new(), None);
        for decision in decisions {
            let id = decision.segment;
            let terms = |topic: &_| self.cluster.terms_of(topic);
            let decided = (decision, self.by_hand.get(&id).copied());
            match rolls::forced(&metadata, &mut nodes.1, decided, terms, at) {
                Ok(roll) => proposals.push((id, roll)),
                Err(NoRoll::Over) => at_once.push((id, Outcome::OtherEpoch)),
                Err(NoRoll::NoPlace(why)) => {
                    nowhere = Some((id, why.to_string()));
                    at_once.push((id, Outcome::Refused));
                }
            }
        }
        self.placing = Some(nodes);
        if let Some((segment, why)) = nowhere {
            self.tell_refused(segment, &why);
        }
        for (id, outcome) in &at_once {
            if *outcome == Outcome::OtherEpoch {
                self.left.remove(id);
                self.state.is_sealed(*id);
            }
        }
        if !proposals.is_empty() {
            self.under_way.spawn(propose_all(Arc::clone(&self.cluster), proposals));
        }
        at_once
    }

    /// What placements go by: with those counted that were placed a moment ago.
    fn take_nodes(&mut self, metadata: &Metadata) -> (UptimeMs, Nodes) {
        let now = self.cluster.uptime();
        let fresh = |(since, _): &(UptimeMs, Nodes)| now.since(*since) < COUNT_AGAIN_MS;
        self.placing.take().filter(fresh).unwrap_or_else(|| {
            let held = nodes::held(metadata);
            (now, self.state.nodes(metadata, &held, (now, self.cluster.now())))
        })
    }

    fn tell_blocked(&self, blocked: Vec<Blocked>) {
        if let Some(first) = blocked.first() {
            warn!(
                leader = %self.life.node, segments = blocked.len(), segment = %first.segment,
                why = %first, "segments cannot be sealed, and are not written meanwhile"
            );
        }
        for Blocked { segment, .. } in blocked {
            self.show_blocked(segment);
        }
    }

    fn tell_refused(&mut self, segment: SegmentId, why: &str) {
        let now = self.cluster.uptime();
        if self.told.is_none_or(|told| now.since(told) >= TELL_AGAIN_MS) {
            self.told = Some(now);
            warn!(%segment, why, "a forced roll was refused and is tried again");
        }
    }
}

/// The lives of the nodes that serve.
fn lives(metadata: &Metadata) -> BTreeMap<NodeId, Incarnation> {
    let serving = metadata.nodes().iter().filter(|(_, node)| node.state.serves());
    serving.map(|(id, node)| (*id, node.incarnation)).collect()
}

/// What a task brought; its panic is ours.
pub(super) fn whole<T>(joined: Result<T, JoinError>) -> T {
    match joined {
        Ok(brought) => brought,
        Err(why) => match why.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only whoever drops the set breaks its tasks off, and then nobody joins them.
            Err(why) => unreachable!("a task that nobody breaks off was: {why}"),
        },
    }
}

/// Proposes rolls as one command, or as several if they are too long for one, and reads off the
/// metadata what became of each.
async fn propose_all<C: Cluster>(cluster: Arc<C>, proposals: Vec<(SegmentId, Roll)>) -> Event {
    let (mut outcomes, mut refused) = (Vec::new(), None);
    let mut todo = vec![proposals];
    while let Some(mut some) = todo.pop() {
        let command = Command::Roll(some.iter().map(|(_, roll)| roll.clone()).collect());
        let proposed = cluster.propose(command).await;
        if let Err(ProposeError::TooLarge { .. }) = proposed
            && some.len() > 1
        {
            let rest = some.split_off(some.len() / 2);
            todo.extend([rest, some]);
            continue;
        }
        let metadata = Arc::clone(&cluster.views().borrow());
        let unless_decided = undecided(&proposed);
        if let Some(why) = why_refused(&proposed) {
            refused = some.get(why.0).map(|(id, _)| (*id, why.1));
        }
        outcomes.extend(some.into_iter().map(|(id, roll)| {
            (id, rolls::outcome(&metadata, id, Some(&roll)).unwrap_or(unless_decided))
        }));
    }
    Event::Proposed(outcomes, refused)
}

/// How it stands with a roll that metadata does not show after this answer.
fn undecided(proposed: &Result<Reply, ProposeError>) -> Outcome {
    match proposed {
        // What was not proposed will not be applied late.
        Ok(Reply::Rolled(_))
        | Err(
            ProposeError::NotLeader { .. } | ProposeError::Full | ProposeError::TooLarge { .. },
        ) => Outcome::Refused,
        Ok(other) => {
            error!(?other, "rolls were answered with something else");
            Outcome::Unknown
        }
        Err(ProposeError::Unknown | ProposeError::Stopped(_)) => Outcome::Unknown,
    }
}

/// The first roll that was refused for another reason than that it is sealed, and why.
fn why_refused(proposed: &Result<Reply, ProposeError>) -> Option<(usize, String)> {
    match proposed {
        Ok(Reply::Rolled(each)) => each.iter().enumerate().find_map(|(at, answer)| match answer {
            Ok(_) | Err(RollRefusal::OtherEpoch { .. } | RollRefusal::UnknownPartition) => None,
            Err(why) => Some((at, why.to_string())),
        }),
        Ok(_) => None,
        Err(why) => Some((0, why.to_string())),
    }
}

#[cfg(test)]
mod tests;
