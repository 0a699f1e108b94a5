//! `/v1`: what an operator asks a node, and has it do.
//!
//! | path | what |
//! |---|---|
//! | `GET /v1/self` | the node that answers, at any time |
//! | `GET /v1/self/vitals` | what only that node knows of itself |
//! | `GET /v1/snapshot` | the whole cluster at one moment, for consoles; `?since=VERSION` leaves out what is as it was then |
//! | `GET /v1/cluster`, `/v1/cluster/health` | the cluster as this node's metadata has it, and what that comes to |
//! | `POST /v1/cluster/bootstrap`, `/v1/cluster/join` | tells a node that waits what to form |
//! | `GET /v1/nodes` | the nodes, and what each is needed for |
//! | `POST /v1/nodes/{node}/drain`, `undrain`, `remove` | changes a node; `dry_run` says what it would come to |
//! | `GET /v1/partitions` | `topic`, `leader`, `after`, `limit`: partitions, a page at a time |
//! | `GET /v1/topics/{topic}/partitions/{partition}/segments` | a chain; `before`, `limit` |
//! | `POST /v1/topics/{topic}/partitions/{partition}/unsafe-seal` | goes on without the votes that a seal needs |
//! | `POST /v1/rollover` | rolls partitions over that this node leads |
//! | `GET /v1/groups` | consumer groups and what they have to read; `after`, `limit` |
//! | `GET /v1/groups/{group}` | one of them: its members, its lag in each partition |
//! | `GET /v1/raft`, `POST /v1/raft/transfer` | the metadata group; its leader hands over |
//!
//! Reads are answered by any node from its own metadata, changes that only one node can make by
//! that one; others answer who it is. Of groups only their coordinators know, so the node that is
//! asked asks them. Every change may be asked for twice. The models are
//! `walrus-admin`'s. Read next: `plan.rs` for what is refused, `answer.rs` for the form.

mod answer;
mod census;
mod changes;
mod cluster;
mod groups;
mod nodes;
mod partitions;
mod plan;
mod raft;
mod rollover;
mod snapshot;
mod unsafe_seal;

use axum::{
    Router,
    routing::{get, post},
};

pub(super) use self::answer::refusal;
pub use self::nodes::unregister;
pub(super) use self::{census::Latest, changes::Views};
use super::routes::Sources;

/// What there is, for whoever asks for something else.
pub(super) const ROUTES: [&str; 19] = [
    "GET /v1/self",
    "GET /v1/self/vitals",
    "GET /v1/snapshot",
    "GET /v1/cluster",
    "GET /v1/cluster/health",
    "POST /v1/cluster/bootstrap",
    "POST /v1/cluster/join",
    "GET /v1/nodes",
    "POST /v1/nodes/{node}/drain",
    "POST /v1/nodes/{node}/undrain",
    "POST /v1/nodes/{node}/remove",
    "GET /v1/partitions",
    "GET /v1/topics/{topic}/partitions/{partition}/segments",
    "POST /v1/topics/{topic}/partitions/{partition}/unsafe-seal",
    "POST /v1/rollover",
    "GET /v1/groups",
    "GET /v1/groups/{group}",
    "GET /v1/raft",
    "POST /v1/raft/transfer",
];

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/self", get(cluster::myself))
        .route("/v1/self/vitals", get(snapshot::vitals))
        .route("/v1/snapshot", get(snapshot::snapshot))
        .route("/v1/cluster", get(cluster::status))
        .route("/v1/cluster/health", get(cluster::health))
        .route("/v1/cluster/bootstrap", post(cluster::bootstrap))
        .route("/v1/cluster/join", post(cluster::join))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{node}/drain", post(nodes::drain))
        .route("/v1/nodes/{node}/undrain", post(nodes::undrain))
        .route("/v1/nodes/{node}/remove", post(nodes::remove))
        .route("/v1/partitions", get(partitions::list))
        .route("/v1/topics/{topic}/partitions/{partition}/segments", get(partitions::chain))
        .route(
            "/v1/topics/{topic}/partitions/{partition}/unsafe-seal",
            post(unsafe_seal::unsafe_seal),
        )
        .route("/v1/rollover", post(rollover::rollover))
        .route("/v1/groups", get(groups::list))
        .route("/v1/groups/{group}", get(groups::one))
        .route("/v1/raft", get(raft::status))
        .route("/v1/raft/transfer", post(raft::transfer))
}
