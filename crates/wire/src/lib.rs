//! The wire: from bytes to requests and back, for bytes that may be hostile.
//!
//! ```text
//!  socket -> text::sniff -> frame::measure -> request::decode ( header, guard, kafka-protocol )
//!  socket <- response::encode | fetch::FetchReply
//! ```
//!
//! Owns formats, and no socket, task, clock or state. What a request means is the shell's matter.
//! Where to read next: [`versions`] for what is served, [`guard`] for why the decoder may trust
//! what it is given.

pub mod fetch;
pub mod frame;
pub mod guard;
mod legacy;
pub mod produce;
pub mod records;
pub mod request;
pub mod response;
pub mod text;
pub mod versions;

pub use kafka_protocol;
pub use request::{AdminBody, Body, Request, RequestError, decode};
pub use versions::Api;
