//! From a frame to a request: header, guard, body.
//!
//! Nothing here panics on any bytes, and nothing reaches kafka-protocol's decoder that the guard
//! has not walked. Strings and records in a body are slices of the frame: **what is kept longer
//! than the request must be copied**, or it holds the whole frame in memory. Where to read next:
//! `produce.rs` for the records of a Produce, `response.rs` and `fetch.rs` for the way back.

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterUserScramCredentialsRequest,
        ApiVersionsRequest, CreateAclsRequest, CreatePartitionsRequest, CreateTopicsRequest,
        DeleteAclsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
        DescribeAclsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest,
        DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
        DescribeTopicPartitionsRequest, DescribeTransactionsRequest,
        DescribeUserScramCredentialsRequest, ElectLeadersRequest, FetchRequest,
        FindCoordinatorRequest, GetTelemetrySubscriptionsRequest, HeartbeatRequest,
        IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
        ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
        ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
        ProduceRequest, PushTelemetryRequest, SyncGroupRequest, UnregisterBrokerRequest,
    },
    protocol::Decodable,
};
use walrus_types::limits::CLIENT_ID_BYTES_MAX;

use crate::{
    guard::{self, GuardError},
    legacy, response,
    versions::{Api, api_versions},
};

/// Kafka's error code for a version that is not served.
pub(crate) const UNSUPPORTED_VERSION: i16 = 35;
/// Key, version, correlation id.
const FIXED_BYTES: usize = 8;

/// A request that passed every check on its form.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it asks for.
    pub api: Api,
    /// In which version, one that is served.
    pub version: i16,
    /// Goes back with the reply.
    pub correlation_id: i32,
    /// What the client calls itself, cut to [`CLIENT_ID_BYTES_MAX`] bytes. Copied: it may be kept.
    pub client_id: Option<Box<str>>,
    /// The rest.
    pub body: Body,
}

/// Why a frame is no request that can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A key that is not served. No client sends one that was not advertised: close.
    #[error("api key {key} version {version} is not served")]
    UnknownKey {
        /// Its number.
        key: i16,
        /// Its version.
        version: i16,
    },
    /// A served key in a version that is not. Send `reply` when there is one and go on, else close.
    #[error("{api:?} version {version} is not served")]
    UnsupportedVersion {
        /// What was asked for.
        api: Api,
        /// In which version.
        version: i16,
        /// A whole frame that tells the client, in a format it can read. There is one for
        /// ApiVersions (KIP-511) and for Produce 0 to 2. A reply in any other version than the
        /// client asked for would be misread, so for other keys Kafka closes, and so do we.
        reply: Option<Bytes>,
    },
    /// The bytes are not what key and version say. Close.
    #[error("malformed {api:?} version {version}: {why}")]
    Malformed {
        /// What was asked for.
        api: Api,
        /// In which version.
        version: i16,
        /// What is wrong.
        why: Malformed,
    },
    /// Too short for any header. Close.
    #[error("frame of {0} bytes has no request header")]
    Headless(usize),
}

/// What is wrong with a request's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The header ends early or its client id does not fit.
    #[error("the header does not fit the frame")]
    Header,
    /// A length, count or tag is wrong.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The lengths are right but a value is not, such as a string that is not UTF-8.
    #[error("{0}")]
    Value(String),
}

/// Decodes `frame`, a whole request without its length field.
///
/// # Errors
/// [`RequestError`] says what to do with the connection.
pub fn decode(mut frame: Bytes) -> Result<Request, RequestError> {
    let Some(fixed) = frame.first_chunk::<FIXED_BYTES>() else {
        return Err(RequestError::Headless(frame.len()));
    };
    let [k0, k1, v0, v1, correlation @ ..] = *fixed;
    let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
    let correlation_id = i32::from_be_bytes(correlation);
    let api = Api::from_key(key).ok_or(RequestError::UnknownKey { key, version })?;
    if !api.serves(version) {
        let reply = match api {
            Api::ApiVersions => {
                response::encode(correlation_id, 0, &api_versions(UNSUPPORTED_VERSION)).ok()
            }
            Api::Produce => legacy::refuse_produce(version, correlation_id, &frame),
            _ => None,
        };
        return Err(RequestError::UnsupportedVersion { api, version, reply });
    }
    let malformed = |why: Malformed| RequestError::Malformed { api, version, why };
    let flexible = guard::is_flexible(key, version).unwrap_or(false);
    let (client_id, header_bytes) = header(&frame, flexible).map_err(malformed)?;
    let client_id = client_id.map(kept);
    let mut body = frame.split_off(header_bytes);
    match guard::check(key, version, &body) {
        None => return Err(RequestError::UnknownKey { key, version }),
        Some(Err(error)) => return Err(malformed(error.into())),
        // What follows the request is not handed on, so that the decoder cannot read past it.
        Some(Ok(bytes)) => body.truncate(bytes),
    }
    let body = decode_body(api, version, body).map_err(malformed)?;
    Ok(Request { api, version, correlation_id, client_id, body })
}

