//! Sections `client`, `raft` and `admin`: where the node listens, whom it lets in, and how much.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

use walrus_types::limits::{BATCH_BYTES_MAX, FRAME_BYTES_MAX};

use super::{
    kafka::KafkaKind,
    setting::{Conflict, Section, Setting, bytes, maybe, millis, parsed, whole},
};

const HOST: &str = "a host name or an IP address without a port, like 127.0.0.1, ::1 or node1";
const HOST_PORT: &str = "host:port, like 10.0.0.5:9091, node1:9091 or [::1]:9091";

/// A host name or address. IPv6 addresses stand without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every address of the machine, and so tells a client nothing.
    pub fn is_wildcard(&self) -> bool {
        self.0.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    }

    /// Whether only this machine reaches it. A name is judged by what it is called.
    pub fn is_loopback(&self) -> bool {
        self.0 == "localhost" || self.0.parse::<IpAddr>().is_ok_and(|at| at.is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no host, or no host with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host or host:port")]
pub struct NotAnAddress;

impl FromStr for Host {
    type Err = NotAnAddress;

    fn from_str(given: &str) -> Result<Self, NotAnAddress> {
        let label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_name = !given.is_empty() && given.len() <= 253 && given.chars().all(label);
        if is_name || given.parse::<IpAddr>().is_ok() {
            Ok(Self(given.into()))
        } else {
            Err(NotAnAddress)
        }
    }
}

/// A host with a port that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Who.
    pub host: Host,
    /// 1 ..= 65535; 0 only where the system is to choose one.
    pub port: u16,
}

impl HostPort {
    /// The first address that the host has. Asks the system's resolver, so it may block.
    ///
    /// # Errors
    /// The host has none, or the resolver failed.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        found
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.0.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for HostPort {
    type Err = NotAnAddress;

    fn from_str(given: &str) -> Result<Self, NotAnAddress> {
        let (host, port) = given.rsplit_once(':').ok_or(NotAnAddress)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(NotAnAddress);
        }
        let host: Host = bare.unwrap_or(host).parse()?;
        let port = port.parse().ok().filter(|port| *port != 0 && !given.contains('+'));
        Ok(Self { host, port: port.ok_or(NotAnAddress)? })
    }
}

/// `client`: the port of Kafka clients and of the text protocol.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Address that is bound.
    pub host: Host,
    /// Port that is bound; 0 lets the system choose, which the start-up text tells.
    pub port: u16,
    /// What Metadata tells clients; `None`: the address each client reached.
    pub advertise: Option<HostPort>,
    /// Connections at once.
    pub connections_max: u32,
    /// Connections at once from one address.
    pub connections_per_ip_max: u32,
    /// A connection on which nothing was asked for this long is closed.
    pub idle_ms: u64,
    /// The largest Kafka request.
    pub request_bytes_max: u32,
    /// The largest frame of the text protocol.
    pub text_frame_bytes_max: u32,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            host: Host("127.0.0.1".into()),
            port: 9091,
            advertise: None,
            connections_max: 10_000,
            connections_per_ip_max: 10_000,
            idle_ms: 600_000,
            request_bytes_max: u32::try_from(FRAME_BYTES_MAX).expect("100 MiB fits 32 bits"),
            text_frame_bytes_max: 4 << 20,
        }
    }
}

impl ClientConfig {
    /// Where to bind.
    pub fn listen(&self) -> HostPort {
        HostPort { host: self.host.clone(), port: self.port }
    }

    /// The one address that Metadata tells every client, where there is one.
    pub fn advertised(&self) -> Option<HostPort> {
        let own = || (!self.host.is_wildcard()).then(|| self.listen());
        self.advertise.clone().or_else(own)
    }
}

