//! `GET /v1/stream`: what changes, as server-sent events.
//!
//! A stream begins with a whole snapshot, or with what changed since the version that the reader
//! has from this node or another (`Last-Event-ID` or `?after=`), if this one remembers that time.
//! Then come, each under its name:
//!
//! | name | document | when |
//! |---|---|---|
//! | `events` | `EventList` | something changed: what came after the last of them |
//! | `snapshot` | `Snapshot` with `since` | something changed: what `GET /v1/snapshot?since=` tells |
//! | `vitals` | `VitalsList` | each `every_ms`, unless a snapshot has just told it; what is long of them each 5 s |
//! | `groups`, `clients` | `GroupList`, `ClientList` | where `kinds` names them, each 2 s or `every_ms` |
//!
//! The `id` of a message is the version of the metadata of which the reader has everything then. It
//! is with the last message of a version only: who comes back with it, here or at another node, may
//! be told events twice and misses none.
//!
//! A watcher is a body that the connection pulls from when its socket has room. There is no queue:
//! whoever reads slowly is told the newest when it has read, and what was between is skipped (never
//! events, which the node keeps). Of a reader that does not read at all the connection ends by
//! itself. Read next: `pace.rs` for when, `hub.rs` for what is shared, `asked.rs` for parameters.

mod asked;
mod bench;
mod frame;
mod hub;
mod lists;
mod pace;

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    body::Body,
    extract::State as Extract,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{FutureExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::sleep,
};
use walrus_admin::{ApiError, Code, cluster::Group};
use walrus_metadata::Metadata;
use walrus_types::UptimeMs;

pub(in crate::admin) use self::hub::Hub;
use self::{
    asked::Asked,
    frame::{GREETING, heartbeat},
    lists::Asking,
    pace::{Due, Pace},
};
use super::{
    answer::{Live, Refused},
    snapshot::Look,
};
use crate::{admin::routes::Sources, broker::Broker};

/// What changed is told with what changes right after it.
const SETTLE: Duration = Duration::from_millis(50);
/// A reader who knows more than this node, from another, waits so long until the node knows that
/// too. Then it is told how things stand here, which is as new as this node can be.
const BEHIND_MAX_MS: u64 = 2_000;

