//! What the rest of the node sees of its controller part: heartbeats come in here, and what was
//! last told of others is read here.
//!
//! Owns the [`Watch`] while this node leads the metadata group. `watch.rs` acts on what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};
use walrus_metadata::{Metadata, NodeState};
use walrus_replication::{
    UptimeMs,
    lag::{Board, Laggards, OwnList, Published, Shown, Telling},
    liveness::{Answer, Fence, Terms, Watch},
    placement::Nodes,
    seal::{Blocked, UnsafePlan, UnsafeRefusal},
};
use walrus_types::{Incarnation, NodeId, SegmentId, TimestampMs};

use super::{
    messages::{BeatReply, BeatRequest, decode, encode},
    nodes::{self, Heard},
};
use crate::{clock::Clock, peer::PeerIdentity};

/// A seal that goes on takes what was agreed to within this time.
const AGREED_MAX: Duration = Duration::from_secs(2);

/// The controller's part of a node, whether it is the controller or not.
#[derive(Debug)]
pub struct ControllerState {
    me: NodeId,
    clock: Clock,
    reign: Mutex<Option<Reign>>,
    /// What the controller said last, this node or another.
    told: Mutex<Heard>,
    lag: Mutex<Lag>,
    /// Lives whose connection to this node has ended, the newest of each node. Kept by every
    /// node: one that becomes controller knows whom its predecessor's death may have hidden.
    ended: Mutex<BTreeMap<NodeId, Incarnation>>,
    /// Rings when `ended` grows.
    bell: Notify,
    /// Segments whose seal waits for members, and what going on without those would mean, as it
    /// was last said.
    blocked: Mutex<BTreeMap<SegmentId, UnsafePlan>>,
    /// What an operator has agreed to, until the seal takes it.
    agreed: Mutex<BTreeMap<SegmentId, Agreed>>,
    /// Whether this node is about to stop.
    leaves: AtomicBool,
}

/// A plan that an operator has agreed to, and who waits to hear whether it is carried out.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) plan: UnsafePlan,
    pub(super) answer: oneshot::Sender<Result<(), UnsafeRefusal>>,
}

/// Members that lag: those that this node says of what it leads, and those that it shows of all.
#[derive(Debug, Default)]
struct Lag {
    own: OwnList,
    shown: Shown,
}

/// The time in which this node is the controller.
#[derive(Debug)]
struct Reign {
    term: u64,
    watch: Watch,
    board: Board,
    /// Until when leases may be extended: for so long after a majority of voters was heard nobody
    /// else is the controller. A time, so that a process which was paused does not go by what was
    /// so before.
    in_touch_until: UptimeMs,
}

