//! Which requests are served, and in which versions.
//!
//! The one table that ApiVersions is answered from and that a frame's key is held against. A key
//! stands here only when it works or answers with a code that its clients survive.
//!
//! Produce is advertised from version 0 although only 3 and later are served: older librdkafka
//! takes the whole range as the sign that it may compress (KAFKA-18659). Versions 0 to 2 get an
//! answer in their own format that says UNSUPPORTED_VERSION, see `legacy.rs`.

use kafka_protocol::messages::{ApiVersionsResponse, api_versions_response::ApiVersion};

/// A request that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Api {
    /// Appends records.
    Produce = 0,
    /// Reads records.
    Fetch = 1,
    /// Offsets by time, first, last.
    ListOffsets = 2,
    /// Who leads what, and where.
    Metadata = 3,
    /// Commits how far a group has read.
    OffsetCommit = 8,
    /// How far a group has read.
    OffsetFetch = 9,
    /// Who coordinates a group or transaction.
    FindCoordinator = 10,
    /// Takes part in a group's next generation.
    JoinGroup = 11,
    /// A member is there.
    Heartbeat = 12,
    /// Members go.
    LeaveGroup = 13,
    /// What a member of a generation has to do.
    SyncGroup = 14,
    /// Groups and their members.
    DescribeGroups = 15,
    /// The groups that a node coordinates.
    ListGroups = 16,
    /// This table.
    ApiVersions = 18,
    /// Makes topics.
    CreateTopics = 19,
    /// Drops topics.
    DeleteTopics = 20,
    /// Moves a partition's log start.
    DeleteRecords = 21,
    /// Producer ids and epochs.
    InitProducerId = 22,
    /// Where an epoch ends.
    OffsetForLeaderEpoch = 23,
    /// Who may do what.
    DescribeAcls = 29,
    /// Allows and forbids.
    CreateAcls = 30,
    /// Takes that back.
    DeleteAcls = 31,
    /// Reads configs.
    DescribeConfigs = 32,
    /// Replaces configs.
    AlterConfigs = 33,
    /// What a node stores.
    DescribeLogDirs = 35,
    /// Adds partitions to topics.
    CreatePartitions = 37,
    /// Drops groups without members.
    DeleteGroups = 42,
    /// Has the preferred nodes lead.
    ElectLeaders = 43,
    /// Changes configs one by one.
    IncrementalAlterConfigs = 44,
    /// Says which nodes are to store partitions.
    AlterPartitionReassignments = 45,
    /// What of that is not done yet.
    ListPartitionReassignments = 46,
    /// Forgets how far a group has read.
    OffsetDelete = 47,
    /// Whose passwords are known.
    DescribeUserScramCredentials = 50,
    /// Sets and forgets them.
    AlterUserScramCredentials = 51,
    /// The metadata group.
    DescribeQuorum = 55,
    /// The nodes.
    DescribeCluster = 60,
    /// The idempotent producers of partitions.
    DescribeProducers = 61,
    /// Takes a node out of the cluster.
    UnregisterBroker = 64,
    /// Transactions by name.
    DescribeTransactions = 65,
    /// All transactions.
    ListTransactions = 66,
    /// Which of its metrics a client is to push.
    GetTelemetrySubscriptions = 71,
    /// A client's metrics.
    PushTelemetry = 72,
    /// What has configs.
    ListConfigResources = 74,
    /// Topics, a page at a time.
    DescribeTopicPartitions = 75,
}

/// The versions of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// What ApiVersions says is the first.
    pub advertised_min: i16,
    /// The first that is decoded and answered.
    pub min: i16,
    /// The last, advertised and answered.
    pub max: i16,
}

const fn from(min: i16, max: i16) -> Served {
    Served { advertised_min: min, min, max }
}

