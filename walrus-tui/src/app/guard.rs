//! Who may change the cluster from here: the guard alone hands out permission, and asks first.
//!
//! Where a cluster is marked as production the console begins read-only; it is unlocked for
//! [`UNLOCKED_MS`] at a time. What is shown must be what is now.

use thiserror::Error;
use walrus_types::UptimeMs;

use crate::model::STALE_MS;

/// How long an unlocked console stays so.
pub const UNLOCKED_MS: u64 = 10 * 60_000;

/// Leave to change the cluster once. Only [`Guard::permit`] gives it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "whoever asks for leave is about to use it"]
pub struct Permit(());

/// Why nothing may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// The console only looks.
    #[error("this is read-only; :rw unlocks it for 10 minutes")]
    ReadOnly,
    /// What is shown was at another time.
    #[error("what is shown is not what is now; L goes back to now")]
    Past,
    /// A recording has no cluster.
    #[error("this is a recording: there is nothing to change")]
    Recording,
    /// What is shown is old.
    #[error("what is shown is old: nobody answers")]
    Stale,
}

/// What is shown, as far as that matters for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// It is held, or of another time.
    pub is_past: bool,
    /// It is of a recording.
    pub is_recording: bool,
    /// How old it is; `None` where nothing is known.
    pub age_ms: Option<u64>,
}

/// Whether changes are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// Always.
    Open,
    /// Never.
    Shut,
    /// Until then.
    OpenUntil(UptimeMs),
}

/// Lets changes through, or says why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    lock: Lock,
    /// Whether it shuts again by itself.
    shuts: bool,
}

impl Guard {
    /// Of a cluster in production: shut until somebody unlocks it. Of any other: open.
    #[must_use]
    pub const fn new(is_production: bool) -> Self {
        let lock = if is_production { Lock::Shut } else { Lock::Open };
        Self { lock, shuts: is_production }
    }

    /// Unlocks it at `now`.
    pub const fn unlock(&mut self, now: UptimeMs) {
        let until = UptimeMs(now.0.saturating_add(UNLOCKED_MS));
        self.lock = if self.shuts { Lock::OpenUntil(until) } else { Lock::Open };
    }

    /// Shuts it until somebody unlocks it.
    pub const fn shut(&mut self) {
        (self.lock, self.shuts) = (Lock::Shut, true);
    }

    /// Whether it is shut at `now`.
    #[must_use]
    pub fn is_shut(&self, now: UptimeMs) -> bool {
        match self.lock {
            Lock::Open => false,
            Lock::Shut => true,
            Lock::OpenUntil(until) => now >= until,
        }
    }

    /// How long it stays open, if it shuts by itself.
    #[must_use]
    pub fn left_ms(&self, now: UptimeMs) -> Option<u64> {
        match self.lock {
            Lock::OpenUntil(until) if now < until => Some(until.since(now)),
            _ => None,
        }
    }

    /// Leave for one change at `now`, of a cluster that is shown so.
    ///
    /// # Errors
    /// Why it may not be.
    pub fn permit(&self, now: UptimeMs, shown: Shown) -> Result<Permit, Refused> {
        match shown {
            Shown { is_recording: true, .. } => Err(Refused::Recording),
            Shown { is_past: true, .. } => Err(Refused::Past),
            _ if self.is_shut(now) => Err(Refused::ReadOnly),
            Shown { age_ms: Some(age), .. } if age <= STALE_MS => Ok(Permit(())),
            Shown { .. } => Err(Refused::Stale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Shown = Shown { is_past: false, is_recording: false, age_ms: Some(400) };

    #[test]
    fn only_what_is_shown_as_it_is_now_may_be_changed() {
        let guard = Guard::new(false);
        for (shown, refused) in [
            (FRESH, None),
            (Shown { is_past: true, ..FRESH }, Some(Refused::Past)),
            (Shown { is_past: true, is_recording: true, ..FRESH }, Some(Refused::Recording)),
            (Shown { age_ms: Some(STALE_MS + 1), ..FRESH }, Some(Refused::Stale)),
            (Shown { age_ms: None, ..FRESH }, Some(Refused::Stale)),
        ] {
            assert_eq!(guard.permit(UptimeMs(5), shown).err(), refused, "{shown:?}");
        }
    }

    #[test]
    fn production_is_read_only_but_for_ten_minutes_after_it_is_unlocked() {
        let mut guard = Guard::new(true);
        let refused = |guard: &Guard, now| guard.permit(UptimeMs(now), FRESH).err();
        assert_eq!(refused(&guard, 0), Some(Refused::ReadOnly));
        guard.unlock(UptimeMs(1_000));
        assert_eq!(guard.left_ms(UptimeMs(2_000)), Some(UNLOCKED_MS - 1_000));
        assert_eq!(refused(&guard, 1_000 + UNLOCKED_MS - 1), None);
        assert_eq!(refused(&guard, 1_000 + UNLOCKED_MS), Some(Refused::ReadOnly));
        assert_eq!(guard.left_ms(UptimeMs(1_000 + UNLOCKED_MS)), None);
        guard.unlock(UptimeMs(0));
        guard.shut();
        assert_eq!(refused(&guard, 1), Some(Refused::ReadOnly));
        let mut other = Guard::new(false);
        other.unlock(UptimeMs(0));
        assert_eq!((refused(&other, u64::MAX), other.left_ms(UptimeMs(1))), (None, None));
        other.shut();
        other.unlock(UptimeMs(0));
        assert_eq!(
            refused(&other, UNLOCKED_MS),
            Some(Refused::ReadOnly),
            "once shut, it shuts again"
        );
    }
}
