//! What clients asked for that is not served, logged once for each: an operator sees at a glance
//! which client needs what.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tracing::warn;

use crate::net::connection::Client;

/// Kinds of client and request that are remembered.
const REMEMBERED_MAX: usize = 1_000;

/// What was logged already.
#[derive(Debug, Default)]
pub struct AskedInVain {
    told: Mutex<BTreeSet<(String, i16, i16)>>,
}

impl AskedInVain {
    /// Logs a request for a key that is not served, once for each client software and key.
    pub fn note(&self, client: &Client, key: i16, version: i16) {
        let software = client.connection.software().unwrap_or_else(|| client.peer.ip().to_string());
        let mut told = self.told.lock();
        if told.len() < REMEMBERED_MAX && told.insert((software.clone(), key, version)) {
            warn!(
                client = software,
                key, version, "a client asked for a request that is not served"
            );
        }
    }
}
