//! Whether the node lives, and whether it serves.
//!
//! ```text
//! starting --> ready --> draining
//!     \          |          /
//!      +-----> failed <----+        final: a node that failed stops
//! ```

use std::sync::Arc;

use tokio::sync::watch;

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not serving yet, and what it is doing.
    Starting(String),
    /// Serving.
    Ready,
    /// No longer taking requests, finishing those it has.
    Draining,
    /// Stopped serving for good, and why: a failed flush, a lost task.
    Failed(String),
}

impl State {
    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting(_) => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Failed(_) => "failed",
        }
    }

    /// A sentence for whoever wonders why the node does not serve.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Starting(what) => Some(format!("starting: {what}")),
            Self::Ready => None,
            Self::Draining => Some("draining: the node was asked to stop".into()),
            Self::Failed(why) => Some(format!("failed: {why}")),
        }
    }
}

/// The one place that knows where the node stands. Clones share it.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<State>>);

impl Health {
    /// A node that begins with `what`.
    pub fn new(what: &str) -> Self {
        Self(Arc::new(watch::Sender::new(State::Starting(what.into()))))
    }

    /// It goes on with `what`. Nothing once it is ready.
    pub fn starting(&self, what: &str) {
        self.step(|state| matches!(state, State::Starting(_)), State::Starting(what.into()));
    }

    /// It serves. Nothing once it drains or failed.
    pub fn ready(&self) {
        self.step(|state| matches!(state, State::Starting(_)), State::Ready);
    }

    /// It was asked to stop.
    pub fn drain(&self) {
        self.step(|state| !matches!(state, State::Failed(_)), State::Draining);
    }

    /// It cannot go on. The first reason stands.
    pub fn fail(&self, why: impl Into<String>) {
        self.step(|state| !matches!(state, State::Failed(_)), State::Failed(why.into()));
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.0.borrow().clone()
    }

    /// Waits until it fails, and says why.
    pub async fn failed(&self) -> String {
        let mut changes = self.0.subscribe();
        let failed = changes.wait_for(|state| matches!(state, State::Failed(_))).await;
        match failed.as_deref() {
            Ok(State::Failed(why)) => why.clone(),
            Ok(_) | Err(_) => {
                unreachable!("the sender lives in self, and only Failed is waited for")
            }
        }
    }

    fn step(&self, from: impl Fn(&State) -> bool, to: State) {
        self.0.send_if_modified(|state| {
            let goes = from(state) && *state != to;
            if goes {
                *state = to;
            }
            goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(steps: &str, expected: &str) {
        let health = Health::new("disk");
        for step in steps.split(", ").filter(|step| !step.is_empty()) {
            match step {
                "ready" => health.ready(),
                "drain" => health.drain(),
                "log" => health.starting("log"),
                why => health.fail(why),
            }
        }
        let state = health.state();
        let shown = state.reason().unwrap_or_else(|| state.name().into());
        assert!(shown.starts_with(expected), "{steps}: {shown}");
    }

    #[test]
    fn a_node_never_comes_back_from_draining_or_from_a_failure() {
        check("", "starting: disk");
        check("log", "starting: log");
        check("ready", "ready");
        check("ready, log", "ready");
        check("drain, ready", "draining");
        check("ready, drain, log", "draining");
        check("torn, drain, ready, worn", "failed: torn");
        check("ready, drain, torn", "failed: torn");
    }

    #[tokio::test]
    async fn whoever_waits_for_the_failure_hears_of_it() {
        let health = Health::new("disk");
        let waits = tokio::spawn({
            let health = health.clone();
            async move { health.failed().await }
        });
        health.ready();
        health.fail("torn");
        assert_eq!(waits.await.unwrap(), "torn");
        assert_eq!(health.failed().await, "torn");
    }
}
