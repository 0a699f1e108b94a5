//! What goes on the made-up nodes: old segments, two of which somebody reads for long on one of
//! them, and one that another could not remove.

use walrus_admin::gc::{
    DueSegment, GcVitals, HeldSegment, Holder, Leftover, NEXT_MAX, NextSegment, Purpose,
    RetentionLook,
};
use walrus_types::{Epoch, Offset, TimestampMs};

use super::{Log, Simulated};

/// What the made-up topics keep.
const KEEPS_MS: i64 = 7_200_000;
const KEEPS_BYTES: u64 = 4 << 30;
const MIB: u64 = 1 << 20;

impl Simulated {
    /// What a node says of its files that go.
    pub(super) fn gc(&self, at: usize) -> GcVitals {
        let minutes = (self.now_ms - self.nodes[at].began_ms) / 60_000;
        let freed_segments = minutes * (at as u64 % 3 + 2);
        let held = if at == 1 { self.held() } else { Vec::new() };
        let leftovers = if at == 2 { vec![leftover()] } else { Vec::new() };
        GcVitals {
            freed_segments,
            freed_bytes: freed_segments * 61 * MIB,
            freed_bytes_per_s: Some((at as u64 % 3 + 2) * MIB),
            held_bytes: held.iter().filter(|one| one.on_disk).filter_map(|one| one.bytes).sum(),
            held,
            held_more: 0,
            leftovers,
            leftovers_more: 0,
            look: Some(self.look(at)),
        }
    }

    fn held(&self) -> Vec<HeldSegment> {
        let holder = |purpose, whose: Option<&str>, for_ms| Holder {
            purpose,
            whose: whose.map(str::to_owned),
            for_ms: Some(for_ms),
        };
        let reader = "client \"audit-sink\" at 10.0.4.16:41866";
        let places = [
            (true, 41_000, vec![holder(Purpose::Read, Some(reader), 43_000)]),
            (
                false,
                3_200,
                vec![holder(Purpose::Copy, None, 3_900), holder(Purpose::Lookup, None, 3_400)],
            ),
        ];
        let segment =
            |(log, (on_disk, since_ms, holders)): (&Log, (bool, u64, Vec<Holder>))| HeldSegment {
                topic: log.name.topic.clone(),
                partition: log.name.partition,
                epoch: Epoch(1),
                base: Offset(0),
                bytes: Some(64 * MIB),
                since_ms,
                on_disk,
                holders,
                unnamed: 0,
            };
        self.logs.iter().zip(places).map(segment).collect()
    }

    fn look(&self, at: usize) -> RetentionLook {
        let led = || self.logs.iter().filter(|log| log.leader == at);
        let mut next: Vec<NextSegment> = led().filter_map(next_of).collect();
        next.sort_by_key(|one| (one.at_ms, one.lacking_bytes));
        next.truncate(NEXT_MAX);
        let due: Vec<DueSegment> =
            if at == 0 { led().take(1).map(due_of).collect() } else { vec![] };
        RetentionLook {
            ago_ms: self.now_ms % 10_000,
            every_ms: 10_000,
            partitions: led().fold(0, |sum, _| sum + 1),
            taken_segments: 0,
            taken_bytes: 0,
            due_segments: due.iter().fold(0, |sum, _| sum + 1),
            due_bytes: due.iter().map(|one| one.bytes).sum(),
            due,
            next,
        }
    }
}

fn next_of(log: &Log) -> Option<NextSegment> {
    let first = log.sealed.first()?;
    let rest = log.sealed.iter().skip(1).filter_map(|one| one.bytes).sum::<u64>();
    Some(NextSegment {
        topic: log.name.topic.clone(),
        partition: log.name.partition,
        epoch: first.epoch,
        bytes: first.bytes?,
        at_ms: first.max_timestamp_ms.map(|at| TimestampMs(at.0 + KEEPS_MS)),
        lacking_bytes: Some(KEEPS_BYTES.saturating_sub(rest)),
        lacking_segments: None,
    })
}

fn due_of(log: &Log) -> DueSegment {
    DueSegment {
        topic: log.name.topic.clone(),
        partition: log.name.partition,
        epoch: Epoch(i32::try_from(log.epoch).unwrap_or(i32::MAX)),
        bytes: u64::try_from(log.end - log.base).unwrap_or(0) * 300,
        why: "its newest record is 7201000 ms old, retention.ms is 7200000".to_owned(),
        waits_for: "its seal".to_owned(),
    }
}

fn leftover() -> Leftover {
    Leftover {
        what: "topic legacy-import".to_owned(),
        since_ms: 95_000,
        why: "removing it: Read-only file system (os error 30)".to_owned(),
    }
}
