//! Every bound that has no setting, in one place. What a user may set stands in `walrusd`'s
//! configuration; a queue, cache or map anywhere in the project names its limit here or there.

/// The largest frame a client may send (Kafka's `socket.request.max.bytes`): 100 MiB.
pub const FRAME_BYTES_MAX: usize = 100 << 20;

/// The largest frame of a request that carries no records. Metadata for very many topics is the
/// largest honest one.
pub const CONTROL_FRAME_BYTES_MAX: usize = 8 << 20;

/// What is read of a frame before more room is made for it: the room grows with what has come,
/// never with what was announced. Holds a Produce of the usual largest size in one piece.
pub const FRAME_STEP_BYTES: usize = (1 << 20) + (64 << 10);

/// Strings and structs in the arrays of one request: room for a Fetch of every partition.
pub const REQUEST_ELEMENTS_MAX: usize = 1 << 18;

/// Tagged fields that nobody knows, in one request. Clients of today send none.
pub const UNKNOWN_TAGS_MAX: usize = 64;

/// What is kept of a client id; longer ones are cut.
pub const CLIENT_ID_BYTES_MAX: usize = 255;

/// The largest frame of the text protocol, and so the largest entry it can write.
pub const TEXT_FRAME_BYTES_MAX: usize = 16 << 20;

/// The largest record batch a topic may allow through `max.message.bytes`: half a file of the
/// default WAL ring, which never splits a batch.
pub const BATCH_BYTES_MAX: usize = 32 << 20;

/// What one compressed batch may inflate to when the broker must look inside it.
pub const INFLATED_BYTES_MAX: usize = 256 << 20;

/// Requests of one connection that may be under way at once; the next is read when one is done.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;

/// Kafka's limit on the length of a topic's name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The most partitions one topic may have.
pub const TOPIC_PARTITIONS_MAX: i32 = 10_000;

/// The most partitions a cluster may have.
pub const PARTITIONS_MAX: usize = 200_000;

/// Rolls, prunes or member changes that travel in one metadata command.
pub const CHANGES_PER_COMMAND_MAX: usize = 1_000;

/// Producer ids that are handed out to a node in one block.
pub const PRODUCER_ID_BLOCK: i64 = 1_000;

/// Batches whose sequences are remembered for each idempotent producer (KIP-98).
pub const PRODUCER_BATCHES_REMEMBERED: usize = 5;

/// Idempotent producers remembered for each partition; past it the longest idle is forgotten.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 10_000;

/// Incremental fetch sessions that a node keeps (Kafka's
/// `max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS_MAX: usize = 1_000;

/// Partitions in all fetch sessions of a node together.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 1_000_000;
