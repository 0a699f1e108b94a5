//! The clients of a cluster: one entry for each connection to a client port.
//!
//! What clients say of themselves is theirs to choose: nodes cut it and take control characters
//! out, and nobody vouches for it.

use serde::{Deserialize, Serialize};
use walrus_types::NodeId;

use crate::{document::Kind, group::Missing};

/// Connections that one page of a list has at most.
pub const CLIENTS_PAGE_MAX: usize = 1_000;

/// `GET /v1/clients`: connections, by their node and then by their age, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClientList {
    /// Which node answers.
    pub answered_by: NodeId,
    /// They.
    pub items: Vec<Client>,
    /// Where the next page begins: the `after` to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Nodes that did not tell who is connected to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

impl Kind for ClientList {
    const KIND: &'static str = "ClientList";
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Client {
    /// The node that it is connected to.
    pub node: NodeId,
    /// Its number there, in this life of the node. Later ones are greater.
    pub connection: u64,
    /// Where it called from.
    pub address: String,
    /// What it calls itself; missing where it has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its library; missing where it has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// That library's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// What it speaks.
    pub protocol: Protocol,
    /// How long it has been connected.
    pub for_ms: u64,
    /// Requests that came.
    pub requests: u64,
    /// How many of them are not answered yet.
    pub under_way: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Bytes of answers that the system took.
    pub bytes_out: u64,
    /// The last request's name; missing before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// How long ago that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// What most of its requests were; missing before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mostly: Option<Activity>,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// It has said nothing yet.
    Unknown,
    /// Kafka's.
    Kafka,
    /// The text protocol.
    Text,
    /// One that this program does not know.
    #[serde(other)]
    Other,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It appends.
    Produce,
    /// It reads.
    Fetch,
    /// It is a member of a group, or commits for one.
    Group,
    /// It asks for other things, or changes them.
    #[serde(other)]
    Other,
}

impl Activity {
    /// It as a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
            Self::Group => "group",
            Self::Other => "other",
        }
    }
}
