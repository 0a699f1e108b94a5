//! Bugs on purpose: each must be caught by the simulation, or the simulation is worth nothing.
//!
//! They exist only under the cargo feature `planted`, one at a time, chosen by name through the
//! environment variable `WALRUS_PLANTED`. Owns no bug; each stands where it would be made.

/// Whether the bug of this name is planted in this process.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(name: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("WALRUS_PLANTED").ok()).as_deref() == Some(name)
}

/// Never: this build has none.
#[cfg(not(feature = "planted"))]
#[inline]
#[must_use]
pub const fn is(_name: &str) -> bool {
    false
}