impl ControllerState {
    /// No controller yet.
    pub fn new(me: NodeId, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            me,
            clock,
            reign: Mutex::default(),
            told: Mutex::default(),
            lag: Mutex::default(),
            ended: Mutex::default(),
            bell: Notify::new(),
            blocked: Mutex::default(),
            agreed: Mutex::default(),
            leaves: AtomicBool::new(false),
        })
    }

    /// This node is about to stop: its heartbeats say so from now on, and nobody gives it leases.
    pub fn leave(&self) {
        self.leaves.store(true, Ordering::Release);
    }

    /// Whether this node is about to stop.
    pub fn is_leaving(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    /// The answer to a heartbeat.
    pub fn heartbeat(&self, from: PeerIdentity, bytes: &[u8]) -> Bytes {
        let reply = match decode::<BeatRequest>(bytes) {
            // A node speaks for itself.
            Ok(request) if request.node == from.node => self.heard(request, self.clock.uptime()),
            Ok(_) | Err(_) => self.no_controller(),
        };
        encode(&reply)
    }

    /// As [`ControllerState::heartbeat`], with the message read and at a time of the caller's.
    pub(super) fn heard(&self, request: BeatRequest, now: UptimeMs) -> BeatReply {
        let BeatRequest { node, beat, lag } = request;
        let mut reign = self.reign.lock();
        let Some(Reign { term, watch, board, in_touch_until }) = reign.as_mut() else {
            return self.no_controller();
        };
        let life = beat.incarnation;
        let answer = watch.heartbeat(node, beat, now);
        if answer == Answer::Extended && now > *in_touch_until {
            // It may have a successor: whoever asks is to look for that.
            return self.no_controller();
        }
        if answer == Answer::Extended {
            board.heard(node, life, &lag);
        }
        let Heard { silent, unreachable } = heard(watch, now);
        BeatReply {
            answer,
            term: *term,
            controller: Some(self.me),
            silent: silent.into_iter().collect(),
            unreachable: unreachable.into_iter().collect(),
            lag: board.publish((node, life), lag.edition, now),
        }
    }

    fn no_controller(&self) -> BeatReply {
        BeatReply {
            answer: Answer::Withheld,
            term: 0,
            controller: None,
            silent: Vec::new(),
            unreachable: Vec::new(),
            lag: Published::default(),
        }
    }

    /// A connection that a peer had made to this node has ended.
    pub fn peer_ended(&self, from: PeerIdentity) {
        let mut ended = self.ended.lock();
        let known = ended.entry(from.node).or_insert(from.incarnation);
        *known = from.incarnation.max(*known);
        drop(ended);
        self.bell.notify_one();
    }

    /// Who is not heard, and for how many milliseconds, by what the controller said last.
    pub fn silent(&self) -> BTreeMap<NodeId, u64> {
        self.told.lock().silent.clone()
    }

    /// All that the controller said last.
    pub fn told(&self) -> Heard {
        self.told.lock().clone()
    }

    /// Whether this node is the controller.
    pub fn is_controller(&self) -> bool {
        self.reign.lock().is_some()
    }

    /// Segments whose seal waits for members, for an operator. Only the controller knows.
    pub fn blocked(&self) -> Vec<Blocked> {
        self.blocked.lock().values().map(|plan| plan.blocked.clone()).collect()
    }

    /// What sealing a blocked segment without the missing members would mean (L19).
    pub fn unsafe_plan(&self, segment: SegmentId) -> Option<UnsafePlan> {
        self.blocked.lock().get(&segment).cloned()
    }

    /// Has a segment sealed with what those members have that answered. For an operator who has
    /// seen `plan`; only the controller can do it.
    ///
    /// # Errors
    /// [`UnsafeRefusal`]: nothing waits for it, or the plan is not what would happen now.
    pub async fn seal_unsafe(&self, plan: UnsafePlan) -> Result<(), UnsafeRefusal> {
        let segment = plan.blocked.segment;
        let gone = UnsafeRefusal::NotWaiting(segment);
        if self.unsafe_plan(segment).is_none() {
            return Err(gone);
        }
        let (answer, answered) = oneshot::channel();
        self.agreed.lock().insert(segment, Agreed { plan, answer });
        // A seal that has just ended answers nobody.
        match timeout(AGREED_MAX, answered).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) | Err(_) => Err(gone),
        }
    }

    /// The controller has answered a heartbeat of this node.
    pub fn answered(&self, reply: &BeatReply) {
        let silent = reply.silent.iter().copied().collect();
        let unreachable = reply.unreachable.iter().cloned().collect();
        *self.told.lock() = Heard { silent, unreachable };
        let Lag { own, shown } = &mut *self.lag.lock();
        own.had(reply.lag.version);
        shown.take(&reply.lag);
    }

    /// What the next heartbeat says of members that lag. `look` finds those of all that this node
    /// leads, and is called now and then.
    pub(super) fn tell_lag(&self, now: UptimeMs, look: impl FnOnce() -> Vec<Laggards>) -> Telling {
        if self.lag.lock().own.is_due(now) {
            let behind = look();
            self.lag.lock().own.looked(behind, now);
        }
        let Lag { own, shown } = &*self.lag.lock();
        own.tell(shown)
    }

    /// Which members lag, whoever leads them.
    pub fn lag(&self) -> Shown {
        self.lag.lock().shown.clone()
    }

    /// This node leads the metadata group from now on. `before` is the node that did so before,
    /// and for how many milliseconds all that it gave was over or not given yet.
    pub(super) fn begin(&self, term: u64, before: Option<(NodeId, u64)>, now: UptimeMs) {
        let watch = Watch::take_over(Terms::default(), now);
        let watch = match before {
            Some((node, silent_ms)) => watch.after(node, silent_ms),
            None => watch,
        };
        let board = Board::begin(term, now);
        *self.reign.lock() = Some(Reign { term, watch, board, in_touch_until: UptimeMs(0) });
    }

    /// A majority of voters was heard: until then nobody else is the controller.
    pub(super) fn in_touch_until(&self, until: UptimeMs) {
        if let Some(reign) = self.reign.lock().as_mut() {
            reign.in_touch_until = until;
        }
    }

    /// It does so no more.
    pub(super) fn end(&self) {
        *self.reign.lock() = None;
        self.blocked.lock().clear();
        self.agreed.lock().clear();
    }

    /// Rings when a connection of a peer has ended.
    pub(super) async fn a_peer_ended(&self) {
        self.bell.notified().await;
    }

    /// The lives whose connections have ended, and of which nothing is known since.
    pub(super) fn ended(&self) -> Vec<(NodeId, Incarnation)> {
        self.ended.lock().iter().map(|(node, life)| (*node, *life)).collect()
    }

    /// What became of one of [`ControllerState::ended`] is known.
    pub(super) fn settled(&self, node: NodeId, life: Incarnation) {
        let mut ended = self.ended.lock();
        if ended.get(&node) == Some(&life) {
            ended.remove(&node);
        }
    }

    /// Tells the watch what metadata says of all nodes.
    pub(super) fn review(&self, metadata: &Metadata, now: UptimeMs) {
        let mut reign = self.reign.lock();
        let Some(Reign { watch, board, .. }) = reign.as_mut() else { return };
        board.retain(|id, life| {
            let node = metadata.node(id);
            node.is_some_and(|node| node.incarnation == life && node.state.serves())
        });
        for (id, node) in metadata.nodes() {
            match node.state {
                NodeState::Removed => watch.removed(*id),
                NodeState::Active | NodeState::Draining => {
                    watch.registered(*id, node.incarnation, now);
                }
                NodeState::Fenced => {
                    watch.registered(*id, node.incarnation, now);
                    watch.fenced(*id, node.incarnation, now);
                }
            }
        }
    }

    /// Whom to fence now. A controller that no majority answers is deaf, and the others are not
    /// silent: its fences would wait, and hit nodes that are well when it is heard again. The watch
    /// listens anew after such a gap.
    pub(super) fn tick(&self, now: UptimeMs) -> Vec<Fence> {
        match self.reign.lock().as_mut() {
            Some(reign) if now <= reign.in_touch_until => reign.watch.tick(now),
            _ => Vec::new(),
        }
    }

    /// The process of that life is gone: its fence, if that is news.
    pub(super) fn process_gone(
        &self,
        (node, life): (NodeId, Incarnation),
        now: UptimeMs,
    ) -> Option<Fence> {
        self.reign.lock().as_mut()?.watch.process_gone(node, life, now)
    }

    /// Whether the controller, which is this node, hears that node.
    pub(super) fn hears(&self, node: NodeId, now: UptimeMs) -> bool {
        let reign = self.reign.lock();
        reign.as_ref().is_some_and(|reign| {
            reign.watch.last_beat(node).is_some_and(|beat| beat.applied > 0)
                && reign.watch.silent_ms(node, now).is_none()
        })
    }

    /// The nodes as the controller, which is this node, would place segments on them.
    pub(super) fn nodes(
        &self,
        metadata: &Metadata,
        held: &BTreeMap<NodeId, u32>,
        (uptime, now): (UptimeMs, TimestampMs),
    ) -> Nodes {
        let reign = self.reign.lock();
        let heard = reign.as_ref().map(|reign| heard(&reign.watch, uptime)).unwrap_or_default();
        drop(reign);
        nodes::nodes_holding(metadata, held, &heard, now)
    }

    /// A segment's seal waits for members.
    pub(super) fn is_blocked(&self, plan: UnsafePlan) {
        self.blocked.lock().insert(plan.blocked.segment, plan);
    }

    /// What was agreed to of these segments.
    pub(super) fn take_agreed(&self, of: &BTreeSet<SegmentId>) -> Vec<Agreed> {
        self.agreed
            .lock()
            .extract_if(.., |id, _| of.contains(id))
            .map(|(_, agreed)| agreed)
            .collect()
    }

    /// It waits no more.
    pub(super) fn is_sealed(&self, segment: SegmentId) {
        self.blocked.lock().remove(&segment);
        self.agreed.lock().remove(&segment);
    }
}