impl Api {
    /// All of them, by key.
    pub const ALL: [Self; 44] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::OffsetCommit,
        Self::OffsetFetch,
        Self::FindCoordinator,
        Self::JoinGroup,
        Self::Heartbeat,
        Self::LeaveGroup,
        Self::SyncGroup,
        Self::DescribeGroups,
        Self::ListGroups,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::DeleteTopics,
        Self::DeleteRecords,
        Self::InitProducerId,
        Self::OffsetForLeaderEpoch,
        Self::DescribeAcls,
        Self::CreateAcls,
        Self::DeleteAcls,
        Self::DescribeConfigs,
        Self::AlterConfigs,
        Self::DescribeLogDirs,
        Self::CreatePartitions,
        Self::DeleteGroups,
        Self::ElectLeaders,
        Self::IncrementalAlterConfigs,
        Self::AlterPartitionReassignments,
        Self::ListPartitionReassignments,
        Self::OffsetDelete,
        Self::DescribeUserScramCredentials,
        Self::AlterUserScramCredentials,
        Self::DescribeQuorum,
        Self::DescribeCluster,
        Self::DescribeProducers,
        Self::UnregisterBroker,
        Self::DescribeTransactions,
        Self::ListTransactions,
        Self::GetTelemetrySubscriptions,
        Self::PushTelemetry,
        Self::ListConfigResources,
        Self::DescribeTopicPartitions,
    ];

    /// The versions served.
    #[must_use]
    pub const fn served(self) -> Served {
        match self {
            // 12 lets a batch begin a transaction (KIP-890), and a transactional id is refused in
            // all of them; 13 names topics by id.
            Self::Produce => Served { advertised_min: 0, min: 3, max: 13 },
            // 15, 17 and 18 add fields that only Kafka's own replicas send.
            Self::Fetch => from(4, 18),
            // 7 asks for the greatest timestamp; 8 and later for tiers that are not there.
            Self::ListOffsets => from(1, 7),
            Self::Metadata => from(0, 12),
            // librdkafka takes version 0 as the sign that LZ4 works.
            Self::FindCoordinator | Self::DescribeGroups => from(0, 6),
            Self::ApiVersions | Self::InitProducerId | Self::Heartbeat => from(0, 4),
            Self::OffsetCommit => from(2, 9),
            Self::OffsetFetch => from(1, 9),
            // From 0, or older librdkafka takes it as the sign that Kerberos does not work.
            Self::JoinGroup => from(0, 9),
            Self::LeaveGroup | Self::SyncGroup | Self::ListGroups => from(0, 5),
            Self::CreateTopics => from(2, 7),
            Self::DeleteTopics => from(1, 6),
            Self::DeleteRecords
            | Self::AlterConfigs
            | Self::DeleteGroups
            | Self::ElectLeaders
            | Self::DescribeQuorum => from(0, 2),
            Self::OffsetForLeaderEpoch => from(2, 4),
            Self::DescribeAcls | Self::CreateAcls | Self::DeleteAcls => from(1, 3),
            Self::DescribeConfigs | Self::DescribeLogDirs => from(1, 4),
            Self::CreatePartitions => from(0, 3),
            // ListTransactions 2 picks names by an expression: where there are none, none is read.
            Self::IncrementalAlterConfigs
            | Self::AlterPartitionReassignments
            | Self::DescribeCluster
            | Self::ListTransactions
            | Self::ListConfigResources => from(0, 1),
            Self::OffsetDelete
            | Self::ListPartitionReassignments
            | Self::DescribeUserScramCredentials
            | Self::AlterUserScramCredentials
            | Self::DescribeProducers
            | Self::UnregisterBroker
            | Self::DescribeTransactions
            | Self::GetTelemetrySubscriptions
            | Self::PushTelemetry
            | Self::DescribeTopicPartitions => from(0, 0),
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// The request with this number, when it is served.
    #[must_use]
    pub fn from_key(key: i16) -> Option<Self> {
        let at = Self::ALL.binary_search_by_key(&key, |api| api.key()).ok()?;
        Some(Self::ALL[at])
    }

    /// Whether a request of this version is decoded and answered.
    #[must_use]
    pub const fn serves(self, version: i16) -> bool {
        let Served { min, max, .. } = self.served();
        min <= version && version <= max
    }
}

/// The table as ApiVersions tells it, with `error_code`; features are the caller's to add.
#[must_use]
pub fn api_versions(error_code: i16) -> ApiVersionsResponse {
    let keys = Api::ALL.iter().map(|api| {
        let Served { advertised_min, max, .. } = api.served();
        ApiVersion::default()
            .with_api_key(api.key())
            .with_min_version(advertised_min)
            .with_max_version(max)
    });
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(keys.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard;
    use kafka_protocol::messages::ApiKey;

    #[test]
    fn a_key_without_a_shape_or_a_decoder_is_not_advertised() {
        for api in Api::ALL {
            let Served { advertised_min, min, max } = api.served();
            assert!(advertised_min <= min && min <= max, "{api:?}");
            let decoded = ApiKey::try_from(api.key()).unwrap().valid_versions();
            assert!(decoded.min <= min && max <= decoded.max, "{api:?}: decoder {decoded}");
            for version in min..=max {
                assert!(guard::knows(api.key(), version), "{api:?} v{version} has no shape");
            }
        }
    }

    #[test]
    fn keys_are_found_by_number_and_no_others_are() {
        let mut found = 0;
        for key in i16::MIN..=i16::MAX {
            if let Some(api) = Api::from_key(key) {
                assert_eq!(api.key(), key);
                found += 1;
            }
        }
        assert_eq!(found, Api::ALL.len());
    }

    #[test]
    fn librdkafka_finds_the_versions_its_features_hang_on() {
        // Produce from 0: compression at all. FindCoordinator 0: LZ4. Produce 7 with Fetch 10:
        // zstd. OffsetForLeaderEpoch 2: KIP-320. Its feature map asks for overlap of ranges.
        let table = api_versions(0).api_keys;
        let advertised = |key: i16, version: i16| {
            table.iter().any(|one| {
                one.api_key == key && (one.min_version..=one.max_version).contains(&version)
            })
        };
        for (key, version) in [(0, 0), (0, 7), (1, 10), (10, 0), (18, 0), (23, 2), (3, 0)] {
            assert!(advertised(key, version), "key {key} version {version}");
        }
    }
}
