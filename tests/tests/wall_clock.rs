//! The wall clock of one node of three goes an hour forth and back under load. Nothing comes of it:
//! leases, elections and the age of segments are counted by clocks that no one sets.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use walrus_tests::{
    Cluster, NodeSettings,
    fault::{Victim, seeded},
    folder,
    load::until,
    reach::{Reach, load_on, verify},
};

/// Loaded before libc: adds the seconds that stand in a file to the wall clock, and to no other.
const SHIFTED: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static const volatile int64_t *shift;
__attribute__((constructor)) static void find_shift(void) {
    const char *path = getenv("SHIFT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) shift = page;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec at;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &at)) return -1;
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec at;
    if (clock_gettime(CLOCK_REALTIME, &at)) return -1;
    if (now) *now = at.tv_sec;
    return at.tv_sec;
}
"#;

/// The clocks of the nodes.
struct Clocks {
    folder: PathBuf,
}

impl Clocks {
    fn build(folder: &Path) -> Result<Self> {
        let source = folder.join("shifted.c");
        fs::write(&source, SHIFTED)?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.join("shifted.so")).arg(&source);
        let built = cc.status().context("a C compiler is needed")?;
        ensure!(built.success(), "cc: {built}");
        Ok(Self { folder: folder.to_owned() })
    }

    fn file(&self, id: i32) -> PathBuf {
        self.folder.join(format!("shift-{id}"))
    }

    fn settings(&self, id: i32) -> NodeSettings {
        NodeSettings::default()
            .env("LD_PRELOAD", self.folder.join("shifted.so").display())
            .env("SHIFT_FILE", self.file(id).display())
    }

    fn set(&self, id: i32, seconds: i64) -> Result<()> {
        let file = File::options().create(true).truncate(false).write(true).open(self.file(id))?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }
}

/// How many seconds a node's wall clock is ahead, by when it says that its process was started.
fn ahead(cluster: &Cluster, id: i32) -> Result<f64> {
    let (_, page) = cluster.node(id).admin_get("/metrics")?;
    let started = page.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
    let started: f64 = started.context("no start time")?.parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let age = now - started;
    Ok(if age.abs() < 600.0 { 0.0 } else { -age })
}

#[test]
fn a_wall_clock_that_jumps_an_hour_has_no_effect() -> Result<()> {
    seeded()?;
    let folder = folder()?;
    let clocks = Clocks::build(folder.path())?;
    for id in 1..=3 {
        clocks.set(id, 0)?;
    }
    let cluster = Cluster::start_each(folder.path(), 3, |id| clocks.settings(id))?;
    // Records carry the shifted clock's time, and segments would be too old after an hour.
    let configs = [("message.timestamp.type", "LogAppendTime"), ("segment.ms", "1800000")];
    let load = load_on(&cluster, "jumps", &configs)?;
    load.goes_on("at first")?;
    let since = Reach::of(&cluster, "jumps")?;
    for victim in [Victim::Leader, Victim::Controller, Victim::Follower] {
        let id = victim.choose(&cluster, "jumps")?;
        for hours in [1, -1, 0] {
            clocks.set(id, i64::from(hours) * 3_600)?;
            let shifted = |ahead: f64| (ahead / 3_600.0 - f64::from(hours)).abs() < 0.1;
            until("the other time", || ahead(&cluster, id).is_ok_and(shifted))?;
            let first = load.goes_on(&format!("{hours} h ahead at {victim:?} {id}"))?;
            println!("{victim:?} {id} is {hours} h ahead: nothing waits after {first:?}");
        }
    }
    let reached = verify(load, &cluster, since)?;
    ensure!(reached == Reach::default(), "a wall clock had an effect: {reached}");
    Ok(())
}
