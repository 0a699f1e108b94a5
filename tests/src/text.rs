//! A client of the text protocol, as small as it can be.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Result;

/// One connection.
#[derive(Debug)]
pub struct TextClient(TcpStream);

impl TextClient {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// When the connection ends or nothing comes.
    pub fn ask(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.send(command)?;
        self.answer()
    }

    /// Sends a command.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send(&mut self, command: &[u8]) -> Result<()> {
        self.0.write_all(&u32::try_from(command.len())?.to_le_bytes())?;
        self.0.write_all(command)?;
        Ok(())
    }

    /// The next answer.
    ///
    /// # Errors
    /// When the connection ends or nothing comes.
    pub fn answer(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(u32::from_le_bytes(length))?];
        self.0.read_exact(&mut answer)?;
        Ok(answer)
    }
}
