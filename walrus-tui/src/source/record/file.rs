//! The file of `--record`: what was told goes to its end, until it cannot.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Record, format};

/// A recording that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    file: Option<W>,
    path: PathBuf,
}

impl Writer<File> {
    /// Begins a recording. A file that is there already is left alone.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        Self::new(file, path.to_owned())
    }
}

impl<W: Write> Writer<W> {
    /// Begins a recording in `file`, which is called `path`.
    ///
    /// # Errors
    /// What the file said.
    pub fn new(mut file: W, path: PathBuf) -> io::Result<Self> {
        file.write_all(&format::file_head())?;
        Ok(Self { file: Some(file), path })
    }

    /// One more. After an error nothing is written any more: what is there is good up to the
    /// record before.
    ///
    /// # Errors
    /// Once, why the recording ends here, in words.
    pub fn push(&mut self, record: &Record) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = format::write(record, file).and_then(|()| file.flush());
        written.map_err(|why| {
            self.file = None;
            format!("the recording {} ends here: {why}", self.path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use walrus_types::UptimeMs;

    use super::*;
    use crate::source::{
        Told,
        record::{Recorder, format::Reader},
    };

    /// A disk with so much room.
    struct Disk(Vec<u8>, usize);

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1 - self.0.len();
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let fits = bytes.len().min(room);
            self.0.extend(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_ends_the_recording_once_and_what_is_written_plays() {
        let mut recorder = Recorder::default();
        let mut record = |at| {
            let told = Told::Lost { why: "gone".into(), next_at: UptimeMs(at + 1) };
            recorder.take(&told, UptimeMs(at)).unwrap()
        };
        let mut disk = Disk(Vec::new(), 14 + 250);
        let mut writer = Writer::new(&mut disk, "some.rec".into()).unwrap();
        let pushed: Vec<_> = (0..9).map(|at| writer.push(&record(at))).collect();
        let said: Vec<&String> = pushed.iter().filter_map(|one| one.as_ref().err()).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("some.rec") && said[0].contains("storage"), "{}", said[0]);
        let before = pushed.iter().position(Result::is_err).unwrap();
        let mut reader = Reader::new(&disk.0[..]).unwrap();
        for at in 0..before {
            assert_eq!(reader.next_record().unwrap().unwrap().at.0, u64::try_from(at).unwrap());
        }
        assert!(before > 1 && reader.next_record().is_err(), "{before} records");
    }
}
