//! The client port: connections in, ordered replies out.
//!
//! [`listener`] accepts and limits, [`clients`] lists who is connected, [`connection`] tells the protocols apart and runs one
//! connection, [`frames`] cuts Kafka's frames out of the bytes, [`replies`] writes answers in
//! the order of the requests. Owns no meaning: a request's answer is `api/`'s or `text/`'s.

pub mod clients;
pub mod connection;
pub mod frames;
pub mod listener;
pub mod replies;
