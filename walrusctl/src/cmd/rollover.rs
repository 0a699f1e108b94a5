//! `walrusctl rollover`: seals open segments at a rate and follows their successors.
//!
//! The partitions are listed once, with the epochs that are to end. Each is asked of the node that
//! leads it, and asked again until its epoch is past, so nodes may come and go meanwhile and
//! nothing is rolled twice for it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinSet;
use walrus_admin::{
    Endpoint, Kind,
    client::{Client, ClientError},
    health::count,
    partition::{
        PAGE_MAX, PartitionList, RolloverAnswer, RolloverOutcome, RolloverRequest, RolloverState,
        RolloverTarget,
    },
};
use walrus_types::NodeId;

use super::addresses;
use crate::{
    cli::{Place, Rollover},
    consent::agreed,
    failure::{Exit, Failure},
    follow::{ASK_AGAIN, Until},
    out::Console,
    pace::Rate,
    progress::Progress,
};

/// Requests under way at once.
const REQUESTS_MAX: usize = 32;
/// How long a request waits for the successors of its partitions.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How often a partition is asked for when it is not followed.
const TRIES_MAX: u32 = 10;

/// A partition that is to be rolled over.
#[derive(Debug, Clone)]
struct Job {
    target: RolloverTarget,
    leader: NodeId,
    tries: u32,
    /// Not before then.
    due: Instant,
    trouble: Option<String>,
}

/// What came of it all.
#[derive(Debug, Default, Serialize)]
struct Summary {
    asked: usize,
    rolled: usize,
    /// Begun, and not followed to the end.
    begun: usize,
    /// Deleted meanwhile.
    gone: usize,
    failed: Vec<Trouble>,
    took_ms: u64,
}

impl Kind for Summary {
    const KIND: &'static str = "RolloverSummary";
}

/// A partition that could not be rolled over.
#[derive(Debug, Serialize)]
struct Trouble {
    topic: String,
    partition: i32,
    why: String,
}

/// Rolls over what was named.
///
/// # Errors
/// Nothing was named that is there, or not all of it could be done.
pub(super) async fn run(
    wanted: Rollover,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let jobs = select(client, &wanted).await?;
    tell(console, &jobs, wanted.rate);
    if wanted.consent.dry_run || jobs.is_empty() {
        return console
            .show(&Summary { asked: jobs.len(), ..Summary::default() }, |_| String::new());
    }
    agreed(console, wanted.consent.yes, "Go on?")?;
    let begun = Instant::now();
    let asked = jobs.len();
    let known = addresses(client).await?.into_iter().collect();
    let wait = wanted.follow.wait.then(|| Until::after(wanted.follow.timeout));
    let mut rolling = Rolling {
        client,
        console,
        known,
        wait,
        ready: jobs.into(),
        again: VecDeque::new(),
        under_way: JoinSet::new(),
        summary: Summary { asked, ..Summary::default() },
    };
    let in_time = rolling.run(wanted.rate).await;
    let trouble = rolling.again.iter().find_map(|job| job.trouble.clone());
    let mut summary = rolling.summary;
    summary.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    console.show(&summary, text)?;
    let open = asked - summary.rolled - summary.begun - summary.gone - summary.failed.len();
    if !in_time {
        let what = format!("not done after {:?}", wanted.follow.timeout);
        let trouble = trouble.map_or_else(String::new, |why| format!("; {why}"));
        let why = format!("{} not rolled over{trouble}", count(open, "partition"));
        return Err(Failure::new(Exit::Running, what, why).next("the same command again"));
    }
    match summary.failed.first() {
        None => Ok(()),
        Some(Trouble { topic, partition, why }) => {
            let what = format!("{} not rolled over", count(summary.failed.len(), "partition"));
            Err(Failure::new(Exit::Failed, what, format!("{topic}/{partition}: {why}"))
                .next("walrusctl cluster health, then the same command again"))
        }
    }
}

