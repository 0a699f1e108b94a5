//! What Kafka's tools and consoles ask beside what clients need: how the cluster stands, what is
//! stored where, and what of Kafka is not here.
//!
//! Owns which handler serves which of them. Where to read next: the file of the request's name.

mod config_resources;
mod elect;
mod log_dirs;
mod producers;
mod quorum;
mod reassign;
mod security;
mod telemetry;
mod transactions;
mod unregister;

use std::sync::Arc;

use walrus_wire::AdminBody;

use super::{Head, metadata};
use crate::{broker::Broker, net::replies::Reply};

/// Serves one request of a tool.
pub async fn begin(broker: &Arc<Broker>, head: Head, body: AdminBody) -> Reply {
    match body {
        AdminBody::DescribeAcls(_) => security::describe_acls(head),
        AdminBody::CreateAcls(body) => security::create_acls(head, &body),
        AdminBody::DeleteAcls(body) => security::delete_acls(head, &body),
        AdminBody::DescribeLogDirs(body) => log_dirs::begin(broker, head, body).await,
        AdminBody::ElectLeaders(body) => elect::begin(broker, head, body).await,
        AdminBody::AlterPartitionReassignments(body) => reassign::alter(broker, head, &body).await,
        AdminBody::ListPartitionReassignments(body) => reassign::list(broker, head, &body),
        AdminBody::DescribeUserScramCredentials(body) => security::describe_users(head, &body),
        AdminBody::AlterUserScramCredentials(body) => security::alter_users(head, &body),
        AdminBody::DescribeQuorum(body) => quorum::begin(broker, head, &body).await,
        AdminBody::DescribeProducers(body) => producers::begin(broker, head, body).await,
        AdminBody::UnregisterBroker(body) => unregister::begin(broker, head, &body).await,
        AdminBody::DescribeTransactions(body) => transactions::describe(head, body),
        AdminBody::ListTransactions(body) => transactions::list(head, &body),
        AdminBody::GetTelemetrySubscriptions(body) => telemetry::subscriptions(head, &body),
        AdminBody::PushTelemetry(body) => telemetry::push(head, &body),
        AdminBody::ListConfigResources(body) => config_resources::begin(broker, head, &body),
        AdminBody::DescribeTopicPartitions(body) => metadata::describe(broker, head, &body),
    }
}
