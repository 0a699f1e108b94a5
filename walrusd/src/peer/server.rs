//! Answering other nodes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tracing::{debug, warn};

use super::{
    frame::{self, INCOMING_BYTES_MAX, Incoming, Kind, Outgoing, PeerReader, QUEUE_MAX, Subject},
    hello::{self, Hello, PeerIdentity, Welcome},
};
use crate::shutdown::Tasks;

/// Connections from other nodes. A cluster of a hundred nodes needs a few hundred.
const CONNECTIONS_MAX: usize = 4096;
/// Requests of one connection that are dealt with at the same time.
const UNDER_WAY_MAX: usize = 256;
/// A connection that does not say who it is for so long is no peer's.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// After the process ran out of descriptors, accepting waits this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a node answers.
pub trait Serve: Send + Sync + 'static {
    /// Whether this node talks to that one.
    fn welcome(&self, hello: &Hello) -> Welcome;

    /// The answer to a request.
    fn answer(
        &self,
        from: PeerIdentity,
        subject: Subject,
        body: Bytes,
    ) -> BoxFuture<'static, Bytes>;
}

/// Accepts peers for as long as it is polled.
pub async fn accept(listener: TcpListener, serves: Arc<dyn Serve>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let budget = Arc::new(Semaphore::new(INCOMING_BYTES_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, address)) => {
                let (serves, budget) = (Arc::clone(&serves), Arc::clone(&budget));
                tasks.spawn("peer connection", async move {
                    serve(stream, address, serves, budget).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a peer's connection cannot be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    serves: Arc<dyn Serve>,
    budget: Arc<Semaphore>,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (read_half, write_half) = stream.into_split();
    let mut reader = PeerReader::new(read_half, budget);
    let (queue, frames) = mpsc::channel(QUEUE_MAX);
    // In a set, so that it ends with this task, however that ends.
    let mut writer = JoinSet::new();
    writer.spawn(frame::write_all(write_half, frames));
    if let Some(from) = greet(&mut reader, &queue, address, &*serves).await {
        reader.greeted();
        answer_all(&mut reader, &queue, from, &serves).await;
    }
    // What is written already still leaves.
    drop(queue);
    if let Some(Ok(Err(error))) = writer.join_next().await {
        debug!(%address, %error, "writing to a peer failed");
    }
}

/// Who connected, if this node talks to it.
async fn greet(
    reader: &mut PeerReader,
    queue: &mpsc::Sender<Outgoing>,
    address: SocketAddr,
    serves: &dyn Serve,
) -> Option<PeerIdentity> {
    let first = match tokio::time::timeout(HELLO_MAX, reader.next()).await {
        Ok(Ok(Some(frame))) if frame.kind == Kind::Hello => frame,
        Ok(Ok(Some(_)) | Err(_)) | Err(_) => {
            debug!(%address, "what connected to the peer port is no peer");
            return None;
        }
        Ok(Ok(None)) => return None,
    };
    let hello = Hello::decode(&first.body);
    let welcome = hello.clone().and_then(|hello| serves.welcome(&hello));
    if let Err(why) = &welcome {
        warn!(%address, %why, "a node was sent away");
    }
    let body = hello::encode_welcome(&welcome);
    let answer = Outgoing { kind: Kind::Welcome, number: 0, subject: None, body };
    queue.send(answer).await.ok()?;
    welcome.ok()?;
    hello.ok().map(|hello| hello.from)
}

async fn answer_all(
    reader: &mut PeerReader,
    queue: &mpsc::Sender<Outgoing>,
    from: PeerIdentity,
    serves: &Arc<dyn Serve>,
) {
    // They end with the connection: nobody could be told what they find.
    let mut under_way = JoinSet::new();
    loop {
        let Incoming { kind, number, subject, body, charge } = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                debug!(peer = %from.node, %error, "a peer's connection ended");
                return;
            }
        };
        let (Kind::Request, Some(subject)) = (kind, Subject::from_code(subject)) else {
            // A newer peer may send what is not known here; it learns so by the silence.
            warn!(peer = %from.node, ?kind, subject, "a frame that is not known here");
            return;
        };
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= UNDER_WAY_MAX {
            drop(under_way.join_next().await);
        }
        let answering = serves.answer(from, subject, body);
        let queue = queue.clone();
        under_way.spawn(async move {
            let body = answering.await;
            drop(charge);
            let answer = Outgoing { kind: Kind::Answer, number, subject: None, body };
            // The peer may be gone by now.
            drop(queue.send(answer).await);
        });
    }
}

#[cfg(test)]
mod tests;
