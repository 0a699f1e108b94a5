//! Whose log this is. A log that answers for another disk or another cluster would vote twice, or
//! mix two histories; so it is named when it is made and asked on every start.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use walrus_storage::disk::Disk;
use walrus_types::{ClusterId, StorageId};

use crate::file::{self, FileError, Kind};

const KIND: Kind = Kind { magic: *b"WALRUSID", version: 1 };
const NAME: &str = "identity";

/// The disk and the cluster that a log belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The disk, which is the member's id in Raft.
    pub storage: StorageId,
    /// The cluster.
    pub cluster: ClusterId,
}

/// Why a log is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It came here from another disk.
    #[error("the metadata log in this folder belongs to storage {found}, this is storage {ours}")]
    Storage {
        /// This disk.
        ours: StorageId,
        /// What the log says.
        found: StorageId,
    },
    /// It belongs to another cluster.
    #[error("the metadata log in this folder belongs to cluster {found}, not to {ours}")]
    Cluster {
        /// The cluster that was asked for.
        ours: ClusterId,
        /// What the log says.
        found: ClusterId,
    },
    /// There is a log and nothing says whose.
    #[error("there is a metadata log in this folder and no file that says whose it is")]
    Unnamed,
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What the folder says, if there is a log in it.
pub(crate) fn find(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<Identity>, FileError> {
    let path = dir.join(NAME);
    let Some(body) = file::read(disk, &path, KIND)? else { return Ok(None) };
    let identity = postcard::from_bytes(&body);
    identity.map(Some).map_err(|error| FileError::Damaged { path, what: error.to_string() })
}

/// Names a new log, or makes sure that the one that is there is `ours`.
pub(crate) fn settle(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    ours: Identity,
    log_is_there: bool,
) -> Result<(), IdentityError> {
    match find(disk, dir)? {
        Some(found) if found.storage != ours.storage => {
            Err(IdentityError::Storage { ours: ours.storage, found: found.storage })
        }
        Some(found) if found.cluster != ours.cluster => {
            Err(IdentityError::Cluster { ours: ours.cluster, found: found.cluster })
        }
        Some(_) => Ok(()),
        None if log_is_there => Err(IdentityError::Unnamed),
        None => {
            let body = postcard::to_stdvec(&ours).expect("two ids are plain data");
            let written = file::replace(disk, dir, NAME, KIND, &body);
            written.map_err(|source| FileError::Io { path: dir.join(NAME), source }.into())
        }
    }
}
