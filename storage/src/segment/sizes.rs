//! Lengths on their way between memory (`usize`) and files (`u64`).
//!
//! Owns the one statement that a file's part that was asked for fits in memory.

/// A length in memory, as files count it.
pub(crate) fn in_file(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a usize has at most 64 bits")
}

/// A length in a file whose bytes are to be held in memory.
pub(crate) fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("the engine needs a 64-bit machine for files of this size")
}
