//! A cluster, followed by the stream of one of its nodes.
//!
//! One task follows whoever told something last; when that node is gone the next one is asked at
//! once: those of the command line and those that the cluster itself named. A node of before, which
//! has no stream, is asked once a second for what changed. When nobody answers it is tried again
//! after a while that grows, with chance in it; whoever presses a key for news is answered at once.
//! Nothing is lost by a slow console: a node skips for it what was in between.

mod beside;

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use walrus_admin::{
    Code, Endpoint,
    client::{Client, ClientError, actor},
    event::{Event, EventList, Repeats},
    operation::{CancelRequest, Operation},
    plan::{Plan, RunRequest},
    snapshot::Snapshot,
    stream::{Following, News},
};
use walrus_types::{UptimeMs, chance::Chance};

use self::beside::{Asking, Beside};
use super::{Also, Hand, Source, Told, Wanted};
use crate::{
    app::doing::{Act, Acted, unreachable},
    model::find,
};

/// Between two questions, and between two signs of life that a stream is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// A node that answers no sooner is asked no more.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The first pause after a question that nobody answered, and the longest.
const AGAIN_MS: (u64, u64) = (250, 4_000);
/// Addresses that are tried, beside those of the command line.
const LEARNED_MAX: usize = 32;
/// What a stream is asked for.
const WANTED: &str = "kinds=snapshot,event,vitals&every_ms=1000";
/// Events of before the console began.
const PAST: &str = "/v1/events?limit=500";

/// Nobody listens any more.
#[derive(Debug)]
struct Unheard;

/// How it ended with one node.
#[derive(Debug)]
enum Ended {
    /// It told nothing.
    Nothing(String),
    /// It told something, and then no more.
    Heard,
}

/// Whom to ask.
struct Asked {
    client: Client,
    /// Whoever is asked now comes first.
    order: Vec<Endpoint>,
    /// The cluster as it was told last.
    known: Option<Arc<Snapshot>>,
    /// Events that were told.
    repeats: Repeats,
    /// Whether events of before the console were told.
    has_past: bool,
    wanted: watch::Receiver<Wanted>,
    tell: SyncSender<Told>,
    asking: Option<Asking>,
    /// Whether whoever is followed tells lists in a stream, as far as is known.
    tells_lists: bool,
    asked_at: Option<Instant>,
}

impl Asked {
    fn new(given: Vec<Endpoint>, wanted: watch::Receiver<Wanted>, tell: SyncSender<Told>) -> Self {
        Self {
            client: Client::new(given.clone(), ANSWER_MAX),
            order: given,
            known: None,
            repeats: Repeats::default(),
            has_past: false,
            wanted,
            tell,
            asking: None,
            tells_lists: true,
            asked_at: None,
        }
    }

    fn tell(&self, told: Told) -> Result<(), Unheard> {
        self.tell.send(told).map_err(|_gone| Unheard)
    }

    /// Stays with the first of the order until it tells no more.
    async fn stay(&mut self) -> Result<Ended, Unheard> {
        let Some(at) = self.order.first().cloned() else {
            return Ok(Ended::Nothing("there is nobody to ask".to_owned()));
        };
        let after = self.known.as_ref().map(|known| known.metadata_version);
        self.tells_lists = true;
        match Following::begin(&at, WANTED, after, (ANSWER_MAX, ANSWER_MAX)).await {
            Ok(following) => self.follow(&at, following).await,
            // It has no stream, or has no place left.
            Err(why)
                if why
                    .refusal()
                    .is_some_and(|why| matches!(why.code, Code::NotFound | Code::Unavailable)) =>
            {
                self.poll(&at).await
            }
            Err(why) => Ok(Ended::Nothing(why.to_string())),
        }
    }

    async fn follow(&mut self, at: &Endpoint, mut following: Following) -> Result<Ended, Unheard> {
        let mut heard = false;
        loop {
            let news = tokio::select! {
                news = following.next() => news,
                beside = beside::asking(&mut self.asking) => {
                    self.take_beside(at, beside)?;
                    continue;
                }
                changed = self.wanted.changed() => {
                    changed.map_err(|_gone| Unheard)?;
                    self.asking = None;
                    self.ask_also(at);
                    continue;
                }
            };
            let snapshot = match news {
                Ok(News::Snapshot(told)) => match self.put_together(*told) {
                    Some(snapshot) => snapshot,
                    // It is of another version than was said: all is asked for, once.
                    None if self.known.take().is_some() => return Ok(Ended::Heard),
                    None => return Ok(Ended::Nothing(format!("{at} tells changes of nothing"))),
                },
                Ok(News::Vitals(told)) => match &self.known {
                    Some(known) => Snapshot::clone(known).with(told),
                    None => continue,
                },
                Ok(News::Groups(_) | News::Clients(_)) => continue,
                Ok(News::Events(list)) => {
                    self.tell_events(list)?;
                    continue;
                }
                Err(_) if heard => return Ok(Ended::Heard),
                Err(why) => return Ok(Ended::Nothing(why.to_string())),
            };
            if !heard && self.is_strange(at, &snapshot) {
                return Ok(Ended::Nothing(format!("{at} is of another cluster")));
            }
            if !heard {
                heard = true;
                self.tell(Told::Events(Some(Vec::new())))?;
            }
            self.take(at, snapshot)?;
            if !self.has_past {
                self.has_past = true;
                if let Ok(past) = self.client.get_at::<EventList>(at, PAST).await {
                    self.tell_events(past)?;
                }
            }
        }
    }

