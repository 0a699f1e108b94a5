//! How `/v1` reads requests and writes answers: documents, refusals, bodies with a bound.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use walrus_admin::{ApiError, Code, Document, ErrorDocument, Kind};
use walrus_metadata::{Address, Metadata};
use walrus_types::NodeId;

use super::super::routes::Sources;
use crate::broker::Broker;

/// The longest body: a rollover of a whole page of topics with the longest names.
const BODY_BYTES_MAX: usize = 512 << 10;

/// What a handler answers.
pub(super) type Answer<T> = Result<Told<T>, Refused>;

/// A document.
#[derive(Debug)]
pub(super) struct Told<T>(pub(super) T);

impl<T: Kind + serde::Serialize> IntoResponse for Told<T> {
    fn into_response(self) -> Response {
        Json(Document::of(&self.0)).into_response()
    }
}

/// A refusal.
#[derive(Debug)]
pub(in crate::admin) struct Refused(pub(in crate::admin) ApiError);

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refusal(self.0, Vec::new())
    }
}

/// The answer to what is refused, with what there is instead.
pub(in crate::admin) fn refusal(error: ApiError, routes: Vec<String>) -> Response {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or_default();
    (status, Json(ErrorDocument { error, routes })).into_response()
}

/// The broker, while it serves.
pub(super) struct Live(pub(super) Arc<Broker>);

impl FromRequestParts<Sources> for Live {
    type Rejection = Refused;

    async fn from_request_parts(_parts: &mut Parts, sources: &Sources) -> Result<Self, Refused> {
        Ok(Self(live(sources)?))
    }
}

/// The broker, or why there is none to ask.
pub(super) fn live(sources: &Sources) -> Result<Arc<Broker>, ApiError> {
    let Some(broker) = sources.broker.get() else {
        let reason = sources.health.state().reason();
        return Err(if sources.forming.is_awaited() {
            ApiError::new(Code::NoCluster, "this node is in no cluster: it waits to be told")
                .hint("walrusctl cluster bootstrap, or walrusctl cluster join HOST:PEERPORT")
        } else {
            let why = reason.unwrap_or_else(|| "the node starts".into());
            ApiError::new(Code::Starting, why).hint("ask again in a moment, or ask another node")
        });
    };
    match broker.upgrade().filter(|broker| !broker.is_draining()) {
        Some(broker) => Ok(broker),
        None => Err(ApiError::new(Code::Stopping, "the node stops").hint("ask another node")),
    }
}

/// A JSON body of bounded length that no page in a browser has sent.
#[derive(Debug)]
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Sources> for Sent<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _sources: &Sources) -> Result<Self, Refused> {
        let headers = request.headers();
        // Browsers name where a page came from with every POST. Whoever else asks does not, and a
        // page that got past the address must not drive a cluster.
        if headers.contains_key(header::ORIGIN) {
            let why = "a page in a browser may not change a cluster";
            return Err(ApiError::new(Code::Forbidden, why).hint("use walrusctl").into());
        }
        if !is_json(headers) {
            let error =
                ApiError::new(Code::UnsupportedMediaType, "the body is not said to be JSON");
            return Err(error.hint("send content-type: application/json").into());
        }
        let told_length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let bytes = to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|why| {
            // A body that ends early fails here too; only its announced length tells the two apart.
            match told_length {
                Some(length) if length <= BODY_BYTES_MAX => {
                    ApiError::new(Code::BadRequest, format!("the body did not come: {why}"))
                }
                Some(_) | None => ApiError::new(
                    Code::TooLarge,
                    format!("the body is longer than {BODY_BYTES_MAX} bytes"),
                ),
            }
        })?;
        let body = serde_json::from_slice(&bytes);
        let body = body.map_err(|why| {
            ApiError::new(Code::BadRequest, format!("the body is not what is asked for: {why}"))
        })?;
        Ok(Self(body))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

/// The parameters behind the `?`, all of them known. Names and numbers need no escapes, so none
/// are read.
pub(super) fn parameters<'a>(
    uri: &'a Uri,
    known: &[&str],
) -> Result<BTreeMap<&'a str, &'a str>, ApiError> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut found = BTreeMap::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            let why = format!("there is no parameter {name:?}: known are {}", known.join(", "));
            return Err(ApiError::new(Code::BadRequest, why));
        }
        found.insert(name, value);
    }
    Ok(found)
}

/// One of them as what it should be.
pub(super) fn parameter<T: std::str::FromStr>(
    all: &BTreeMap<&str, &str>,
    name: &str,
) -> Result<Option<T>, ApiError> {
    let Some(given) = all.get(name) else { return Ok(None) };
    match given.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(ApiError::new(Code::BadRequest, format!("{given:?} is no {name}"))),
    }
}

/// A node by the text that names it.
pub(super) fn node_id(given: &str) -> Result<NodeId, ApiError> {
    given.parse().map_err(|why| ApiError::new(Code::BadRequest, format!("{why}")))
}

/// As host:port.
pub(super) fn shown(at: &Address) -> String {
    let Address { host, port } = at;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Where a node's admin port is, as far as its registration tells. One that listens on every
/// address is looked for where its peers find it.
pub(super) fn admin_address(
    sources: &Sources,
    me: NodeId,
    metadata: &Metadata,
    id: NodeId,
) -> String {
    let Some(node) = metadata.node(id) else { return String::new() };
    let Address { host, port } = &node.addresses.admin;
    let is_wildcard =
        |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let host = if is_wildcard(host) { &node.addresses.peer.host } else { host };
    // The system chose the port, and only the node itself knows which.
    let port = if *port == 0 && id == me { sources.address.port() } else { *port };
    shown(&Address { host: host.clone(), port })
}
