//! The end of the process: signals, and the tasks that must have ended before it.
//!
//! The first SIGTERM or SIGINT asks the node to drain; a second one ends the process at once.
//! Every long-lived task runs in [`Tasks`], so that none outlives the node and none dies unseen.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::AbortHandle,
};

/// What the process exits with after a second signal.
pub const EXIT_AT_ONCE: i32 = 130;

/// A task that is broken off is gone once it waits for something, which all of them do soon.
const BROKEN_OFF_MAX: Duration = Duration::from_secs(2);

/// SIGTERM and SIGINT, from now on ours.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// What the system says.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and names it. Cancel safe: a signal that came is not lost.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// From now on the next signal ends the process at once.
    pub fn exit_on_next(mut self) {
        tokio::spawn(async move {
            let signal = self.next().await;
            tracing::warn!(signal, "a second signal: stopping at once, without a clean end");
            std::process::exit(EXIT_AT_ONCE);
        });
    }
}

/// The tasks of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Tasks(Arc<Scope>);

#[derive(Debug)]
struct Scope {
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, Running>>,
    /// How many run, for whoever waits for none.
    count: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
    panicked: watch::Sender<Option<&'static str>>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    /// `None` between the entry and the start of the task.
    abort: Option<AbortHandle>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self(Arc::new(Scope {
            next: AtomicU64::new(0),
            running: Mutex::default(),
            count: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            panicked: watch::Sender::new(None),
        }))
    }
}

impl Tasks {
    /// Starts a task. It should end soon after [`Stopping::requested`]; a panic is told to
    /// whoever waits in [`Tasks::panicked`].
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.0.next.fetch_add(1, Relaxed);
        self.0.running.lock().insert(id, Running { name, abort: None });
        self.0.count.send_modify(|count| *count += 1);
        // Made before the task runs and dropped with it, however it ends.
        let entry = Entry { tasks: self.clone(), id, name };
        let handle = tokio::spawn(async move {
            let _entry = entry;
            task.await;
        });
        // The task may have ended already, and then its entry is gone.
        if let Some(running) = self.0.running.lock().get_mut(&id) {
            running.abort = Some(handle.abort_handle());
        }
    }

    /// For a task, to hear that it should end.
    pub fn stopping(&self) -> Stopping {
        Stopping(self.0.stopping.subscribe())
    }

    /// Waits until a task panics, and names it.
    pub async fn panicked(&self) -> &'static str {
        let mut changes = self.0.panicked.subscribe();
        let name = changes.wait_for(Option::is_some).await;
        name.ok().and_then(|name| *name).expect("the sender lives in self")
    }

    /// Asks every task to end and waits for that, `within` at most. Returns the names of those
    /// that had to be broken off: they are gone by then, with the ports and files that they held,
    /// unless one of them blocks its thread.
    pub async fn stop(&self, within: Duration) -> Vec<&'static str> {
        self.0.stopping.send_replace(true);
        let mut count = self.0.count.subscribe();
        let mut all_gone = async |within: Duration| {
            tokio::time::timeout(within, count.wait_for(|count| *count == 0)).await.is_ok()
        };
        if all_gone(within).await {
            return Vec::new();
        }
        let late = std::mem::take(&mut *self.0.running.lock());
        for running in late.values() {
            if let Some(abort) = &running.abort {
                abort.abort();
            }
        }
        if !all_gone(BROKEN_OFF_MAX).await {
            tracing::warn!("a task that was broken off goes on");
        }
        late.values().map(|running| running.name).collect()
    }
}

/// A task's place among the running ones.
struct Entry {
    tasks: Tasks,
    id: u64,
    name: &'static str,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let scope = &self.tasks.0;
        if std::thread::panicking() {
            scope.panicked.send_replace(Some(self.name));
        }
        scope.running.lock().remove(&self.id);
        scope.count.send_modify(|count| *count -= 1);
    }
}

/// Tells a task that it should end.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits until the task should end. Cancel safe.
    pub async fn requested(&mut self) {
        // An error means that the scope is gone, which is a reason to end as well.
        drop(self.0.wait_for(|stopping| *stopping).await);
    }

    /// Whether it should end.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_stop_waits_for_tasks_that_end_and_names_those_that_do_not() {
        let tasks = Tasks::default();
        for name in ["a", "b"] {
            let mut stopping = tasks.stopping();
            tasks.spawn(name, async move {
                stopping.requested().await;
                tokio::task::yield_now().await;
            });
        }
        tasks.spawn("at once", async {});
        assert_eq!(tasks.stop(Duration::from_secs(60)).await, Vec::<&str>::new());
        tasks.spawn("deaf", std::future::pending());
        assert_eq!(tasks.stop(Duration::ZERO).await, ["deaf"]);
        assert_eq!(tasks.stop(Duration::from_secs(60)).await, Vec::<&str>::new());
    }

    /// The next life of a node takes the same ports right after.
    #[tokio::test]
    async fn what_a_task_held_that_is_broken_off_is_free_when_that_is_said() {
        let tasks = Tasks::default();
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = door.local_addr().unwrap();
        tasks.spawn("accepts", async move { while door.accept().await.is_ok() {} });
        tokio::task::yield_now().await;
        assert_eq!(tasks.stop(Duration::ZERO).await, ["accepts"]);
        drop(TcpListener::bind(at).await.unwrap());
    }

    #[tokio::test]
    async fn a_task_that_panics_is_heard_of_by_name() {
        let tasks = Tasks::default();
        tasks.spawn("fine", async {});
        tasks.spawn("broken", async { panic!("as the test wants it") });
        assert_eq!(tasks.panicked().await, "broken");
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, Vec::<&str>::new());
    }
}
