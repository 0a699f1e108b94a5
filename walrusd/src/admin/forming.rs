//! Telling a node that waits which cluster to found or to join: `--await-bootstrap`.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::HostPort;

/// What a waiting node was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// To found a cluster of its own.
    Found,
    /// To join the cluster of the node whose peer port is there.
    Join(HostPort),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Stage {
    /// The node knows by itself what to do.
    #[default]
    NotAwaited,
    /// It waits.
    Awaited,
    /// It goes by this.
    Told(Told),
}

/// Where a node waits to be told, and is told. Clones share it.
#[derive(Debug, Clone)]
pub struct Forming(Arc<watch::Sender<Stage>>);

impl Default for Forming {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::default())))
    }
}

impl Forming {
    /// Waits until the node is told. Cancel safe; who asks again is told the same.
    pub async fn told(&self) -> Told {
        self.0.send_if_modified(|stage| {
            let begins = *stage == Stage::NotAwaited;
            if begins {
                *stage = Stage::Awaited;
            }
            begins
        });
        let mut stages = self.0.subscribe();
        let told = stages.wait_for(|stage| matches!(stage, Stage::Told(_))).await;
        match told.as_deref() {
            Ok(Stage::Told(told)) => told.clone(),
            Ok(_) | Err(_) => unreachable!("the sender lives in self, and only Told is waited for"),
        }
    }

    /// Whether the node waits.
    pub fn is_awaited(&self) -> bool {
        *self.0.borrow() == Stage::Awaited
    }

    /// Whether the node waited, and goes by what it was told.
    pub fn was_told(&self) -> bool {
        matches!(*self.0.borrow(), Stage::Told(_))
    }

    /// Tells the node. False when it does not wait: it knows, or was told before.
    pub(super) fn tell(&self, told: Told) -> bool {
        self.0.send_if_modified(|stage| {
            let waits = *stage == Stage::Awaited;
            if waits {
                *stage = Stage::Told(told);
            }
            waits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_is_told_once_and_only_while_it_waits() {
        let forming = Forming::default();
        assert!(!forming.tell(Told::Found), "nobody waits");
        let waits = tokio::spawn({
            let forming = forming.clone();
            async move { forming.told().await }
        });
        while !forming.is_awaited() {
            tokio::task::yield_now().await;
        }
        let at = "node1:6001".parse().unwrap();
        assert!(!forming.was_told());
        assert!(forming.tell(Told::Join(at)));
        assert!(forming.was_told());
        assert!(!forming.tell(Told::Found), "it was told before");
        assert!(matches!(waits.await.unwrap(), Told::Join(_)));
        assert!(matches!(forming.told().await, Told::Join(_)));
    }
}
