//! What is put together once for all watchers: looks at the cluster, and messages.
//!
//! A look is taken when somebody wants one and the last is too old. Messages of a look are kept
//! until the next, so that watchers who know the same version and want the same are told by the
//! same bytes. All of it is made on one thread: watchers cost a node one at most.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use walrus_admin::{ApiError, event::EVENTS_PAGE_MAX};
use walrus_types::UptimeMs;

use super::{
    super::{
        events,
        snapshot::{Known, Look},
    },
    asked::Only,
    bench::Bench,
    frame::frame,
    lists::Lists,
};
use crate::{admin::routes::Sources, broker::Broker, vitals};

/// Streams that may be open at once.
pub(super) const WATCHERS_MAX: usize = 64;
/// Messages of one look that are kept.
const FRAMES_MAX: usize = 16;
/// A look of so short a time ago is not taken again.
const LOOK_FRESH_MS: u64 = 200;

/// What watchers share.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    room: Arc<Semaphore>,
    kept: Mutex<Kept>,
    bench: Bench,
    lists: Lists,
}

#[derive(Debug, Default)]
struct Kept {
    look: Option<(Arc<Look>, UptimeMs)>,
    frames: VecDeque<(Key, Bytes)>,
}

/// What a message is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The cluster at a version, since another; all of vitals or in short.
    Snapshot(u64, Option<u64>, bool),
    /// What nodes say, by the time of the look; all of it or in short.
    Vitals(UptimeMs, bool),
    /// Events after a version up to another, and whether it is the last message of that version.
    Events(u64, u64, bool),
}

type Key = (What, String);

impl Default for Hub {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(WATCHERS_MAX));
        Self(Arc::new(Shared {
            room,
            kept: Mutex::default(),
            bench: Bench::default(),
            lists: Lists::default(),
        }))
    }
}

impl Hub {
    /// A place for one more watcher.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.room).try_acquire_owned().ok()
    }

    /// A place was given back. When it was the last, nothing is kept for nobody.
    pub(super) fn leave(&self, place: OwnedSemaphorePermit) {
        drop(place);
        if self.0.room.available_permits() == WATCHERS_MAX {
            self.0.bench.rest();
            self.0.lists.rest();
            if let Ok(mut kept) = self.0.kept.try_lock() {
                *kept = Kept::default();
            }
        }
    }

    /// What is made of lists, and where.
    pub(super) fn lists(&self) -> (&Lists, &Bench) {
        (&self.0.lists, &self.0.bench)
    }

    /// The cluster now, as all see it who ask within a moment.
    pub(super) async fn look(
        &self,
        sources: &Sources,
        broker: &Arc<Broker>,
    ) -> Result<Arc<Look>, ApiError> {
        let mut kept = self.0.kept.lock().await;
        let now = broker.clock.uptime();
        if let Some((look, _)) = kept.look.as_ref().filter(|(_, at)| now.since(*at) < LOOK_FRESH_MS)
        {
            return Ok(Arc::clone(look));
        }
        vitals::gather(broker).await;
        // What is told of a version goes with the events up to it.
        let told = broker.events.watch().borrow().clone();
        let metadata = told.unwrap_or_else(|| broker.metadata());
        let (looking, by) = (sources.clone(), Arc::clone(broker));
        let look = self.0.bench.make(move || Look::take(&looking, &by, metadata)).await?;
        let look = Arc::new(look);
        kept.frames.clear();
        kept.look = Some((Arc::clone(&look), broker.clock.uptime()));
        Ok(look)
    }

    /// The whole of a look or what changed since `known`, of what is wanted, all of vitals
    /// or in short.
    pub(super) async fn snapshot(
        &self,
        broker: &Arc<Broker>,
        look: &Arc<Look>,
        known: Option<Known>,
        (only, in_full): (&Only, bool),
    ) -> Result<Bytes, ApiError> {
        let version = look.version();
        let since = known.as_ref().map(|known| known.version);
        let key = (What::Snapshot(version, since, in_full), only.key());
        let (look, only) = (Arc::clone(look), only.clone());
        let broker = Arc::clone(broker);
        self.made(key, move || {
            let mut snapshot = look.snapshot(&broker, known.as_ref());
            only.of(&mut snapshot);
            // Who is told all of the cluster has nothing to keep of before.
            if !in_full && snapshot.since.is_some() {
                snapshot = snapshot.in_short();
            }
            frame("snapshot", Some(version), &snapshot)
        })
        .await
    }

    /// What nodes say of themselves, all of it or in short.
    pub(super) async fn vitals(
        &self,
        broker: &Arc<Broker>,
        look: &Arc<Look>,
        (only, in_full): (&Only, bool),
    ) -> Result<Bytes, ApiError> {
        let (by, of, only_of) = (Arc::clone(broker), Arc::clone(look), only.clone());
        self.made((What::Vitals(look.at, in_full), only.key()), move || {
            let mut list = of.vitals(&by);
            only_of.of_vitals(&mut list);
            if !in_full {
                list = list.in_short();
            }
            frame("vitals", None, &list)
        })
        .await
    }

    /// Events after a version: the message, if there are any, and up to where they go.
    /// `names` is whether it may tell the reader that it has all up to there.
    pub(super) async fn events(
        &self,
        broker: &Arc<Broker>,
        after: u64,
        names: bool,
        only: &Only,
    ) -> Result<(Option<Bytes>, u64), ApiError> {
        let page = broker.events.page(Some(after), EVENTS_PAGE_MAX);
        let through = page.through;
        if !page.truncated && !page.events.iter().any(|event| only.wants(event)) {
            return Ok((None, through));
        }
        let (by, only_of) = (Arc::clone(broker), only.clone());
        let made = self.made((What::Events(after, through, names), only.key()), move || {
            let list = events::page(&by, page, |event| only_of.wants(event));
            frame("events", names.then_some(through), &list)
        });
        Ok((Some(made.await?), through))
    }

    async fn made(
        &self,
        key: Key,
        make: impl FnOnce() -> Bytes + Send + 'static,
    ) -> Result<Bytes, ApiError> {
        let mut kept = self.0.kept.lock().await;
        if let Some((_, frame)) = kept.frames.iter().find(|(of, _)| *of == key) {
            return Ok(frame.clone());
        }
        let frame = self.0.bench.make(make).await?;
        if kept.frames.len() == FRAMES_MAX {
            kept.frames.pop_front();
        }
        kept.frames.push_back((key, frame.clone()));
        Ok(frame)
    }
}
