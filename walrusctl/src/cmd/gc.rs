//! `walrusctl gc`.

use walrus_admin::{
    client::Client,
    gc::{DueSegment, GcStatus, HeldSegment, NextSegment, NodeGc},
};
use walrus_types::TimestampMs;

use crate::{
    failure::Failure,
    out::{Console, Flush, age, bytes, list, table},
};

/// Shows what goes on each node, and what stands in its way.
///
/// # Errors
/// Nobody answers.
pub(super) async fn status(client: &Client, console: &Console) -> Result<(), Failure> {
    let status: GcStatus = client.get("/v1/gc").await?;
    console.show(&status, status_text)?;
    for node in &status.items {
        if let Some(why) = &node.silent {
            let old = node.age_ms.map_or_else(|| "nothing".to_owned(), |ms| age(ms) + " ago");
            console.note(format_args!("{} does not answer ({why}): told {old}", node.node));
        }
    }
    Ok(())
}

fn status_text(status: &GcStatus) -> String {
    let head = [
        ("NODE", Flush::Left),
        ("FREE", Flush::Right),
        ("DISK", Flush::Right),
        ("UNLINKED", Flush::Right),
        ("BYTES", Flush::Right),
        ("BYTES/S", Flush::Right),
        ("WAIT", Flush::Right),
        ("BYTES", Flush::Right),
        ("HELD", Flush::Right),
        ("ON DISK", Flush::Right),
        ("FAILED", Flush::Right),
    ];
    let nodes: Vec<Vec<String>> = status.items.iter().map(node).collect();
    let mut text = table(&head, &nodes);
    let waiting: Vec<Vec<String>> = status.items.iter().flat_map(waiting).collect();
    if !waiting.is_empty() {
        let head = [
            ("NODE", Flush::Left),
            ("SEGMENT", Flush::Left),
            ("BYTES", Flush::Right),
            ("STATE", Flush::Left),
            ("BECAUSE OF", Flush::Left),
        ];
        text += "\n";
        text += &table(&head, &waiting);
    }
    let next: Vec<Vec<String>> =
        status.items.iter().flat_map(|one| next(one, status.at_ms)).collect();
    if !next.is_empty() {
        let head = [
            ("NODE", Flush::Left),
            ("NEXT", Flush::Left),
            ("BYTES", Flush::Right),
            ("GOES IN", Flush::Right),
            ("OR AFTER", Flush::Left),
        ];
        text += "\n";
        text += &table(&head, &next);
    }
    text
}

fn node(one: &NodeGc) -> Vec<String> {
    let disk = one.disk.filter(|disk| disk.total_bytes > 0);
    let percent =
        disk.map(|disk| u128::from(disk.used_bytes()) * 100 / u128::from(disk.total_bytes));
    let full = if one.disk_full { " FULL" } else { "" };
    let gc = one.gc.as_ref();
    let look = gc.and_then(|gc| gc.look.as_ref());
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let size = |number: Option<u64>| number.map_or_else(String::new, bytes);
    let count = |named: usize, more: u64| u64::try_from(named).unwrap_or(u64::MAX) + more;
    vec![
        one.node.to_string(),
        size(disk.map(|disk| disk.free_bytes)),
        percent.map_or_else(String::new, |percent| format!("{percent} %{full}")),
        number(gc.map(|gc| gc.freed_segments)),
        size(gc.map(|gc| gc.freed_bytes)),
        size(gc.and_then(|gc| gc.freed_bytes_per_s)),
        number(look.map(|look| look.due_segments)),
        size(look.map(|look| look.due_bytes)),
        number(gc.map(|gc| count(gc.held.len(), gc.held_more))),
        size(gc.map(|gc| gc.held_bytes)),
        number(gc.map(|gc| count(gc.leftovers.len(), gc.leftovers_more))),
    ]
}

/// What should be gone and is not.
fn waiting(one: &NodeGc) -> Vec<Vec<String>> {
    let Some(gc) = &one.gc else { return Vec::new() };
    let node = || one.node.to_string();
    let held = gc.held.iter().map(|segment| {
        let HeldSegment { topic, partition, epoch, bytes: size, since_ms, on_disk, .. } = segment;
        let state = if *on_disk { "unlinked, still open" } else { "unlinked, still in use" };
        vec![
            node(),
            format!("{topic}/{partition} epoch {epoch}"),
            size.map_or_else(String::new, bytes),
            format!("{state} for {}", age(*since_ms)),
            holders(segment),
        ]
    });
    let failed = gc.leftovers.iter().map(|leftover| {
        let state = format!("not removed for {}", age(leftover.since_ms));
        vec![node(), leftover.what.clone(), String::new(), state, leftover.why.clone()]
    });
    let due = gc.look.iter().flat_map(|look| &look.due).map(|segment| {
        let DueSegment { topic, partition, epoch, bytes: size, why, waits_for } = segment;
        let name = format!("{topic}/{partition} epoch {epoch}");
        vec![node(), name, bytes(*size), format!("waits for {waits_for}"), why.clone()]
    });
    held.chain(failed).chain(due).collect()
}

