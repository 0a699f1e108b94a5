//! A made-up cluster as a source: a second of it every second.

use std::{
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout_at};
use walrus_types::UptimeMs;

use super::{STEP_MS, Simulated};
use crate::source::{Source, Told, Wanted};

impl Source for Simulated {
    fn run(self: Box<Self>, _: Instant, wanted: watch::Receiver<Wanted>, tell: SyncSender<Told>) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(seconds(*self, wanted, &tell)),
            Err(why) => {
                let why = format!("nothing can be made up: {why}");
                drop(tell.send(Told::Lost { why, next_at: UptimeMs(u64::MAX) }));
            }
        }
    }
}

/// Tells a second after the other, and what else is wanted as soon as it is.
async fn seconds(
    mut simulated: Simulated,
    mut wanted: watch::Receiver<Wanted>,
    tell: &SyncSender<Told>,
) {
    let mut next = tokio::time::Instant::now();
    loop {
        let is_due = tokio::time::Instant::now() >= next;
        if is_due {
            simulated.step();
            next += Duration::from_millis(STEP_MS);
            if tell.send(Told::Snapshot(simulated.shared())).is_err() {
                return;
            }
        }
        let wish = wanted.borrow_and_update().clone();
        if let Some(also) = &wish.also
            && tell.send(simulated.tell(also)).is_err()
        {
            return;
        }
        // Another wish ends the pause; its end of the wish ends the console.
        if let Ok(Err(_)) = timeout_at(next, wanted.changed()).await {
            return;
        }
    }
}
