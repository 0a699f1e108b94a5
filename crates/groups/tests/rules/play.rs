//! One coordinator with one group `g`, and clients that are known by a letter.
//!
//! A table has what happens on the left and everything that is answered on the right, sorted and
//! separated by `; `. What can happen:
//!
//! ```text
//! join a [name=i] [can=range:x+sticky:y] [type=t] [session=ms] [rebalance=ms] [v3] [skip] [id=]
//! sync a [b=work ...] [gen=n] [type=t] [proto=p]      beat a [gen=n] [name=i]
//! leave a b ...  leave name=i                         wait ms
//! commit a t/0=5[:words] ... [gen=n] [keep=ms]        commit - t/0=5     (no member)
//! fetch                                               forget t/0 ...     delete
//! state                                               list
//! hold   go   refuse   too-large       appends wait; are committed; are not in the log
//! move                                 another node loads what is committed
//! snapshot                             the log is only the state from here on
//! expire                               gone t x<8    (topics that are no more, or only since an epoch)
//! ```

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use walrus_groups::{
    Answer, AppendId, At, Commit, Coordinator, Effect, GroupLimits, Identity, Join, Joined, Leaver,
    Loader, NewOffset, Outcome, Protocol, Sync, Waiter, records::Record,
};
use walrus_types::{TimestampMs, UptimeMs};

/// Where the wall clock begins: a day after its zero.
const WALL: i64 = 86_400_000;

#[derive(Debug, Default, Clone)]
struct Client {
    id: String,
    generation: i32,
    name: Option<String>,
}

pub(crate) struct Play {
    coordinator: Coordinator,
    limits: GroupLimits,
    clients: BTreeMap<String, Client>,
    /// Who was given which id.
    letters: BTreeMap<String, String>,
    waiting: BTreeMap<Waiter, String>,
    appends: VecDeque<(AppendId, Vec<Record>)>,
    log: Vec<Record>,
    held: bool,
    now: u64,
    count: u64,
    said: Vec<String>,
}

/// Plays a table.
#[track_caller]
pub(crate) fn rule(table: &[(&str, &str)]) {
    rule_with(GroupLimits::default(), table);
}

/// Plays a table under other limits.
#[track_caller]
pub(crate) fn rule_with(limits: GroupLimits, table: &[(&str, &str)]) {
    let mut play = Play::new(limits);
    for (at, (happens, expected)) in table.iter().enumerate() {
        let said = play.happens(happens);
        assert_eq!(said, *expected, "line {at}: {happens}");
    }
}

/// `key=value` among the words.
fn option<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn number<T: std::str::FromStr>(words: &[&str], key: &str, default: T) -> T {
    option(words, key).map_or(default, |text| text.parse().ok().expect("a number"))
}

/// `t/0`.
fn place(text: &str) -> (String, i32) {
    let (topic, partition) = text.split_once('/').expect("topic/partition");
    (topic.to_owned(), partition.parse().expect("a number"))
}

impl Play {
    pub(crate) fn new(limits: GroupLimits) -> Self {
        let mut out = Vec::new();
        let at = At { now: UptimeMs(0), wall: TimestampMs(WALL) };
        Self {
            coordinator: Loader::default().finish(limits, at, &mut out),
            limits,
            clients: BTreeMap::new(),
            letters: BTreeMap::new(),
            waiting: BTreeMap::new(),
            appends: VecDeque::new(),
            log: Vec::new(),
            held: false,
            now: 0,
            count: 0,
            said: Vec::new(),
        }
    }

    fn at(&self) -> At {
        let wall = TimestampMs(WALL + i64::try_from(self.now).expect("small"));
        At { now: UptimeMs(self.now), wall }
    }

    fn waiter(&mut self, letter: &str) -> Waiter {
        self.count += 1;
        self.waiting.insert(Waiter(self.count), letter.to_owned());
        Waiter(self.count)
    }

    pub(crate) fn happens(&mut self, happens: &str) -> String {
        let words: Vec<&str> = happens.split_whitespace().collect();
        let (verb, words) = words.split_first().expect("a verb");
        let mut out = Vec::new();
        match *verb {
            "join" => self.join(words, &mut out),
            "sync" => self.sync(words, &mut out),
            "beat" => self.beat(words),
            "leave" => self.leave(words, &mut out),
            "commit" => self.commit(words, &mut out),
            "forget" => {
                let waiter = self.waiter("-");
                let places = words.iter().map(|word| place(word)).collect();
                self.coordinator.delete_offsets("g", places, waiter, self.at(), &mut out);
            }
            "delete" => {
                let waiter = self.waiter("-");
                self.coordinator.delete("g", waiter, self.at(), &mut out);
            }
            "wait" => self.wait(words[0].parse().expect("ms")),
            "expire" => self.coordinator.expire(self.at(), &mut out),
            "gone" => {
                let is_gone = |topic: &str, leader_epoch: i32| {
                    words.iter().any(|word| match word.split_once('<') {
                        Some((name, first)) => {
                            name == topic && leader_epoch < first.parse().expect("an epoch")
                        }
                        None => *word == topic,
                    })
                };
                self.coordinator.forget_topics(&is_gone, self.at(), &mut out);
            }
            "hold" => self.held = true,
            "go" => self.settle(Outcome::Committed),
            "refuse" => self.settle(Outcome::Refused),
            "too-large" => self.settle(Outcome::TooLarge),
            "move" => self.moves(),
            "snapshot" => self.log = self.coordinator.snapshot().collect(),
            "fetch" => self.fetch(),
            "state" => self.state(),
            "list" => {
                for one in self.coordinator.list() {
                    self.said.push(format!(
                        "{} {:?} {}",
                        one.group,
                        one.protocol_type,
                        one.state.name()
                    ));
                }
            }
            other => panic!("what is {other:?}?"),
        }
        self.carry_out(out);
        self.said.sort();
        std::mem::take(&mut self.said).join("; ")
    }

