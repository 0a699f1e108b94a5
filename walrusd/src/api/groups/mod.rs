//! Consumer groups: what clients ask of a group's coordinator. `walrusd/src/groups` coordinates.

mod commit;
mod delete;
mod describe;
mod fetch;
mod heartbeat;
mod join;
mod leave;
mod list;
mod sync;

use walrus_groups::GroupError;
use walrus_wire::kafka_protocol::protocol::StrBytes;

pub use self::{
    commit::commit,
    delete::{delete, delete_offsets},
    describe::describe,
    fetch::fetch,
    heartbeat::heartbeat,
    join::join,
    leave::leave,
    list::list,
    sync::sync,
};
use super::codes::Refusal;
use crate::groups::Unready;

/// Why a request about a group is refused, by its coordinator or before it was asked.
type Refused = Result<(), Refusal>;

/// The code of an outcome; 0 is none.
fn code(outcome: &Refused) -> i16 {
    outcome.as_ref().err().map_or(0, |refusal| refusal.code.code())
}

/// A text of an answer.
fn text(text: String) -> StrBytes {
    StrBytes::from_string(text)
}

/// A text of a request that is kept: it must not hold the request's frame.
fn kept(text: &StrBytes) -> String {
    text.as_str().to_owned()
}

fn kept_if(text: Option<&StrBytes>) -> Option<String> {
    text.map(kept)
}

/// The coordinator answered another question than it was asked: our mistake.
fn unexpected() -> Refusal {
    Refusal::from(&GroupError::NotAvailable)
}

/// What a coordinator answered, or why it did not.
fn told<T>(answer: Result<Result<T, GroupError>, Unready>) -> Result<T, Refusal> {
    answer.map_err(|why| Refusal::from(&why))?.map_err(|why| Refusal::from(&why))
}
