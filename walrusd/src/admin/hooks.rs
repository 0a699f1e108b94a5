//! Harm on request, for tests of how the node fails and stops. There only with
//! `--enable-test-hooks`.

use std::{
    future::pending,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Router, extract::Path, http::StatusCode, routing::post};
use walrus_storage::segment::{Purpose, Whose};
use walrus_types::{Epoch, PartitionIndex, TopicPartition};

use super::{Health, routes::Sources};
use crate::{broker::Broker, partition::read::segment_id, shutdown::Tasks};

/// What the routes harm: the node's tasks, its health, its store.
pub(super) fn router(sources: &Sources) -> impl FnOnce(Tasks) -> Router<Sources> {
    let (health, broker) = (sources.health.clone(), Arc::clone(&sources.broker));
    move |tasks| {
        let held = tasks.clone();
        let hold =
            async move |Path((topic, partition, epoch, ms)): Path<(String, i32, i32, u64)>| {
                let broker = broker.get().and_then(Weak::upgrade);
                let place = (topic.as_str(), partition, Epoch(epoch));
                match broker
                    .and_then(|broker| hold(&broker, &held, place, Duration::from_millis(ms)))
                {
                    Some(()) => StatusCode::ACCEPTED,
                    None => StatusCode::NOT_FOUND,
                }
            };
        harms(health, tasks).route("/test/hold/{topic}/{partition}/{epoch}/{ms}", post(hold))
    }
}

/// Holds a segment as a reader does, for longer than one ever would.
fn hold(
    broker: &Broker,
    tasks: &Tasks,
    (topic, partition, epoch): (&str, i32, Epoch),
    time: Duration,
) -> Option<()> {
    let topic = broker.topic_by_name(topic)?.topic;
    let id = TopicPartition { topic: topic.id, partition: PartitionIndex(partition) };
    let chain = topic.partition(id.partition)?;
    let link = chain.chain().find(|link| link.key().epoch == epoch)?;
    let whose: Whose = Arc::new("a test");
    let held = broker.store.segment_for(segment_id(id, link), Purpose::Read, Some(whose));
    tasks.spawn("test-hold", async move {
        tokio::time::sleep(time).await;
        drop(held);
    });
    Some(())
}

fn harms(health: Health, tasks: Tasks) -> Router<Sources> {
    tracing::warn!("test hooks are open: whoever reaches the admin port can harm this node");
    let deaf = tasks.clone();
    let fail = async move || {
        health.fail("a test asked for it");
        StatusCode::ACCEPTED
    };
    let panic = async move || {
        tasks.spawn("test-panic", async { panic!("a test asked for it") });
        StatusCode::ACCEPTED
    };
    let hang = async move || {
        deaf.spawn("test-hang", pending());
        StatusCode::ACCEPTED
    };
    Router::new()
        .route("/test/fail", post(fail))
        .route("/test/panic", post(panic))
        .route("/test/hang", post(hang))
}