    fn carry_out(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Append { id, records } => {
                    self.appends.push_back((id, records));
                }
                Effect::Answer { waiter, answer } => self.answered(waiter, answer),
            }
        }
        if !self.held && !self.appends.is_empty() {
            self.settle(Outcome::Committed);
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        while let Some((id, records)) = self.appends.pop_front() {
            if outcome == Outcome::Committed {
                self.log.extend(records);
            }
            let mut out = Vec::new();
            self.coordinator.appended(id, outcome, self.at(), &mut out);
            self.carry_out(out);
        }
        self.held = false;
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(due) = self.coordinator.deadline().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            let mut out = Vec::new();
            self.coordinator.tick(self.at(), &mut out);
            self.carry_out(out);
        }
        self.now = until;
    }

    fn moves(&mut self) {
        self.appends.clear();
        self.held = false;
        let mut loader = Loader::default();
        for record in &self.log {
            let (key, value) = record.encode();
            let record = Record::decode(&key, value.as_deref()).expect("ours").expect("known");
            loader.replay(record);
        }
        let mut out = Vec::new();
        let next = loader.finish(self.limits, self.at(), &mut out);
        let old = std::mem::replace(&mut self.coordinator, next);
        let mut last = Vec::new();
        old.resign(&mut last);
        self.carry_out(last);
        self.carry_out(out);
    }

    fn join(&mut self, words: &[&str], out: &mut Vec<Effect>) {
        let letter = words[0];
        let client = self.clients.entry(letter.to_owned()).or_default();
        client.name = option(words, "name").map(str::to_owned).or(client.name.take());
        let member = option(words, "id").map_or(client.id.clone(), str::to_owned);
        let (instance, n) = (client.name.clone(), self.count);
        let protocols = option(words, "can").unwrap_or("range:x").split('+').map(|one| {
            let (name, metadata) = one.split_once(':').expect("name:metadata");
            Protocol { name: name.into(), metadata: subscription(metadata) }
        });
        let join = Join {
            group: "g".into(),
            member,
            instance,
            client_id: letter.into(),
            client_host: "/h".into(),
            session_timeout_ms: number(words, "session", 10_000),
            rebalance_timeout_ms: number(words, "rebalance", 60_000),
            protocol_type: option(words, "type").unwrap_or("consumer").into(),
            protocols: protocols.filter(|one| !one.name.is_empty()).collect(),
            id_required: !words.contains(&"v3"),
            can_skip_assignment: words.contains(&"skip"),
            random: n.to_string(),
        };
        let waiter = self.waiter(letter);
        self.coordinator.join(&join, waiter, self.at(), out);
    }

    fn sync(&mut self, words: &[&str], out: &mut Vec<Effect>) {
        let letter = words[0];
        let client = self.clients[letter].clone();
        let work = words[1..].iter().filter_map(|word| word.split_once('='));
        let assignments = work.filter_map(|(other, work)| {
            let id = self.clients.get(other)?.id.clone();
            Some((id, Bytes::copy_from_slice(work.as_bytes())))
        });
        let sync = Sync {
            group: "g".into(),
            member: client.id.clone(),
            instance: client.name.clone(),
            generation: number(words, "gen", client.generation),
            protocol_type: option(words, "type").map(str::to_owned),
            protocol: option(words, "proto").map(str::to_owned),
            assignments: assignments.collect(),
        };
        let waiter = self.waiter(letter);
        self.coordinator.sync(sync, waiter, self.at(), out);
    }

    fn beat(&mut self, words: &[&str]) {
        let client = self.clients[words[0]].clone();
        let who = Identity {
            member: &client.id,
            instance: option(words, "name").or(client.name.as_deref()),
            generation: number(words, "gen", client.generation),
        };
        let said = match self.coordinator.heartbeat("g", who, UptimeMs(self.now)) {
            Ok(()) => "ok".to_owned(),
            Err(why) => format!("{why:?}"),
        };
        self.said.push(said);
    }

    fn leave(&mut self, words: &[&str], out: &mut Vec<Effect>) {
        let leaver = |word: &&str| match word.strip_prefix("name=") {
            Some(name) => Leaver { member: String::new(), instance: Some(name.to_owned()) },
            None => Leaver { member: self.clients[*word].id.clone(), instance: None },
        };
        let leavers: Vec<Leaver> = words.iter().map(leaver).collect();
        let said = match self.coordinator.leave("g", &leavers, self.at(), out) {
            Ok(each) => each.iter().map(said).collect::<Vec<_>>().join(" "),
            Err(why) => format!("{why:?}"),
        };
        self.said.push(said);
    }

    fn commit(&mut self, words: &[&str], out: &mut Vec<Effect>) {
        let letter = words[0];
        let nobody = Client { generation: -1, ..Client::default() };
        let client = self.clients.get(letter).cloned().unwrap_or(nobody);
        let offsets = words[1..].iter().filter(|word| word.contains('/')).map(|word| {
            let (at, offset) = word.split_once('=').expect("topic/partition=offset");
            let (topic, partition) = place(at);
            let (offset, words) = offset.split_once(':').unwrap_or((offset, ""));
            let offset = offset.parse().expect("a number");
            let metadata = words.to_owned();
            NewOffset { topic, partition, offset, leader_epoch: 7, metadata }
        });
        let commit = Commit {
            group: "g".into(),
            member: client.id.clone(),
            instance: client.name.clone(),
            generation: number(words, "gen", client.generation),
            retention_ms: option(words, "keep").map(|ms| ms.parse().expect("ms")),
            offsets: offsets.collect(),
        };
        let waiter = self.waiter(letter);
        self.coordinator.commit(commit, waiter, self.at(), out);
    }

    fn fetch(&mut self) {
        for (topic, partition, offset) in self.coordinator.offsets("g") {
            let words = &offset.metadata;
            let colon = if words.is_empty() { "" } else { ":" };
            self.said.push(format!("{topic}/{partition}={}{colon}{words}", offset.offset));
        }
    }

    fn state(&mut self) {
        let said = match self.coordinator.describe("g") {
            Some(group) => {
                let state = group.state.name();
                let members = group.members.iter().map(|one| self.letter(&one.member));
                let members: Vec<_> = members.collect();
                format!("{state} {} {}", group.generation, members.join(" ")).trim().to_owned()
            }
            None => "none".to_owned(),
        };
        self.said.push(said);
    }

    fn letter(&self, id: &str) -> String {
        // Of one that has its answer yet to come the letter is the beginning of its id.
        let begins = || id.split('-').next().unwrap_or_default().to_owned();
        self.letters.get(id).cloned().unwrap_or_else(begins)
    }

    fn answered(&mut self, waiter: Waiter, answer: Answer) {
        let letter = self.waiting.remove(&waiter).expect("each waiter is answered once");
        let text = match answer {
            Answer::Join(Ok(joined)) => self.joined(&letter, &joined),
            Answer::Join(Err(refusal)) => {
                if refusal.error == walrus_groups::GroupError::MemberIdRequired {
                    self.letters.insert(refusal.member.clone(), letter.clone());
                    self.clients.get_mut(&letter).expect("it asked").id = refusal.member;
                }
                format!("{:?}", refusal.error)
            }
            Answer::Sync(Ok(synced)) => {
                let work = String::from_utf8_lossy(&synced.assignment).into_owned();
                format!("does {work}").trim_end().to_owned()
            }
            Answer::Sync(Err(why)) | Answer::Commit(Err(why)) => format!("{why:?}"),
            Answer::DeleteOffsets(Err(why)) | Answer::DeleteGroup(Err(why)) => format!("{why:?}"),
            Answer::Commit(Ok(each)) | Answer::DeleteOffsets(Ok(each)) => {
                each.iter().map(said).collect::<Vec<_>>().join(" ")
            }
            Answer::DeleteGroup(Ok(())) => "ok".to_owned(),
        };
        self.said.push(format!("{letter}: {text}"));
    }

    fn joined(&mut self, letter: &str, joined: &Joined) -> String {
        self.letters.insert(joined.member.clone(), letter.to_owned());
        let client = self.clients.get_mut(letter).expect("it asked");
        client.id.clone_from(&joined.member);
        client.generation = joined.generation;
        let Joined { generation, protocol, leader, skip_assignment, members, .. } = joined;
        let skips = if *skip_assignment { " and assigned before" } else { "" };
        if *leader == joined.member {
            format!("{generation} {protocol} leads {}{skips}", members.len())
        } else {
            assert!(members.is_empty(), "only the leader is told the members");
            format!("{generation} {protocol}{skips}")
        }
    }
}

fn said<E: std::fmt::Debug>(one: &Result<(), E>) -> String {
    match one {
        Ok(()) => "ok".to_owned(),
        Err(why) => format!("{why:?}"),
    }
}

/// A consumer's subscription to one topic.
fn subscription(topic: &str) -> Bytes {
    let length = u8::try_from(topic.len()).expect("short");
    Bytes::from([b"\0\x01\0\0\0\x01\0", &[length][..], topic.as_bytes(), b"\0\0\0\0"].concat())
}
