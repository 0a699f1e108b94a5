//! One segment: a file of batches, what of it is in memory, and where its batches are.
//!
//! A batch is appended to the WAL and to the hot tail at once; when the WAL has it, the
//! background writer puts it into the segment's file and the hot tail may drop it. `handle.rs`
//! is the segment as its users hold it; `state.rs` draws the marks that a byte passes.
//!
//! ```text
//!  append.rs  cut.rs  read.rs  lookup.rs     what users call
//!  load.rs    flush.rs   hold.rs             what is on disk; what the writer does; who reads
//!  state.rs   index.rs  scan.rs              marks, places, the judgement of one batch
//!  path.rs    index_file.rs  state_file.rs   names and byte formats
//! ```
//!
//! Owns no thread and no policy: `store/` decides when something is written.

mod append;
mod cut;
mod error;
mod flush;
mod handle;
mod hold;
pub(crate) mod index;
pub(crate) mod index_file;
mod load;
mod lookup;
pub(crate) mod path;
mod read;
pub(crate) mod scan;
pub(crate) mod sizes;
pub(crate) mod state;
pub(crate) mod state_file;

pub use error::{AppendError, CutError, ReadError, StoreFailed};
pub(crate) use flush::{IndexWhen, Piece, Swept};
pub use handle::{Extent, Segment, StateError};
pub use hold::{HOLDERS_MAX, Held, Holder, Purpose, Whose};
pub use read::{CHUNK_BYTES_MAX, Chunk};
