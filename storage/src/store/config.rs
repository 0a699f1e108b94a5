//! How much memory the store may take, how often it writes, and what it leaves of the disk.

use crate::wal::WalConfig;

/// The store's settings. [`StoreConfig::check`] names the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// The ring in which everything becomes durable first.
    pub wal: WalConfig,
    /// Batches kept in memory, written or not. Past it producers are slowed; at twice this an
    /// append is refused. At least 64 KiB.
    pub tail_bytes_max: u64,
    /// Batches are written to their segment's file when so many bytes wait. At least 4 KiB.
    pub flush_bytes: u64,
    /// They are written when they have waited so long. 1 ..= 60,000.
    pub flush_age_ms: u32,
    /// Segment files are made durable, and the ring behind them free, after so many bytes. At
    /// most a quarter of the ring.
    pub checkpoint_bytes: u64,
    /// They are made durable after so long. 1 ..= 600,000.
    pub checkpoint_age_ms: u32,
    /// Segment files held open for reading and writing. At least 4. During a checkpoint as many
    /// again may be open.
    pub open_files_max: usize,
    /// The distance of index entries in a log. 1 KiB ..= 1 MiB.
    pub index_interval_bytes: u64,
    /// From so many bytes a second on segment files are written past the page cache; 0 is always.
    pub past_cache_bytes_per_s: u64,
    /// Free disk that appends do not touch, for pruning, seals and metadata.
    pub reserve_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            wal: WalConfig::default(),
            tail_bytes_max: 32 << 20,
            flush_bytes: 8 << 20,
            flush_age_ms: 200,
            checkpoint_bytes: 64 << 20,
            checkpoint_age_ms: 1000,
            open_files_max: 512,
            index_interval_bytes: 16 << 10,
            past_cache_bytes_per_s: 64 << 20,
            reserve_bytes: 1 << 30,
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store setting {key} = {value} {why}")]
pub struct StoreConfigError {
    /// The setting.
    pub key: &'static str,
    /// Its value.
    pub value: u64,
    /// What it must be.
    pub why: &'static str,
}

impl StoreConfig {
    /// Refuses what could not work, before a file is touched.
    ///
    /// # Errors
    /// The first setting that is out of its bounds.
    pub fn check(&self) -> Result<(), StoreConfigError> {
        let Self {
            wal,
            tail_bytes_max,
            flush_bytes,
            flush_age_ms,
            checkpoint_bytes,
            checkpoint_age_ms,
            open_files_max,
            index_interval_bytes,
            past_cache_bytes_per_s: _,
            reserve_bytes: _,
        } = *self;
        let refuse = |key, value, why| Err(StoreConfigError { key, value, why });
        if tail_bytes_max < 64 << 10 {
            return refuse("tail_bytes_max", tail_bytes_max, "must be at least 64 KiB");
        }
        if flush_bytes < 4096 {
            return refuse("flush_bytes", flush_bytes, "must be at least 4 KiB");
        }
        if !(1..=60_000).contains(&flush_age_ms) {
            return refuse("flush_age_ms", u64::from(flush_age_ms), "must be in 1 ..= 60000");
        }
        let ring = wal.file_bytes.saturating_mul(u64::from(wal.files));
        if checkpoint_bytes > ring / 4 {
            let why = "must be at most a quarter of the ring: the ring is free only behind it";
            return refuse("checkpoint_bytes", checkpoint_bytes, why);
        }
        if !(1..=600_000).contains(&checkpoint_age_ms) {
            let value = u64::from(checkpoint_age_ms);
            return refuse("checkpoint_age_ms", value, "must be in 1 ..= 600000");
        }
        if open_files_max < 4 {
            return refuse("open_files_max", open_files_max as u64, "must be at least 4");
        }
        if !((1 << 10)..=(1 << 20)).contains(&index_interval_bytes) {
            let why = "must be in 1 KiB ..= 1 MiB";
            return refuse("index_interval_bytes", index_interval_bytes, why);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_and_what_cannot_work_is_named() {
        assert_eq!(StoreConfig::default().check(), Ok(()));
        let cases: [(&str, StoreConfig); 3] = [
            ("tail_bytes_max", StoreConfig { tail_bytes_max: 1, ..StoreConfig::default() }),
            ("checkpoint_bytes", StoreConfig { checkpoint_bytes: 1 << 40, ..Default::default() }),
            ("open_files_max", StoreConfig { open_files_max: 0, ..StoreConfig::default() }),
        ];
        for (key, config) in cases {
            assert_eq!(config.check().map_err(|error| error.key), Err(key));
        }
    }
}