/// What a watch knows of those that are not as they should be. One that is about to stop is silent
/// in a moment: it is told as such, so that nobody gives it a lease.
fn heard(watch: &Watch, now: UptimeMs) -> Heard {
    let silent = |node| {
        let leaves = watch.last_beat(node).is_some_and(|beat| beat.is_leaving);
        watch.silent_ms(node, now).or(leaves.then_some(0)).map(|ms| (node, ms))
    };
    let unreachable = |node| {
        let beat = watch.last_beat(node).filter(|beat| !beat.unreachable.is_empty())?;
        Some((node, beat.unreachable.clone()))
    };
    Heard {
        silent: watch.nodes().filter_map(silent).collect(),
        unreachable: watch.nodes().filter_map(unreachable).collect(),
    }
}

#[cfg(test)]
mod tests {
    use walrus_replication::liveness::Beat;
    use walrus_types::{Epoch, StorageId};

    use super::*;
    use crate::controller::fake;

    fn state() -> Arc<ControllerState> {
        ControllerState::new(NodeId(1), Clock::start())
    }

    /// A state that reigns, over this.
    fn reigning(metadata: &Metadata) -> Arc<ControllerState> {
        let state = state();
        state.begin(4, None, UptimeMs(0));
        state.in_touch_until(UptimeMs(1000));
        state.review(metadata, UptimeMs(0));
        state
    }