    /// Asks a node that has no stream, again and again.
    async fn poll(&mut self, at: &Endpoint) -> Result<Ended, Unheard> {
        let mut heard = false;
        self.tells_lists = false;
        self.tell(Told::Events(None))?;
        loop {
            let began = Instant::now();
            let snapshot = match self.ask(at).await {
                Ok(snapshot) => snapshot,
                Err(_) if heard => return Ok(Ended::Heard),
                Err(why) => return Ok(Ended::Nothing(why.to_string())),
            };
            if self.is_strange(at, &snapshot) {
                return Ok(Ended::Nothing(format!("{at} is of another cluster")));
            }
            heard = true;
            self.take(at, snapshot)?;
            if let Some(asking) = self.asking.take() {
                let beside = asking.await;
                self.take_beside(at, beside)?;
            }
            // Another wish ends the pause; its end of the wish ends the console.
            let pause = EVERY.saturating_sub(began.elapsed());
            if let Ok(Err(_)) = timeout(pause, self.wanted.changed()).await {
                return Err(Unheard);
            }
            self.asked_at = None;
        }
    }

    /// Asks for what changed, or for all where nothing is known that this goes with.
    async fn ask(&self, at: &Endpoint) -> Result<Snapshot, ClientError> {
        const ALL: &str = "/v1/snapshot";
        if let Some(known) = &self.known {
            let path = format!("{ALL}?since={}", known.metadata_version);
            let changed: Snapshot = self.client.get_at(at, &path).await?;
            if let Some(all) = changed.onto(known) {
                return Ok(all);
            }
        }
        self.client.get_at(at, ALL).await
    }

    fn put_together(&self, told: Snapshot) -> Option<Snapshot> {
        match &self.known {
            Some(known) => told.onto(known),
            None => told.since.is_none().then_some(told),
        }
    }

    /// Tells a snapshot, and asks for what else is wanted.
    fn take(&mut self, at: &Endpoint, snapshot: Snapshot) -> Result<(), Unheard> {
        let snapshot = Arc::new(snapshot);
        let before = self.known.replace(Arc::clone(&snapshot));
        let is_known = |before: &Snapshot| {
            let both = before.nodes.iter().zip(&snapshot.nodes);
            before.nodes.len() == snapshot.nodes.len()
                && both.into_iter().all(|(was, is)| was.node.addresses == is.node.addresses)
        };
        if !before.as_deref().is_some_and(is_known) {
            self.learn(&snapshot);
        }
        // A little less than the time between two, which is never quite even.
        let is_due = self.asked_at.is_none_or(|asked| asked.elapsed() >= EVERY * 9 / 10);
        if (is_due && self.asking.is_none()) || self.is_another(before.as_deref(), &snapshot) {
            self.ask_also(at);
        }
        self.tell(Told::Snapshot(snapshot))
    }

    /// Whether the partition whose chain is wanted is another than it was: then the chain is asked
    /// for at once, and what is asked for already is out of date.
    fn is_another(&self, before: Option<&Snapshot>, now: &Snapshot) -> bool {
        let Some(Also::Chain(name)) = &self.wanted.borrow().also else { return false };
        let told = |of| find(of, name).map(|(_, partition)| partition);
        before.is_some_and(|before| told(before) != told(now))
    }

    fn ask_also(&mut self, at: &Endpoint) {
        let wish = self.wanted.borrow_and_update().clone();
        self.asked_at = Some(Instant::now());
        if let Some(wish) = wish.also {
            let tells_lists = self.tells_lists;
            let beside = beside::begin(self.client.clone(), at.clone(), wish, tells_lists);
            self.asking = Some(Box::pin(beside));
        }
    }

    /// Tells what came, and waits for what comes after it where it is followed.
    fn take_beside(&mut self, at: &Endpoint, beside: Beside) -> Result<(), Unheard> {
        let Beside { told, following, tells_lists } = beside;
        self.tells_lists = tells_lists;
        let next = |(wish, following)| {
            Box::pin(beside::next(self.client.clone(), at.clone(), wish, following)) as Asking
        };
        self.asking = following.map(next);
        self.tell(told)
    }

    fn tell_events(&mut self, list: EventList) -> Result<(), Unheard> {
        let new: Vec<Event> =
            list.items.into_iter().filter(|event| self.repeats.is_new(event)).collect();
        self.tell(Told::Events(Some(new)))
    }

    /// Whether that is another cluster, at an address that nobody gave us: what nodes registered
    /// for each other may be somebody else's here.
    fn is_strange(&self, at: &Endpoint, snapshot: &Snapshot) -> bool {
        let is_other = self.known.as_ref().is_some_and(|known| known.cluster != snapshot.cluster);
        is_other && !self.client.endpoints().contains(at)
    }

