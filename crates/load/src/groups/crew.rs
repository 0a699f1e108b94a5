//! Members of groups, each going its own way, and what became of their heartbeats.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use super::link::Finder;
use super::member::{Beat, Member};
use super::{Reasons, count};
use crate::pace::nanos;

/// Members that join at once: nobody starts thousands of clients in one instant. A coordinator may
/// keep each of them for seconds, for more of its group to come.
const JOINING_MAX: usize = 900;
/// Until all groups have all their members.
const SETTLED_MAX: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What became of one member.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    pub(super) generation: i32,
    /// Members of the generation, if it leads it.
    pub(super) led: Option<usize>,
    /// Times that it joined.
    pub(super) joined: u64,
    /// Heartbeats that kept the session.
    pub(super) kept: u64,
    /// When each of them was sent and answered, in µs; only where that is asked for.
    pub(super) kept_us: Vec<(u64, u64)>,
    pub(super) missed: Reasons,
}

/// How the members live.
#[derive(Debug, Clone)]
pub(super) struct Ways {
    pub(super) bootstrap: String,
    pub(super) groups: Vec<String>,
    pub(super) members: usize,
    pub(super) every: Duration,
    pub(super) session_timeout_ms: i32,
    /// Keep the instants of all heartbeats.
    pub(super) instants: bool,
}

/// All members; they end when this is dropped, and say no goodbye.
pub(super) struct Crew {
    lives: Arc<Vec<Mutex<Life>>>,
    members: usize,
    tasks: JoinSet<Result<()>>,
}

fn lock(life: &Mutex<Life>) -> MutexGuard<'_, Life> {
    life.lock().expect("nothing panics with a life in hand")
}

impl Crew {
    pub(super) fn start(ways: &Ways, start: Instant) -> Self {
        let all = ways.groups.len() * ways.members;
        let lives: Vec<_> = (0..all).map(|_| Mutex::default()).collect();
        let lives = Arc::new(lives);
        let joining = Arc::new(Semaphore::new(JOINING_MAX));
        let mut tasks = JoinSet::new();
        for number in 0..all {
            let group = &ways.groups[number / ways.members];
            let finder = Finder::new(&ways.bootstrap, number);
            let mut member = Member::new(finder, group, ways.session_timeout_ms);
            let (lives, joining, ways) = (Arc::clone(&lives), Arc::clone(&joining), ways.clone());
            // Evenly over the interval, whatever instants they came in at.
            let phase = ways.every * u32::try_from(number).unwrap_or(0)
                / u32::try_from(all).unwrap_or(u32::MAX);
            tasks.spawn(async move {
                let turn = joining.acquire().await;
                join(&mut member, &lives[number]).await?;
                drop(turn);
                live(&mut member, &lives[number], &ways, start, phase).await
            });
        }
        Self { lives, members: ways.members, tasks }
    }

    /// Waits until every group is in one generation that has all its members.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + SETTLED_MAX;
        loop {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
                bail!("a member ended");
            }
            let lives = self.lives();
            let settled = lives.chunks(self.members).filter(|group| is_settled(group)).count();
            if settled * self.members == lives.len() {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{settled} groups of {} are settled", lives.len() / self.members);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// As they are now.
    pub(super) fn lives(&self) -> Vec<Life> {
        self.lives.iter().map(|life| lock(life).clone()).collect()
    }
}

fn is_settled(group: &[Life]) -> bool {
    let generation = group[0].generation;
    generation > 0
        && group.iter().all(|life| life.generation == generation)
        && group.iter().any(|life| life.led == Some(group.len()))
}

async fn join(member: &mut Member, life: &Mutex<Life>) -> Result<()> {
    member.join().await?;
    let mut life = lock(life);
    life.joined += 1;
    (life.generation, life.led) = (member.generation, member.led);
    Ok(())
}

async fn live(
    member: &mut Member,
    life: &Mutex<Life>,
    ways: &Ways,
    start: Instant,
    phase: Duration,
) -> Result<()> {
    let since = nanos(start.elapsed()) % nanos(ways.every);
    let wait = (nanos(phase) + nanos(ways.every) - since) % nanos(ways.every);
    let first = tokio::time::Instant::now() + Duration::from_nanos(wait);
    let mut ticks = interval_at(first, ways.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sent_us = nanos(start.elapsed()) / 1000;
        let heard = member.beat().await;
        let now_us = nanos(start.elapsed()) / 1000;
        match heard {
            Beat::Kept => {
                let mut life = lock(life);
                life.kept += 1;
                if ways.instants {
                    life.kept_us.push((sent_us, now_us));
                }
            }
            Beat::Missed(why) => count(&mut lock(life).missed, why),
            Beat::Rejoin(why) => {
                count(&mut lock(life).missed, why);
                join(member, life).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_settled_when_all_are_in_one_generation_that_counts_them() {
        let life = |generation, led| Life { generation, led, ..Life::default() };
        let cases = [
            ([life(2, Some(3)), life(2, None), life(2, None)], true),
            ([life(2, Some(2)), life(2, None), life(2, None)], false),
            ([life(2, Some(3)), life(1, None), life(2, None)], false),
            ([life(0, None), life(0, None), life(0, None)], false),
        ];
        for (group, settled) in cases {
            assert_eq!(is_settled(&group), settled, "{group:?}");
        }
    }
}