/// The client id and where the header ends. The client id has a length of two bytes in every
/// version; in flexible ones tagged fields follow, none of which is known.
pub(crate) fn header(frame: &[u8], flexible: bool) -> Result<(Option<&[u8]>, usize), Malformed> {
    let rest = frame.get(FIXED_BYTES..).ok_or(Malformed::Header)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(Malformed::Header)?;
    let (client_id, rest) = match i16::from_be_bytes(*length) {
        -1 => (None, rest),
        length => {
            let length = usize::try_from(length).map_err(|_negative| Malformed::Header)?;
            let (id, rest) = rest.split_at_checked(length).ok_or(Malformed::Header)?;
            (Some(id), rest)
        }
    };
    let tags = if flexible { guard::header_tags(rest)? } else { 0 };
    Ok((client_id, frame.len() - rest.len() + tags))
}

/// A client id as it is kept: bytes that are no UTF-8 replaced, and cut.
fn kept(id: &[u8]) -> Box<str> {
    let cut = id.get(..CLIENT_ID_BYTES_MAX).unwrap_or(id);
    String::from_utf8_lossy(cut).into()
}

fn read<T: Decodable>(mut body: Bytes, version: i16) -> Result<T, Malformed> {
    let decoded = T::decode(&mut body, version);
    let decoded = decoded.map_err(|error| Malformed::Value(format!("{error:#}")))?;
    debug_assert!(body.is_empty(), "guard and decoder disagree by {} bytes", body.len());
    Ok(decoded)
}

/// Writes the bodies and how each is read from its bytes: a line for each [`Api`].
macro_rules! bodies {
    ($($api:ident($request:ident)),+; $($tool:ident($asked:ident)),+) => {
        /// A request's body. One variant for each [`Api`], so that a match over it
        /// is over what is served.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Body {
            $($api($request),)+
            /// What tools ask.
            Admin(AdminBody),
        }

        /// The body of a request that tools send and clients that write and read do without.
        #[derive(Debug, Clone, PartialEq)]
        pub enum AdminBody {
            $($tool($asked),)+
        }

        fn decode_body(api: Api, version: i16, body: Bytes) -> Result<Body, Malformed> {
            Ok(match api {
                $(Api::$api => Body::$api(read(body, version)?),)+
                $(Api::$tool => Body::Admin(AdminBody::$tool(read(body, version)?)),)+
            })
        }
    };
}

