//! What a process costs, from outside: CPU time and resident memory out of `/proc`.
//!
//! CPU is user plus system time of all its threads, those of the kernel that belong to its
//! io_uring included. Memory is sampled, because a peak that nobody looks at is not a peak
//! anyone pays for twice; the kernel's own high-water mark since the start stands beside it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux that matters, and part of its interface.
const TICKS_PER_SECOND: f64 = 100.0;
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// One look at a process.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Usage {
    pub cpu_s: f64,
    pub rss_kib: u64,
    /// Greatest RSS since the process began.
    pub rss_high_water_kib: u64,
}

/// Looks at process `pid` once.
pub fn usage(pid: u32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} cannot be looked at; is it running?"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} cannot be looked at; is it running?"))?;
    Ok(Usage {
        cpu_s: cpu_seconds(&stat).with_context(|| format!("/proc/{pid}/stat is unreadable"))?,
        rss_kib: status_kib(&status, "VmRSS:").unwrap_or(0),
        rss_high_water_kib: status_kib(&status, "VmHWM:").unwrap_or(0),
    })
}

/// User plus system time out of a `/proc/PID/stat` line. The program's name comes second, in
/// brackets, and may hold blanks and brackets itself.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

fn status_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Looks at several processes and adds them up.
fn usage_of_all(pids: &[u32]) -> Result<Usage> {
    let mut sum = Usage { cpu_s: 0.0, rss_kib: 0, rss_high_water_kib: 0 };
    for pid in pids {
        let one = usage(*pid)?;
        sum.cpu_s += one.cpu_s;
        sum.rss_kib += one.rss_kib;
        sum.rss_high_water_kib += one.rss_high_water_kib;
    }
    Ok(sum)
}

/// What a process, or several together, cost between the start and the end of a measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    pub cpu_s: f64,
    pub rss_start_kib: u64,
    pub rss_end_kib: u64,
    /// Greatest RSS seen in the window, looked at every 50 ms.
    pub rss_peak_kib: u64,
    /// Greatest RSS since the process began.
    pub rss_high_water_kib: u64,
}

/// Watches processes while a workload runs, and adds them up.
#[derive(Debug)]
pub struct Meter {
    pids: Vec<u32>,
    start: Usage,
    peak_kib: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Meter {
    /// `None` where there is nothing to watch.
    pub fn start(pids: &[u32]) -> Result<Option<Self>> {
        if pids.is_empty() {
            return Ok(None);
        }
        let start = usage_of_all(pids)?;
        let peak_kib = Arc::new(AtomicU64::new(start.rss_kib));
        let stop = Arc::new(AtomicBool::new(false));
        let sampler = std::thread::Builder::new()
            .name("rss sampler".to_owned())
            .spawn({
                let (peak_kib, stop) = (Arc::clone(&peak_kib), Arc::clone(&stop));
                let pids = pids.to_vec();
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        if let Ok(now) = usage_of_all(&pids) {
                            peak_kib.fetch_max(now.rss_kib, Ordering::Relaxed);
                        }
                        std::thread::sleep(SAMPLE_EVERY);
                    }
                }
            })
            .context("no thread for the meter")?;
        let pids = pids.to_vec();
        Ok(Some(Self { pids, start, peak_kib, stop, sampler: Some(sampler) }))
    }

    /// Ends the measurement. The processes must still be running: a workload that killed its broker
    /// measured something else.
    pub fn finish(mut self) -> Result<Cost> {
        let end = usage_of_all(&self.pids)?;
        self.stop_sampling();
        Ok(Cost {
            cpu_s: end.cpu_s - self.start.cpu_s,
            rss_start_kib: self.start.rss_kib,
            rss_end_kib: end.rss_kib,
            rss_peak_kib: self.peak_kib.load(Ordering::Relaxed).max(end.rss_kib),
            rss_high_water_kib: end.rss_high_water_kib,
        })
    }

    fn stop_sampling(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            sampler.join().expect("the sampler has nothing to panic about");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop_sampling();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 9 0 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(cpu_seconds("7 (truncated) S 1"), None);
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn a_meter_sees_this_process_work_and_keep_memory() {
        let pid = std::process::id();
        let meter = Meter::start(&[pid]).expect("this process is running").expect("one is watched");
        let kept = vec![1_u8; 64 << 20];
        let target = usage(pid).expect("this process is running").cpu_s + 0.05;
        while usage(pid).expect("this process is running").cpu_s < target {}
        let cost = meter.finish().expect("this process is running");
        assert!(cost.cpu_s >= 0.04, "{cost:?}");
        assert!(cost.rss_peak_kib >= cost.rss_start_kib + 60_000, "{cost:?}");
        assert_eq!(kept.len(), 64 << 20);
    }

    #[test]
    fn several_processes_are_added_up() {
        let pid = std::process::id();
        let (one, two) = (usage_of_all(&[pid]), usage_of_all(&[pid, pid]));
        let (one, two) = (one.expect("it is running"), two.expect("it is running"));
        assert!(two.rss_kib > one.rss_kib * 3 / 2, "{one:?} {two:?}");
        assert!(Meter::start(&[]).expect("nothing is looked at").is_none());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_not_a_zero() {
        assert!(usage(u32::MAX).is_err());
    }
}
