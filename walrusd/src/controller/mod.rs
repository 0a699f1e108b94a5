//! What the node does without being asked: it follows the metadata, looks after its limits, and
//! watches over the cluster when it leads the metadata group.
//!
//! [`follow`] carries what the metadata says into partitions and files (a deleted topic, a pruned
//! segment, a changed config). [`monitor`] looks at sizes, ages and retention every so often and
//! proposes rolls and prunes. Deciding is `walrus-replication`'s and `walrus-metadata`'s.
//!
//! ```text
//!  every node          beat ──────────────> state ── Watch ──┐
//!  the controller      watch: fences, members of the group <─┘
//!                        ├── seal: one for each life that is over ── rolls
//!                        └── repair: copies of sealed segments that are missing
//! ```
//!
//! [`state`] is what the rest of the node sees of its controller part, [`cluster`] what that needs
//! of the world, [`nodes`] how placement sees the cluster, [`messages`] what is said.

pub mod balance;
pub mod beat;
pub mod cluster;
#[cfg(test)]
pub(crate) mod fake;
pub mod follow;
pub mod members;
pub mod messages;
pub mod monitor;
pub mod nodes;
pub mod repair;
pub mod rolls;
mod seal;
pub mod state;
pub mod watch;
pub mod world;

pub use state::ControllerState;
