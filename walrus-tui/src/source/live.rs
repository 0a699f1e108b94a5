//! A cluster, asked once a second.
//!
//! One task asks whoever answered last, then the others: those of the command line and those that
//! the cluster itself named. A question that nobody answers is asked again after a while that
//! grows, with chance in it; whoever presses a key for news is answered at once. Nothing is lost by
//! a slow console: the newest answer is the only one that matters.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use tokio::{sync::watch, time::timeout};
use walrus_admin::{
    Endpoint, Kind,
    client::{Client, ClientError, actor},
    escape,
    operation::{CancelRequest, Operation},
    plan::{Plan, RunRequest},
    snapshot::Snapshot,
};
use walrus_types::{UptimeMs, chance::Chance};

use super::{Also, CHAIN_LINKS, Source, Told, Wanted};
use crate::{
    app::{
        acting::Hand,
        doing::{Act, Acted, unreachable},
    },
    model::PartitionName,
};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// A node that answers no sooner is asked no more.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The first pause after a question that nobody answered, and the longest.
const AGAIN_MS: (u64, u64) = (250, 4_000);
/// Addresses that are tried, beside those of the command line.
const LEARNED_MAX: usize = 32;

/// Whom to ask.
#[derive(Debug)]
struct Asked {
    client: Client,
    /// Whoever answered last comes first.
    order: Vec<Endpoint>,
    /// The cluster as it was told last.
    known: Option<Arc<Snapshot>>,
}

impl Asked {
    fn new(given: Vec<Endpoint>) -> Self {
        Self { client: Client::new(given.clone(), ANSWER_MAX), order: given, known: None }
    }

    /// The cluster as the first one shows it that answers.
    async fn snapshot(&mut self) -> Result<Arc<Snapshot>, String> {
        let mut first = None;
        for at in 0..self.order.len() {
            match self.ask_at(at).await {
                // What nodes registered for each other may be somebody else's here.
                Ok(snapshot) if self.is_strange(at, &snapshot) => {}
                Ok(snapshot) => {
                    self.order[..=at].rotate_right(1);
                    self.learn(&snapshot);
                    let snapshot = Arc::new(snapshot);
                    self.known = Some(Arc::clone(&snapshot));
                    return Ok(snapshot);
                }
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.as_ref().map_or_else(|| "there is nobody to ask".into(), ClientError::to_string))
    }

    /// Asks one of them for what changed, or for all where nothing is known that this goes with.
    async fn ask_at(&self, at: usize) -> Result<Snapshot, ClientError> {
        const ALL: &str = "/v1/snapshot";
        if let Some(known) = &self.known {
            let path = format!("{ALL}?since={}", known.metadata_version);
            let changed: Snapshot = self.client.get_at(&self.order[at], &path).await?;
            if let Some(all) = changed.onto(known) {
                return Ok(all);
            }
        }
        self.client.get_at(&self.order[at], ALL).await
    }

    /// Whether that is another cluster, at an address that nobody gave us.
    fn is_strange(&self, at: usize, snapshot: &Snapshot) -> bool {
        let is_other = self.known.as_ref().is_some_and(|known| known.cluster != snapshot.cluster);
        is_other && !self.client.endpoints().contains(&self.order[at])
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

    /// Something more, of whoever answered last.
    async fn more<T: Kind + DeserializeOwned>(&self, path: &str) -> Result<Arc<T>, String> {
        let Some(at) = self.order.first() else { return Err("there is nobody to ask".to_owned()) };
        self.client.get_at(at, path).await.map(Arc::new).map_err(|why| why.to_string())
    }

    async fn also(&self, also: Also) -> Told {
        match also {
            Also::Chain(name) => {
                let PartitionName { topic, partition } = &name;
                let path = format!(
                    "/v1/topics/{topic}/partitions/{partition}/segments?limit={CHAIN_LINKS}"
                );
                let chain = self.more(&path).await;
                Told::Chain { name, chain }
            }
            Also::Groups => Told::Groups(self.more("/v1/groups").await),
            Also::Group(name) => {
                let group = self.more(&format!("/v1/groups/{}", escape(&name))).await;
                Told::Group { name, group }
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
            Err(why) => Acted::Planned(Err(unreachable(why.to_string()))),
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

/// Asks `endpoints` until nobody listens any more. `began` is when the console's time began.
async fn run(
    endpoints: Vec<Endpoint>,
    began: Instant,
    mut wanted: watch::Receiver<Wanted>,
    tell: SyncSender<Told>,
) {
    let mut asked = Asked::new(endpoints);
    let mut chance = Chance::seeded(u64::from(std::process::id()));
    let mut failures = 0_u32;
    loop {
        let wish = wanted.borrow_and_update().clone();
        let began_asking = Instant::now();
        let pause = match ask(&mut asked, &wish, &tell).await {
            Ok(true) => {
                failures = 0;
                EVERY.saturating_sub(began_asking.elapsed())
            }
            Ok(false) => return,
            Err(why) => {
                let most = (AGAIN_MS.0 << failures.min(10)).min(AGAIN_MS.1);
                failures += 1;
                let pause = Duration::from_millis(chance.between(AGAIN_MS.0, most.max(AGAIN_MS.0)));
                let next_at = began.elapsed() + pause;
                let next_at = UptimeMs(u64::try_from(next_at.as_millis()).unwrap_or(u64::MAX));
                if tell.send(Told::Lost { why, next_at }).is_err() {
                    return;
                }
                pause
            }
        };
        // Another wish ends the pause; its end of the wish ends the console.
        if let Ok(Err(_)) = timeout(pause, wanted.changed()).await {
            return;
        }
    }
}

/// Asks for what is wanted; false when nobody listens any more.
async fn ask(asked: &mut Asked, wanted: &Wanted, tell: &SyncSender<Told>) -> Result<bool, String> {
    let snapshot = asked.snapshot().await?;
    if tell.send(Told::Snapshot(snapshot)).is_err() {
        return Ok(false);
    }
    let Some(also) = wanted.also.clone() else { return Ok(true) };
    Ok(tell.send(asked.also(also).await).is_ok())
}
