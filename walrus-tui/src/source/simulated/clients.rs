//! Clients of the made-up cluster: producers and members of its groups, some on each node, in
//! several languages.

use walrus_admin::connection::{Activity, Client, ClientList, Protocol};

use super::{Simulated, node_id};

/// A client: its name, its library and that's version, what it does, with which request, and how
/// much of its node's traffic is its.
const CLIENTS: [(&str, &str, &str, Activity, &str, u64); 8] = [
    ("checkout-1", "librdkafka", "2.12.1", Activity::Produce, "Produce", 30),
    ("billing-1", "apache-kafka-java", "4.1.0", Activity::Fetch, "Fetch", 20),
    ("billing-1", "apache-kafka-java", "4.1.0", Activity::Group, "Heartbeat", 0),
    ("search-index-2", "librdkafka", "2.12.1", Activity::Fetch, "Fetch", 25),
    ("clickstream", "sarama", "1.45.2", Activity::Produce, "Produce", 20),
    ("audit-sink", "kafka-python", "2.2.15", Activity::Fetch, "Fetch", 5),
    ("", "", "", Activity::Produce, "text", 1),
    ("admin-3", "librdkafka", "2.6.0", Activity::Other, "Metadata", 0),
];

impl Simulated {
    /// Everybody who is connected.
    #[must_use]
    pub fn clients(&self) -> ClientList {
        let up = (0..self.nodes.len()).filter(|at| self.nodes[*at].back_at_ms.is_none());
        let items = up.flat_map(|at| (0..CLIENTS.len()).map(move |one| self.client(at, one)));
        let down = (0..self.nodes.len()).filter(|at| self.nodes[*at].back_at_ms.is_some());
        let missing = down.map(|at| walrus_admin::group::Missing {
            node: node_id(at),
            why: "connection refused".to_owned(),
        });
        ClientList {
            answered_by: node_id(self.controller),
            items: items.collect(),
            next: None,
            missing: missing.collect(),
        }
    }

    fn client(&self, at: usize, one: usize) -> Client {
        let (life, number) = (&self.nodes[at], u64::try_from(one).unwrap_or(0));
        let (name, software, version, mostly, last, share) = CLIENTS[one];
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let for_ms = (self.now_ms - life.began_ms) * (number + 1) / 9;
        let (bytes_in, bytes_out) = match mostly {
            Activity::Produce => (life.traffic.bytes_in * share / 100, for_ms / 4),
            _ if share == 0 => (for_ms / 5, for_ms / 3),
            _ => (for_ms / 5, life.traffic.bytes_out * share / 100),
        };
        Client {
            node: node_id(at),
            connection: number * 7 + 3,
            address: format!("10.0.4.{}:{}", 11 + one, 40_000 + 311 * (one + 1) + at),
            client_id: said(name),
            software: said(software),
            software_version: said(version),
            protocol: if last == "text" { Protocol::Text } else { Protocol::Kafka },
            for_ms,
            requests: life.traffic.requests * (share + 1) / 100,
            under_way: u64::from(mostly == Activity::Fetch),
            bytes_in,
            bytes_out,
            last: Some(last.to_owned()),
            idle_ms: Some(if share == 0 { 2_300 * (number + 1) } else { 40 * number }),
            mostly: Some(mostly),
        }
    }
}
