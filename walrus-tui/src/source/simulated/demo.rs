//! A made-up cluster as a source: a second of it every second.

use std::{
    sync::mpsc::SyncSender,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{STEP_MS, Simulated};
use crate::source::{Source, Told, Wanted};

impl Source for Simulated {
    fn run(
        mut self: Box<Self>,
        _: Instant,
        wanted: watch::Receiver<Wanted>,
        tell: SyncSender<Told>,
    ) {
        let mut next = Instant::now();
        let mut asked = Wanted::default();
        loop {
            let wish = wanted.borrow().clone();
            let is_due = Instant::now() >= next;
            if is_due {
                self.step();
                next += Duration::from_millis(STEP_MS);
            }
            if is_due && tell.send(Told::Snapshot(self.shared())).is_err() {
                return;
            }
            if let Some(also) = wish.also.as_ref().filter(|_| is_due || wish != asked)
                && tell.send(self.tell(also)).is_err()
            {
                return;
            }
            asked = wish;
            thread::sleep(Duration::from_millis(20));
        }
    }
}