    /// Takes up the addresses that nodes registered for this.
    fn learn(&mut self, snapshot: &Snapshot) {
        for entry in &snapshot.nodes {
            let Ok(at) = entry.node.addresses.admin.parse::<Endpoint>() else { continue };
            let most = self.client.endpoints().len() + LEARNED_MAX;
            if at.is_reachable() && !self.order.contains(&at) && self.order.len() < most {
                self.order.push(at);
            }
        }
    }
}

/// A cluster, by the admin ports of some of its nodes.
#[derive(Debug)]
pub struct Cluster(pub Vec<Endpoint>);

/// Changes a cluster.
#[derive(Debug)]
struct ClusterHand(Vec<Endpoint>);

/// How long a node may take to answer what it was told.
const ACT_MAX: Duration = Duration::from_secs(15);

impl ClusterHand {
    async fn ask(&self, act: Act, known: Vec<Endpoint>) -> Acted {
        let mut endpoints = self.0.clone();
        endpoints.extend(known.into_iter().filter(|at| !self.0.contains(at)));
        let client = Client::new(endpoints, ACT_MAX);
        let refused = |why: ClientError| match why.refusal() {
            Some(error) => error.clone(),
            None => unreachable(why.to_string()),
        };
        match act {
            Act::Plan(wanted) => {
                let plan = client.send::<Plan>("/v1/plans", &wanted).await;
                Acted::Planned(plan.map(Box::new).map_err(refused))
            }
            Act::Run { plan, confirm } => {
                let request = RunRequest { actor: actor(), reason: String::new(), confirm };
                let path = format!("/v1/plans/{plan}/run");
                let begun = client.send::<Operation>(&path, &request).await;
                Acted::Begun(begun.map(Box::new).map_err(refused))
            }
            Act::Cancel(id) => {
                let request = CancelRequest { actor: actor() };
                let path = format!("/v1/operations/{id}/cancel");
                let told = client.send::<Operation>(&path, &request).await;
                Acted::Begun(told.map(Box::new).map_err(refused))
            }
        }
    }
}

impl Hand for ClusterHand {
    fn act(&self, act: Act, known: Vec<Endpoint>) -> Acted {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.ask(act, known)),
            Err(why) => act.failed(unreachable(why.to_string())),
        }
    }
}

impl Source for Cluster {
    fn hand(&self) -> Option<Arc<dyn Hand>> {
        Some(Arc::new(ClusterHand(self.0.clone())))
    }

    fn run(
        self: Box<Self>,
        began: Instant,
        wanted: watch::Receiver<Wanted>,
        tell: SyncSender<Told>,
    ) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run(self.0, began, wanted, tell)),
            Err(why) => {
                let why = format!("nothing can be asked: {why}");
                drop(tell.send(Told::Lost { why, next_at: UptimeMs(u64::MAX) }));
            }
        }
    }
}

/// Follows `endpoints` until nobody listens any more. `began` is when the console's time began.
async fn run(
    endpoints: Vec<Endpoint>,
    began: Instant,
    wanted: watch::Receiver<Wanted>,
    tell: SyncSender<Told>,
) {
    let mut asked = Asked::new(endpoints, wanted, tell);
    // What ends it is that nobody listens.
    drop(follow(&mut asked, began).await);
}

async fn follow(asked: &mut Asked, began: Instant) -> Result<(), Unheard> {
    let mut chance = Chance::seeded(u64::from(std::process::id()));
    // Nodes that told nothing, one after another, and why the first of them did not.
    let (mut silent, mut first) = (0, None);
    let mut failures = 0_u32;
    loop {
        let began_asking = Instant::now();
        match asked.stay().await? {
            Ended::Heard => {
                (silent, failures, first) = (0, 0, None);
                asked.asking = None;
                // One that tells all and goes at once is not asked more often than others.
                sleep(EVERY.saturating_sub(began_asking.elapsed())).await;
            }
            Ended::Nothing(why) => {
                silent += 1;
                first = first.or(Some(why));
            }
        }
        if !asked.order.is_empty() {
            asked.order.rotate_left(1);
        }
        if silent < asked.order.len() {
            continue;
        }
        let most = (AGAIN_MS.0 << failures.min(10)).min(AGAIN_MS.1);
        failures += 1;
        let pause = Duration::from_millis(chance.between(AGAIN_MS.0, most.max(AGAIN_MS.0)));
        let next_at = began.elapsed() + pause;
        let next_at = UptimeMs(u64::try_from(next_at.as_millis()).unwrap_or(u64::MAX));
        asked.tell(Told::Lost { why: first.take().unwrap_or_default(), next_at })?;
        silent = 0;
        // Another wish ends the pause; its end of the wish ends the console.
        if let Ok(Err(_)) = timeout(pause, asked.wanted.changed()).await {
            return Err(Unheard);
        }
    }
}

#[cfg(test)]
mod tests;
