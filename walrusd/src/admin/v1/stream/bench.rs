//! A thread that puts together what watchers are told, while there are any.
//!
//! One thread, always the same: what it allocates it gives back to itself. On the threads that
//! others block, of which there may be hundreds, each would keep some.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use walrus_admin::{ApiError, Code};

/// Work that may wait: what was asked for by watchers that left meanwhile is among it.
const WAITING_MAX: usize = 128;

type Work = Box<dyn FnOnce() + Send>;

/// The thread, if it runs.
#[derive(Debug, Default)]
pub(super) struct Bench(Mutex<Option<SyncSender<Work>>>);

impl Bench {
    /// Has it done there.
    ///
    /// # Errors
    /// There is no thread to be had, or it ended.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (give, made) = oneshot::channel();
        // Whoever asked may have left.
        let work: Work = Box::new(move || drop(give.send(work())));
        let failed = |why: &str| ApiError::new(Code::Internal, why).hint("ask again in a moment");
        self.sender()
            .map_err(|why| failed(&format!("no thread: {why}")))?
            .try_send(work)
            .map_err(|_full_or_ended| failed("too much waits to be put together"))?;
        made.await.map_err(|_ended| {
            // The thread is gone with it.
            self.rest();
            failed("what was put together was broken off")
        })
    }

    fn sender(&self) -> std::io::Result<SyncSender<Work>> {
        let mut running = self.0.lock();
        if let Some(sender) = &*running {
            return Ok(sender.clone());
        }
        let (sender, work) = sync_channel::<Work>(WAITING_MAX);
        let run = move || {
            while let Ok(work) = work.recv() {
                work();
            }
        };
        drop(thread::Builder::new().name("watchers".to_owned()).spawn(run)?);
        *running = Some(sender.clone());
        Ok(sender)
    }

    /// Ends the thread when it has done what waits; the next work starts another.
    pub(super) fn rest(&self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_thread_makes_all_until_it_rests() {
        let bench = Bench::default();
        let first = bench.make(|| thread::current().id()).await.unwrap();
        assert_eq!(bench.make(|| thread::current().id()).await.unwrap(), first);
        assert_ne!(first, thread::current().id());
        bench.rest();
        assert_ne!(bench.make(|| thread::current().id()).await.unwrap(), first);
        // Work that breaks does not leave who comes next without anybody.
        let broken = bench.make(|| -> u32 { panic!("as asked for") }).await;
        assert_eq!(broken.unwrap_err().code, Code::Internal);
        assert_eq!(bench.make(|| 7).await.unwrap(), 7);
    }
}
