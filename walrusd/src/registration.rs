//! A node tells its cluster that it is there, and in which life. Before that nothing is asked of it.

use tracing::info;
use walrus_metadata::{Command, Register, RegisterRefusal, Reply};
use walrus_raft::{MetadataNode, ProposeError};

use crate::{
    forming::{FormError, Patience, REMOVED_NEXT, sent_away},
    peer::Links,
};

/// Why a node does not take part.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The cluster does not take it.
    #[error("this node may not register: {refusal}\n  next: {}", next_step(.refusal))]
    Refused {
        /// Why.
        refusal: RegisterRefusal,
    },
    /// The others do not talk to it.
    #[error(transparent)]
    SentAway(#[from] FormError),
    /// The metadata group has failed.
    #[error("the node cannot register: {0}")]
    Failed(ProposeError),
    /// Our mistake.
    #[error("registering was answered with {0:?}")]
    Unexpected(Reply),
}

fn next_step(refusal: &RegisterRefusal) -> String {
    match refusal {
        RegisterRefusal::OtherCluster { ours, .. } => {
            format!("start it with an empty --data-dir to join cluster {ours}")
        }
        RegisterRefusal::OtherStorage { known, .. } => format!(
            "start it with the folder that is storage {known}, or remove the node first; another \
             node takes a --node-id of its own"
        ),
        RegisterRefusal::StorageOfOther { owner } => {
            format!("start it with --node-id {}, or with an empty --data-dir", owner.0)
        }
        RegisterRefusal::PastIncarnation { .. } => {
            "this folder is an old copy, or its node runs elsewhere: start the newer one, or \
             remove the node and start it with an empty --data-dir"
                .into()
        }
        RegisterRefusal::Removed | RegisterRefusal::StorageSpent { .. } => REMOVED_NEXT.into(),
        RegisterRefusal::TooManyNodes { .. } => "remove a node that is not used any more".into(),
        RegisterRefusal::TooLong { .. } => "give a shorter host name or rack".into(),
        RegisterRefusal::TooManyStorages { .. } => "give it a --node-id that was never used".into(),
    }
}

/// Registers until it is known what became of it; answers the index up to which this node has
/// applied the metadata, which has the registration in it. Tells `waiting` what it waits for.
///
/// # Errors
/// [`RegisterError`].
pub async fn register(
    raft: &MetadataNode,
    links: &Links,
    new: Register,
    waiting: impl Fn(&str),
) -> Result<u64, RegisterError> {
    let command = Command::Register(new.clone());
    let mut patience = Patience::default();
    // Whether an earlier try may have been applied.
    let mut open = false;
    loop {
        let why = match raft.propose(&command).await {
            Ok(Reply::Registered(Ok(registered))) => {
                info!(incarnation = %new.incarnation, "registered");
                return Ok(registered.index);
            }
            Ok(Reply::Registered(Err(RegisterRefusal::PastIncarnation { known, given })))
                if open && known == given && is_there(raft, &new) =>
            {
                return Ok(raft.state().applied());
            }
            Ok(Reply::Registered(Err(refusal))) => return Err(RegisterError::Refused { refusal }),
            Ok(other) => return Err(RegisterError::Unexpected(other)),
            Err(why @ (ProposeError::Stopped(_) | ProposeError::TooLarge { .. })) => {
                return Err(RegisterError::Failed(why));
            }
            Err(why @ ProposeError::Unknown) => {
                open = true;
                why
            }
            Err(why @ (ProposeError::NotLeader { .. } | ProposeError::Full)) => why,
        };
        // A node that nobody talks to would wait for ever.
        let others = raft.group().members().into_iter().map(|member| member.peer);
        if let Some(refused) = sent_away(links, others).await {
            return Err(refused.into());
        }
        let why = why.to_string();
        waiting(&why);
        patience.wait(&why).await;
    }
}

/// Whether the node is registered as `new` says.
fn is_there(raft: &MetadataNode, new: &Register) -> bool {
    let metadata = raft.state();
    metadata.node(new.node).is_some_and(|node| {
        let known = (node.storage, node.incarnation, &node.addresses);
        known == (new.storage, new.incarnation, &new.addresses)
    })
}
