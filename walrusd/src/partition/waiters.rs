//! Who waits for an offset to be durable, committed or readable.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{Notify, oneshot};
use walrus_types::Offset;

use super::append::{AppendFailure, Appended, Outcome};

/// A producer that is answered when its batch's end is reached.
#[derive(Debug)]
pub(super) struct Ack {
    pub(super) end: Offset,
    pub(super) appended: Appended,
    pub(super) answer: oneshot::Sender<Outcome>,
}

/// Producers that wait for one mark (durable here, or committed), by the offset they wait for.
#[derive(Debug, Default)]
pub(super) struct AckQueue {
    /// Invariant: ascending by `end`.
    waiting: VecDeque<Ack>,
}

impl AckQueue {
    /// Adds one. Almost always the greatest; a retry of an uncommitted batch may lie lower.
    pub(super) fn push(&mut self, ack: Ack) {
        let at = self.waiting.partition_point(|other| other.end <= ack.end);
        self.waiting.insert(at, ack);
    }

    /// Answers all that wait for an offset at or below `mark`.
    pub(super) fn reached(&mut self, mark: Offset) {
        while self.waiting.front().is_some_and(|ack| ack.end <= mark) {
            if let Some(Ack { appended, answer, .. }) = self.waiting.pop_front() {
                // A client that went no longer waits; its batch stays.
                drop(answer.send(Ok(appended)));
            }
        }
    }

    /// Answers all with a failure.
    pub(super) fn fail(&mut self, failure: &AppendFailure) {
        for ack in self.waiting.drain(..) {
            drop(ack.answer.send(Err(failure.clone())));
        }
    }
}

/// Fetches that wait for the commit offset to move. Each is told once.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: Vec<Arc<Notify>>,
}

impl Watchers {
    pub(super) fn push(&mut self, watcher: &Arc<Notify>) {
        // Those whose fetch was answered by another partition are only held by us.
        if self.waiting.len() >= 64 {
            self.waiting.retain(|other| Arc::strong_count(other) > 1);
        }
        self.waiting.push(Arc::clone(watcher));
    }

    pub(super) fn wake(&mut self) {
        for watcher in self.waiting.drain(..) {
            watcher.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_answered_in_the_order_of_their_offsets_and_not_before() {
        let mut acks = AckQueue::default();
        let mut answers = Vec::new();
        for end in [5, 9, 7] {
            let (answer, receiver) = oneshot::channel();
            acks.push(Ack { end: Offset(end), appended: Appended::at(Offset(end - 1)), answer });
            answers.push((end, receiver));
        }
        acks.reached(Offset(7));
        for (end, receiver) in &mut answers {
            assert_eq!(receiver.try_recv().is_ok(), *end <= 7, "end {end}");
        }
    }

    #[test]
    fn a_watcher_is_woken_once_and_those_that_left_are_forgotten() {
        let mut watchers = Watchers::default();
        for _ in 0..1_000 {
            watchers.push(&Arc::new(Notify::new()));
        }
        assert!(watchers.waiting.len() <= 64, "{} are kept", watchers.waiting.len());
        watchers.wake();
        assert!(watchers.waiting.is_empty());
    }
}
