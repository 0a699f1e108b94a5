//! A recording as a source: it tells all records of a file, and how the file ends. When each is
//! shown is the console's affair.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
    sync::mpsc::SyncSender,
    time::Instant,
};

use tokio::sync::watch;

use super::{
    Source, Told, Wanted,
    record::{
        format::{Broken, Reader},
        tape::Ended,
    },
};

/// A recording.
#[derive(Debug)]
pub struct Replay<R>(Reader<R>);

impl Replay<BufReader<File>> {
    /// Opens one.
    ///
    /// # Errors
    /// That it cannot be opened, is none, or is one of a later version; in words.
    pub fn open(path: &Path) -> Result<Self, String> {
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = File::open(path).map_err(|why| named(&why))?;
        let file = BufReader::with_capacity(64 << 10, file);
        Reader::new(file).map(Self).map_err(|why| named(&why))
    }
}

impl<R: Read> Replay<R> {
    /// What is read from `file`.
    ///
    /// # Errors
    /// That it is no recording, or one of a later version.
    pub fn new(file: R) -> Result<Self, Broken> {
        Reader::new(file).map(Self)
    }

    /// What it tells next; the last is how it ends.
    pub fn next_told(&mut self) -> Told {
        match self.0.next_record() {
            Ok(Some(record)) => Told::Kept(record),
            Ok(None) => Told::Ended(Ended::Whole),
            Err(why) => Told::Ended(Ended::Short(why.to_string())),
        }
    }
}

impl<R: Read + Send> Source for Replay<R> {
    fn run(mut self: Box<Self>, _: Instant, _: watch::Receiver<Wanted>, tell: SyncSender<Told>) {
        loop {
            let told = self.next_told();
            let is_last = matches!(told, Told::Ended(_));
            if tell.send(told).is_err() || is_last {
                return;
            }
        }
    }
}
