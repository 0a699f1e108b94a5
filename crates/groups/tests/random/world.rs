//! The world of one group: its clients, the network, the log, and the nodes that coordinate or
//! think that they do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use walrus_groups::{
    Answer, AppendId, At, Commit, Coordinator, Effect, GroupError, GroupLimits, Identity, Join,
    Leaver, Loader, NewOffset, Outcome, Protocol, Sync, Waiter, records::Record,
};
use walrus_types::{TimestampMs, UptimeMs, chance::Chance};

use crate::{
    clients::{Client, Doing},
    reached::Reached,
};

const GROUP: &str = "g";
const TOPIC: &str = "t";
const PARTITIONS: u8 = 6;
const CLIENTS: usize = 4;
const SESSION_MS: u64 = 6_000;
const REBALANCE_MS: u64 = 4_000;
const DELAY_MS: u32 = 1_000;
const PATIENCE_MS: u64 = 12_000;
/// In this time a group works again, whatever was before.
const HEALED_MS: u64 = 4 * (SESSION_MS + REBALANCE_MS + PATIENCE_MS);

#[derive(Debug, Clone)]
enum Request {
    Join { member: String },
    Sync { member: String, generation: i32, assignments: Vec<(String, Bytes)> },
    Beat { member: String, generation: i32 },
    Leave { member: String },
    Commit { member: String, generation: i32, partition: u8, offset: i64 },
    Delete,
}

#[derive(Debug, Clone)]
struct Sent {
    client: usize,
    life: u64,
    /// Goes to a node that coordinates no more, if there is one.
    to_old: bool,
    request: Request,
}

/// What a waiter asked, and what was true then.
#[derive(Debug, Clone)]
struct Asked {
    sent: Sent,
    /// A commit of a generation before one that had its work.
    is_stale: bool,
}

/// A node that coordinates, or did.
struct Node {
    coordinator: Coordinator,
    appends: VecDeque<(AppendId, Vec<Record>)>,
}

pub(crate) struct World {
    rng: Chance,
    now: u64,
    clients: Vec<Client>,
    requests: Vec<Sent>,
    answers: Vec<(Sent, Answer)>,
    asked: BTreeMap<Waiter, Asked>,
    leader: Node,
    old: Option<Node>,
    /// What a node that loads reads.
    log: Vec<Record>,
    /// Everything that was ever committed.
    history: Vec<Record>,
    owners: BTreeMap<(i32, u8), String>,
    /// The newest generation that was told its work.
    working: i32,
    acked: Vec<(u8, i64)>,
    count: u64,
    healing: bool,
    pub(crate) reached: Reached,
}

fn limits() -> GroupLimits {
    GroupLimits { initial_delay_ms: DELAY_MS, ..GroupLimits::default() }
}

