//! The harness of the tests that run real processes.
//!
//! [`Node`] is one `walrusd` on free ports and a folder of its own, ended by its process id when
//! it is dropped; [`Cluster`] is several that know each other. [`load`] writes what is all
//! accounted for, [`files`] looks at what lies on the disks, [`fault`] chooses whom something
//! happens to, [`reach`] counts what it brought about, [`offsets`] commits by hand, [`text`] speaks
//! the text protocol, [`terminal`] has a program in a terminal. [`lab`] gives each node a machine of
//! its own, as far as the network goes. Nothing here talks to anything but loopback and the
//! namespaces that it made.

mod cluster;
pub mod fault;
pub mod files;
pub mod lab;
pub mod load;
mod node;
pub mod offsets;
pub mod raw;
pub mod reach;
pub mod stream;
pub mod terminal;
pub mod text;

pub use cluster::{Cluster, Shown, folder, store_with};
pub use node::{Addresses, Node, NodeSettings, program};
