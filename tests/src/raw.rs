//! Kafka requests by hand, for what no client library sends.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use walrus_wire::kafka_protocol::{
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request},
};

/// A connection that sends what it is told to.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    correlation_id: i32,
}

impl RawClient {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Sends a request and decodes its answer.
    ///
    /// # Errors
    /// When the connection ends, nothing comes, or the answer is of another request.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.send(version, request)?;
        self.answer::<R>(version)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When it cannot be encoded or sent.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id);
        header.encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, version)?;
        self.send_frame(&frame)
    }

    /// Sends bytes as one frame.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send_frame(&mut self, frame: &[u8]) -> Result<()> {
        self.send_bytes(&[&i32::try_from(frame.len())?.to_be_bytes()[..], frame].concat())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Decodes the next answer.
    ///
    /// # Errors
    /// When the connection ends, nothing comes, or it cannot be decoded.
    pub fn answer<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let mut frame = self.answer_frame()?;
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        let response = R::Response::decode(&mut frame, version)?;
        if header.correlation_id > self.correlation_id {
            bail!("answer {} to request {}", header.correlation_id, self.correlation_id);
        }
        Ok(response)
    }

    /// The next answer's bytes.
    ///
    /// # Errors
    /// When the connection ends or nothing comes.
    pub fn answer_frame(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// Whether the other side closed the connection.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }
}
