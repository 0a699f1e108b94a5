//! Encoding a reply into one frame, its length first.
//!
//! Fetch replies that carry records do not come through here but through `fetch.rs`, which
//! copies no record.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::ResponseHeader,
    protocol::{Encodable, HeaderVersion},
};

/// Why a reply could not be encoded: a field is set that the version does not have, or something
/// is too long for its length field. It is a mistake of whoever built the reply.
#[derive(Debug, thiserror::Error)]
#[error("reply of version {version} cannot be encoded: {why}")]
pub struct EncodeError {
    version: i16,
    why: String,
}

impl EncodeError {
    pub(crate) const fn new(version: i16, why: String) -> Self {
        Self { version, why }
    }
}

/// The frame of a reply: length, header in the version that belongs to it, body.
///
/// # Errors
/// [`EncodeError`] when the body does not fit the version.
pub fn encode<R: Encodable + HeaderVersion>(
    correlation_id: i32,
    version: i16,
    body: &R,
) -> Result<Bytes, EncodeError> {
    let error = |why: &dyn std::fmt::Display| EncodeError::new(version, why.to_string());
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let header_version = R::header_version(version);
    let header_bytes = header.compute_size(header_version).map_err(|why| error(&why))?;
    let body_bytes = body.compute_size(version).map_err(|why| error(&why))?;
    let length = i32::try_from(header_bytes + body_bytes)
        .map_err(|_too_long| error(&"the reply has 2 GiB or more"))?;
    let mut frame = BytesMut::with_capacity(4 + header_bytes + body_bytes);
    frame.put_i32(length);
    header.encode(&mut frame, header_version).map_err(|why| error(&why))?;
    body.encode(&mut frame, version).map_err(|why| error(&why))?;
    debug_assert_eq!(frame.len(), 4 + header_bytes + body_bytes, "sizes were computed wrong");
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::api_versions;
    use kafka_protocol::messages::{ApiVersionsResponse, MetadataResponse};
    use kafka_protocol::protocol::Decodable as _;

    #[test]
    fn the_length_counts_what_follows_it() {
        for version in 0..=12 {
            let frame = encode(7, version, &MetadataResponse::default()).unwrap();
            let length = i32::from_be_bytes(frame[..4].try_into().unwrap());
            assert_eq!(usize::try_from(length).unwrap() + 4, frame.len(), "version {version}");
            assert_eq!(frame[4..8], [0, 0, 0, 7]);
        }
    }

    #[test]
    fn api_versions_has_header_version_0_whatever_its_own() {
        for version in 0..=4 {
            let frame = encode(9, version, &api_versions(35)).unwrap();
            let decoded = ApiVersionsResponse::decode(&mut frame.slice(8..), version).unwrap();
            assert_eq!(decoded.error_code, 35);
        }
    }

    #[test]
    fn a_field_the_version_lacks_is_an_error_not_a_panic() {
        let body = MetadataResponse::default().with_cluster_authorized_operations(1);
        assert!(encode(0, 0, &body).unwrap_err().to_string().contains("version 0"));
    }
}
