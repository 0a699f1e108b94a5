//! Opens the admin port and serves it until the node has stopped.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    Health,
    listener::Bounded,
    routes::{self, Sources},
};
use crate::{
    config::{AdminConfig, HostPort},
    metrics::{Facts, Metrics},
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
        let listener = bind(&at).map_err(|error| AdminError { at: at.clone(), error })?;
        let address = listener.local_addr().map_err(|error| AdminError { at, error })?;
        let facts = Arc::new(OnceLock::new());
        let router = routes::router(Sources { health, metrics, facts: Arc::clone(&facts) }, hooks);
        let stop = watch::Sender::new(false);
        let mut stopping = stop.subscribe();
        let served =
            axum::serve(Bounded::new(listener), router).with_graceful_shutdown(async move {
                // An error means that the server was dropped, which is a reason to stop as well.
                drop(stopping.wait_for(|stop| *stop).await);
            });
        let served = tokio::spawn(async move { served.await });
        Ok(Self { address, facts, stop, served })
    }

    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `/metrics` tells these facts too. The first ones stand.
    pub fn plug(&self, facts: Arc<dyn Facts>) {
        drop(self.facts.set(facts));
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

/// Takes the first address that the host has.
fn bind(at: &HostPort) -> io::Result<TcpListener> {
    let address = at.resolve()?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
