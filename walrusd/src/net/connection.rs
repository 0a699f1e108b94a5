//! One client's connection: which protocol it speaks, and its requests in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{net::TcpStream, sync::mpsc};
use tracing::{debug, info, warn};
use walrus_types::limits;
use walrus_wire::{frame, text};

use crate::{
    api,
    broker::Broker,
    net::{
        clients::Connection,
        frames::{Frame, FrameError, FrameReader},
        replies::{self, Reply},
    },
    text as text_api,
};

/// The bytes that tell the protocols apart in every case but one, and in that one.
const SNIFF_BYTES: [usize; 2] = [5, 6];

/// What a connection knows of its client.
#[derive(Debug)]
pub struct Client {
    /// Where it called from.
    pub peer: SocketAddr,
    /// The address of ours that it reached: what Metadata tells it when nothing is configured.
    pub reached: SocketAddr,
    /// Its connection, as it is listed: knows name and version of its library, once it said so
    /// (KIP-511).
    pub connection: Arc<Connection>,
}

/// Serves `stream` until the client goes, errs, or the broker drains.
pub async fn serve(broker: Arc<Broker>, stream: TcpStream, peer: SocketAddr) {
    let Ok(reached) = stream.local_addr() else { return };
    let listed = broker.clients.enter(peer, broker.clock.uptime());
    let mut client = Client { peer, reached, connection: Arc::clone(listed.connection()) };
    let (read_half, write_half) = stream.into_split();
    let idle_max = Duration::from_millis(broker.config.client.idle_ms);
    let mut reader = FrameReader::new(read_half, Arc::clone(&broker.request_budget), idle_max);
    let (queue, replies) = mpsc::channel(limits::REQUESTS_IN_FLIGHT_MAX);
    let writer =
        tokio::spawn(replies::write_in_order(write_half, replies, Arc::clone(listed.connection())));

    let ended = tokio::select! {
        ended = read_requests(&broker, &mut client, &mut reader, &queue) => ended,
        () = broker.draining() => Ok(()),
        // The writer only ends first when the client no longer takes answers.
        () = queue.closed() => Ok(()),
    };
    drop(queue);
    match ended {
        Ok(()) => {}
        Err(FrameError::Refused(why)) => warn!(%peer, %why, "connection closed"),
        Err(FrameError::Idle(_) | FrameError::Stalled(_) | FrameError::Io(_)) => {
            debug!(%peer, "connection ended");
        }
        Err(error @ FrameError::Cut { .. }) => debug!(%peer, %error, "connection ended"),
    }
    // Answers that are owed are still sent.
    match writer.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, %error, "writing answers failed"),
        Err(error) => warn!(%peer, %error, "the writer of a connection failed"),
    }
}

async fn read_requests(
    broker: &Arc<Broker>,
    client: &mut Client,
    reader: &mut FrameReader,
    queue: &mpsc::Sender<Reply>,
) -> Result<(), FrameError> {
    let mut protocol = None;
    for count in SNIFF_BYTES {
        let first = reader.peek(count).await?;
        if first.is_empty() {
            return Ok(());
        }
        protocol = protocol.or_else(|| text::sniff(first));
        if protocol.is_some() {
            break;
        }
    }
    match protocol.unwrap_or(text::Protocol::Unknown) {
        text::Protocol::Kafka => read_kafka(broker, client, reader, queue).await,
        text::Protocol::Text => read_text(broker, client, reader, queue).await,
        text::Protocol::Http => {
            let admin = broker.config.admin.listen();
            info!(peer = %client.peer, "an HTTP client on the client port was sent away");
            send(queue, Reply::Ready(http_refusal(&admin.to_string()).into())).await;
            Ok(())
        }
        text::Protocol::Tls => {
            Err(FrameError::Refused("this port does not speak TLS; connect in plain text".into()))
        }
        text::Protocol::Unknown => {
            Err(FrameError::Refused("the first bytes are of no protocol served here".into()))
        }
    }
}

async fn read_kafka(
    broker: &Arc<Broker>,
    client: &mut Client,
    reader: &mut FrameReader,
    queue: &mpsc::Sender<Reply>,
) -> Result<(), FrameError> {
    let frame_limits = broker.frame_limits();
    let measure =
        |bytes: &[u8]| frame::measure(bytes, frame_limits).map_err(|refused| refused.to_string());
    while let Some(Frame { bytes, charge }) = reader.next(measure).await? {
        client.connection.came(bytes.len(), broker.clock.uptime());
        let reply = api::begin(broker, client, bytes).await;
        drop(charge);
        let ends = matches!(reply, Reply::Close);
        if !send(queue, reply).await || ends {
            break;
        }
    }
    Ok(())
}

async fn read_text(
    broker: &Arc<Broker>,
    client: &Client,
    reader: &mut FrameReader,
    queue: &mpsc::Sender<Reply>,
) -> Result<(), FrameError> {
    let bytes_max =
        usize::try_from(broker.config.client.text_frame_bytes_max).unwrap_or(usize::MAX);
    let measure =
        |bytes: &[u8]| text::measure(bytes, bytes_max).map_err(|refused| refused.to_string());
    loop {
        match reader.next(measure).await {
            Ok(Some(Frame { bytes, charge })) => {
                client.connection.came(bytes.len(), broker.clock.uptime());
                let reply = text_api::begin(broker, client, bytes).await;
                drop(charge);
                if !send(queue, reply).await {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            // The bytes of an oversized frame must never be read as commands: say why, then end.
            Err(FrameError::Refused(why)) => {
                send(queue, Reply::Ready(text::Reply::Err(&why).encode().into())).await;
                return Err(FrameError::Refused(why));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Queues a reply; false when the writer has ended.
async fn send(queue: &mpsc::Sender<Reply>, reply: Reply) -> bool {
    queue.send(reply).await.is_ok()
}

fn http_refusal(admin: &str) -> Bytes {
    let body = format!(
        "This port speaks the Kafka protocol. The admin API is at http://{admin}/ (try /healthz).\n"
    );
    Bytes::from(format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// How long the bytes of a drained connection may still take.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
