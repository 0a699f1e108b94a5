//! What the operating system knows of this process, and the one limit of it that is raised.

use std::{fs, time::SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory, CPU and descriptors. `None` where the system does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessFacts {
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// User and system time.
    pub cpu_seconds: Option<f64>,
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// How many may be open.
    pub open_files_max: Option<u64>,
    /// Start of the process, in seconds since 1970.
    pub started: Option<f64>,
}

impl ProcessFacts {
    /// Reads `/proc/self`.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name stands in brackets and may hold blanks; fields are counted behind it.
        let fields: Vec<u64> = stat.rsplit_once(") ").map_or_else(Vec::new, |(_, rest)| {
            rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect()
        });
        let field = |number: usize| fields.get(number - 3).copied();
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let cpu = field(14).zip(field(15)).map(|(user, system)| seconds(user + system));
        let files = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
        Self {
            resident_bytes: field(24).map(|pages| pages * page),
            cpu_seconds: cpu,
            open_files: files.and_then(|count| u64::try_from(count).ok()),
            open_files_max: getrlimit(Resource::Nofile).current,
            started: field(22).and_then(started),
        }
    }
}

/// Clock ticks as seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 ticks are millions of years")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn started(ticks_after_boot: u64) -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(now.as_secs_f64() - uptime + seconds(ticks_after_boot))
}

/// Lets the process have as many descriptors as it may. Returns how many that are; `None` is
/// without limit.
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory_its_time_and_its_files() {
        let facts = ProcessFacts::read();
        assert!(facts.resident_bytes.unwrap() > 100_000);
        assert!(facts.cpu_seconds.unwrap() >= 0.0);
        assert!(facts.open_files.unwrap() >= 3);
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
            - facts.started.unwrap();
        assert!((-1.0..3600.0).contains(&age), "started {age} s ago");
        assert!(raise_open_files() >= facts.open_files_max);
    }
}
