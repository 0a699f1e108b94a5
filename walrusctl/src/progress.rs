//! One line that says how far something is: redrawn on a terminal, repeated now and then where
//! standard error goes elsewhere.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out::Console;

/// How often the line is repeated where it cannot be redrawn.
const REPEAT: Duration = Duration::from_secs(5);

/// The line.
#[derive(Debug)]
pub struct Progress<'a> {
    console: &'a Console,
    /// On a terminal.
    bar: Option<ProgressBar>,
    what: String,
    total: u64,
    said: Option<(Instant, String)>,
}

impl<'a> Progress<'a> {
    /// At the beginning of `total`.
    pub fn new(console: &'a Console, what: impl Into<String>, total: u64) -> Self {
        let bar = (!console.is_quiet() && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(
                "{spinner} {prefix} [{bar:30}] {pos}/{len} {msg} {elapsed}",
            );
            bar.set_style(style.expect("the template is a constant").progress_chars("=> "));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let what = what.into();
        if let Some(bar) = &bar {
            bar.set_prefix(what.clone());
        }
        Self { console, bar, what, total, said: None }
    }

    /// So much is done. More may have to be done than was thought.
    pub fn at(&mut self, done: u64, detail: &str) {
        self.total = self.total.max(done);
        let total = self.total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(detail.to_owned());
            return;
        }
        let gap = if detail.is_empty() { "" } else { ": " };
        let line = format!("{}: {done} of {total}{gap}{detail}", self.what);
        let is_new =
            self.said.as_ref().is_none_or(|(at, said)| *said != line && at.elapsed() >= REPEAT);
        if is_new {
            self.console.note(&line);
            self.said = Some((Instant::now(), line));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