    fn beat(node: i32, incarnation: u64) -> BeatRequest {
        let beat = Beat { incarnation: Incarnation(incarnation), applied: 9, ..Beat::default() };
        BeatRequest { node: NodeId(node), beat, lag: Telling::default() }
    }

    fn identity(node: i32) -> PeerIdentity {
        PeerIdentity {
            cluster: Some(fake::CLUSTER),
            node: NodeId(node),
            storage: StorageId::default(),
            incarnation: Incarnation(1),
        }
    }

    #[test]
    fn a_heartbeat_extends_and_a_fenced_life_is_told_so() {
        let mut metadata = fake::cluster(3, 1);
        let state = reigning(&metadata);
        let reply = state.heard(beat(2, 1), UptimeMs(10));
        assert_eq!((reply.answer, reply.term), (Answer::Extended, 4));
        assert_eq!(reply.controller, Some(NodeId(1)));
        assert_eq!(state.heard(beat(2, 2), UptimeMs(10)).answer, Answer::Withheld);
        fake::apply(&mut metadata, &fake::fence(2, 1));
        state.review(&metadata, UptimeMs(20));
        let reply = state.heard(beat(2, 1), UptimeMs(30));
        assert_eq!((reply.answer, &reply.silent[..]), (Answer::Fenced, &[(NodeId(2), 0)][..]));
        // Its next life is another matter.
        fake::apply(&mut metadata, &fake::register(2, 2));
        state.review(&metadata, UptimeMs(40));
        assert_eq!(state.heard(beat(2, 1), UptimeMs(50)).answer, Answer::Fenced);
        assert_eq!(state.heard(beat(2, 2), UptimeMs(50)).answer, Answer::Extended);
    }

    #[test]
    fn who_is_no_controller_extends_nothing_and_says_so() {
        let state = state();
        let reply = state.heard(beat(2, 1), UptimeMs(0));
        assert_eq!((reply.answer, reply.controller), (Answer::Withheld, None));
        let state = reigning(&fake::cluster(3, 1));
        assert!(state.is_controller());
        state.end();
        assert_eq!(state.heard(beat(2, 1), UptimeMs(1)).controller, None);
    }

    #[test]
    fn a_controller_that_may_have_a_successor_extends_nothing() {
        let state = reigning(&fake::cluster(3, 1));
        // After a pause this comes before anything else is looked at.
        for (at, until, answer) in [
            (200, 200, Answer::Extended),
            (201, 200, Answer::Withheld),
            (201, 300, Answer::Extended),
        ] {
            state.in_touch_until(UptimeMs(until));
            let reply = state.heard(beat(2, 1), UptimeMs(at));
            let is_controller = answer == Answer::Extended;
            assert_eq!((reply.answer, reply.controller.is_some()), (answer, is_controller));
        }
    }

    #[test]
    fn a_controller_that_was_deaf_fences_nobody_for_having_been_silent_meanwhile() {
        let state = reigning(&fake::cluster(3, 1));
        assert_eq!(state.tick(UptimeMs(1_000)), []);
        assert_eq!(state.tick(UptimeMs(5_000)), [], "it has heard of no majority");
        state.in_touch_until(UptimeMs(10_000));
        assert_eq!(state.tick(UptimeMs(5_050)), [], "it listens anew");
        assert_eq!(state.tick(UptimeMs(5_500)), []);
        assert_eq!(state.tick(UptimeMs(6_000)), []);
        assert_eq!(state.tick(UptimeMs(6_200)).len(), 3, "silent for a lease and a margin");
    }

