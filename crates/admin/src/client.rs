//! Asks nodes: one connection for each question, every question with an end.
//!
//! A [`Client`] knows several endpoints and asks the first that answers: any node answers for the
//! cluster. Every change of `/v1` may be asked for twice, so a question whose answer was lost is
//! asked again.

mod actor;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, time::timeout};
use walrus_types::NodeId;

pub use self::actor::actor;
use crate::{
    cluster::{ClusterStatus, SelfStatus},
    document::{Head, Kind},
    endpoint::Endpoint,
    error::{ApiError, Code, ErrorDocument},
    health::{ClusterHealth, NodeCheck, judge},
};

/// A node that does not take the connection within this is asked no more.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A node that is asked how it stands answers from memory.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// Endpoints that are learned from the cluster, at most.
const LEARNED_MAX: usize = 32;
/// The largest answer that is read.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody took the question.
    #[error("{endpoint}: {why}")]
    Unreachable {
        /// Who was asked.
        endpoint: Endpoint,
        /// What the system said.
        why: String,
    },
    /// The question was sent, and no answer came.
    #[error("{endpoint} did not answer: {why}")]
    NoAnswer {
        /// Who was asked.
        endpoint: Endpoint,
        /// How it ended.
        why: String,
    },
    /// Something else than a node's admin port answered, or one of another version.
    #[error("{endpoint} answered with something else than was asked for: {why}")]
    NotUnderstood {
        /// Who was asked.
        endpoint: Endpoint,
        /// What is wrong with it.
        why: String,
    },
    /// The node said no.
    #[error("{error}")]
    Refused {
        /// Who was asked.
        endpoint: Endpoint,
        /// Why.
        error: ApiError,
    },
}

impl ClientError {
    /// What the node said, if it was a node that said no.
    pub const fn refusal(&self) -> Option<&ApiError> {
        match self {
            Self::Refused { error, .. } => Some(error),
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::NotUnderstood { .. } => None,
        }
    }

    /// Whether the same question may be answered later, or by another node.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } => true,
            Self::NotUnderstood { .. } => false,
            Self::Refused { error, .. } => matches!(
                error.code,
                Code::Starting
                    | Code::Stopping
                    | Code::Unavailable
                    | Code::Unknown
                    | Code::NotLeader
            ),
        }
    }
}

/// Asks a cluster through any of several nodes.
#[derive(Debug, Clone)]
pub struct Client {
    endpoints: Arc<[Endpoint]>,
    answer_max: Duration,
    /// Nodes that answered at one of the endpoints. What they registered may be of use only to
    /// each other.
    met: Arc<Mutex<BTreeMap<NodeId, Endpoint>>>,
}

impl Client {
    /// Asks these, in this order, and waits so long for each answer.
    ///
    /// # Panics
    /// Without any endpoint.
    pub fn new(endpoints: Vec<Endpoint>, answer_max: Duration) -> Self {
        assert!(!endpoints.is_empty(), "there is somebody to ask");
        Self { endpoints: endpoints.into(), answer_max, met: Arc::default() }
    }

    /// Who is asked.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// How long it waits for an answer.
    pub const fn answer_max(&self) -> Duration {
        self.answer_max
    }

    /// Asks the first endpoint that answers.
    ///
    /// # Errors
    /// [`ClientError`], of the first that was asked when none answers.
    pub async fn get<T: Kind + DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.anywhere(Method::GET, path, None).await
    }

    /// Asks `at` alone.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_at<T: Kind + DeserializeOwned>(
        &self,
        at: &Endpoint,
        path: &str,
    ) -> Result<T, ClientError> {
        ask(at, Method::GET, path, None, self.answer_max).await
    }

    /// Asks the first endpoint that answers for a change.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send<T: Kind + DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.anywhere(Method::POST, path, Some(encode(body))).await
    }

    /// Asks `at` for a change.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send_at<T: Kind + DeserializeOwned>(
        &self,
        at: &Endpoint,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        ask(at, Method::POST, path, Some(encode(body)), self.answer_max).await
    }

    async fn anywhere<T: Kind + DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, ClientError> {
        let mut first = None;
        for at in self.endpoints.iter() {
            let asked = ask(at, method.clone(), path, body.clone(), self.answer_max).await;
            match asked {
                Err(why) if why.is_passing() => first = first.or(Some(why)),
                known => return known,
            }
        }
        Err(first.expect("there is an endpoint, and it was asked"))
    }

    /// Where a node is asked: at the endpoint at which it was met, else at the address that it
    /// registered, if that leads anywhere.
    pub fn address(&self, node: NodeId, registered: &str) -> Option<Endpoint> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        met.or_else(|| registered.parse().ok().filter(Endpoint::is_reachable))
    }

    /// Asks every endpoint who is there, so that [`Client::address`] knows them.
    pub async fn meet(&self) {
        let asking = self.endpoints.iter().cloned().map(|at| async move {
            let asked = ask::<SelfStatus>(&at, Method::GET, "/v1/self", None, CHECK_MAX).await;
            asked.ok().and_then(|told| told.identity).map(|who| (who.node, at))
        });
        for met in join_all(asking).await.into_iter().flatten() {
            self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(met.0, met.1);
        }
    }

    /// The same, and behind the endpoints those that the nodes of the cluster registered, as far as
    /// they answer there: whoever follows something to its end may outlive who was asked first.
    pub async fn with_registered(&self) -> Self {
        let Ok(status) = self.get::<ClusterStatus>("/v1/cluster").await else {
            return self.clone();
        };
        let others = status.members().filter_map(|node| {
            let at: Endpoint = node.addresses.admin.parse().ok()?;
            (at.is_reachable() && !self.endpoints.contains(&at)).then_some((node.node, at))
        });
        // What is registered may lead to somebody else from here.
        let asking = others.take(LEARNED_MAX).map(|(node, at)| {
            let cluster = status.cluster.clone();
            async move {
                let told = ask::<SelfStatus>(&at, Method::GET, "/v1/self", None, CHECK_MAX).await;
                let who = told.ok()?.identity?;
                (who.node == node && who.cluster == cluster).then_some(at)
            }
        });
        let learned = join_all(asking).await;
        let endpoints = self.endpoints.iter().cloned().chain(learned.into_iter().flatten());
        Self { endpoints: endpoints.collect(), ..self.clone() }
    }

    /// How the cluster stands: what one node knows, and what every node says of itself.
    ///
    /// # Errors
    /// [`ClientError`], when nobody tells of the cluster.
    pub async fn health(&self) -> Result<ClusterHealth, ClientError> {
        self.meet().await;
        let status: ClusterStatus = self.get("/v1/cluster").await?;
        let members: Vec<(NodeId, String)> =
            status.members().map(|node| (node.node, node.addresses.admin.clone())).collect();
        let asking = members.into_iter().map(|(node, admin)| {
            let at = self.address(node, &admin);
            check(node, admin, at)
        });
        Ok(judge(&status, join_all(asking).await))
    }
}

