//! Where an admin port is: a host and a port, as people write them.

use std::{fmt, str::FromStr};

/// `host:port` of a node's admin port. IPv6 addresses stand in brackets where they are printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// The text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no endpoint: give host:adminport, like 127.0.0.1:7071 or [::1]:7071")]
pub struct NotAnEndpoint {
    given: String,
}

impl Endpoint {
    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it says where to connect to. A node that listens on all addresses, or on a port
    /// that the system chose, may have registered what nobody can use.
    pub fn is_reachable(&self) -> bool {
        let wildcard = self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        self.port != 0 && !wildcard
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(given: &str) -> Result<Self, NotAnEndpoint> {
        let refuse = || NotAnEndpoint { given: given.into() };
        let bare = given.strip_prefix("http://").unwrap_or(given);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let (host, port) = bare.rsplit_once(':').ok_or_else(refuse)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if inner.is_none() && host.contains(':') {
            return Err(refuse());
        }
        let host = inner.unwrap_or(host);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
            return Err(refuse());
        }
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(refuse)?;
        Ok(Self { host: host.into(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_printed_as_it_is_read() {
        for given in ["node1:7071", "127.0.0.1:7071", "[::1]:7071", "a_b.c-d:1"] {
            assert_eq!(given.parse::<Endpoint>().unwrap().to_string(), given);
        }
        let url: Endpoint = "http://node1:7071/".parse().unwrap();
        assert_eq!(url.to_string(), "node1:7071");
        for given in
            ["", "7071", "node1", "node1:", ":7071", "::1:7071", "a b:1", "a:+1", "a:65536"]
        {
            assert!(given.parse::<Endpoint>().is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_wildcard_or_a_port_of_zero_leads_nowhere() {
        for (given, expected) in
            [("0.0.0.0:7071", false), ("[::]:7071", false), ("a:0", false), ("a:7071", true)]
        {
            assert_eq!(given.parse::<Endpoint>().unwrap().is_reachable(), expected, "{given}");
        }
    }
}
