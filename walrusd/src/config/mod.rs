//! What `walrusd` is told: flags, environment, an optional YAML file, defaults.
//!
//! Precedence is flag, then environment, then file, then default, setting by setting, and each
//! value remembers where it came from. Everything is typed, bounded and checked before a socket
//! is opened or a file is touched; a refusal names the place, the value and what is allowed.
//!
//! Each section ([`NodeConfig`], [`StorageConfig`], …) declares its settings once: name, meaning,
//! bounds, flag, variable and Kafka's name (`setting.rs`). Loading, `config print`, `config keys`,
//! the man page and DescribeConfigs are all read from that one declaration.
//!
//! Owns no behaviour of the broker. Read next: `load.rs`, then a section.

mod flags;
mod groups;
mod kafka;
mod listeners;
mod load;
mod man;
mod node;
mod print;
mod problem;
mod setting;
mod source;
mod storage;
mod topics;
mod yaml;

pub use flags::{Args, Command, ConfigCommand, Flags};
pub use groups::GroupsConfig;
pub use kafka::{KafkaEntry, KafkaKind};
pub use listeners::{AdminConfig, ClientConfig, Host, HostPort, NotAnAddress, RaftConfig};
pub use load::{ANSWERS_BYTES_MAX, Config};
pub use man::man_page;
pub use node::{ClusterConfig, LogConfig, LogFilter, LogFormat, NodeConfig, Rack};
pub use print::{Output, keys, print};
pub use problem::{ConfigError, Problem};
pub use source::Source;
pub use storage::{MemoryConfig, StorageConfig, WalRing};
pub use topics::{Durability, ProducersConfig, SegmentsConfig, TopicsConfig};