    #[test]
    fn a_node_that_is_about_to_stop_is_told_as_silent_and_keeps_its_lease() {
        let state = reigning(&fake::cluster(3, 1));
        state.in_touch_until(UptimeMs(1_000));
        let mut leaving = beat(2, 1);
        leaving.beat.is_leaving = true;
        assert_eq!(state.heard(leaving, UptimeMs(10)).answer, Answer::Extended);
        let told = state.heard(beat(3, 1), UptimeMs(10)).silent;
        assert!(told.contains(&(NodeId(2), 0)), "others are told {told:?}");
        state.heard(beat(2, 1), UptimeMs(20));
        let told = state.heard(beat(3, 1), UptimeMs(20)).silent;
        assert!(told.iter().all(|(node, _)| *node != NodeId(2)), "others are told {told:?}");
    }

    #[test]
    fn members_that_lag_by_their_leader_are_shown_by_every_node_until_its_life_is_over() {
        let mut metadata = fake::cluster(3, 1);
        let controller = reigning(&metadata);
        controller.in_touch_until(UptimeMs(u64::MAX));
        let (leader, other) = (state(), state());
        let partition = fake::partition(0);
        let behind = || vec![Laggards { partition, epoch: Epoch(1), members: vec![NodeId(3)] }];
        let goes_round = |life: u64, now: u64| {
            for (node, of, behind) in [(2, &leader, behind()), (3, &other, Vec::new())] {
                let lag = of.tell_lag(UptimeMs(now), || behind);
                let request = BeatRequest { lag, ..beat(node, if node == 2 { life } else { 1 }) };
                of.answered(&controller.heard(request, UptimeMs(now)));
            }
        };
        let keeps_up = |of: &ControllerState| of.lag().keeps_up(partition, Epoch(1), NodeId(3));
        goes_round(1, 2_000);
        assert!(!keeps_up(&other));
        goes_round(1, 2_100);
        assert!(!keeps_up(&leader), "the leader shows what all show");
        fake::apply(&mut metadata, &fake::fence(2, 1));
        controller.review(&metadata, UptimeMs(4_000));
        goes_round(1, 4_000);
        assert!(keeps_up(&other), "a life that is fenced is of no interest");
        // It says so again, for it is told that nobody has it.
        for now in [5_500, 7_000] {
            goes_round(1, now);
            assert!(keeps_up(&other), "a life that is fenced has nothing to say");
        }
    }

    #[test]
    fn nobody_beats_for_another_and_what_is_no_beat_extends_nothing() {
        let state = reigning(&fake::cluster(3, 1));
        state.in_touch_until(UptimeMs(u64::MAX));
        let answer = |from, bytes: &[u8]| {
            decode::<BeatReply>(&state.heartbeat(identity(from), bytes)).unwrap().answer
        };
        assert_eq!(answer(2, &encode(&beat(2, 1))), Answer::Extended);
        assert_eq!(answer(3, &encode(&beat(2, 1))), Answer::Withheld);
        assert_eq!(answer(2, b"beat"), Answer::Withheld);
    }

    #[test]
    fn the_newest_life_whose_connection_ended_is_known_until_it_is_settled() {
        let state = state();
        let of_life = |life| PeerIdentity { incarnation: Incarnation(life), ..identity(2) };
        for life in [1, 3, 2] {
            state.peer_ended(of_life(life));
        }
        assert_eq!(state.ended(), [(NodeId(2), Incarnation(3))]);
        state.settled(NodeId(2), Incarnation(2));
        assert_eq!(state.ended(), [(NodeId(2), Incarnation(3))]);
        state.settled(NodeId(2), Incarnation(3));
        assert_eq!(state.ended(), []);
    }

    #[test]
    fn what_the_controller_says_of_others_is_kept() {
        let state = state();
        let reply = BeatReply { silent: vec![(NodeId(3), 1200)], ..state.no_controller() };
        state.answered(&reply);
        assert_eq!(state.silent(), BTreeMap::from([(NodeId(3), 1200)]));
        state.answered(&state.no_controller());
        assert!(state.silent().is_empty());
    }
}
