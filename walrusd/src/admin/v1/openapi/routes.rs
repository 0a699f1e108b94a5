//! What each route takes and tells. One line for each of `ROUTES`.

use walrus_admin::{
    cluster::{BootstrapRequest, ClusterStatus, FormAnswer, JoinRequest, SelfStatus},
    connection::ClientList,
    event::EventList,
    gc::GcStatus,
    group::{GroupList, GroupStatus},
    health::ClusterHealth,
    node::NodeList,
    operation::{CancelRequest, Operation, OperationList},
    partition::{Chain, PartitionList},
    plan::{Plan, RunRequest, Wanted},
    raft::RaftStatus,
    snapshot::{Snapshot, Vitals, VitalsList},
};

use super::describe::{Query, Route};

const VERSION: (u64, u64) = (0, u64::MAX);

const fn number(name: &'static str, bounds: (u64, u64), what: &'static str) -> Query {
    Query { name, bounds: Some(bounds), what }
}

const fn text(name: &'static str, what: &'static str) -> Query {
    Query { name, bounds: None, what }
}

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/self", "The node that answers, at any time").tells::<SelfStatus>(),
        Route::get("/v1/self/vitals", "What only that node knows of itself").tells::<Vitals>(),
        Route::get("/v1/snapshot", "The whole cluster at one moment, for consoles")
            .query(number("since", VERSION, "leaves out what is as it was at this version of the metadata, if the node remembers it"))
            .tells::<Snapshot>(),
        Route::get("/v1/events", "What changed, a page at a time, the oldest first")
            .query(number("after", VERSION, "events of greater versions; without it the newest are told"))
            .query(number("limit", (1, 1_000), "so many at most, and the rest of the last one's version"))
            .tells::<EventList>(),
        Route::get("/v1/stream", "Snapshots, events and vitals as they come, as server-sent events")
            .query(text("kinds", "which messages, with commas between them: snapshot, event, vitals, group, client; without it the first three"))
            .query(number("every_ms", (250, 60_000), "the time between two deltas (after a rest three may follow each other), and between two vitals; 1000 where it is missing"))
            .query(number("after", VERSION, "the version that the reader has; a header Last-Event-ID stands above it"))
            .query(text("topics", "only these topics, with commas between them"))
            .query(text("partitions", "only these partitions, as TOPIC/PARTITION with commas between them"))
            .query(text("nodes", "only these nodes, with commas between them"))
            .streams::<Snapshot>("snapshot").streams::<EventList>("events").streams::<VitalsList>("vitals")
            .streams::<GroupList>("groups").streams::<ClientList>("clients"),
        Route::get("/v1/openapi.json", "This description").tells_itself(),
        Route::get("/v1/cluster", "The cluster as this node's metadata has it").tells::<ClusterStatus>(),
        Route::get("/v1/cluster/health", "What that comes to").tells::<ClusterHealth>(),
        Route::post("/v1/cluster/bootstrap", "Tells a node that waits to found a cluster").takes::<BootstrapRequest>().tells::<FormAnswer>(),
        Route::post("/v1/cluster/join", "Tells a node that waits to join a cluster").takes::<JoinRequest>().tells::<FormAnswer>(),
        Route::get("/v1/nodes", "The nodes, and what each is needed for").tells::<NodeList>(),
        Route::get("/v1/partitions", "Partitions, a page at a time")
            .query(text("topic", "of that topic"))
            .query(text("leader", "led by that node"))
            .query(text("after", "those after TOPIC/PARTITION: the `next` of the page before"))
            .query(number("limit", (1, 1_000), "so many at most"))
            .tells::<PartitionList>(),
        Route::get("/v1/topics/{topic}/partitions/{partition}/segments", "A partition's chain, its newest part")
            .query(number("before", (0, i32::MAX as u64), "segments of lesser epochs"))
            .query(number("limit", (1, 1_000), "so many at most"))
            .tells::<Chain>(),
        Route::get("/v1/groups", "Consumer groups and what they have to read, a page at a time")
            .query(text("after", "those after that group: the `next` of the page before"))
            .query(number("limit", (1, 1_000), "so many at most"))
            .tells::<GroupList>(),
        Route::get("/v1/groups/{group}", "One group: its members, its lag in each partition").tells::<GroupStatus>(),
        Route::get("/v1/clients", "Who is connected to the nodes, a page at a time, the oldest connections first")
            .query(text("node", "to that node"))
            .query(text("after", "those after NODE/CONNECTION: the `next` of the page before"))
            .query(number("limit", (1, 1_000), "so many at most"))
            .tells::<ClientList>(),
        Route::get("/v1/gc", "What every node unlinked, what waits for it, and who holds what is pruned").tells::<GcStatus>(),
        Route::get("/v1/raft", "The metadata group as this node sees it").tells::<RaftStatus>(),
        Route::post("/v1/plans", "Says what a change would come to, and changes nothing").takes::<Wanted>().tells::<Plan>(),
        Route::get("/v1/plans/{plan}", "A plan, while it may be carried out").tells::<Plan>(),
        Route::post("/v1/plans/{plan}/run", "Carries a plan out").takes::<RunRequest>().tells::<Operation>(),
        Route::get("/v1/operations", "What is carried out, and was of late").tells::<OperationList>(),
        Route::get("/v1/operations/{operation}", "One operation").tells::<Operation>(),
        Route::post("/v1/operations/{operation}/cancel", "Takes an operation back; what was done stays").takes::<CancelRequest>().tells::<Operation>(),
    ]
}
