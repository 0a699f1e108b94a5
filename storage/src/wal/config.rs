//! How large a WAL is and how much it does at once.

use super::WalOpenError;

/// The size and the pace of a WAL. [`WalConfig::check`] names the bounds.
///
/// `file_bytes` and `files` are taken when the ring is made; a ring that is there keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalConfig {
    /// One ring file. A multiple of 4 KiB, 32 KiB ..= 1 GiB.
    pub file_bytes: u64,
    /// How many ring files. 2 ..= 1000.
    pub files: u32,
    /// A group takes entries up to this size; one entry alone may be larger. 4 KiB ..= 64 MiB.
    pub group_bytes_max: usize,
    /// Groups that are being written at once. 1 ..= 16.
    pub groups_in_flight: usize,
    /// Bytes that may wait for their group; at the limit an append is refused as full.
    pub queue_bytes_max: usize,
    /// How long nothing must happen before a group is written that calls the last one durable.
    pub idle_mark_ms: u32,
}

impl Default for WalConfig {
    /// A ring of 512 MiB, for a node's records.
    fn default() -> Self {
        Self {
            file_bytes: 32 << 20,
            files: 16,
            group_bytes_max: 1 << 20,
            groups_in_flight: 2,
            queue_bytes_max: 64 << 20,
            idle_mark_ms: 50,
        }
    }
}

impl WalConfig {
    /// A ring of 16 MiB, for Raft's log.
    #[must_use]
    pub fn small() -> Self {
        Self {
            file_bytes: 4 << 20,
            files: 4,
            group_bytes_max: 256 << 10,
            groups_in_flight: 2,
            queue_bytes_max: 8 << 20,
            idle_mark_ms: 50,
        }
    }

    /// Refuses what could not work, before a file is touched.
    ///
    /// # Errors
    /// [`WalOpenError::Config`], with the setting and its bounds.
    pub fn check(&self) -> Result<(), WalOpenError> {
        let Self {
            file_bytes,
            files,
            group_bytes_max,
            groups_in_flight,
            queue_bytes_max: _,
            idle_mark_ms: _,
        } = *self;
        let refuse = |key, value, why| Err(WalOpenError::Config { key, value, why });
        if !file_bytes.is_multiple_of(4096) || !((32 << 10)..=(1 << 30)).contains(&file_bytes) {
            return refuse("file_bytes", file_bytes, "must be whole 4 KiB in 32 KiB ..= 1 GiB");
        }
        if !(2..=1000).contains(&files) {
            return refuse("files", u64::from(files), "must be in 2 ..= 1000");
        }
        if !(4096..=(64 << 20)).contains(&group_bytes_max) {
            let value = group_bytes_max as u64;
            return refuse("group_bytes_max", value, "must be in 4 KiB ..= 64 MiB");
        }
        if !(1..=16).contains(&groups_in_flight) {
            return refuse("groups_in_flight", groups_in_flight as u64, "must be in 1 ..= 16");
        }
        Ok(())
    }
}
