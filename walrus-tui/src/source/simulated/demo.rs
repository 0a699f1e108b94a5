//! A made-up cluster as a source: a second of it every second, and operators change it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout_at};
use walrus_types::UptimeMs;

use super::{STEP_MS, Simulated};
use crate::{
    app::doing::{Act, Acted},
    source::{Hand, Source, Told, Wanted},
};

/// A made-up cluster that goes on by itself.
#[derive(Debug, Clone)]
pub struct Demo(Arc<Mutex<Simulated>>);

impl Demo {
    /// Of one.
    #[must_use]
    pub fn of(simulated: Simulated) -> Self {
        Self(Arc::new(Mutex::new(simulated)))
    }

    fn made(&self) -> MutexGuard<'_, Simulated> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hand for Demo {
    fn act(&self, act: Act, _known: Vec<walrus_admin::Endpoint>) -> Acted {
        self.made().act(&act)
    }
}

impl Source for Demo {
    fn hand(&self) -> Option<Arc<dyn Hand>> {
        Some(Arc::new(self.clone()))
    }

    fn run(self: Box<Self>, _: Instant, wanted: watch::Receiver<Wanted>, tell: SyncSender<Told>) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(seconds(&self, wanted, &tell)),
            Err(why) => {
                let why = format!("nothing can be made up: {why}");
                drop(tell.send(Told::Lost { why, next_at: UptimeMs(u64::MAX) }));
            }
        }
    }
}

/// Tells a second after the other, and what else is wanted as soon as it is.
async fn seconds(demo: &Demo, mut wanted: watch::Receiver<Wanted>, tell: &SyncSender<Told>) {
    let mut next = tokio::time::Instant::now();
    loop {
        let is_due = tokio::time::Instant::now() >= next;
        if is_due {
            demo.made().step();
            next += Duration::from_millis(STEP_MS);
            if tell.send(Told::Snapshot(demo.made().shared())).is_err() {
                return;
            }
        }
        let wish = wanted.borrow_and_update().clone();
        if let Some(also) = &wish.also
            && tell.send(demo.made().tell(also)).is_err()
        {
            return;
        }
        // Another wish ends the pause; its end of the wish ends the console.
        if let Ok(Err(_)) = timeout_at(next, wanted.changed()).await {
            return;
        }
    }
}
