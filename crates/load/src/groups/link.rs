//! One connection that speaks the protocol by itself, a request at a time, and who coordinates a
//! group.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use kafka_protocol::messages::{FindCoordinatorRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::name_of;

/// How long an answer may take: `request.timeout.ms` of the Java client.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Until it is tried again: `retry.backoff.ms` of the Java client.
pub const RETRY: Duration = Duration::from_millis(100);
/// No answer that is asked for here is longer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The last version that asks for one group.
const FIND_VERSION: i16 = 2;

/// A connection with one request in flight.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    correlation_id: i32,
    out: BytesMut,
    read: BytesMut,
}

impl Link {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = timeout(CONNECT_MAX, TcpStream::connect(address)).await;
        let stream = stream.context("no connection in time")??;
        stream.set_nodelay(true)?;
        let (out, read) = (BytesMut::with_capacity(256), BytesMut::with_capacity(4096));
        Ok(Self { stream, correlation_id: 0, out, read })
    }

    /// Sends a request and waits for its answer. After an error the connection is of no use.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        timeout(ANSWER_MAX, self.exchange(version, request)).await.context("no answer in time")?
    }

    async fn exchange<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("walrus-load")));
        self.out.clear();
        self.out.extend_from_slice(&[0; 4]);
        header.encode(&mut self.out, R::header_version(version))?;
        request.encode(&mut self.out, version)?;
        let length = i32::try_from(self.out.len() - 4)?;
        self.out[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&self.out).await?;
        let mut answer = self.receive().await?;
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))?;
        if header.correlation_id != self.correlation_id {
            bail!("answer {} to request {}", header.correlation_id, self.correlation_id);
        }
        R::Response::decode(&mut answer, version)
    }

    async fn receive(&mut self) -> Result<bytes::Bytes> {
        loop {
            if let Some(prefix) = self.read.first_chunk() {
                let length = usize::try_from(i32::from_be_bytes(*prefix))?;
                if length > ANSWER_BYTES_MAX {
                    bail!("an answer of {length} bytes");
                }
                if self.read.len() >= 4 + length {
                    let answer = self.read.split_to(4 + length).freeze();
                    return Ok(answer.slice(4..));
                }
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the connection was closed");
            }
        }
    }
}

/// Who coordinates a group now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinator {
    pub node: i32,
    pub address: String,
}

/// Asks the nodes of a cluster in turn.
#[derive(Debug, Clone)]
pub struct Finder {
    addresses: Vec<String>,
    next: usize,
}

impl Finder {
    /// `bootstrap` is host:port, comma-separated; `first` is whom to ask first.
    pub fn new(bootstrap: &str, first: usize) -> Self {
        Self { addresses: bootstrap.split(',').map(str::to_owned).collect(), next: first }
    }

    /// Asks each node once, until one names a coordinator that takes a connection.
    pub async fn connect(&mut self, group: &StrBytes) -> Result<(Coordinator, Link)> {
        let mut why = None;
        for _ in 0..self.addresses.len() {
            let found = self.ask_next(group).await;
            match found {
                Ok(coordinator) => {
                    let link = Link::connect(&coordinator.address).await?;
                    return Ok((coordinator, link));
                }
                Err(error) => why = Some(error),
            }
        }
        Err(why.context("no address was given")?)
    }

    /// The same until there is one; gives up after `patience`.
    pub async fn wait(
        &mut self,
        group: &StrBytes,
        patience: Duration,
    ) -> Result<(Coordinator, Link)> {
        let until = Instant::now() + patience;
        loop {
            match self.connect(group).await {
                Ok(found) => return Ok(found),
                Err(why) if Instant::now() > until => return Err(why),
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    async fn ask_next(&mut self, group: &StrBytes) -> Result<Coordinator> {
        self.next = (self.next + 1) % self.addresses.len();
        let mut link = Link::connect(&self.addresses[self.next]).await?;
        let request = FindCoordinatorRequest::default().with_key(group.clone());
        let answer = link.ask(FIND_VERSION, &request).await?;
        if answer.error_code != 0 {
            bail!("no coordinator: {}", name_of(answer.error_code));
        }
        let address = format!("{}:{}", answer.host.as_str(), answer.port);
        Ok(Coordinator { node: answer.node_id.0, address })
    }
}