/// Lists what was named.
async fn select(client: &Client, wanted: &Rollover) -> Result<Vec<Job>, Failure> {
    let mut found: BTreeMap<(String, i32), Job> = BTreeMap::new();
    if wanted.partitions.is_empty() {
        let only = wanted.node.map_or_else(String::new, |node| format!("&leader={}", node.0));
        found.extend(pages(client, &only, |_| true).await?);
    }
    for Place { topic, partition } in &wanted.partitions {
        let fits = |index: i32| partition.is_none_or(|wanted| wanted == index);
        let listed = pages(client, &format!("&topic={topic}"), fits).await?;
        if let Some(partition) = partition.filter(|_| listed.is_empty()) {
            let what = format!("{topic}/{partition}");
            return Err(Failure::new(Exit::NotFound, what, "the topic has no such partition"));
        }
        found.extend(listed);
    }
    Ok(found.into_values().collect())
}

async fn pages(
    client: &Client,
    only: &str,
    fits: impl Fn(i32) -> bool,
) -> Result<Vec<((String, i32), Job)>, Failure> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/partitions?limit={PAGE_MAX}{only}{after}");
        let page: PartitionList = client.get(&path).await?;
        let fitting = page.items.into_iter().filter(|one| fits(one.partition.0));
        found.extend(fitting.map(|one| {
            let place = (one.topic.clone(), one.partition.0);
            let target =
                RolloverTarget { topic: one.topic, partition: one.partition, epoch: one.epoch };
            let (leader, due) = (one.leader, Instant::now());
            (place, Job { target, leader, tries: 0, due, trouble: None })
        }));
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(found),
        }
    }
}

fn tell(console: &Console, jobs: &[Job], rate: Rate) {
    let mut leaders: BTreeMap<NodeId, usize> = BTreeMap::new();
    for job in jobs {
        *leaders.entry(job.leader).or_default() += 1;
    }
    let led: Vec<String> =
        leaders.iter().map(|(node, number)| format!("{node} leads {number}")).collect();
    let led = if led.is_empty() { String::new() } else { format!(" ({})", led.join(", ")) };
    let what = count(jobs.len(), "partition");
    console.note(format_args!("rolls over {what}{led} in about {:?}", rate.takes(jobs.len())));
}

fn text(summary: &Summary) -> String {
    let Summary { asked, rolled, begun, gone, failed, took_ms } = summary;
    let mut text = format!("rolled over {rolled} of {}", count(*asked, "partition"));
    for (number, what) in [
        (*begun, "begun, not followed (--wait does)"),
        (*gone, "deleted meanwhile"),
        (failed.len(), "failed"),
    ] {
        if number > 0 {
            text += &format!(", {number} {what}");
        }
    }
    text + &format!(" in {}.{:03} s\n", took_ms / 1000, took_ms % 1000)
}

/// What a request came to, and for which partitions it was.
type Asked = (Vec<Job>, Result<RolloverAnswer, ClientError>);

/// A rollover under way.
struct Rolling<'a> {
    client: &'a Client,
    console: &'a Console,
    known: BTreeMap<NodeId, Endpoint>,
    /// Until when each is followed to its end; without, it is begun.
    wait: Option<Until>,
    /// Those that were not asked for yet: they keep to the rate.
    ready: VecDeque<Job>,
    /// Those that are asked for again.
    again: VecDeque<Job>,
    under_way: JoinSet<Asked>,
    summary: Summary,
}

