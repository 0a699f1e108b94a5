//! What is shown: answers on standard output, everything else on standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use walrus_admin::{Document, Kind};
use walrus_types::TimestampMs;

use crate::{
    cli::Output,
    failure::{Exit, Failure},
};

/// Where a command shows what it found and says what it does.
#[derive(Debug)]
pub struct Console {
    output: Output,
    quiet: bool,
    /// What goes on in the cluster if this program is broken off now.
    under_way: Mutex<Option<String>>,
}

impl Console {
    /// In that form.
    pub const fn new(output: Output, quiet: bool) -> Self {
        Self { output, quiet, under_way: Mutex::new(None) }
    }

    /// Whether notes are not wanted.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether answers are for scripts.
    pub const fn is_json(&self) -> bool {
        matches!(self.output, Output::Json)
    }

    /// Whether somebody can be asked.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Shows an answer: the document itself, or what `text` makes of it.
    ///
    /// # Errors
    /// Nobody reads.
    pub fn show<T: Kind + Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let shown = match self.output {
            Output::Table => text(answer),
            Output::Json => {
                let document = serde_json::to_string_pretty(&Document::of(answer));
                document.expect("an answer has only plain data") + "\n"
            }
        };
        self.write(shown.as_bytes())
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// Nobody reads.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|why| {
            let exit =
                if why.kind() == io::ErrorKind::BrokenPipe { Exit::Pipe } else { Exit::Failed };
            Failure::new(exit, "cannot write to standard output", why)
        })
    }

    /// A note for whoever watches.
    pub fn note(&self, what: impl Display) {
        if !self.quiet {
            complain(&format!("{what}\n"));
        }
    }

    /// A question, without the end of the line.
    pub fn ask(&self, what: impl Display) {
        complain(&what.to_string());
    }

    /// What goes on in the cluster from now on, whether this program lives or not.
    pub fn goes_on(&self, what: impl Into<String>) {
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.into());
    }

    /// What goes on in the cluster.
    pub fn under_way(&self) -> Option<String> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The end of a command that failed.
    pub fn failed(&self, failure: &Failure) {
        match (failure.exit, self.output) {
            // Who closed the pipe has seen enough; an unhealthy cluster was shown already.
            (Exit::Pipe | Exit::Unhealthy, _) => {}
            (_, Output::Table) => complain(&format!("walrusctl: {failure}\n")),
            (_, Output::Json) => complain(&format!("{}\n", failure.to_json())),
        }
    }
}

fn complain(what: &str) {
    // There is nowhere left to complain to when standard error is closed.
    drop(io::stderr().write_all(what.as_bytes()));
}

/// On which side a column is flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a head, columns as wide as they must be. Empty cells are a dash.
pub fn table(head: &[(&str, Flush)], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], column: usize| match row.get(column).map(String::as_str) {
        None | Some("") => "-".to_owned(),
        Some(text) => text.to_owned(),
    };
    let width = |column: usize| {
        let cells = rows.iter().map(|row| cell(row, column).chars().count());
        cells.chain([head[column].0.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<String>| {
        let padded = cells.into_iter().zip(&widths).zip(head).map(|((text, width), (_, flush))| {
            let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
            match flush {
                Flush::Left => text + &blanks,
                Flush::Right => blanks + &text,
            }
        });
        let joined = padded.collect::<Vec<_>>().join("  ");
        joined.trim_end().to_owned() + "\n"
    };
    let mut text = line(head.iter().map(|(name, _)| (*name).to_owned()).collect());
    for row in rows {
        text += &line((0..head.len()).map(|column| cell(row, column)).collect());
    }
    text
}

/// Bytes for people.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut whole, mut rest, mut unit) = (number, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (rest, whole, unit) = (whole % 1024, whole / 1024, unit + 1);
    }
    if unit == 0 || whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit])
    }
}

/// A time for people, by its two greatest units.
pub fn age(ms: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let Some(at) = UNITS.iter().position(|(_, unit)| ms >= *unit) else {
        return format!("{ms} ms");
    };
    let (name, unit) = UNITS[at];
    let whole = format!("{} {name}", ms / unit);
    match UNITS.get(at + 1) {
        Some((name, next)) => format!("{whole} {} {name}", ms % unit / next),
        None => whole,
    }
}

/// A moment, as RFC 3339 writes it in UTC.
pub fn clock(at: TimestampMs) -> String {
    let seconds = at.0.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin with March end with the day that is not always there. An era is 400 years.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + later;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Names with commas between them.
pub fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_utc() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_799_999, "2000-02-29T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (1_767_268_800_000, "2026-01-01T12:00:00Z"),
        ] {
            assert_eq!(clock(TimestampMs(ms)), expected);
        }
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let head = [("ID", Flush::Left), ("COUNT", Flush::Right), ("LAST", Flush::Left)];
        let rows =
            [vec!["n1".into(), "7".into(), "x".into()], vec!["node".into(), "1000000".into()]];
        let expected = "ID      COUNT  LAST\nn1          7  x\nnode  1000000  -\n";
        assert_eq!(table(&head, &rows), expected);
    }

    #[test]
    fn a_time_has_its_two_greatest_units() {
        for (ms, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_999, "1 s"),
            (127_000, "2 m 7 s"),
            (3_600_000, "1 h 0 m"),
            (11_520_000, "3 h 12 m"),
            (7 * 86_400_000 - 1, "6 d 23 h"),
        ] {
            assert_eq!(age(ms), expected);
        }
    }

    #[test]
    fn bytes_have_three_digits_or_so() {
        for (number, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_536_000, "1.4 MiB"),
            (500 << 30, "500 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(bytes(number), expected);
        }
    }
}
