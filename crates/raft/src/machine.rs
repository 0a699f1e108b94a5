//! Committed entries become metadata here, and views of it go out.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    entry::RaftEntry as _,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::watch;
use walrus_metadata::{Command, Metadata};

use crate::{
    snapshots::Snapshots,
    types::{Answer, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
};

/// The state as of the last applied entry.
#[derive(Debug)]
pub(crate) struct Machine {
    metadata: Metadata,
    applied: Option<LogId>,
    membership: StoredMembership,
    views: watch::Sender<Arc<Metadata>>,
    snapshots: Snapshots,
}

impl Machine {
    pub(crate) fn new(snapshots: Snapshots) -> (Self, watch::Receiver<Arc<Metadata>>) {
        let (views, seen) = watch::channel(Arc::default());
        let machine = Self {
            metadata: Metadata::default(),
            applied: None,
            membership: StoredMembership::default(),
            views,
            snapshots,
        };
        (machine, seen)
    }

    fn publish(&self) {
        self.views.send_replace(Arc::new(self.metadata.clone()));
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let log_id = entry.log_id();
            let reply = match entry.payload {
                EntryPayload::Normal(proposal) => {
                    let command = Command::decode(&proposal.0).map_err(|error| {
                        let what = format!("entry {log_id} of the metadata log: {error}");
                        io::Error::new(io::ErrorKind::InvalidData, what)
                    })?;
                    Some(self.metadata.apply(log_id.index, &command))
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(log_id), membership);
                    None
                }
                EntryPayload::Blank => None,
            };
            // The very first entry, which founds the group, has index 0 and is never a command.
            if reply.is_none() && log_id.index > 0 {
                self.metadata.skip(log_id.index);
            }
            self.applied = Some(log_id);
            answers.extend(responder.map(|responder| (responder, Answer(reply))));
        }
        // The view goes first: who has an answer sees what it did.
        self.publish();
        for (responder, answer) in answers {
            responder.send(answer);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { meta, metadata: self.metadata.clone(), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, state: Bytes) -> io::Result<()> {
        let metadata = Metadata::decode(&state)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let snapshots = self.snapshots.clone();
        let to_write = meta.clone();
        // At a restart openraft installs what it has just read from here.
        blocking(move || match snapshots.newest() {
            Ok(Some(newest)) if newest.meta == to_write => Ok(()),
            _ => snapshots.write(&to_write, &state),
        })
        .await?;
        self.metadata = metadata;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        blocking(move || snapshots.newest().map_err(io::Error::from)).await
    }
}

/// A view of the state, to be written down while the state goes on.
#[derive(Debug)]
pub(crate) struct Builder {
    meta: SnapshotMeta,
    metadata: Metadata,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, metadata) = (self.meta.clone(), self.metadata.clone());
        let snapshots = self.snapshots.clone();
        blocking(move || {
            let state = Bytes::from(metadata.encode());
            snapshots.write(&meta, &state)?;
            Ok(Snapshot { meta, snapshot: state })
        })
        .await
    }
}

/// Runs what waits for the disk where that holds up nothing else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}
