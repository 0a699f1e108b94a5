//! Opens the admin port and serves it until the node has stopped.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
};

use tokio::{sync::watch, task::JoinHandle};

use super::{
    Forming, Health,
    listener::Bounded,
    routes::{self, Sources},
};
use crate::{
    broker::Broker,
    config::{AdminConfig, HostPort},
    metrics::{Facts, Metrics},
    net::listener,
    shutdown::Tasks,
};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Why the admin port did not open.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for operators on {at}: {error}\n  \
     next: give --admin-host and --admin-port an address of this machine that is free"
)]
pub struct AdminError {
    at: HostPort,
    error: io::Error,
}

/// The admin port, open.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    facts: Arc<OnceLock<Arc<dyn Facts>>>,
    broker: Arc<OnceLock<Weak<Broker>>>,
    forming: Forming,
    stop: watch::Sender<bool>,
    served: JoinHandle<io::Result<()>>,
}

impl std::fmt::Debug for dyn Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Facts")
    }
}

impl AdminServer {
    /// Opens the port and answers from now on. With `hooks` tests may do harm to these tasks.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn start(
        config: &AdminConfig,
        health: Health,
        metrics: Metrics,
        hooks: Option<Tasks>,
    ) -> Result<Self, AdminError> {
        let at = config.listen();
        if !config.host.is_loopback() {
            tracing::warn!(%at, "the admin port is open to other machines and not protected");
        }
        // The first address that the host has.
        let bound = at.resolve().and_then(|address| listener::listen(address, BACKLOG));
        let listener = bound.map_err(|error| AdminError { at: at.clone(), error })?;
        let address = listener.local_addr().map_err(|error| AdminError { at, error })?;
        let (facts, broker, forming) = (Arc::default(), Arc::default(), Forming::default());
        let sources = Sources {
            health,
            metrics,
            facts: Arc::clone(&facts),
            broker: Arc::clone(&broker),
            forming: forming.clone(),
            hub: super::v1::Hub::default(),
            address,
        };
        let router = routes::router(sources, hooks);
        let stop = watch::Sender::new(false);
        let mut stopping = stop.subscribe();
        let served =
            axum::serve(Bounded::new(listener), router).with_graceful_shutdown(async move {
                // An error means that the server was dropped, which is a reason to stop as well.
                drop(stopping.wait_for(|stop| *stop).await);
            });
        let served = tokio::spawn(async move { served.await });
        Ok(Self { address, facts, broker, forming, stop, served })
    }

    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `/metrics` tells these facts too. The first ones stand.
    pub fn plug(&self, facts: Arc<dyn Facts>) {
        drop(self.facts.set(facts));
    }

    /// From now on `/v1` answers for this broker, for as long as there is one. The first stands.
    pub fn serve(&self, broker: &Arc<Broker>) {
        drop(self.broker.set(Arc::downgrade(broker)));
    }

    /// Where a node that is in no cluster waits until an operator tells it what to form.
    pub fn forming(&self) -> Forming {
        self.forming.clone()
    }

    /// Closes the port; answers that are under way are sent, but not waited for beyond `within`.
    pub async fn stop(self, within: std::time::Duration) {
        self.stop.send_replace(true);
        let abort = self.served.abort_handle();
        match tokio::time::timeout(within, self.served).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the admin port failed"),
            Ok(Err(error)) => tracing::warn!(%error, "the admin port's task failed"),
            Err(_) => abort.abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;
    use crate::metrics::NodeFacts;

    /// Code and body of an answer.
    async fn get(at: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.into())
    }

    #[tokio::test]
    async fn health_and_readiness_follow_the_node_from_its_start_to_its_failure() {
        let health = Health::new("reading the log");
        let config = AdminConfig { port: 0, ..AdminConfig::default() };
        let admin = AdminServer::start(&config, health.clone(), Metrics::default(), None).unwrap();
        let at = admin.address();
        let check = async |healthz: u16, readyz: u16, says: &str| {
            let (code, body) = get(at, "/healthz").await;
            assert_eq!(code, healthz, "{body}");
            let (code, body) = get(at, "/readyz").await;
            assert_eq!(code, readyz, "{body}");
            assert!(body.contains(says), "{says}: {body}");
        };
        check(200, 503, "starting: reading the log").await;
        health.ready();
        check(200, 200, "\"ready\"").await;
        health.drain();
        check(200, 503, "draining").await;
        health.fail("the flush of group 7 failed");
        check(503, 503, "failed: the flush of group 7 failed").await;
        assert_eq!(get(at, "/test/fail").await.0, 404);
        admin.stop(Duration::from_secs(60)).await;
        assert!(TcpStream::connect(at).await.is_err(), "the port is closed");
    }

    #[tokio::test]
    async fn facts_are_told_from_the_moment_they_are_plugged_in() {
        let health = Health::new("reading the log");
        let config = AdminConfig { port: 0, ..AdminConfig::default() };
        let admin = AdminServer::start(&config, health, Metrics::default(), None).unwrap();
        assert!(!get(admin.address(), "/metrics").await.1.contains("walrus_topics"));
        admin.plug(Arc::new(|| NodeFacts { topics: Some(5), ..NodeFacts::default() }));
        assert!(get(admin.address(), "/metrics").await.1.contains("\nwalrus_topics 5\n"));
        admin.stop(Duration::from_secs(60)).await;
    }
}
