//! Server-sent events as they come, for tests of what is told.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::Value;

/// A stream that says nothing for so long has ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// One stream of a node's admin port, read by hand.
#[derive(Debug)]
pub struct Stream {
    lines: BufReader<TcpStream>,
    /// The last id.
    pub id: Option<u64>,
}

impl Stream {
    /// Asks, and reads nothing. HTTP/1.0 has no chunks: what comes is the stream alone.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn ask(at: SocketAddr, query: &str, last: Option<u64>) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        write!(stream, "GET /v1/stream?{query} HTTP/1.0\r\nHost: walrus\r\n{last}\r\n")?;
        Ok(stream)
    }

    /// Asks, and reads up to the first message.
    ///
    /// # Errors
    /// When it is refused.
    pub fn open(at: SocketAddr, query: &str, last: Option<u64>) -> Result<Self> {
        let mut lines = BufReader::new(Self::ask(at, query, last)?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        ensure!(line.contains(" 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            ensure!(lines.read_line(&mut line)? > 0, "no head");
        }
        Ok(Self { lines, id: last })
    }

    /// The next message: its name and document.
    ///
    /// # Errors
    /// When the stream ends, or nothing comes.
    #[expect(clippy::should_implement_trait, reason = "it does not end by itself")]
    pub fn next(&mut self) -> Result<(String, Value)> {
        let (mut name, mut data) = (String::new(), None);
        loop {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "the stream has ended");
            let line = line.trim_end_matches('\n');
            if let Some(id) = line.strip_prefix("id: ") {
                self.id = Some(id.parse()?);
            } else if let Some(told) = line.strip_prefix("event: ") {
                told.clone_into(&mut name);
            } else if let Some(told) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(told)?);
            } else if line.is_empty()
                && let Some(data) = data.take()
            {
                return Ok((name, data));
            }
        }
    }
}
