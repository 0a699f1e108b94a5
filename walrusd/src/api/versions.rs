//! ApiVersions: what is served, and who asks (KIP-511).
//!
//! The table itself is `walrus_wire::versions`; a version of this request that is not served is
//! answered there, for only version 0 of the answer can be read then.

use tracing::debug;
use walrus_wire::{
    kafka_protocol::{
        error::ResponseError,
        messages::{ApiVersionsRequest, ApiVersionsResponse},
    },
    versions::api_versions,
};

use super::Head;
use crate::net::{connection::Client, replies::Reply};

/// The first version in which a client says what it is.
const SOFTWARE_SINCE: i16 = 3;

/// Answers with the table, and remembers the client's software.
pub fn begin(
    client: &Client,
    client_id: Option<&str>,
    head: Head,
    request: &ApiVersionsRequest,
) -> Reply {
    head.ready(&respond(client, client_id, head.version, request))
}

fn respond(
    client: &Client,
    client_id: Option<&str>,
    version: i16,
    request: &ApiVersionsRequest,
) -> ApiVersionsResponse {
    if version >= SOFTWARE_SINCE {
        let (name, version) = (&request.client_software_name, &request.client_software_version);
        if !(is_software(name) && is_software(version)) {
            let code = ResponseError::InvalidRequest.code();
            return ApiVersionsResponse::default().with_error_code(code);
        }
        client.connection.says_software(name, version);
        let software = client.connection.software();
        debug!(peer = %client.peer, client_id, software, "a client said what it is");
    }
    api_versions(0)
}

/// KIP-511's rule for both: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`. What passes is ASCII.
fn is_software(given: &str) -> bool {
    let bytes = given.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use walrus_wire::{Api, kafka_protocol::protocol::StrBytes, response};

    use super::*;
    use crate::net::clients::Connection;

    fn ask(version: i16, name: &'static str, software: &'static str) -> (i16, usize, Client) {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 9091));
        let client = Client { peer: here, reached: here, connection: Connection::unlisted(here) };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(name))
            .with_client_software_version(StrBytes::from_static_str(software));
        let response = respond(&client, Some("test"), version, &request);
        response::encode(1, version, &response).unwrap();
        (response.error_code, response.api_keys.len(), client)
    }

    #[test]
    fn every_version_is_answered_with_the_whole_table() {
        for version in 0..=4 {
            let (code, keys, client) = ask(version, "librdkafka", "2.12.1");
            assert_eq!((code, keys), (0, Api::ALL.len()), "version {version}");
            let said = (version >= SOFTWARE_SINCE).then(|| "librdkafka 2.12.1".to_owned());
            assert_eq!(client.connection.software(), said, "version {version}");
        }
    }

    #[test]
    fn software_that_breaks_the_rule_is_refused_and_not_kept() {
        for (name, version, sound) in [
            ("a", "1", true),
            ("apache-kafka-java", "4.1.0-SNAPSHOT", true),
            ("", "1", false),
            ("a", "", false),
            ("-a", "1", false),
            ("a-", "1", false),
            ("a b", "1", false),
            ("a", "1.", false),
            ("a\nb", "1", false),
            ("ä", "1", false),
        ] {
            let (code, _, client) = ask(3, name, version);
            assert_eq!(code == 0, sound, "{name:?} {version:?}");
            assert_eq!(client.connection.software().is_some(), sound, "{name:?} {version:?}");
        }
    }
}
