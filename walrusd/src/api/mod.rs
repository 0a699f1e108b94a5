//! One request of a Kafka client: which handler serves it, and how its answer is encoded.
//!
//! A handler's part that must keep the order of the connection (checking a batch, giving it its
//! offset) runs in [`begin`]; what may take its time (an ack, a long poll) is a
//! [`Reply::Later`]. Owns no state: that is the [`Broker`]'s.

pub mod codes;
pub mod configs;
pub mod delete_records;
pub mod describe_cluster;
pub mod fetch;
pub mod find_coordinator;
pub mod groups;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod tools;
pub mod topics;
pub mod versions;
#[cfg(test)]
mod world;

use std::sync::Arc;

use bytes::Bytes;
use tracing::{error, warn};
use walrus_wire::{
    Api, Body, Request, RequestError,
    kafka_protocol::protocol::{Encodable, HeaderVersion},
    response,
};

use crate::{
    broker::Broker,
    net::{
        connection::Client,
        replies::{Frames, Reply},
    },
};

/// What of a request its answer needs.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// What was asked.
    pub api: Api,
    /// In which version; the answer has the same.
    pub version: i16,
    /// Goes back as it came.
    pub correlation_id: i32,
}

impl Head {
    /// The answer's frame. A body that its version cannot carry is our mistake: it is logged and
    /// the client, which would wait for ever, gets an empty answer that it cannot read.
    pub fn frames<R: Encodable + HeaderVersion>(self, body: &R) -> Frames {
        match response::encode(self.correlation_id, self.version, body) {
            Ok(frame) => frame.into(),
            Err(why) => {
                error!(api = ?self.api, version = self.version, %why, "an answer was not encoded");
                Frames::default()
            }
        }
    }

    /// An answer that is there.
    pub fn ready<R: Encodable + HeaderVersion>(self, body: &R) -> Reply {
        match response::encode(self.correlation_id, self.version, body) {
            Ok(frame) => Reply::Ready(frame.into()),
            Err(why) => {
                error!(api = ?self.api, version = self.version, %why, "an answer was not encoded");
                Reply::Close
            }
        }
    }
}

/// Serves one request up to the point where the connection's next one may begin.
pub async fn begin(broker: &Arc<Broker>, client: &mut Client, frame: Bytes) -> Reply {
    match walrus_wire::decode(frame) {
        Ok(request) => {
            broker.metrics.request(request.api);
            client.connection.asked(request.api, request.client_id.as_deref());
            dispatch(broker, client, request).await
        }
        Err(refused) => refuse(broker, client, refused),
    }
}

/// What a request that was not understood gets.
fn refuse(broker: &Broker, client: &Client, refused: RequestError) -> Reply {
    broker.metrics.refused_frame();
    if let RequestError::UnknownKey { key, version } = &refused {
        broker.asked_in_vain.note(client, *key, *version);
    }
    match refused {
        RequestError::UnsupportedVersion { reply: Some(frame), .. } => Reply::Ready(frame.into()),
        RequestError::UnsupportedVersion { .. }
        | RequestError::UnknownKey { .. }
        | RequestError::Malformed { .. }
        | RequestError::Headless(_) => {
            warn!(peer = %client.peer, why = %refused, "a request was refused; connection closed");
            Reply::Close
        }
    }
}

async fn dispatch(broker: &Arc<Broker>, client: &mut Client, request: Request) -> Reply {
    let Request { api, version, correlation_id, client_id, body } = request;
    let head = Head { api, version, correlation_id };
    match body {
        Body::Produce(body) => produce::begin(broker, client.reached, head, body).await,
        Body::Fetch(body) => fetch::begin(broker, client, head, body),
        Body::ListOffsets(body) => list_offsets::begin(broker, head, body),
        Body::Metadata(body) => metadata::begin(broker, client, head, body).await,
        Body::FindCoordinator(body) => {
            find_coordinator::begin(broker, client.reached, head, body).await
        }
        Body::OffsetCommit(body) => groups::commit(broker, head, body).await,
        Body::OffsetFetch(body) => groups::fetch(broker, head, body).await,
        Body::JoinGroup(body) => {
            groups::join(broker, (client, client_id.as_deref()), head, body).await
        }
        Body::Heartbeat(body) => groups::heartbeat(broker, head, body).await,
        Body::LeaveGroup(body) => groups::leave(broker, head, body).await,
        Body::SyncGroup(body) => groups::sync(broker, head, body).await,
        Body::DescribeGroups(body) => groups::describe(broker, head, body).await,
        Body::ListGroups(body) => groups::list(broker, head, body).await,
        Body::DeleteGroups(body) => groups::delete(broker, head, body).await,
        Body::OffsetDelete(body) => groups::delete_offsets(broker, head, body).await,
        Body::ApiVersions(body) => versions::begin(client, client_id.as_deref(), head, &body),
        Body::CreateTopics(body) => topics::create(broker, head, body).await,
        Body::DeleteTopics(body) => topics::delete(broker, head, body).await,
        Body::CreatePartitions(body) => topics::add_partitions(broker, head, body).await,
        Body::DeleteRecords(body) => delete_records::begin(broker, head, body).await,
        Body::InitProducerId(body) => init_producer_id::begin(broker, head, body).await,
        Body::OffsetForLeaderEpoch(body) => {
            offset_for_leader_epoch::begin(broker, head, body).await
        }
        Body::DescribeConfigs(body) => configs::describe(broker, head, body),
        Body::AlterConfigs(body) => configs::alter(broker, head, body).await,
        Body::IncrementalAlterConfigs(body) => {
            configs::alter_incrementally(broker, head, body).await
        }
        Body::DescribeCluster(body) => describe_cluster::begin(broker, client, head, &body),
        Body::Admin(body) => tools::begin(broker, head, body).await,
    }
}
