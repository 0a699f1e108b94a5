//! What nodes and the controller tell each other on the peer port: postcard, one value per frame.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use walrus_metadata::{Placement, Reason};
use walrus_replication::{
    lag::{Published, Telling},
    liveness::{Answer, Beat},
};
use walrus_types::{Epoch, NodeId, TopicPartition};

/// A node is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatRequest {
    /// Which.
    pub node: NodeId,
    /// What it says of itself.
    pub beat: Beat,
    /// What it says of members that lag.
    pub lag: Telling,
}

/// What the controller says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatReply {
    /// What becomes of its leases.
    pub answer: Answer,
    /// The Raft term in which the controller was elected.
    pub term: u64,
    /// The controller; nothing when the node that was asked is none.
    pub controller: Option<NodeId>,
    /// Nodes that the controller does not hear, and for how many milliseconds.
    pub silent: Vec<(NodeId, u64)>,
    /// Nodes that cannot reach others, by what they say.
    pub unreachable: Vec<(NodeId, Vec<NodeId>)>,
    /// What leaders say of members that lag.
    pub lag: Published,
}

/// A roll that the controller wants of a leader, for the cluster's balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Of which segment: another one is left alone.
    pub epoch: Epoch,
    /// Why.
    pub reason: Reason,
    /// Where its successor is to be.
    pub placement: Placement,
}

/// Orders to one leader.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Orders(pub Vec<Order>);

/// The bytes of a message.
pub fn encode<T: Serialize>(message: &T) -> Bytes {
    Bytes::from(postcard::to_stdvec(message).expect("a message has only plain data"))
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// When it is anything else.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(why) => Err(format!("malformed: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use walrus_replication::lag::{Edition, Laggards};
    use walrus_types::Incarnation;

    use super::*;

    #[test]
    fn a_message_comes_back_as_it_went_and_no_part_of_it_does() {
        let beat = Beat {
            incarnation: Incarnation(7),
            applied: 300,
            flush_age_ms: 2,
            unreachable: vec![NodeId(3)],
            is_leaving: true,
        };
        let behind = Laggards {
            partition: TopicPartition::default(),
            epoch: Epoch(7),
            members: vec![NodeId(3)],
        };
        let edition = Edition { term: 3, number: 1 };
        let lag = Telling { version: 4, list: Some(vec![behind.clone()]), edition };
        let request = BeatRequest { node: NodeId(2), beat, lag };
        let bytes = encode(&request);
        assert_eq!(decode::<BeatRequest>(&bytes), Ok(request));
        for cut in 0..bytes.len() {
            assert!(decode::<BeatRequest>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(decode::<BeatRequest>(&[&bytes[..], &[0]].concat()).is_err());
        let reply = BeatReply {
            answer: Answer::Withheld,
            term: 3,
            controller: Some(NodeId(1)),
            silent: vec![(NodeId(3), 1200)],
            unreachable: vec![(NodeId(2), vec![NodeId(3)])],
            lag: Published { version: 4, edition, list: Some(vec![behind]) },
        };
        assert_eq!(decode::<BeatReply>(&encode(&reply)), Ok(reply));
    }
}
