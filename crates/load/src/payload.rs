//! What records are filled with: text-like bytes that compress about as logs do.
//!
//! One pool is filled once from a seed; a record is a window of it that moves on with each record,
//! so that neither a codec nor a page cache meets the same record twice in a row.

use walrus_types::chance::Chance;

/// Windows are cut from this many bytes plus one record.
const POOL_BYTES: usize = 1 << 20;

/// A source of record values of one size.
#[derive(Debug)]
pub struct Payloads {
    pool: Vec<u8>,
    record_bytes: usize,
    at: usize,
}

impl Payloads {
    /// The same seed gives the same records in the same order.
    pub fn new(record_bytes: usize, seed: u64) -> Self {
        let mut random = Chance::seeded(seed);
        let pool_bytes = POOL_BYTES + record_bytes;
        let mut pool = Vec::with_capacity(pool_bytes + 16);
        while pool.len() < pool_bytes {
            // 16 hex digits carry 8 bytes of information: a codec halves them at best.
            pool.extend_from_slice(format!("{:016x}", random.draw()).as_bytes());
        }
        pool.truncate(pool_bytes);
        Self { pool, record_bytes, at: 0 }
    }

    /// The next record's value.
    pub fn next_value(&mut self) -> &[u8] {
        let start = self.at;
        // An odd stride visits every start before it repeats one.
        self.at = (start + 1031) % POOL_BYTES;
        &self.pool[start..start + self.record_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_size_asked_for_and_follow_the_seed() {
        for size in [0, 1, 100, 1024, 3_000_000] {
            let (mut a, mut b, mut c) =
                (Payloads::new(size, 7), Payloads::new(size, 7), Payloads::new(size, 8));
            let first = a.next_value().to_vec();
            assert_eq!(first.len(), size);
            assert_eq!(first, b.next_value());
            assert!(size < 16 || first != a.next_value(), "two records in a row are equal");
            assert!(size < 16 || first != c.next_value(), "the seed does nothing");
        }
    }
}