bodies! {
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    FindCoordinator(FindCoordinatorRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    JoinGroup(JoinGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    SyncGroup(SyncGroupRequest),
    DescribeGroups(DescribeGroupsRequest),
    ListGroups(ListGroupsRequest),
    DeleteGroups(DeleteGroupsRequest),
    OffsetDelete(OffsetDeleteRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    DeleteRecords(DeleteRecordsRequest),
    InitProducerId(InitProducerIdRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    DescribeConfigs(DescribeConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    CreatePartitions(CreatePartitionsRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    DescribeCluster(DescribeClusterRequest);

    DescribeAcls(DescribeAclsRequest),
    CreateAcls(CreateAclsRequest),
    DeleteAcls(DeleteAclsRequest),
    DescribeLogDirs(DescribeLogDirsRequest),
    ElectLeaders(ElectLeadersRequest),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    DescribeUserScramCredentials(DescribeUserScramCredentialsRequest),
    AlterUserScramCredentials(AlterUserScramCredentialsRequest),
    DescribeQuorum(DescribeQuorumRequest),
    DescribeProducers(DescribeProducersRequest),
    UnregisterBroker(UnregisterBrokerRequest),
    DescribeTransactions(DescribeTransactionsRequest),
    ListTransactions(ListTransactionsRequest),
    GetTelemetrySubscriptions(GetTelemetrySubscriptionsRequest),
    PushTelemetry(PushTelemetryRequest),
    ListConfigResources(ListConfigResourcesRequest),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ApiVersionsResponse, RequestHeader};
    use kafka_protocol::protocol::Encodable as _;

    /// A frame without its length.
    fn frame(key: i16, version: i16, header_version: i16, client: &str, body: &[u8]) -> Bytes {
        let mut bytes = Vec::new();
        RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(77)
            .with_client_id(Some(client.to_owned().into()))
            .encode(&mut bytes, header_version)
            .unwrap();
        bytes.extend_from_slice(body);
        bytes.into()
    }

    #[test]
    fn a_request_comes_out_as_it_went_in() {
        for version in 0..=12 {
            let flexible = version >= 9;
            let mut body = Vec::new();
            MetadataRequest::default().encode(&mut body, version).unwrap();
            let request =
                decode(frame(3, version, 1 + i16::from(flexible), "rdkafka", &body)).unwrap();
            assert_eq!((request.api, request.version), (Api::Metadata, version));
            assert_eq!(request.correlation_id, 77);
            assert_eq!(request.client_id.as_deref(), Some("rdkafka"));
            assert!(matches!(request.body, Body::Metadata(_)));
        }
    }

    #[test]
    fn a_missing_client_id_and_one_too_long_are_both_fine() {
        let none = Bytes::from_static(&[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
        assert_eq!(decode(none).unwrap().client_id, None);
        let long = decode(frame(18, 0, 1, &"x".repeat(30_000), b"")).unwrap();
        assert_eq!(long.client_id.unwrap().len(), CLIENT_ID_BYTES_MAX);
    }

    #[test]
    fn five_bytes_of_metadata_do_not_allocate_309_gb() {
        let hostile = frame(3, 12, 2, "x", &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]);
        let error = decode(hostile).unwrap_err();
        assert!(matches!(error, RequestError::Malformed { api: Api::Metadata, .. }), "{error}");
        let hostile = frame(3, 4, 1, "x", &[0x7f, 0xff, 0xff, 0xff, 0]);
        assert!(decode(hostile).is_err());
    }

    #[test]
    fn every_cut_of_a_frame_is_an_error_and_never_a_panic() {
        let mut body = Vec::new();
        MetadataRequest::default().encode(&mut body, 12).unwrap();
        let whole = frame(3, 12, 2, "client", &body);
        for end in 0..whole.len() {
            assert!(decode(whole.slice(..end)).is_err(), "cut at {end}");
        }
        assert!(decode(whole).is_ok());
    }

    #[test]
    fn bytes_after_the_request_are_ignored() {
        let mut bytes = frame(18, 0, 1, "x", b"").to_vec();
        bytes.extend_from_slice(b"trailing");
        assert!(decode(bytes.into()).is_ok());
    }

    #[test]
    fn an_unknown_version_of_api_versions_is_answered_in_version_0_with_the_table() {
        // The rest of the frame is of a version nobody knows and is not looked at.
        let unknown = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 5, 0xee]);
        let Err(RequestError::UnsupportedVersion { reply: Some(reply), .. }) = decode(unknown)
        else {
            panic!("must be answered")
        };
        assert_eq!(reply[4..8], [0, 0, 0, 5]);
        let answer = ApiVersionsResponse::decode(&mut reply.slice(8..), 0).unwrap();
        assert_eq!(answer.error_code, UNSUPPORTED_VERSION);
        assert_eq!(answer.api_keys.len(), Api::ALL.len());
    }

    #[test]
    fn unknown_keys_and_versions_are_told_apart() {
        for key in [-1, 4, 68, 9999] {
            let error = decode(frame(key, 0, 1, "x", b"")).unwrap_err();
            assert_eq!(error, RequestError::UnknownKey { key, version: 0 });
        }
        for (key, version) in [(1, 3), (1, 19), (3, 13), (3, -1), (0, 14)] {
            let error = decode(frame(key, version, 1, "x", b"")).unwrap_err();
            assert!(
                matches!(error, RequestError::UnsupportedVersion { reply: None, .. }),
                "{key} v{version}: {error}"
            );
        }
    }

    #[test]
    fn a_string_that_is_no_utf8_is_malformed() {
        let error = decode(frame(3, 1, 1, "x", &[0, 0, 0, 1, 0, 1, 0xff])).unwrap_err();
        assert!(
            matches!(error, RequestError::Malformed { why: Malformed::Value(_), .. }),
            "{error}"
        );
    }
}