impl Rolling<'_> {
    /// Runs until all have come to an end; false when the time was up before.
    async fn run(&mut self, rate: Rate) -> bool {
        let (at_once, pause) = rate.steps();
        let mut steps = tokio::time::interval(pause);
        let mut look = tokio::time::interval(ASK_AGAIN);
        let total = u64::try_from(self.summary.asked).unwrap_or(u64::MAX);
        let mut progress = Progress::new(self.console, "rolled over", total);
        while !(self.ready.is_empty() && self.again.is_empty() && self.under_way.is_empty()) {
            if self.wait.is_some_and(Until::is_past) {
                return false;
            }
            let has_room = self.under_way.len() < REQUESTS_MAX;
            tokio::select! {
                Some(asked) = self.under_way.join_next() => match asked {
                    Ok(asked) => self.answered(asked),
                    Err(why) => std::panic::resume_unwind(why.into_panic()),
                },
                _ = steps.tick(), if has_room && !self.ready.is_empty() => {
                    let number = at_once.min(self.ready.len());
                    let some = self.ready.drain(..number).collect();
                    self.ask(some);
                }
                _ = look.tick(), if has_room => self.ask_again(),
            }
            let Summary { rolled, begun, gone, failed, .. } = &self.summary;
            let done = rolled + begun + gone + failed.len();
            progress.at(u64::try_from(done).unwrap_or(u64::MAX), "");
            let left = self.summary.asked - done;
            self.console.goes_on(format!("{} not rolled over", count(left, "partition")));
        }
        true
    }

    fn ask_again(&mut self) {
        let now = Instant::now();
        let all = std::mem::take(&mut self.again).into_iter();
        let (due, later): (Vec<Job>, Vec<Job>) = all.partition(|job| job.due <= now);
        self.again = later.into();
        for some in due.chunks(PAGE_MAX) {
            self.ask(some.to_vec());
        }
    }

    /// Asks each leader for its own.
    fn ask(&mut self, jobs: Vec<Job>) {
        let mut by_leader: BTreeMap<NodeId, Vec<Job>> = BTreeMap::new();
        for job in jobs {
            by_leader.entry(job.leader).or_default().push(job);
        }
        let wait = self.wait.map_or(Duration::ZERO, |_| ANSWER_WAIT);
        for (leader, jobs) in by_leader {
            // Any node tells who leads by now; the leader it was may be gone.
            let is_first = jobs.iter().all(|job| job.trouble.is_none());
            let at = self.known.get(&leader).cloned().filter(|_| is_first);
            let client = self.client.clone();
            let request = RolloverRequest {
                partitions: jobs.iter().map(|job| job.target.clone()).collect(),
                wait_ms: u64::try_from(wait.as_millis()).expect("seconds"),
            };
            self.under_way.spawn(async move {
                let answer = match at {
                    Some(at) => client.send_at(&at, "/v1/rollover", &request).await,
                    None => client.send("/v1/rollover", &request).await,
                };
                (jobs, answer)
            });
        }
    }

    fn answered(&mut self, (jobs, answer): Asked) {
        match answer {
            Ok(answer) => {
                for (job, outcome) in jobs.into_iter().zip(answer.items) {
                    self.settle(job, outcome);
                }
            }
            Err(why) => {
                for job in jobs {
                    self.troubled(job, why.to_string());
                }
            }
        }
    }

    fn settle(&mut self, mut job: Job, outcome: RolloverOutcome) {
        match outcome.state {
            RolloverState::Rolled => self.summary.rolled += 1,
            RolloverState::NotFound => self.summary.gone += 1,
            RolloverState::UnderWay if self.wait.is_none() => self.summary.begun += 1,
            RolloverState::UnderWay => {
                job.due = Instant::now() + ASK_AGAIN;
                self.again.push_back(job);
            }
            RolloverState::NotLeader => {
                let led_by = outcome.ask;
                let why = outcome.message.unwrap_or_else(|| "another node leads it".into());
                if let Some(led_by) = led_by {
                    if let Some(at) = self.client.address(led_by.node, &led_by.admin) {
                        self.known.insert(led_by.node, at);
                    }
                    if led_by.node != job.leader || job.trouble.is_some() {
                        // The next to be asked is that one, at once.
                        (job.leader, job.trouble) = (led_by.node, None);
                        job.tries += 1;
                        return self.retry(job, why, Duration::ZERO);
                    }
                }
                self.troubled(job, why);
            }
            RolloverState::Failed => {
                let why = outcome.message.unwrap_or_else(|| "the node does not say why".into());
                self.troubled(job, why);
            }
        }
    }

    fn troubled(&mut self, mut job: Job, why: String) {
        job.trouble = Some(why.clone());
        job.tries += 1;
        self.retry(job, why, ASK_AGAIN);
    }

    /// Asks again later; gives up what is not followed and failed often.
    fn retry(&mut self, mut job: Job, why: String, pause: Duration) {
        if self.wait.is_none() && job.tries >= TRIES_MAX {
            let RolloverTarget { topic, partition, .. } = job.target;
            return self.summary.failed.push(Trouble { topic, partition: partition.0, why });
        }
        job.due = Instant::now() + pause;
        self.again.push_back(job);
    }
}
