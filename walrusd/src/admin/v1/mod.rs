//! `/v1`: what an operator asks a node, and has it do.
//!
//! | path | what |
//! |---|---|
//! | `GET /v1/self` | the node that answers, at any time |
//! | `GET /v1/self/vitals` | what only that node knows of itself |
//! | `GET /v1/snapshot` | the whole cluster at one moment, for consoles; `?since=VERSION` leaves out what is as it was then |
//! | `GET /v1/events` | what changed; `after`, `limit` |
//! | `GET /v1/stream` | snapshots, events and vitals as they come, as server-sent events |
//! | `GET /v1/openapi.json` | all of this for programs; see `openapi/` for what a new route needs |
//! | `GET /v1/cluster`, `/v1/cluster/health` | the cluster as this node's metadata has it, and what that comes to |
//! | `POST /v1/cluster/bootstrap`, `/v1/cluster/join` | tells a node that waits what to form |
//! | `GET /v1/nodes` | the nodes, and what each is needed for |
//! | `GET /v1/partitions` | `topic`, `leader`, `after`, `limit`: partitions, a page at a time |
//! | `GET /v1/topics/{topic}/partitions/{partition}/segments` | a chain; `before`, `limit` |
//! | `GET /v1/groups` | consumer groups and what they have to read; `after`, `limit` |
//! | `GET /v1/groups/{group}` | one of them: its members, its lag in each partition |
//! | `GET /v1/clients` | who is connected; `node`, `after`, `limit` |
//! | `GET /v1/gc` | what is unlinked, what waits for it, and who holds it |
//! | `GET /v1/raft` | the metadata group |
//! | `POST /v1/plans` | says what a drain, an undrain, a removal, a rollover, another leader of the metadata group or an unsafe seal would come to |
//! | `GET /v1/plans/{plan}`, `POST /v1/plans/{plan}/run` | such a plan; carries it out |
//! | `GET /v1/operations`, `/v1/operations/{operation}` | what is carried out, and was of late |
//! | `POST /v1/operations/{operation}/cancel` | takes it back |
//!
//! Any node answers everything. Reads come from its own metadata; of groups only their coordinators
//! know, of clients the nodes that serve them and of plans only the controller, so the node that is asked asks them. Every change of a
//! cluster is a plan first, and may be asked for twice. The models are `walrus-admin`'s. Read next:
//! `operations.rs` for changes, `crate::operations` for what they come to, `answer.rs` for the form.

mod answer;
mod changes;
mod clients;
mod cluster;
mod events;
mod gc;
mod groups;
mod nodes;
mod openapi;
mod operations;
mod partitions;
mod raft;
mod snapshot;
mod stream;

use axum::{
    Router,
    routing::{get, post},
};

pub(super) use self::{answer::refusal, stream::Hub};
use super::routes::Sources;

/// What there is, for whoever asks for something else.
pub(super) const ROUTES: [&str; 24] = [
    "GET /v1/self",
    "GET /v1/self/vitals",
    "GET /v1/snapshot",
    "GET /v1/events",
    "GET /v1/stream",
    "GET /v1/openapi.json",
    "GET /v1/cluster",
    "GET /v1/cluster/health",
    "POST /v1/cluster/bootstrap",
    "POST /v1/cluster/join",
    "GET /v1/nodes",
    "GET /v1/partitions",
    "GET /v1/topics/{topic}/partitions/{partition}/segments",
    "GET /v1/groups",
    "GET /v1/groups/{group}",
    "GET /v1/clients",
    "GET /v1/gc",
    "GET /v1/raft",
    "POST /v1/plans",
    "GET /v1/plans/{plan}",
    "POST /v1/plans/{plan}/run",
    "GET /v1/operations",
    "GET /v1/operations/{operation}",
    "POST /v1/operations/{operation}/cancel",
];

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/self", get(cluster::myself))
        .route("/v1/self/vitals", get(snapshot::vitals))
        .route("/v1/snapshot", get(snapshot::snapshot))
        .route("/v1/events", get(events::list))
        .route("/v1/stream", get(stream::stream))
        .route("/v1/openapi.json", get(openapi::description))
        .route("/v1/cluster", get(cluster::status))
        .route("/v1/cluster/health", get(cluster::health))
        .route("/v1/cluster/bootstrap", post(cluster::bootstrap))
        .route("/v1/cluster/join", post(cluster::join))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/partitions", get(partitions::list))
        .route("/v1/topics/{topic}/partitions/{partition}/segments", get(partitions::chain))
        .route("/v1/groups", get(groups::list))
        .route("/v1/groups/{group}", get(groups::one))
        .route("/v1/clients", get(clients::list))
        .route("/v1/gc", get(gc::status))
        .route("/v1/raft", get(raft::status))
        .route("/v1/plans", post(operations::plan))
        .route("/v1/plans/{plan}", get(operations::planned))
        .route("/v1/plans/{plan}/run", post(operations::run))
        .route("/v1/operations", get(operations::list))
        .route("/v1/operations/{operation}", get(operations::one))
        .route("/v1/operations/{operation}/cancel", post(operations::cancel))
}
