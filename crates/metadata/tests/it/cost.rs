//! What commands cost while a reader holds the view before. Run with
//! `cargo test -p walrus-metadata --release -- --ignored --nocapture cost`.

#![expect(clippy::disallowed_methods, reason = "this measures")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use walrus_metadata::{Command, Metadata, Prune, Roll};
use walrus_types::{Epoch, NodeId};

use crate::world::{apply, new_topic, on, partition, prune, roll, world};

fn wide(topics: u32, partitions: usize) -> Metadata {
    let mut state = world(3);
    for number in 0..topics {
        let new = new_topic(100 + u128::from(number), &format!("n{number}"), 1, &[1, 2, 3]);
        let partitions = vec![on(&[1, 2, 3]); partitions];
        let new = walrus_metadata::NewTopic { partitions, ..new };
        apply(&mut state, &Command::CreateTopics(vec![new]));
    }
    state
}

fn measure(what: &str, mut state: Metadata, count: u32, command: impl Fn(u32) -> Command) {
    let mut took = Vec::new();
    for number in 0..count {
        let command = command(number);
        let held = state.clone();
        let start = Instant::now();
        black_box(apply(&mut state, &command));
        took.push(start.elapsed());
        drop(held);
    }
    took.sort();
    let at = |part: usize| took[took.len() * part / 100];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), took[took.len() - 1]);
    assert!(at(50) < Duration::from_micros(50), "{what}");
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_command_while_a_reader_holds_the_view_before() {
    let of = |topic: u128, index: i32, epoch: i32| Roll {
        partition: partition(topic, index),
        ..roll(epoch, i64::from(epoch) * 10, &[1, 2, 3])
    };
    let many_topics = wide(10_000, 1);
    measure("roll, 10,000 topics of 1", many_topics.clone(), 10_000, |n| {
        Command::Roll(vec![of(100 + u128::from(n * 7919 % 10_000), 0, 1)])
    });
    measure("roll, 1 topic of 10,000", wide(1, 10_000), 10_000, |n| {
        let index = i32::try_from(n * 7919 % 10_000).unwrap();
        Command::Roll(vec![of(100, index, 1)])
    });
    let grow = |n: u32| Command::Roll(vec![of(1, 0, 1 + i32::try_from(n).unwrap())]);
    measure("roll, 1 chain of 100,000", wide(0, 0), 100_000, grow);
    measure("producer ids", many_topics.clone(), 10_000, |_| Command::ProducerIds);

    let mut state = wide(0, 0);
    for n in 0..100_000 {
        apply(&mut state, &grow(n));
    }
    measure("prune of 1 of 100,000", state.clone(), 50_000, |n| {
        let log_start = i64::from(n + 1) * 10;
        Command::Prune(vec![Prune { expected: Epoch(100_001), ..prune(0, log_start) }])
    });
    let start = Instant::now();
    let bytes = state.encode();
    println!("encode 100,000 segments: {:?}, {} bytes", start.elapsed(), bytes.len());
    let start = Instant::now();
    black_box(Metadata::decode(&bytes).unwrap());
    println!("decode: {:?}", start.elapsed());
    let start = Instant::now();
    let bytes = many_topics.encode();
    println!("encode 10,000 topics: {:?}, {} bytes", start.elapsed(), bytes.len());
    let old = many_topics.clone();
    let mut new = many_topics;
    apply(&mut new, &Command::Roll(vec![of(5_000, 0, 1)]));
    let start = Instant::now();
    let found = black_box(new.diff(&old)).len();
    println!("diff of {found}: {:?}", start.elapsed());
    cost_of_questions(&new);
}

fn cost_of_questions(state: &Metadata) {
    let mut fenced = state.clone();
    apply(&mut fenced, &crate::world::fence(1, 1));
    type Question<'a> = (&'a str, &'a dyn Fn() -> usize);
    let questions: [Question<'_>; 5] = [
        ("left open, none", &|| state.left_open().count()),
        ("left open, all", &|| fenced.left_open().count()),
        ("leases of a node", &|| state.leases_of(NodeId(1)) as usize),
        ("what a node holds", &|| state.holding(NodeId(1)).open as usize),
        ("short of copies", &|| state.short_of_copies(|member| member.node.0 > 1, 100).len()),
    ];
    for (what, ask) in questions {
        let start = Instant::now();
        let found = black_box(ask());
        let took = start.elapsed();
        println!("{what}, of {} partitions: {found} in {took:?}", state.partitions_total());
        assert!(took < Duration::from_millis(5), "{what}");
    }
}