/// Who holds a segment, in words.
fn holders(segment: &HeldSegment) -> String {
    let named = segment.holders.iter().map(|holder| {
        let whose = holder.whose.as_ref().map_or_else(String::new, |whose| format!(" by {whose}"));
        let time = holder.for_ms.map_or_else(String::new, |ms| format!(" for {}", age(ms)));
        format!("{}{whose}{time}", holder.purpose.word())
    });
    let unnamed = (segment.unnamed > 0).then(|| format!("{} unnamed", segment.unnamed));
    named.chain(unnamed).collect::<Vec<_>>().join(", ")
}

fn next(one: &NodeGc, now: TimestampMs) -> Vec<Vec<String>> {
    let next = one.gc.iter().filter_map(|gc| gc.look.as_ref()).flat_map(|look| &look.next);
    let row = |segment: &NextSegment| {
        let NextSegment { topic, partition, epoch, bytes: size, at_ms, .. } = segment;
        let goes_in = at_ms.map(|at| age(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0)));
        let more = segment.lacking_bytes.map(|lacking| format!("{} more", bytes(lacking)));
        let seals = segment.lacking_segments.map(|lacking| format!("{lacking} more sealed"));
        vec![
            one.node.to_string(),
            format!("{topic}/{partition} epoch {epoch}"),
            bytes(*size),
            goes_in.unwrap_or_default(),
            list(more.into_iter().chain(seals)),
        ]
    };
    next.map(row).collect()
}

#[cfg(test)]
mod tests {
    use walrus_admin::gc::{GcVitals, Holder, Leftover, Purpose, RetentionLook};
    use walrus_types::{Epoch, NodeId, Offset, PartitionIndex};

    use super::*;

    /// A node that has one of everything.
    fn told() -> NodeGc {
        let holder = |purpose, whose: Option<&str>, for_ms| Holder {
            purpose,
            whose: whose.map(str::to_owned),
            for_ms,
        };
        let held = HeldSegment {
            topic: "orders".into(),
            partition: PartitionIndex(3),
            epoch: Epoch(7),
            base: Offset(10),
            bytes: Some(2 << 20),
            since_ms: 5_000,
            on_disk: true,
            holders: vec![
                holder(Purpose::Read, Some("client \"c\" at 10.0.0.1:5"), Some(6_000)),
                holder(Purpose::Write, None, None),
            ],
            unnamed: 2,
        };
        let due = DueSegment {
            topic: "orders".into(),
            partition: PartitionIndex(4),
            epoch: Epoch(1),
            bytes: 1 << 20,
            why: "its newest record is old".into(),
            waits_for: "its seal".into(),
        };
        let next = NextSegment {
            topic: "orders".into(),
            partition: PartitionIndex(5),
            epoch: Epoch(2),
            bytes: 1 << 10,
            at_ms: Some(TimestampMs(61_000)),
            lacking_bytes: Some(1 << 20),
            lacking_segments: None,
        };
        let look = RetentionLook {
            due_segments: 1,
            due_bytes: 1 << 20,
            due: vec![due],
            next: vec![next],
            ..RetentionLook::default()
        };
        let leftover =
            Leftover { what: "topic old".into(), since_ms: 60_000, why: "read-only".into() };
        let gc = GcVitals {
            freed_segments: 12,
            freed_bytes: 3 << 30,
            held: vec![held],
            held_bytes: 2 << 20,
            leftovers: vec![leftover],
            look: Some(look),
            ..GcVitals::default()
        };
        NodeGc {
            node: NodeId(1),
            gc: Some(gc),
            disk: None,
            disk_full: false,
            age_ms: Some(0),
            silent: None,
        }
    }

    #[test]
    fn everything_that_stands_in_the_way_is_named_with_its_cause() {
        let told = told();
        let silent = NodeGc { node: NodeId(2), gc: None, ..told.clone() };
        let status = GcStatus {
            answered_by: NodeId(1),
            at_ms: TimestampMs(1_000),
            items: vec![told, silent],
        };
        let text = status_text(&status);
        for line in [
            "n1       -     -        12  3.0 GiB        -     1  1.0 MiB     1  2.0 MiB       1",
            "n2       -     -         -        -        -     -        -     -        -       -",
            "n1    orders/3 epoch 7  2.0 MiB  unlinked, still open for 5 s  read by client \"c\" at \
             10.0.0.1:5 for 6 s, write, 2 unnamed",
            "n1    topic old               -  not removed for 1 m 0 s       read-only",
            "n1    orders/4 epoch 1  1.0 MiB  waits for its seal            its newest record is old",
            "n1    orders/5 epoch 2  1.0 KiB  1 m 0 s  1.0 MiB more",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
