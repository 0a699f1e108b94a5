//! The tasks behind the members: none outlives the node, none dies unseen.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tracing::error;

/// Jobs that read or write this disk at the same time.
const TURNS: usize = 8;
/// Segments that are copied from other nodes at the same time.
const PULLS: usize = 4;

/// Tasks that can be started from any thread, the WAL's too.
#[derive(Debug)]
pub(super) struct Jobs {
    runtime: Handle,
    turns: Arc<Semaphore>,
    pulls: Arc<Semaphore>,
    /// `None` once they were stopped.
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl Jobs {
    /// None yet; they will run in the runtime of now.
    pub(super) fn start() -> Self {
        Self {
            runtime: Handle::current(),
            turns: Arc::new(Semaphore::new(TURNS)),
            pulls: Arc::new(Semaphore::new(PULLS)),
            tasks: Mutex::new(Some(JoinSet::new())),
        }
    }

    /// Starts a task. Never waits.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        let Some(tasks) = tasks.as_mut() else { return };
        while let Some(ended) = tasks.try_join_next() {
            if let Err(why) = ended {
                error!(%why, "a task of this node's replicas failed");
            }
        }
        tasks.spawn_on(task, &self.runtime);
    }

    /// A turn at this disk. Given up when it is dropped.
    pub(super) async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        turn.expect("nobody closes the semaphore")
    }

    /// A turn at copying from other nodes.
    pub(super) async fn pull_turn(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.pulls).acquire_owned().await;
        turn.expect("nobody closes the semaphore")
    }

    /// Ends all of them; none begins after that.
    pub(super) async fn stop(&self) {
        let tasks = self.tasks.lock().take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}

/// Runs what may wait for a disk on a thread for it.
///
/// # Errors
/// When the runtime is shutting down, or it panicked.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|why| why.to_string())
}
