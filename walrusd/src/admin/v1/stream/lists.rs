//! Lists that only other nodes know, groups and clients, told at a pace of their own.
//!
//! A coordinator that does not answer must not put off anything else, so a list is asked for by a
//! task beside the stream; and all watchers are told the same for a while, so that many cost the
//! other nodes no more than one.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::Mutex, task::JoinSet};
use walrus_admin::{connection::CLIENTS_PAGE_MAX, group::GROUPS_PAGE_MAX};
use walrus_types::UptimeMs;

use super::{super::clients, bench::Bench, frame::frame};
use crate::{broker::Broker, lag};

/// The least time between two of the same list.
pub(super) const LIST_MS: u64 = 2_000;
/// A list of so short a time ago is told again: what is due at the same time is made once.
const FRESH_MS: u64 = LIST_MS * 3 / 4;

/// A list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Consumer groups, and what they have to read.
    Groups,
    /// Who is connected.
    Clients,
}

impl List {
    /// All of them, in the order of their places.
    pub(super) const ALL: [Self; 2] = [Self::Groups, Self::Clients];

    /// As a subscription calls it.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Groups => "group",
            Self::Clients => "client",
        }
    }

    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

/// The message of each that was made last, and when.
#[derive(Debug, Default)]
pub(super) struct Lists([Mutex<Option<(UptimeMs, Bytes)>>; List::ALL.len()]);

impl Lists {
    /// Nobody watches any more.
    pub(super) fn rest(&self) {
        for kept in &self.0 {
            if let Ok(mut kept) = kept.try_lock() {
                *kept = None;
            }
        }
    }

    async fn told(&self, broker: &Arc<Broker>, bench: &Bench, list: List) -> Option<Bytes> {
        let mut kept = self.0[list.place()].lock().await;
        let fresh = |at: UptimeMs| broker.clock.uptime().since(at) < FRESH_MS;
        if let Some((_, bytes)) = kept.as_ref().filter(|(at, _)| fresh(*at)) {
            return Some(bytes.clone());
        }
        let bytes = match list {
            List::Groups => {
                let told = lag::list(broker, None, GROUPS_PAGE_MAX).await;
                bench.make(move || frame("groups", None, &told)).await
            }
            List::Clients => {
                let told = clients::page(broker, None, None, CLIENTS_PAGE_MAX).await.ok()?;
                bench.make(move || frame("clients", None, &told)).await
            }
        };
        // Who asks again in a moment is answered then.
        let bytes = bytes.ok()?;
        *kept = Some((broker.clock.uptime(), bytes.clone()));
        Some(bytes)
    }
}

/// The lists that one watcher is asking for. Ends with it.
#[derive(Debug, Default)]
pub(super) struct Asking {
    tasks: JoinSet<(List, Option<Bytes>)>,
    under_way: [bool; List::ALL.len()],
}

impl Asking {
    /// Asks, unless it does already.
    pub(super) fn begin(&mut self, list: List, broker: &Arc<Broker>, shared: super::hub::Hub) {
        if !std::mem::replace(&mut self.under_way[list.place()], true) {
            let broker = Arc::clone(broker);
            self.tasks.spawn(async move {
                let (lists, bench) = shared.lists();
                (list, lists.told(&broker, bench, list).await)
            });
        }
    }

    /// The next message that is there; never where nothing is asked for. Cancel safe.
    pub(super) async fn next(&mut self) -> Bytes {
        loop {
            match self.tasks.join_next().await {
                None => std::future::pending().await,
                Some(Ok((list, told))) => {
                    self.under_way[list.place()] = false;
                    if let Some(bytes) = told {
                        return bytes;
                    }
                }
                // It was broken off: the next is asked for at its time.
                Some(Err(_)) => self.under_way = Default::default(),
            }
        }
    }
}
