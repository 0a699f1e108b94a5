//! Who asks, for the record.

use std::env;

/// The longest name.
const BYTES_MAX: usize = 255;

/// Who runs this program, where: as the system knows them, which proves nothing.
#[must_use]
pub fn actor() -> String {
    let named = |key| env::var(key).ok().filter(|name| !name.is_empty());
    let user = named("USER").or_else(|| named("LOGNAME")).unwrap_or_else(|| "somebody".to_owned());
    let mut actor = format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy());
    actor.truncate(actor.floor_char_boundary(BYTES_MAX));
    actor
}
