//! The node's ports for clients and for other nodes, taken before anything is opened, so that one
//! that is not free costs nothing; and what others are told about all three.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;
use tracing::warn;
use walrus_metadata::{Address, Addresses};
use walrus_raft::RaftPeer;

use crate::{
    config::{Config, HostPort, Source},
    net::listener,
};

/// Peers that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why a port was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// What the system says, with the address in its words.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The port of other nodes.
    #[error(
        "cannot listen for other nodes on {at}: {error}\n  \
         next: give --raft-host and --raft-port an address of this machine that is free"
    )]
    Peers {
        /// Where.
        at: HostPort,
        /// What the system says.
        error: io::Error,
    },
}

/// The ports of clients and of other nodes.
#[derive(Debug)]
pub struct Doors {
    /// Where clients come in.
    pub clients: ClientDoor,
    /// Where other nodes come in, or why they cannot.
    pub peers: Result<TcpListener, DoorError>,
}

impl Doors {
    /// Takes the ports.
    ///
    /// # Errors
    /// One that is needed cannot be had. A node that was told nothing of others and nothing of
    /// this port does without the latter.
    pub async fn open(config: &Config) -> Result<Self, DoorError> {
        let clients = listener::bind(resolve(&config.client.listen()).await?)?;
        let address = clients.local_addr()?;
        // A node that waits for others would keep clients waiting that could ask another node.
        let listener = (!config.cluster.expects_others()).then_some(clients);
        let at = config.raft.listen();
        let bound = resolve(&at).await.and_then(|address| listener::listen(address, BACKLOG));
        let peers = bound.map_err(|error| DoorError::Peers { at, error });
        let is_chosen = *config.source("raft.port") != Source::Default;
        match peers {
            Err(why) if config.cluster.expects_others() || is_chosen => return Err(why),
            Err(ref why) => warn!(%why, "no other node can join this one"),
            Ok(_) => warn_of_hosts(config),
        }
        Ok(Self { clients: ClientDoor { listener, address }, peers })
    }

    /// How the metadata group reaches this node.
    pub fn peer(&self, config: &Config) -> RaftPeer {
        let HostPort { host, port } = config.raft.advertised();
        let port = self
            .peers
            .as_ref()
            .ok()
            .and_then(|door| door.local_addr().ok())
            .map_or(port, |at| at.port());
        RaftPeer { node: config.node.id, host: host.as_str().to_owned(), port }
    }

    /// What the cluster is told: where clients, nodes and operators find this one. A wildcard
    /// means something to this machine only, so it is told by the name that nodes know.
    pub fn told(&self, config: &Config, admin: SocketAddr) -> Addresses {
        let RaftPeer { host, port, .. } = self.peer(config);
        let named = |at: HostPort, port: u16| {
            let host = if at.host.is_wildcard() { host.clone() } else { at.host.as_str().into() };
            Address { host, port }
        };
        let client = match &config.client.advertise {
            Some(at) => named(at.clone(), at.port),
            None => named(config.client.listen(), self.clients.address.port()),
        };
        let admin = named(config.admin.listen(), admin.port());
        Addresses { client, peer: Address { host, port }, admin }
    }
}

/// The client port.
#[derive(Debug)]
pub struct ClientDoor {
    listener: Option<TcpListener>,
    address: SocketAddr,
}

impl ClientDoor {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients come in.
    ///
    /// # Errors
    /// Another process took the port meanwhile.
    pub fn open(self) -> io::Result<TcpListener> {
        self.listener.map_or_else(|| listener::bind(self.address), Ok)
    }
}

/// Says who else may come in, and who cannot.
fn warn_of_hosts(config: &Config) {
    let at = config.raft.listen();
    if !at.host.is_loopback() {
        warn!(%at, "the peer port is open to other machines and not protected");
    }
    if config.raft.advertised().host.is_wildcard() {
        warn!(%at, "other nodes cannot find this one: --raft-advertise-host tells them where it is");
    }
}

async fn resolve(at: &HostPort) -> io::Result<SocketAddr> {
    let looked_up = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
    let mut found = looked_up.map_err(|error| {
        io::Error::new(error.kind(), format!("{at} cannot be looked up: {error}"))
    })?;
    found
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{at} has no address")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Flags;

    fn config(flags: Flags) -> Config {
        let port = |given: Option<String>| given.or(Some("0".into()));
        let flags = Flags { client_port: port(flags.client_port.clone()), ..flags };
        Config::load(&flags, &BTreeMap::new()).unwrap()
    }

    #[tokio::test]
    async fn a_wildcard_is_told_by_the_name_that_other_nodes_know() {
        let given = Flags {
            raft_port: Some("0".into()),
            client_host: Some("0.0.0.0".into()),
            admin_host: Some("::".into()),
            raft_advertise_host: Some("node7".into()),
            ..Flags::default()
        };
        let doors = Doors::open(&config(given.clone())).await.unwrap();
        let told = doors.told(&config(given.clone()), "[::]:7".parse().unwrap());
        let shown = |at: &Address| format!("{}:{}", at.host, at.port);
        let peer = doors.peers.as_ref().unwrap().local_addr().unwrap().port();
        let client = doors.clients.address().port();
        assert_eq!(shown(&told.client), format!("node7:{client}"));
        assert_eq!(shown(&told.peer), format!("node7:{peer}"));
        assert_eq!(shown(&told.admin), "node7:7");
        let given = Flags { client_advertise: Some("kafka:9".into()), ..given };
        let told = doors.told(&config(given), "127.0.0.1:7".parse().unwrap());
        assert_eq!(shown(&told.client), "kafka:9");
    }

    #[tokio::test]
    async fn a_peer_port_that_is_taken_is_an_error_only_where_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut alone = config(Flags::default());
        alone.raft.port = port;
        let doors = Doors::open(&alone).await.unwrap();
        let why = doors.peers.unwrap_err().to_string();
        assert!(why.contains(&port.to_string()) && why.contains("\n  next: "), "{why}");
        let chosen = config(Flags { raft_port: Some(port.to_string()), ..Flags::default() });
        assert!(matches!(Doors::open(&chosen).await, Err(DoorError::Peers { .. })));
        alone.cluster.join = Some("127.0.0.1:1".parse().unwrap());
        assert!(matches!(Doors::open(&alone).await, Err(DoorError::Peers { .. })));
    }

    #[tokio::test]
    async fn clients_of_a_node_that_waits_for_others_are_not_kept_waiting() {
        let mut config = config(Flags { raft_port: Some("0".into()), ..Flags::default() });
        config.cluster.join = Some("127.0.0.1:1".parse().unwrap());
        let doors = Doors::open(&config).await.unwrap();
        let at = doors.clients.address();
        assert!(tokio::net::TcpStream::connect(at).await.is_err());
        let _open = doors.clients.open().unwrap();
        assert!(tokio::net::TcpStream::connect(at).await.is_ok());
    }
}
