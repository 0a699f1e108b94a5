//! Follows a node's stream: `GET /v1/stream`.
//!
//! A [`Following`] is one connection to one node. Whoever wants to follow a cluster asks the next
//! node when one ends, from the version that [`Following::after`] tells, and drops what comes twice
//! by [`crate::event::Repeats`].

mod frames;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

pub use self::frames::{Frame, Frames, MESSAGE_BYTES_MAX, TooLong};
use crate::{
    client::{ANSWER_BYTES_MAX, ClientError, connect, refused},
    connection::ClientList,
    document::{Head, Kind},
    endpoint::Endpoint,
    event::EventList,
    group::GroupList,
    snapshot::{Snapshot, VitalsList},
};

/// A node that says nothing for so long, not even that it is there, is given up: it does each 10 s.
pub const SILENT_MAX: Duration = Duration::from_secs(25);

/// What a stream tells.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The cluster, or what changed in it.
    Snapshot(Box<Snapshot>),
    /// What changed, one by one.
    Events(EventList),
    /// What nodes say of themselves.
    Vitals(VitalsList),
    /// Consumer groups, where they were asked for.
    Groups(GroupList),
    /// Who is connected, where that was asked for.
    Clients(ClientList),
}

/// One node's stream.
#[derive(Debug)]
pub struct Following {
    endpoint: Endpoint,
    body: Incoming,
    /// Moves the bytes; ends with this.
    connection: tokio::task::JoinHandle<()>,
    silent_max: Duration,
    frames: Frames,
    waiting: std::collections::VecDeque<Frame>,
    after: Option<u64>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Following {
    /// Begins to follow. `query` is what stands behind the `?`, without `after`; `patience` is how
    /// long the node may take to begin, and then to say anything.
    ///
    /// # Errors
    /// [`ClientError`]: a node of before says that there is no such path.
    pub async fn begin(
        endpoint: &Endpoint,
        query: &str,
        after: Option<u64>,
        (patience, silent_max): (Duration, Duration),
    ) -> Result<Self, ClientError> {
        let stream = connect(endpoint).await.map_err(|why| ClientError::Unreachable {
            endpoint: endpoint.clone(),
            why: why.to_string(),
        })?;
        let no_answer = |why: String| ClientError::NoAnswer { endpoint: endpoint.clone(), why };
        let handshake = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|why| no_answer(why.to_string()))?;
        let connection = tokio::spawn(async move { drop(connection.await) });
        // From here on the connection's task ends with what is returned, or here.
        let connection = Abort(Some(connection));
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("/v1/stream?{query}"))
            .header(header::HOST, endpoint.to_string())
            .header(header::ACCEPT, "text/event-stream, application/json");
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let request = request.body(Empty::new()).map_err(|why| no_answer(why.to_string()))?;
        let asked = timeout(patience, sender.send_request(request)).await;
        let response = asked
            .map_err(|_elapsed| no_answer(format!("nothing came within {patience:?}")))?
            .map_err(|why| no_answer(why.to_string()))?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
            let body = timeout(patience, body).await;
            let body = body.map_err(|_elapsed| no_answer("its refusal did not come".into()))?;
            let body = body.map_err(|why| no_answer(why.to_string()))?.to_bytes();
            return Err(refused(endpoint, status, &body));
        }
        let kind = response.headers().get(header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            let why = "no stream of events".to_owned();
            return Err(ClientError::NotUnderstood { endpoint: endpoint.clone(), why });
        }
        Ok(Self {
            endpoint: endpoint.clone(),
            body: response.into_body(),
            connection: connection.keep(),
            silent_max,
            frames: Frames::default(),
            waiting: std::collections::VecDeque::new(),
            after,
        })
    }

    /// Up to which version all has come: where another node is asked to go on.
    pub const fn after(&self) -> Option<u64> {
        self.after
    }

    /// Who is followed.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What comes next. Cancel safe: what came is not lost.
    ///
    /// # Errors
    /// [`ClientError`]: the stream has ended, or says nothing that can be read.
    pub async fn next(&mut self) -> Result<News, ClientError> {
        loop {
            while let Some(frame) = self.waiting.pop_front() {
                if let Some(news) = self.read(&frame)? {
                    return Ok(news);
                }
            }
            let endpoint = self.endpoint.clone();
            let ended = |why: String| ClientError::NoAnswer { endpoint, why };
            let silent_max = self.silent_max;
            let part = match timeout(silent_max, self.body.frame()).await {
                Err(_elapsed) => return Err(ended(format!("silent for {silent_max:?}"))),
                Ok(None) => return Err(ended("the stream has ended".into())),
                Ok(Some(Err(why))) => return Err(ended(why.to_string())),
                Ok(Some(Ok(part))) => part,
            };
            let Ok(bytes) = part.into_data() else { continue };
            let mut out = Vec::new();
            self.frames.take(&bytes, &mut out).map_err(|why| self.other(&why))?;
            self.waiting.extend(out);
        }
    }

    /// What a message says; `None` of one that this version does not know.
    fn read(&mut self, frame: &Frame) -> Result<Option<News>, ClientError> {
        let news = match frame.name.as_str() {
            "snapshot" => Some(News::Snapshot(Box::new(self.document(&frame.data)?))),
            "events" => Some(News::Events(self.document(&frame.data)?)),
            "vitals" => Some(News::Vitals(self.document(&frame.data)?)),
            "groups" => Some(News::Groups(self.document(&frame.data)?)),
            "clients" => Some(News::Clients(self.document(&frame.data)?)),
            _ => None,
        };
        if let Some(id) = &frame.id {
            let why = format!("{id:?} is no version");
            self.after = Some(id.parse().map_err(|_error| self.other(&why))?);
        }
        Ok(news)
    }

    fn document<T: Kind + serde::de::DeserializeOwned>(
        &self,
        data: &[u8],
    ) -> Result<T, ClientError> {
        let head: Head = serde_json::from_slice(data).map_err(|why| self.other(&why))?;
        if head.kind != T::KIND {
            return Err(self.other(&format!("a {}, not a {}", head.kind, T::KIND)));
        }
        serde_json::from_slice(data).map_err(|why| self.other(&why))
    }

    fn other(&self, why: &impl ToString) -> ClientError {
        ClientError::NotUnderstood { endpoint: self.endpoint.clone(), why: why.to_string() }
    }
}

/// A task that ends when nobody keeps it.
struct Abort(Option<tokio::task::JoinHandle<()>>);

impl Abort {
    fn keep(mut self) -> tokio::task::JoinHandle<()> {
        self.0.take().expect("it is given away once")
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
