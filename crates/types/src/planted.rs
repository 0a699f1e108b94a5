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

/// For a test that holds every planted bug against a simulation: runs the ignored test `caught` of
/// this test program once for each bug and how many seeds it may take, in a process of its own,
/// because a process has one bug. That test asks for [`bug_and_seeds`] and says `… caught by …`.
///
/// # Panics
/// When one is not caught.
#[cfg(feature = "planted")]
#[expect(clippy::print_stdout, reason = "which seed caught it is what a test run should say")]
pub fn assert_each_is_caught(planted: &[(&str, u64)], caught: &str) {
    let program = std::env::current_exe().expect("a test program has a path");
    for (bug, seeds_max) in planted {
        let ran = std::process::Command::new(&program)
            .args(["--exact", caught, "--ignored", "--nocapture"])
            .env("WALRUS_PLANTED", bug)
            .env("WALRUS_SIM_SEEDS_MAX", seeds_max.to_string())
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("a test program can be started");
        let output = String::from_utf8_lossy(&ran.stdout);
        println!("{}", output.lines().find(|line| line.contains("caught by")).unwrap_or(&output));
        assert!(ran.status.success(), "{bug} is not caught within {seeds_max} seeds: {output}");
    }
}

/// The bug that is planted in this process, and how many seeds may be tried to catch it.
///
/// # Panics
/// Where [`assert_each_is_caught`] did not start it.
#[cfg(feature = "planted")]
#[must_use]
pub fn bug_and_seeds() -> (String, u64) {
    let told = |name| std::env::var(name).expect("it is started with a bug");
    let seeds_max = told("WALRUS_SIM_SEEDS_MAX").parse().expect("a number of seeds");
    (told("WALRUS_PLANTED"), seeds_max)
}