async fn check(node: NodeId, registered: String, at: Option<Endpoint>) -> NodeCheck {
    let Some(at) = at else {
        let error = Some("the address that it registered leads nowhere".to_owned());
        return NodeCheck { node, admin: registered, answer: None, error };
    };
    let admin = at.to_string();
    match ask::<SelfStatus>(&at, Method::GET, "/v1/self", None, CHECK_MAX).await {
        Ok(told) if told.identity.as_ref().is_none_or(|who| who.node == node) => {
            NodeCheck { node, admin, answer: Some(told), error: None }
        }
        Ok(_) => {
            let error = Some("another node answers there".to_owned());
            NodeCheck { node, admin, answer: None, error }
        }
        Err(why) => {
            let error = match why {
                ClientError::Unreachable { why, .. } | ClientError::NoAnswer { why, .. } => why,
                other => other.to_string(),
            };
            NodeCheck { node, admin, answer: None, error: Some(error) }
        }
    }
}

/// All of them at once; answers in their order.
async fn join_all<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = futures.map(tokio::spawn).collect();
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(value) => done.push(value),
            Err(why) => std::panic::resume_unwind(why.into_panic()),
        }
    }
    done
}

fn encode(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("a request has only plain data").into()
}

/// One question to one node.
async fn ask<T: Kind + DeserializeOwned>(
    at: &Endpoint,
    method: Method,
    path: &str,
    body: Option<Bytes>,
    answer_max: Duration,
) -> Result<T, ClientError> {
    let stream = connect(at).await.map_err(|why| {
        let (endpoint, why) = (at.clone(), why.to_string());
        ClientError::Unreachable { endpoint, why }
    })?;
    let no_answer = |why: String| ClientError::NoAnswer { endpoint: at.clone(), why };
    let answer = timeout(answer_max, exchange(stream, at, method, path, body)).await;
    let (status, bytes) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => return Err(no_answer(why)),
        Err(_elapsed) => return Err(no_answer(format!("nothing came within {answer_max:?}"))),
    };
    read(at, status, &bytes)
}

pub(crate) async fn connect(at: &Endpoint) -> io::Result<TcpStream> {
    let connected = timeout(CONNECT_MAX, TcpStream::connect((at.host(), at.port()))).await;
    let stream = connected.map_err(|_elapsed| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT_MAX:?}"))
    })??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn exchange(
    stream: TcpStream,
    at: &Endpoint,
    method: Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<(u16, Bytes), String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, at.to_string())
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(body.unwrap_or_default()));
    let request = request.map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")
            } else {
                error.to_string()
            }
        })?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(exchange);
    // The connection moves the bytes: it is polled beside the exchange, and dropped with it.
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(why) => Err(text(why)),
        },
    }
}

fn read<T: Kind + DeserializeOwned>(
    at: &Endpoint,
    status: u16,
    bytes: &[u8],
) -> Result<T, ClientError> {
    let other = |why: String| ClientError::NotUnderstood { endpoint: at.clone(), why };
    if !(200..300).contains(&status) {
        return Err(refused(at, status, bytes));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| other(error.to_string()))?;
    if head.kind != T::KIND {
        return Err(other(format!("a {} of {}, not a {}", head.kind, head.api_version, T::KIND)));
    }
    serde_json::from_slice(bytes).map_err(|error| other(error.to_string()))
}

/// What the body of a refusal says.
pub(crate) fn refused(at: &Endpoint, status: u16, bytes: &[u8]) -> ClientError {
    let endpoint = at.clone();
    match serde_json::from_slice::<ErrorDocument>(bytes) {
        Ok(refused) => ClientError::Refused { endpoint, error: refused.error },
        Err(_of_something_else) => {
            let why = format!("HTTP {status} without an error of this API");
            ClientError::NotUnderstood { endpoint, why }
        }
    }
}

#[cfg(test)]
mod tests;
