//! What became of every value, kept in memory and, line by line, in a file.
//!
//! The file is JSON lines: a `run` line opens a session, the lines after it belong to it. Several
//! sessions may stand in one file, so a crash test appends to the one it has. A value without a
//! line has no known outcome; a last line that was cut short is skipped.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::ValueId;

/// What the producer was told about a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored at this offset, said the broker.
    Acked { offset: i64 },
    /// Not stored, and it never will be. Only errors that say so for certain belong here.
    Refused { why: String },
    /// No answer, or one that leaves it open.
    Unknown { why: String },
}

/// One value and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub value: ValueId,
    pub outcome: Outcome,
}

/// One producer session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    pub run: u64,
    pub topic: String,
    pub partitions: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Run(RunInfo),
    Acked { p: i32, s: u64, o: i64 },
    Refused { p: i32, s: u64, why: String },
    Unknown { p: i32, s: u64, why: String },
}

/// Every outcome of one or more sessions.
#[derive(Debug, Default)]
pub struct History {
    pub runs: Vec<RunInfo>,
    pub sent: Vec<Sent>,
    file: Option<BufWriter<File>>,
}

impl History {
    /// A history that is also written to the end of `path`.
    pub fn appending_to(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("history file {}", path.display()))?;
        Ok(Self { file: Some(BufWriter::new(file)), ..Self::default() })
    }

    pub fn open_run(&mut self, run: RunInfo) -> Result<()> {
        self.write(&Line::Run(run.clone()))?;
        self.runs.push(run);
        Ok(())
    }

    pub fn push(&mut self, sent: Sent) -> Result<()> {
        let (p, s) = (sent.value.partition, sent.value.seq);
        self.write(&match &sent.outcome {
            Outcome::Acked { offset } => Line::Acked { p, s, o: *offset },
            Outcome::Refused { why } => Line::Refused { p, s, why: why.clone() },
            Outcome::Unknown { why } => Line::Unknown { p, s, why: why.clone() },
        })?;
        self.sent.push(sent);
        Ok(())
    }

    /// Adds another session's outcomes; files are not touched.
    pub fn absorb(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.sent.extend(other.sent);
    }

    pub fn flush(&mut self) -> Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.flush().context("history file"))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, line).context("history file")?;
        file.write_all(b"\n").context("history file")
    }

    /// Reads a file that [`Self::appending_to`] wrote.
    pub fn load(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("history file {}", path.display()))?;
        let mut reader = BufReader::new(file);
        let (mut history, mut text, mut number) = (Self::default(), String::new(), 0);
        loop {
            text.clear();
            number += 1;
            if reader.read_line(&mut text)? == 0 {
                return Ok(history);
            }
            match serde_json::from_str(&text) {
                Ok(line) => {
                    history.take(line).with_context(|| format!("{}:{number}", path.display()))?;
                }
                // The writer was killed inside its last line.
                Err(_) if !text.ends_with('\n') => return Ok(history),
                Err(error) => bail!("{}:{number}: {error}", path.display()),
            }
        }
    }

    fn take(&mut self, line: Line) -> Result<()> {
        let (partition, seq, outcome) = match line {
            Line::Run(run) => {
                self.runs.push(run);
                return Ok(());
            }
            Line::Acked { p, s, o } => (p, s, Outcome::Acked { offset: o }),
            Line::Refused { p, s, why } => (p, s, Outcome::Refused { why }),
            Line::Unknown { p, s, why } => (p, s, Outcome::Unknown { why }),
        };
        let run = self.runs.last().context("an outcome before the first run line")?.run;
        self.sent.push(Sent { value: ValueId { run, partition, seq }, outcome });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (RunInfo, Vec<Sent>) {
        let run = RunInfo { run: u64::MAX, topic: "t".to_owned(), partitions: 2 };
        let outcomes = [
            Outcome::Acked { offset: 7 },
            Outcome::Refused { why: "too large".to_owned() },
            Outcome::Unknown { why: "timed out".to_owned() },
        ];
        let sent = (0..).zip(outcomes).map(|(seq, outcome)| Sent {
            value: ValueId { run: run.run, partition: 1, seq },
            outcome,
        });
        let sent = sent.collect();
        (run, sent)
    }

    #[test]
    fn a_history_comes_back_from_its_file_and_a_cut_last_line_is_skipped() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("history.jsonl");
        let (run, sent) = sample();
        let mut history = History::appending_to(&path).expect("it opens");
        history.open_run(run.clone()).expect("it writes");
        for one in &sent {
            history.push(one.clone()).expect("it writes");
        }
        history.flush().expect("it writes");

        let whole = History::load(&path).expect("it loads");
        assert_eq!((whole.runs, whole.sent), (vec![run], sent.clone()));

        let bytes = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, &bytes[..bytes.len() - 4]).expect("it writes");
        assert_eq!(History::load(&path).expect("it loads").sent, sent[..2]);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("history.jsonl");
        std::fs::write(&path, "{\"acked\":{\"p\":0\n{}\n").expect("it writes");
        assert!(History::load(&path).is_err());
    }
}
