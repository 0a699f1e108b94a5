//! The harness of the tests that run real processes.
//!
//! [`Node`] is one `walrusd` on free ports and a folder of its own, ended by its process id when
//! it is dropped; [`Cluster`] is several that know each other. [`load`] writes what is all
//! accounted for, [`files`] looks at what lies on the disks, [`text`] speaks the text protocol.
//! Nothing here talks to anything but loopback.

mod cluster;
pub mod files;
pub mod load;
mod node;
pub mod raw;
pub mod text;

pub use cluster::{Cluster, Shown};
pub use node::{Addresses, Node, NodeSettings};
