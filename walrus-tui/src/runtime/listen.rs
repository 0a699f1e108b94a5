//! The threads of a source: the one that it runs on, and the one that hands on what it tells and
//! keeps it.

use std::{
    fs::File,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Instant,
};

use tokio::sync::watch;
use walrus_types::UptimeMs;

use super::{Item, WAITING_MAX};
use crate::{
    app::Message,
    source::{
        Hand, Source, Told, Wanted,
        record::{Recorder, file::Writer},
    },
};

/// A source that runs.
pub struct Running {
    /// What it tells.
    pub told: Receiver<Told>,
    /// What it is asked for.
    pub wanted: watch::Sender<Wanted>,
    /// Who changes what it shows.
    pub hand: Option<Arc<dyn Hand>>,
}

/// Where what is told is kept.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// Whether it is, so that one can go back: a recording that is played is kept already.
    pub in_memory: bool,
    /// The file of `--record`, whichever cluster is shown.
    pub file: Option<Arc<Mutex<Writer<File>>>>,
}

/// Starts a source. It ends when what it tells is heard no more.
///
/// # Errors
/// What starting a thread said.
pub fn start(source: Box<dyn Source>, began: Instant) -> std::io::Result<Running> {
    let (wanted, wishes) = watch::channel(Wanted::default());
    let (tell, told) = mpsc::sync_channel(WAITING_MAX);
    let hand = source.hand();
    let named = thread::Builder::new().name("source".to_owned());
    drop(named.spawn(move || source.run(began, wishes, tell))?);
    Ok(Running { told, wanted, hand })
}

/// Hands on what source `number` tells, and keeps it.
pub(super) fn listen(
    told: Receiver<Told>,
    number: u64,
    began: Instant,
    recording: Recording,
    send: SyncSender<Item>,
) -> std::io::Result<()> {
    let named = thread::Builder::new().name("listen".to_owned());
    drop(named.spawn(move || {
        let mut recorder = Recorder::default();
        let mut has_said = false;
        while let Ok(told) = told.recv() {
            let now = UptimeMs(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            let shown = Item::Told(number, told.clone());
            if !recording.in_memory {
                if send.send(shown).is_err() {
                    return;
                }
                continue;
            }
            // What is to be shown does not wait for what is kept of it, where that is much. Else
            // both come together: to wake twice costs more than to wait.
            let (first, later) = if recorder.takes_long(&told, now) {
                (Some(shown), None)
            } else {
                (None, Some(shown))
            };
            if first.is_some_and(|shown| send.send(shown).is_err()) {
                return;
            }
            let kept = keep(&mut recorder, &recording, &told, now);
            if later.is_some_and(|shown| send.send(shown).is_err()) {
                return;
            }
            let is_heard = kept.said.is_none_or(|why| {
                let is_new = !std::mem::replace(&mut has_said, true);
                !is_new || send.send(Item::Message(Message::Said(why))).is_ok()
            });
            let kept = kept.told.is_none_or(|told| send.send(Item::Told(number, told)).is_ok());
            if !kept || !is_heard {
                return;
            }
        }
    })?);
    Ok(())
}

/// What there is to tell of keeping something.
struct Kept {
    told: Option<Told>,
    said: Option<String>,
}

fn keep(recorder: &mut Recorder, recording: &Recording, told: &Told, now: UptimeMs) -> Kept {
    let record = match recorder.take(told, now) {
        Ok(record) => record,
        Err(why) => {
            let said = Some(format!("what is told is not kept: {why}"));
            return Kept { told: None, said };
        }
    };
    let written = recording
        .file
        .as_ref()
        .map_or(Ok(()), |file| file.lock().unwrap_or_else(PoisonError::into_inner).push(&record));
    Kept { told: Some(Told::Kept(record)), said: written.err() }
}
