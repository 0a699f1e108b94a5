//! Sections `storage` and `memory`: the WAL ring, the hot tail, the disk's reserve, and the
//! bound on memory.

use super::{
    kafka::KafkaKind,
    setting::{Conflict, Section, Setting, Switch, bytes, whole},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The size of a WAL file where the ring is large enough for eight of them.
const WAL_FILE_BYTES: u64 = 64 * MIB;
/// A ring has at least this many files, so that recycling one leaves most of it in use.
const WAL_FILES_MIN: u64 = 8;
/// Files are cut at multiples of this.
const WAL_ALIGN: u64 = MIB;

/// `storage`: how bytes become durable and where they wait.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// All files of the WAL together. 64 MiB ..= 64 GiB.
    pub wal_ring_bytes: u64,
    /// Record batches kept in memory until their segment file has them. 4 MiB ..= 16 GiB.
    pub hot_tail_bytes: u64,
    /// Free disk that producers never get. 16 MiB ..= 1 TiB.
    pub disk_reserve_bytes: u64,
    /// From this many bytes a second on segment files are written past the page cache.
    /// 0 (always) ..= 1 TiB.
    pub past_cache_bytes_per_s: u64,
    /// Segment files held open at once. 16 ..= 1,000,000.
    pub open_files_max: u32,
    /// Write the WAL with pwrite and fdatasync.
    pub disable_io_uring: bool,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            wal_ring_bytes: 512 * MIB,
            hot_tail_bytes: 64 * MIB,
            disk_reserve_bytes: 256 * MIB,
            past_cache_bytes_per_s: 64 * MIB,
            open_files_max: 512,
            disable_io_uring: false,
        }
    }
}

/// How the ring is cut into files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRing {
    /// Bytes of one file, a multiple of 1 MiB.
    pub file_bytes: u64,
    /// Files.
    pub files: u32,
}

impl StorageConfig {
    /// Files of 64 MiB, or eight smaller ones where the ring is under 512 MiB.
    pub fn wal_ring(&self) -> WalRing {
        let cut = (self.wal_ring_bytes / WAL_FILES_MIN).min(WAL_FILE_BYTES);
        let file_bytes = (cut / WAL_ALIGN).max(1) * WAL_ALIGN;
        let files = (self.wal_ring_bytes / file_bytes).max(WAL_FILES_MIN);
        WalRing { file_bytes, files: u32::try_from(files).expect("the ring is bounded") }
    }
}

impl Section for StorageConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self {
            wal_ring_bytes,
            hot_tail_bytes,
            disk_reserve_bytes,
            past_cache_bytes_per_s,
            open_files_max,
            disable_io_uring,
        } = self;
        vec![
            Setting::new(
                "storage.wal-ring-bytes",
                "All files of the WAL together, reserved on disk",
                bytes(wal_ring_bytes, 64 * MIB..=64 * GIB),
            ),
            Setting::new(
                "storage.hot-tail-bytes",
                "Batches kept in memory until their segment file has them; past it producers wait",
                bytes(hot_tail_bytes, 4 * MIB..=16 * GIB),
            ),
            Setting::new(
                "storage.disk-reserve-bytes",
                "Free disk that producers never get, so that deleting and metadata always work",
                bytes(disk_reserve_bytes, 16 * MIB..=1024 * GIB),
            ),
            Setting::new(
                "storage.past-cache-bytes-per-s",
                "While segment files grow so fast, they are written past the page cache; 0: always",
                bytes(past_cache_bytes_per_s, 0..=1024 * GIB),
            ),
            Setting::new(
                "storage.open-files-max",
                "Segment files held open at once",
                whole(open_files_max, 16..=1_000_000),
            ),
            Setting::new(
                "storage.disable-io-uring",
                "Write the WAL with pwrite and fdatasync",
                Switch(disable_io_uring),
            )
            .env("WALRUS_DISABLE_IO_URING"),
        ]
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let Self { wal_ring_bytes, hot_tail_bytes, .. } = self;
        let why = || {
            format!(
                "is {hot_tail_bytes} and must be at most half of storage.wal-ring-bytes \
                 ({wal_ring_bytes}): what is in memory must be found again in the WAL"
            )
        };
        let conflict = hot_tail_bytes > &(wal_ring_bytes / 2);
        conflict
            .then(|| Conflict { key: "storage.hot-tail-bytes", why: why() })
            .into_iter()
            .collect()
    }
}

/// `memory`: what the node may hold at once.
#[derive(Debug, Clone)]
pub struct MemoryConfig {
    /// Requests that were read and answers that were not yet sent, over all connections.
    /// 8 MiB ..= 64 GiB.
    pub requests_bytes_max: u64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { requests_bytes_max: 256 * MIB }
    }
}

impl Section for MemoryConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { requests_bytes_max } = self;
        vec![
            Setting::new(
                "memory.requests-bytes-max",
                "Requests and answers of all connections under way; past it sockets are not read",
                bytes(requests_bytes_max, 8 * MIB..=64 * GIB),
            )
            .kafka("queued.max.request.bytes", KafkaKind::Long),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_cut_into_at_least_eight_files_that_fill_it() {
        for (ring, file_bytes, files) in [
            (64 * MIB, 8 * MIB, 8),
            (100 * MIB, 12 * MIB, 8),
            (512 * MIB, 64 * MIB, 8),
            (513 * MIB, 64 * MIB, 8),
            (64 * GIB, 64 * MIB, 1024),
        ] {
            let config = StorageConfig { wal_ring_bytes: ring, ..StorageConfig::default() };
            assert_eq!(config.wal_ring(), WalRing { file_bytes, files }, "{ring}");
        }
    }
}
