//! Accepts clients, within the limits on connections in all and per address.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// After the process ran out of descriptors, accepting waits this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Listens on `address`, which may have been another process's a moment ago.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// Opens the client port.
///
/// # Errors
/// What the system says, with the address in the text.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listen(address, BACKLOG).map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen for clients on {address}: {error}\n  next: give --client-host and --client-port an address of this machine that is free"))
    })
}

/// How many connections there are, by address.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// At most `connections_max` in all and `per_address_max` from one address.
    pub fn new(connections_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, per_address_max, open: Mutex::default() })
    }

    /// A place for one more, or which limit stands against it.
    ///
    /// # Errors
    /// The limit, in words.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, String> {
        let mut open = self.open.lock();
        if open.total >= self.connections_max {
            return Err(format!("{} connections are open, the limit", open.total));
        }
        let from_here = open.by_address.entry(address).or_default();
        if *from_here >= self.per_address_max {
            return Err(format!("{from_here} connections from {address} are open, the limit"));
        }
        *from_here += 1;
        open.total += 1;
        Ok(Admitted { admission: Arc::clone(self), address })
    }

    /// Connections that are open now.
    pub fn count(&self) -> usize {
        self.open.lock().total
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.total -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// The next client that is within the limits. One that is not is closed at once.
pub async fn accept(
    listener: &TcpListener,
    admission: &Arc<Admission>,
    metrics: &Metrics,
) -> (TcpStream, SocketAddr, Admitted) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match admission.admit(peer.ip()) {
                Ok(admitted) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%peer, %error, "the client went before it was served");
                        continue;
                    }
                    return (stream, peer, admitted);
                }
                Err(limit) => {
                    metrics.connection_refused();
                    warn!(%peer, %limit, "client refused");
                }
            },
            Err(error) => {
                warn!(%error, "accepting a client failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_when_its_connection_ends() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let admission = Admission::new(3, 2);
        let first = admission.admit(here).unwrap();
        let _second = admission.admit(here).unwrap();
        assert!(admission.admit(here).unwrap_err().contains("127.0.0.1"));
        let _third = admission.admit(there).unwrap();
        assert!(admission.admit(there).is_err(), "three are open in all");
        drop(first);
        assert!(admission.admit(here).is_ok());
        assert_eq!(admission.count(), 2);
    }
}
