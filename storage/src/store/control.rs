//! Small facts that outlive turns of the ring: incarnation, fences, storage facts.
//!
//! A control record lives in the WAL only. Before its file is recycled it is appended again: a
//! checkpoint renews every record in front of the place it wants to free, and frees nothing past
//! a record whose new copy is not durable yet.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{entry, shared::Shared};
use crate::{
    planted,
    segment::StoreFailed,
    wal::{AppendRefused, Done, Lsn},
};

/// How many keys there may be.
pub const CONTROLS_MAX: usize = 4096;
/// How long one value may be: all of them together are written again with each turn of the ring.
pub const CONTROL_BYTES_MAX: usize = 16 << 10;

/// Why a control record was not taken. Nothing was written, and its `done` is not called.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The value is too long.
    #[error("control record {key} has {bytes} bytes, at most {CONTROL_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its key.
        key: u32,
        /// Its length.
        bytes: usize,
    },
    /// There are too many keys.
    #[error("there are {CONTROLS_MAX} control records already; {key} would be one more")]
    TooMany {
        /// The new key.
        key: u32,
    },
    /// The WAL's queue is full; try again.
    #[error("the write-ahead log's queue is full; try again")]
    Busy,
    /// Final.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

/// The records by key.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    records: Mutex<BTreeMap<u32, Control>>,
}

#[derive(Debug)]
struct Control {
    value: Bytes,
    /// Where the newest durable copy is. It may be of the value before.
    durable: Option<Lsn>,
    /// Copies of this or an older value on their way.
    pending: u32,
}

impl Controls {
    /// A record as recovery found it.
    pub(super) fn recovered(&self, key: u32, value: Bytes, lsn: Lsn) {
        let control = Control { value, durable: Some(lsn), pending: 0 };
        self.records.lock().insert(key, control);
    }

    pub(super) fn get(&self, key: u32) -> Option<Bytes> {
        self.records.lock().get(&key).map(|control| control.value.clone())
    }

    /// The oldest group that holds the newest durable copy of a record.
    pub(super) fn oldest(&self) -> Option<Lsn> {
        if planted::is("control-record-lost") {
            return None;
        }
        self.records.lock().values().filter_map(|control| control.durable).min()
    }

    fn made_durable(&self, key: u32, lsn: Lsn) {
        if let Some(control) = self.records.lock().get_mut(&key) {
            control.pending -= 1;
            control.durable = Some(lsn);
        }
    }
}

impl Shared {
    pub(super) fn put_control(
        self: &Arc<Self>,
        key: u32,
        value: Bytes,
        done: Done,
    ) -> Result<(), ControlError> {
        self.check()?;
        if value.len() > CONTROL_BYTES_MAX {
            return Err(ControlError::TooLarge { key, bytes: value.len() });
        }
        let mut records = self.controls.records.lock();
        if records.len() >= CONTROLS_MAX && !records.contains_key(&key) {
            return Err(ControlError::TooMany { key });
        }
        // Appended under the lock, so that the order in the WAL is the order of calls.
        self.append_control(key, value.clone(), Some(done)).map_err(|refused| match refused {
            AppendRefused::Full | AppendRefused::TooLarge { .. } => ControlError::Busy,
            AppendRefused::Failed(failed) => ControlError::Failed(failed.into()),
        })?;
        let fresh = Control { value: Bytes::new(), durable: None, pending: 0 };
        let control = records.entry(key).or_insert(fresh);
        control.value = value;
        control.pending += 1;
        Ok(())
    }

    /// Appends again what lies below `below` and would be recycled with it. What is refused now
    /// keeps its old copy, and the ring is not freed past that.
    pub(super) fn renew_controls(self: &Arc<Self>, below: Lsn) {
        if planted::is("control-record-lost") {
            return;
        }
        let mut records = self.controls.records.lock();
        for (key, control) in records.iter_mut() {
            let old = control.durable.is_some_and(|lsn| lsn < below);
            if old
                && control.pending == 0
                && self.append_control(*key, control.value.clone(), None).is_ok()
            {
                control.pending += 1;
            }
        }
    }

    fn append_control(
        self: &Arc<Self>,
        key: u32,
        value: Bytes,
        done: Option<Done>,
    ) -> Result<(), AppendRefused> {
        let shared = Arc::clone(self);
        let on_done: Done = Box::new(move |result| {
            if let Ok(lsn) = &result {
                shared.progress.durable_up_to(*lsn);
                shared.controls.made_durable(key, *lsn);
            }
            if let Some(done) = done {
                done(result);
            }
        });
        self.wal.append(entry::control(key, value), on_done)
    }
}