fn load(log: &[Record], at: At, out: &mut Vec<Effect>) -> Node {
    let mut loader = Loader::default();
    for record in log {
        let (key, value) = record.encode();
        loader.replay(Record::decode(&key, value.as_deref()).unwrap().unwrap());
    }
    Node { coordinator: loader.finish(limits(), at, out), appends: VecDeque::new() }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let at = At { now: UptimeMs(0), wall: TimestampMs(0) };
        // Some are static.
        let name = |n: usize| (n % 2 == 1).then(|| format!("i{n}"));
        Self {
            rng: Chance::seeded(seed),
            now: 0,
            clients: (0..CLIENTS).map(|n| Client::new(name(n))).collect(),
            requests: Vec::new(),
            answers: Vec::new(),
            asked: BTreeMap::new(),
            leader: load(&[], at, &mut Vec::new()),
            old: None,
            log: Vec::new(),
            history: Vec::new(),
            owners: BTreeMap::new(),
            working: 0,
            acked: Vec::new(),
            count: 0,
            healing: false,
            reached: Reached::default(),
        }
    }

    fn at(&self) -> At {
        let wall = TimestampMs(i64::try_from(self.now).unwrap());
        At { now: UptimeMs(self.now), wall }
    }

    pub(crate) fn step(&mut self) {
        match self.rng.index(100) {
            0..=19 => self.pass(),
            20..=44 => self.act(),
            45..=66 => self.deliver_request(),
            67..=84 => self.deliver_answer(),
            85..=93 => self.commit_next(),
            94 => self.refuse_next(),
            95 if self.rng.one_in(4) => self.move_leader(),
            96 => self.old_one_learns(),
            97 => self.write_snapshot(),
            98 => self.trouble(),
            _ => {}
        }
        self.check_view();
    }

    fn pass(&mut self) {
        self.now += u64::try_from(self.rng.index(300)).unwrap();
        let at = self.at();
        for is_old in [false, true] {
            let mut out = Vec::new();
            let node = if is_old { self.old.as_mut() } else { Some(&mut self.leader) };
            let Some(node) = node else { continue };
            if node.coordinator.deadline().is_some_and(|due| due <= at.now) {
                node.coordinator.tick(at, &mut out);
                assert!(
                    node.coordinator.deadline().is_none_or(|due| due > at.now),
                    "a tick leaves nothing that is due"
                );
            }
            self.carry_out(is_old, out);
        }
    }

    fn carry_out(&mut self, is_old: bool, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Append { id, records } => {
                    let node = if is_old { self.old.as_mut() } else { Some(&mut self.leader) };
                    // What an old one appends is in no log.
                    node.expect("it has just decided").appends.push_back((id, records));
                }
                Effect::Answer { waiter, answer } => {
                    let asked = self.asked.remove(&waiter).expect("each waiter is answered once");
                    self.check_answer(&asked, &answer);
                    self.answers.push((asked.sent, answer));
                }
            }
        }
    }

    fn check_answer(&mut self, asked: &Asked, answer: &Answer) {
        match (&asked.sent.request, answer) {
            (Request::Sync { generation, member, .. }, Answer::Sync(Ok(synced))) => {
                let client = &self.clients[asked.sent.client];
                let owner = client.name.clone().unwrap_or_else(|| member.clone());
                for partition in &synced.assignment {
                    let one = self.owners.entry((*generation, *partition));
                    let one = one.or_insert_with(|| owner.clone());
                    assert_eq!(
                        *one, owner,
                        "partition {partition} has two owners in generation {generation}"
                    );
                }
                if *generation > self.working {
                    self.working = *generation;
                    self.reached.generations += 1;
                }
            }
            (Request::Commit { partition, offset, .. }, Answer::Commit(Ok(judged))) => {
                assert!(!asked.is_stale, "a commit of an old generation was accepted: {asked:?}");
                assert_eq!(judged.as_slice(), &[Ok(())]);
                self.acked.push((*partition, *offset));
                self.reached.commits += 1;
            }
            (Request::Commit { .. }, Answer::Commit(Err(_))) if asked.is_stale => {
                self.reached.stale_commits_refused += 1;
            }
            (Request::Join { member }, Answer::Join(Ok(joined))) if member.is_empty() => {
                let is_static = self.clients[asked.sent.client].name.is_some();
                self.reached.replaced += u64::from(is_static && joined.generation == self.working);
            }
            (Request::Delete, Answer::DeleteGroup(Ok(()))) => self.reached.deleted += 1,
            _ => {}
        }
    }

    /// A client does what it has to.
    fn act(&mut self) {
        let n = self.rng.index(CLIENTS);
        let (now, healing) = (self.now, self.healing);
        let client = &mut self.clients[n];
        if now < client.paused_until && !healing {
            return;
        }
        let (member, generation) = (client.member.clone(), client.generation);
        let until = now + PATIENCE_MS;
        let doing = std::mem::replace(&mut client.doing, Doing::Waiting { until });
        match doing {
            Doing::Fenced => client.crash(),
            Doing::Waiting { until } if until > now => client.doing = doing,
            Doing::Out | Doing::Waiting { .. } => self.send(n, Request::Join { member }),
            Doing::Joined { members } => {
                let assignments = self.share(&members);
                self.send(n, Request::Sync { member, generation, assignments });
            }
            Doing::Working { ref partitions } => {
                let partitions = partitions.clone();
                client.doing = doing;
                if now >= client.beats_at {
                    client.beats_at = now + 1_500;
                    self.send(n, Request::Beat { member, generation });
                } else if !partitions.is_empty() {
                    let partition = partitions[self.rng.index(partitions.len())];
                    self.count += 1;
                    let offset = i64::try_from(self.count).unwrap();
                    self.send(n, Request::Commit { member, generation, partition, offset });
                }
            }
        }
    }

    /// The leader's answer to who does what: at random, and another one each time it is asked.
    fn share(&mut self, members: &[walrus_groups::JoinedMember]) -> Vec<(String, Bytes)> {
        let mut work: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        if members.is_empty() {
            return Vec::new();
        }
        for partition in 0..PARTITIONS {
            let owner = &members[self.rng.index(members.len())].member;
            work.entry(owner.clone()).or_default().push(partition);
        }
        work.into_iter().map(|(member, work)| (member, Bytes::from(work))).collect()
    }

    fn send(&mut self, client: usize, request: Request) {
        let to_old = self.old.is_some() && self.rng.one_in(3);
        let sent = Sent { client, life: self.clients[client].life, to_old, request };
        if !self.healing && self.rng.one_in(40) {
            self.requests.push(sent.clone());
        }
        if self.healing || !self.rng.one_in(40) {
            self.requests.push(sent);
        }
    }

    fn deliver_request(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let at = self.rng.index(self.requests.len());
        let sent = self.requests.swap_remove(at);
        let is_old = sent.to_old && self.old.is_some();
        self.count += 1;
        let waiter = Waiter(self.count);
        let is_stale = match &sent.request {
            Request::Commit { generation, .. } => *generation < self.working,
            _ => false,
        };
        let (now, name) = (self.at(), self.clients[sent.client].name.clone());
        let mut out = Vec::new();
        let asked = Asked { sent, is_stale };
        let direct = self.ask(is_old, (&asked.sent, waiter, name), now, &mut out);
        match direct {
            Some(answer) => self.answers.push((asked.sent, answer)),
            None => drop(self.asked.insert(waiter, asked)),
        }
        self.carry_out(is_old, out);
    }

    /// Hands a request to a coordinator; what it answers at once is told as a Sync's error, for
    /// the client treats all errors alike.
    fn ask(
        &mut self,
        is_old: bool,
        (sent, waiter, name): (&Sent, Waiter, Option<String>),
        at: At,
        out: &mut Vec<Effect>,
    ) -> Option<Answer> {
        let node = if is_old { self.old.as_mut() } else { Some(&mut self.leader) };
        let coordinator = &mut node.expect("it was looked at").coordinator;
        match sent.request.clone() {
            Request::Join { member } => {
                let join = join(member, name, sent.client, waiter);
                coordinator.join(&join, waiter, at, out);
            }
            Request::Sync { member, generation, assignments } => {
                let (protocol_type, protocol) = (None, None);
                let (group, instance) = (GROUP.to_owned(), name);
                let sync = Sync {
                    group,
                    member,
                    instance,
                    generation,
                    protocol_type,
                    protocol,
                    assignments,
                };
                coordinator.sync(sync, waiter, at, out);
            }
            Request::Beat { member, generation } => {
                let who = Identity { member: &member, instance: name.as_deref(), generation };
                let beat = coordinator.heartbeat(GROUP, who, at.now);
                return beat
                    .err()
                    .map(|why| Answer::Sync(Err(why)))
                    .or(Some(Answer::Commit(Ok(Vec::new()))));
            }
            Request::Leave { member } => {
                let leaver = Leaver { member, instance: None };
                drop(coordinator.leave(GROUP, &[leaver], at, out));
                return Some(Answer::Sync(Err(GroupError::UnknownMember)));
            }
            Request::Commit { member, generation, partition, offset } => {
                let new = NewOffset {
                    topic: TOPIC.into(),
                    partition: i32::from(partition),
                    offset,
                    leader_epoch: -1,
                    metadata: String::new(),
                };
                let commit = Commit {
                    group: GROUP.into(),
                    member,
                    instance: name,
                    generation,
                    retention_ms: None,
                    offsets: vec![new],
                };
                coordinator.commit(commit, waiter, at, out);
            }
            Request::Delete => coordinator.delete(GROUP, waiter, at, out),
        }
        None
    }

    fn deliver_answer(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let at = self.rng.index(self.answers.len());
        let (sent, answer) = self.answers.swap_remove(at);
        let client = &mut self.clients[sent.client];
        let is_lost = !self.healing && self.rng.one_in(40);
        if client.life != sent.life || is_lost || client.doing == Doing::Fenced {
            return;
        }
        match (sent.request, answer) {
            (Request::Join { member }, Answer::Join(told)) if member == client.member => match told
            {
                Ok(joined) => {
                    client.member = joined.member;
                    client.generation = joined.generation;
                    let skips = joined.skip_assignment;
                    let members = if skips { Vec::new() } else { joined.members };
                    client.doing = Doing::Joined { members };
                }
                Err(refusal) => {
                    if refusal.error == GroupError::MemberIdRequired {
                        client.member = refusal.member;
                    }
                    client.refused(refusal.error);
                }
            },
            (Request::Sync { member, generation, .. }, Answer::Sync(told))
                if member == client.member && generation == client.generation =>
            {
                match told {
                    Ok(synced) => {
                        let partitions = synced.assignment.to_vec();
                        client.doing = Doing::Working { partitions };
                    }
                    Err(why) => client.refused(why),
                }
            }
            (
                Request::Beat { member, generation } | Request::Commit { member, generation, .. },
                Answer::Sync(Err(why)) | Answer::Commit(Err(why)),
            ) if member == client.member && generation == client.generation => {
                if matches!(client.doing, Doing::Working { .. }) {
                    client.refused(why);
                }
            }
            _ => {}
        }
    }

    /// The oldest append of the leader is committed.
    fn commit_next(&mut self) {
        self.settle(Outcome::Committed);
    }

    fn refuse_next(&mut self) {
        if !self.leader.appends.is_empty() {
            self.reached.appends_refused += 1;
        }
        self.settle(Outcome::Refused);
    }

    fn settle(&mut self, outcome: Outcome) {
        let Some((id, records)) = self.leader.appends.pop_front() else { return };
        if outcome == Outcome::Committed {
            self.committed(records);
        }
        let mut out = Vec::new();
        self.leader.coordinator.appended(id, outcome, self.at(), &mut out);
        self.carry_out(false, out);
    }

    fn committed(&mut self, records: Vec<Record>) {
        for record in &records {
            if let Record::Group { value: None, .. } = record {
                // The next group of that name begins again with its generations.
                self.owners.clear();
                self.working = 0;
            }
        }
        self.log.extend(records.iter().cloned());
        self.history.extend(records);
    }

    /// The partition is led elsewhere: of what was appended a part is in the log, and the node that
    /// led it does not know yet.
    fn move_leader(&mut self) {
        self.old_one_learns();
        self.reached.moves += 1;
        let kept = self.rng.index(self.leader.appends.len() + 1);
        let kept: Vec<_> = self.leader.appends.iter().take(kept).cloned().collect();
        for (_, records) in kept {
            self.committed(records);
        }
        let mut out = Vec::new();
        let next = load(&self.log, self.at(), &mut out);
        self.old = Some(std::mem::replace(&mut self.leader, next));
        self.carry_out(false, out);
    }

    fn old_one_learns(&mut self) {
        let Some(old) = self.old.take() else { return };
        let mut out = Vec::new();
        old.coordinator.resign(&mut out);
        self.carry_out(true, out);
    }

    /// A new segment begins with the state, and what was before is pruned.
    fn write_snapshot(&mut self) {
        if self.leader.coordinator.is_settled() {
            self.reached.snapshots += 1;
            self.log = self.leader.coordinator.snapshot().collect();
        }
    }

    /// Something happens to a client.
    fn trouble(&mut self) {
        let n = self.rng.index(CLIENTS);
        match self.rng.index(5) {
            0 => self.clients[n].crash(),
            1 => {
                let pause = u64::try_from(self.rng.index(20_000)).unwrap();
                self.clients[n].paused_until = self.now + pause;
            }
            2 => {
                let member = self.clients[n].member.clone();
                self.send(n, Request::Leave { member });
                self.clients[n].crash();
            }
            3 => self.send(n, Request::Delete),
            // All of them stop for long, so that the group becomes empty.
            _ if self.rng.one_in(3) => {
                for client in &mut self.clients {
                    client.paused_until = self.now + 15_000;
                }
            }
            _ => {}
        }
    }

    /// What the coordinator says of offsets is what the log says.
    fn check_view(&self) {
        let mut log: BTreeMap<i32, i64> = BTreeMap::new();
        for record in &self.history {
            if let Record::Offset { key, value } = record {
                match value {
                    Some(value) => drop(log.insert(key.partition, value.offset)),
                    None => drop(log.remove(&key.partition)),
                }
            }
        }
        let told = self.leader.coordinator.offsets(GROUP);
        let told: BTreeMap<i32, i64> = told.map(|(_, at, value)| (at, value.offset)).collect();
        assert_eq!(told, log, "the coordinator and its log disagree on what is committed");
    }

    /// The faults end. In a bounded time everybody works, and everything is worked on.
    pub(crate) fn heal_and_check(&mut self) {
        self.healing = true;
        self.old_one_learns();
        self.requests.clear();
        let until = self.now + HEALED_MS;
        while self.now < until {
            for _ in 0..8 {
                self.act();
                self.deliver_request();
                self.commit_next();
                self.deliver_answer();
            }
            self.pass();
        }
        self.check_view();
        let generation = self.clients[0].generation;
        let mut work = Vec::new();
        for client in &self.clients {
            let Doing::Working { partitions } = &client.doing else {
                panic!("{} does not work after {HEALED_MS} ms: {client:?}", client.owner());
            };
            assert_eq!(client.generation, generation, "two generations work");
            work.extend(partitions.iter().copied());
        }
        work.sort_unstable();
        assert_eq!(work, (0..PARTITIONS).collect::<Vec<_>>(), "each partition has an owner");
        let logged = self.history.iter().filter_map(|record| match record {
            Record::Offset { key, value: Some(value) } => Some((key.partition, value.offset)),
            _ => None,
        });
        let logged: BTreeSet<(i32, i64)> = logged.collect();
        for (partition, offset) in &self.acked {
            let is_logged = logged.contains(&(i32::from(*partition), *offset));
            assert!(is_logged, "an acknowledged commit is in no log: {partition} at {offset}");
        }
    }
}

fn join(member: String, instance: Option<String>, client: usize, waiter: Waiter) -> Join {
    Join {
        group: GROUP.into(),
        member,
        instance,
        client_id: format!("c{client}"),
        client_host: "/h".into(),
        session_timeout_ms: i32::try_from(SESSION_MS).unwrap(),
        rebalance_timeout_ms: i32::try_from(REBALANCE_MS).unwrap(),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\0\0\0\0"),
        }],
        id_required: client.is_multiple_of(3),
        can_skip_assignment: client > 1,
        random: waiter.0.to_string(),
    }
}