pub(super) async fn stream(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let asked = Asked::read(&uri, &headers)?;
    let place = sources.hub.enter().ok_or_else(|| {
        let why = format!("{} streams are open, which is all that there may be", hub::WATCHERS_MAX);
        ApiError::new(Code::Unavailable, why).hint("ask another node, or close one")
    })?;
    let watcher = Watcher::new(sources, &broker, asked, place);
    let body = stream::unfold(watcher, |mut watcher| async move {
        let bytes = watcher.next().await?;
        Some((Ok::<_, Infallible>(bytes), watcher))
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// What is told next, of what is due.
#[derive(Debug)]
enum Stage {
    /// Hello.
    Greeting,
    /// Nothing is due.
    Idle,
    /// Events alone.
    Events,
    /// The events up to a look, and then its snapshot: with that the reader has all up to there.
    Snapshot(Arc<Look>),
}

/// One stream.
struct Watcher {
    sources: Sources,
    /// One whose reader has stopped must not keep a node that ends.
    broker: Weak<Broker>,
    asked: Asked,
    pace: Pace,
    stage: Stage,
    /// The newest version of which all changes are known.
    told: watch::Receiver<Option<Arc<Metadata>>>,
    /// What the last snapshot was of. Whether that is remembered does not depend on who reads: a
    /// view that is held holds all that was replaced since.
    known: Option<u64>,
    group: Option<Group>,
    /// Up to which version events were told.
    events_after: u64,
    /// Of which version a delta was told last.
    delta_of: Option<u64>,
    /// Until when this node may come to know what the reader does.
    behind_until: UptimeMs,
    /// Lists that are being asked for.
    lists: Asking,
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.sources.hub.leave(place);
        }
    }
}

impl Watcher {
    fn new(
        sources: Sources,
        broker: &Arc<Broker>,
        asked: Asked,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let told = broker.events.watch();
        let newest = told.borrow().as_ref().map_or(0, |view| view.applied());
        Self {
            pace: Pace::new(&asked, broker.clock.uptime()),
            stage: Stage::Greeting,
            // Of a version that is still to come nothing was told here.
            events_after: asked.after.map_or(newest, |after| after.min(newest)),
            delta_of: None,
            behind_until: UptimeMs(broker.clock.uptime().0 + BEHIND_MAX_MS),
            group: None,
            lists: Asking::default(),
            known: asked.after,
            told,
            sources,
            broker: Arc::downgrade(broker),
            asked,
            place: Some(place),
        }
    }

    /// The next bytes; `None` when the node stops, or cannot say any more how things stand.
    async fn next(&mut self) -> Option<Bytes> {
        let broker = self.broker.upgrade()?;
        loop {
            if broker.is_draining() {
                return None;
            }
            let told = match std::mem::replace(&mut self.stage, Stage::Idle) {
                Stage::Greeting => return Some(Bytes::from_static(GREETING)),
                Stage::Idle => self.idle(&broker).await,
                Stage::Events => self.events(&broker).await,
                Stage::Snapshot(look) => self.snapshot(&broker, look).await,
            };
            match told {
                Ok(Some(bytes)) => return Some(bytes),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a stream of the admin port ends");
                    return None;
                }
            }
        }
    }

    /// Waits until something is due.
    async fn idle(&mut self, broker: &Arc<Broker>) -> Result<Option<Bytes>, ApiError> {
        // However much is due: a list that has come is told.
        if let Some(list) = self.lists.next().now_or_never() {
            return Ok(Some(list));
        }
        let Asked { snapshots, events, .. } = self.asked;
        let now = broker.clock.uptime();
        let newest = self.told.borrow_and_update().as_ref().map(|view| view.applied());
        if newest < self.asked.after && now < self.behind_until {
            tokio::select! {
                () = sleep(Duration::from_millis(self.behind_until.since(now))) => {}
                _ = self.told.changed() => {}
                () = broker.draining() => {}
            }
            return Ok(None);
        }
        let is_new = (snapshots || events) && newest.is_some() && newest != self.delta_of;
        let due = self.pace.due(now, is_new);
        match due {
            Due::Delta if snapshots => self.stage = Stage::Snapshot(self.look(broker).await?),
            Due::Delta => self.stage = Stage::Events,
            Due::Vitals => return self.vitals(broker).await,
            Due::List(list) => {
                self.pace.told(due, now);
                self.lists.begin(list, broker, self.sources.hub.clone());
            }
            Due::Heartbeat => {
                self.pace.told(due, now);
                let id = Some(self.events_after).filter(|_| events && !snapshots);
                return Ok(Some(heartbeat(id)));
            }
            Due::Nothing(ms) => {
                tokio::select! {
                    () = sleep(Duration::from_millis(ms)) => {}
                    list = self.lists.next() => return Ok(Some(list)),
                    _ = self.told.changed() => sleep(SETTLE).await,
                    () = broker.draining() => {}
                }
            }
        }
        Ok(None)
    }

    async fn look(&self, broker: &Arc<Broker>) -> Result<Arc<Look>, ApiError> {
        self.sources.hub.look(&self.sources, broker).await
    }

    /// A page of events, and more of them next if there are.
    async fn events(&mut self, broker: &Arc<Broker>) -> Result<Option<Bytes>, ApiError> {
        let newest = self.told.borrow_and_update().as_ref().map_or(0, |view| view.applied());
        if self.events_after >= newest {
            self.delta_of = Some(newest);
            self.pace.told(Due::Delta, broker.clock.uptime());
            return Ok(None);
        }
        self.stage = Stage::Events;
        let (told, through) =
            self.sources.hub.events(broker, self.events_after, true, &self.asked.only).await?;
        self.events_after = through;
        Ok(told)
    }

    async fn snapshot(
        &mut self,
        broker: &Arc<Broker>,
        look: Arc<Look>,
    ) -> Result<Option<Bytes>, ApiError> {
        let (hub, only) = (&self.sources.hub, &self.asked.only);
        if self.asked.events && self.events_after < look.version() {
            let (told, through) = hub.events(broker, self.events_after, false, only).await?;
            self.events_after = through;
            self.stage = Stage::Snapshot(look);
            return Ok(told);
        }
        let known = self.known.and_then(|version| look.known(broker, version));
        let now = broker.clock.uptime();
        let in_full = known.is_none() || self.pace.tells_all(now);
        let frame = hub.snapshot(broker, &look, known, (only, in_full)).await?;
        if in_full {
            self.pace.told_all(now);
        }
        broker.events.views.told(&look.metadata);
        self.pace.told(Due::Delta, broker.clock.uptime());
        self.delta_of = Some(look.version());
        self.group = Some(look.group.clone());
        self.known = Some(look.version());
        Ok(Some(frame))
    }

    async fn vitals(&mut self, broker: &Arc<Broker>) -> Result<Option<Bytes>, ApiError> {
        let look = self.look(broker).await?;
        // Who leads the metadata group is in no version of it, nor is how far an operation is.
        let is_new = self.group.as_ref() != Some(&look.group) || look.has_operations();
        if self.asked.snapshots && is_new {
            self.stage = Stage::Snapshot(look);
            return Ok(None);
        }
        let now = broker.clock.uptime();
        let in_full = self.pace.tells_all(now);
        if in_full {
            self.pace.told_all(now);
        }
        self.pace.told(Due::Vitals, now);
        self.sources.hub.vitals(broker, &look, (&self.asked.only, in_full)).await.map(Some)
    }
}
