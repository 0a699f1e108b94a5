//! One file of the simulated disk: what the system sees of it and what is durable of it.
//!
//! Owns the rule for every sector: written is not flushed, and what was not flushed may be
//! anything between old and new after a power cut.

use std::{collections::BTreeSet, ops::Range};

use walrus_types::chance::Chance;

/// What a disk writes whole or tears.
const SECTOR_BYTES: u64 = 512;

/// The bytes of a file, twice.
#[derive(Debug, Clone, Default)]
pub(super) struct SimFile {
    /// What a read sees.
    bytes: Vec<u8>,
    /// What was flushed.
    durable: Vec<u8>,
    /// Sectors that were written since they were flushed.
    unflushed: BTreeSet<u64>,
}

impl SimFile {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let start = index(at).min(self.bytes.len());
        let read = buf.len().min(self.bytes.len() - start);
        buf[..read].copy_from_slice(&self.bytes[start..start + read]);
        read
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len() as u64;
        if end > self.bytes.len() as u64 {
            self.set_len(end);
        }
        self.bytes[index(at)..index(end)].copy_from_slice(bytes);
        self.unflushed.extend(sectors(at..end));
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        let old = self.bytes.len() as u64;
        self.bytes.resize(index(bytes), 0);
        self.unflushed.extend(sectors(old.min(bytes)..old.max(bytes)));
    }

    pub(super) fn flush_all(&mut self) {
        self.durable.clone_from(&self.bytes);
        self.unflushed.clear();
    }

    /// Flushes one write. The file's length is not part of it: group writes never change it.
    pub(super) fn flush(&mut self, at: u64, bytes: u64) {
        if self.durable.len() < self.bytes.len() {
            self.durable.resize(self.bytes.len(), 0);
        }
        for sector in sectors(at..at + bytes) {
            let range = self.range(sector);
            self.durable[range.clone()].copy_from_slice(&self.bytes[range]);
            self.unflushed.remove(&sector);
        }
    }

    /// After a failed flush the system takes the bytes for written: they can be read, no later
    /// flush writes them, and a power cut loses them.
    pub(super) fn forget(&mut self, at: u64, bytes: u64) {
        for sector in sectors(at..at + bytes) {
            self.unflushed.remove(&sector);
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.unflushed.clear();
    }

    pub(super) fn flip(&mut self, at: u64, mask: u8) -> Option<()> {
        *self.bytes.get_mut(index(at))? ^= mask;
        if let Some(byte) = self.durable.get_mut(index(at)) {
            *byte ^= mask;
        }
        Some(())
    }

    /// What a boot after a power cut finds.
    pub(super) fn after_cut(&self, random: &mut Chance) -> Self {
        let mut found = self.durable.clone();
        if found.len() != self.bytes.len() && random.one_in(2) {
            found.resize(self.bytes.len(), 0);
        }
        for sector in &self.unflushed {
            let range = self.range(*sector);
            let range = range.start..range.end.min(found.len());
            if range.is_empty() {
                continue;
            }
            let written = match random.below(3) {
                0 => 0,
                1 => range.len(),
                _ => index(random.below(range.len() as u64)),
            };
            let kept = range.start..range.start + written;
            found[kept.clone()].copy_from_slice(&self.bytes[kept]);
        }
        Self { bytes: found.clone(), durable: found, unflushed: BTreeSet::new() }
    }

    /// Where a sector lies in what a read sees; the last one may be short.
    fn range(&self, sector: u64) -> Range<usize> {
        let end = index((sector + 1) * SECTOR_BYTES).min(self.bytes.len());
        index(sector * SECTOR_BYTES).min(end)..end
    }
}

fn sectors(bytes: Range<u64>) -> Range<u64> {
    bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES)
}

fn index(at: u64) -> usize {
    usize::try_from(at).expect("a simulated file fits in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of 4 sectors of 1 that were flushed and then overwritten with 2.
    fn cut(seed: u64) -> Vec<u8> {
        let mut file = SimFile::default();
        file.write(&[1; 2048], 0);
        file.flush_all();
        file.write(&[2; 2048], 0);
        file.after_cut(&mut Chance::seeded(seed)).bytes
    }

    #[test]
    fn a_sector_that_was_not_flushed_is_lost_kept_or_torn() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            for sector in cut(seed).chunks(512) {
                let new = sector.iter().take_while(|byte| **byte == 2).count();
                assert!(sector[new..].iter().all(|byte| *byte == 1), "old behind new, seed {seed}");
                seen.insert(match new {
                    0 => "lost",
                    512 => "kept",
                    _ => "torn",
                });
            }
        }
        assert!(seen.into_iter().eq(["kept", "lost", "torn"]));
    }

    #[test]
    fn what_was_flushed_survives() {
        let mut file = SimFile::default();
        file.write(&[1; 3000], 0);
        file.flush_all();
        file.write(&[2; 600], 1024);
        file.flush(1024, 600);
        for seed in 0..20 {
            let found = file.after_cut(&mut Chance::seeded(seed)).bytes;
            assert_eq!(found, file.bytes, "seed {seed}");
        }
    }

    #[test]
    fn what_a_failed_flush_left_can_be_read_until_the_power_goes() {
        let mut file = SimFile::default();
        file.write(&[1; 512], 0);
        file.flush_all();
        file.write(&[2; 512], 0);
        file.forget_all();
        file.flush(0, 0);
        assert_eq!(file.bytes, [2; 512]);
        assert_eq!(file.after_cut(&mut Chance::seeded(1)).bytes, [1; 512]);
    }
}