impl Section for ClientConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self {
            host,
            port,
            advertise,
            connections_max,
            connections_per_ip_max,
            idle_ms,
            request_bytes_max,
            text_frame_bytes_max,
        } = self;
        let frame_max = u32::try_from(FRAME_BYTES_MAX).expect("100 MiB fits 32 bits");
        let text_max = u32::try_from(BATCH_BYTES_MAX).expect("a batch limit fits 32 bits");
        vec![
            Setting::new(
                "client.host",
                "Address for Kafka clients and the text protocol",
                parsed(host, HOST),
            )
            .flag("--client-host"),
            Setting::new(
                "client.port",
                "Port for them; 0 lets the system choose",
                whole(port, 0..=u16::MAX),
            )
            .flag("--client-port"),
            Setting::new(
                "client.advertise",
                "What Metadata tells clients to connect to; \
                unset: client.host, and where that is a wildcard the address each client reached",
                maybe(advertise, HOST_PORT),
            )
            .flag("--client-advertise"),
            Setting::new(
                "client.connections-max",
                "Connections at once",
                whole(connections_max, 1..=1_000_000),
            )
            .kafka("max.connections", KafkaKind::Int),
            Setting::new(
                "client.connections-per-ip-max",
                "Connections at once from one address",
                whole(connections_per_ip_max, 1..=1_000_000),
            )
            .kafka("max.connections.per.ip", KafkaKind::Int),
            Setting::new(
                "client.idle-ms",
                "A connection that asks nothing for this long is closed",
                millis(idle_ms, 1000..=86_400_000),
            )
            .kafka("connections.max.idle.ms", KafkaKind::Long),
            Setting::new(
                "client.request-bytes-max",
                "The largest Kafka request",
                bytes(request_bytes_max, 4096..=frame_max),
            )
            .kafka("socket.request.max.bytes", KafkaKind::Int),
            Setting::new(
                "client.text-frame-bytes-max",
                "The largest frame of the text protocol",
                bytes(text_frame_bytes_max, 1024..=text_max),
            ),
        ]
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let wildcard = self.advertise.as_ref().filter(|at| at.host.is_wildcard());
        let refuse = |at: &HostPort| Conflict {
            key: "client.advertise",
            why: format!(
                "must name an address that clients can connect to, and {} is none",
                at.host
            ),
        };
        wildcard.map(refuse).into_iter().collect()
    }
}

/// `raft`: the port of the other nodes, for Raft and replication.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// Address that is bound.
    pub host: Host,
    /// Port that is bound.
    pub port: u16,
    /// What other nodes are told; `None`: `host`.
    pub advertise_host: Option<Host>,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self { host: Host("127.0.0.1".into()), port: 6001, advertise_host: None }
    }
}

impl RaftConfig {
    /// Where to bind.
    pub fn listen(&self) -> HostPort {
        HostPort { host: self.host.clone(), port: self.port }
    }

    /// What other nodes are told.
    pub fn advertised(&self) -> HostPort {
        let host = self.advertise_host.as_ref().unwrap_or(&self.host).clone();
        HostPort { host, port: self.port }
    }
}

impl Section for RaftConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { host, port, advertise_host } = self;
        vec![
            Setting::new(
                "raft.host",
                "Address for the other nodes; never expose it to clients",
                parsed(host, HOST),
            )
            .flag("--raft-host"),
            Setting::new(
                "raft.port",
                "Port for them; 0 lets the system choose",
                whole(port, 0..=u16::MAX),
            )
            .flag("--raft-port"),
            Setting::new(
                "raft.advertise-host",
                "What other nodes are told; unset: raft.host",
                maybe(advertise_host, HOST),
            )
            .flag("--raft-advertise-host"),
        ]
    }
}

/// `admin`: the port of operators, Prometheus and load balancers.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Address that is bound.
    pub host: Host,
    /// Port that is bound.
    pub port: u16,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { host: Host("127.0.0.1".into()), port: 7071 }
    }
}

impl AdminConfig {
    /// Where to bind.
    pub fn listen(&self) -> HostPort {
        HostPort { host: self.host.clone(), port: self.port }
    }
}

impl Section for AdminConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { host, port } = self;
        vec![
            Setting::new(
                "admin.host",
                "Address for operators, Prometheus and health checks",
                parsed(host, HOST),
            )
            .flag("--admin-host"),
            Setting::new(
                "admin.port",
                "Port for them; 0 lets the system choose",
                whole(port, 0..=u16::MAX),
            )
            .flag("--admin-port"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_port_is_read_back_as_it_is_printed() {
        for given in ["a:1", "10.0.0.1:9091", "[::1]:65535", "node-1.example_x.org:9"] {
            assert_eq!(given.parse::<HostPort>().map(|at| at.to_string()), Ok(given.into()));
        }
        for given in [
            "",
            ":",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:+1",
            "a:65536",
            "::1:9",
            "[::1]",
            "a b:1",
            "http://a:1",
            "a:1:2",
            "[a:1",
            "[]:1",
        ] {
            assert_eq!(given.parse::<HostPort>(), Err(NotAnAddress), "{given:?}");
        }
    }

    #[test]
    fn a_wildcard_is_never_advertised() {
        let mut client = ClientConfig { host: Host("0.0.0.0".into()), ..ClientConfig::default() };
        assert_eq!(client.advertised(), None);
        client.advertise = Some("node1:9091".parse().unwrap());
        assert!(client.conflicts().is_empty());
        assert_eq!(client.advertised().unwrap().to_string(), "node1:9091");
        client.advertise = Some("[::]:9091".parse().unwrap());
        assert_eq!(client.conflicts().len(), 1);
    }
}
