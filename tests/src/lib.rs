//! The harness of the tests that run real processes.
//!
//! [`Node`] is one `walrusd` on free ports and a folder of its own, ended by its process id when
//! it is dropped. [`text`] speaks the text protocol. Nothing here talks to anything but
//! loopback.

mod node;
pub mod raw;
pub mod text;

pub use node::{Node, NodeSettings};
