//! Every key and version that is advertised, over a real socket: with a request that makes sense,
//! with an empty one, and with bytes that lie. A key that is advertised and is not in the table
//! here fails.

mod groups;
mod requests;
mod table;

use std::{collections::BTreeSet, io::ErrorKind};

use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use walrus_tests::{Node, NodeSettings, raw::RawClient};
use walrus_types::TopicId;
use walrus_wire::{
    Api,
    kafka_protocol::{
        messages::{
            CreateTopicsRequest, RequestHeader, ResponseHeader,
            create_topics_request::CreatableTopic,
        },
        protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes},
    },
};

use requests::{software, topic};

/// Where to ask, and what is there.
struct World {
    node: Node,
    topic: TopicId,
}

/// Asks in one version; an error says what was not as it should be.
type Ask = Box<dyn Fn(&World, i16) -> Result<()>>;

/// What of an answer is looked at.
type Codes<R> = fn(&<R as Request>::Response) -> Vec<i16>;

/// A key's requests: one that makes sense and the codes that it gets, and an empty one.
fn row<R: Request + 'static>(
    api: Api,
    valid: fn(&World, i16) -> R,
    codes: Codes<R>,
    expected: &'static [i16],
    empty: R,
) -> (Api, Ask) {
    let ask = move |world: &World, version: i16| {
        let valid = valid(world, version);
        let told = exchange(world, version, &valid).context("a request that makes sense")?;
        let told = codes(&told);
        ensure!(told == expected, "codes {told:?}, not {expected:?}");
        exchange(world, version, &empty).context("an empty request")?;
        hostile::<R>(world, version, &valid)
    };
    (api, Box::new(ask))
}

fn head<R: Request>(version: i16) -> Result<BytesMut> {
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("table")));
    header.encode(&mut frame, R::header_version(version))?;
    Ok(frame)
}

fn exchange<R: Request>(world: &World, version: i16, request: &R) -> Result<R::Response> {
    let mut frame = head::<R>(version)?;
    request.encode(&mut frame, version)?;
    let mut client = RawClient::connect(world.node.client_address())?;
    client.send_frame(&frame)?;
    decoded::<R>(version, client.answer_frame()?)
}

/// An answer, whole and with nothing behind it.
fn decoded<R: Request>(version: i16, mut frame: Bytes) -> Result<R::Response> {
    let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
    ensure!(header.correlation_id == 7, "the answer is to {}", header.correlation_id);
    let response = R::Response::decode(&mut frame, version)?;
    ensure!(frame.is_empty(), "{} bytes too many", frame.len());
    Ok(response)
}

/// Bytes that lie get an answer that can be read, or the end of the connection; and others are
/// served as before.
fn hostile<R: Request>(world: &World, version: i16, valid: &R) -> Result<()> {
    let mut body = BytesMut::new();
    valid.encode(&mut body, version)?;
    let lies = [vec![0xff; 64], vec![0x7f; 64], vec![], [&[0xff; 4][..], &body].concat()];
    let cuts = [1, 2, 3].map(|quarter| body[..body.len() * quarter / 4].to_vec());
    for lie in lies.into_iter().chain(cuts) {
        let mut frame = head::<R>(version)?;
        frame.extend_from_slice(&lie);
        let mut client = RawClient::connect(world.node.client_address())?;
        client.send_frame(&frame)?;
        match client.answer_frame() {
            Ok(answer) => {
                decoded::<R>(version, answer)
                    .with_context(|| format!("the answer to {lie:02x?}"))?;
            }
            // A Produce may ask for no answer.
            Err(why) => {
                let is_silent = why.downcast_ref::<std::io::Error>().is_some_and(|why| {
                    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                });
                let may_be = R::KEY == Api::Produce.key();
                ensure!(!is_silent || may_be, "neither an answer nor an end for {lie:02x?}");
            }
        }
    }
    let alive = exchange(world, 3, &software()).context("after hostile bytes")?;
    ensure!(alive.error_code == 0, "it is served otherwise after hostile bytes");
    Ok(())
}

fn start() -> Result<(tempfile::TempDir, World)> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(folder.path(), NodeSettings::default())?;
    let mut client = RawClient::connect(node.client_address())?;
    let new = CreatableTopic::default()
        .with_name(topic())
        .with_num_partitions(2)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![new]);
    let made = client.ask(7, &request)?;
    ensure!(made.topics[0].error_code == 0, "{made:?}");
    let topic = TopicId(made.topics[0].topic_id);
    Ok((folder, World { node, topic }))
}

/// What the node says that it serves.
fn advertised(world: &World) -> Result<Vec<(i16, i16, i16)>> {
    let answer = exchange(world, 3, &software())?;
    let keys = answer.api_keys.iter();
    Ok(keys.map(|one| (one.api_key, one.min_version, one.max_version)).collect())
}

#[test]
fn every_advertised_key_and_version_takes_sound_empty_and_hostile_requests() -> Result<()> {
    let (_folder, world) = start()?;
    let table: Vec<(Api, Ask)> = [table::of_clients(), groups::of_groups(), table::of_tools()]
        .into_iter()
        .flatten()
        .collect();
    let named: BTreeSet<i16> = table.iter().map(|(api, _)| api.key()).collect();
    let advertised = advertised(&world)?;
    let keys: BTreeSet<i16> = advertised.iter().map(|(key, _, _)| *key).collect();
    ensure!(keys == named, "advertised {keys:?}, in the table {named:?}");
    let mut asked = 0;
    for (api, ask) in &table {
        let found = advertised.iter().find(|(key, _, _)| *key == api.key());
        let (_, first, last) = found.context("it was compared above")?;
        for version in *first..=*last {
            if api.serves(version) {
                ask(&world, version).with_context(|| format!("{api:?} v{version}"))?;
                asked += 1;
            }
        }
    }
    ensure!(asked > 100, "only {asked} versions were asked for");
    ensure!(world.node.is_running(), "the node ended");
    Ok(())
}

#[test]
fn a_version_past_the_last_ends_the_connection_and_the_node_goes_on() -> Result<()> {
    let (_folder, world) = start()?;
    for (key, _, last) in advertised(&world)? {
        let mut frame = BytesMut::new();
        for field in [key, last + 1, 0, 7, -1] {
            frame.extend_from_slice(&field.to_be_bytes());
        }
        let mut client = RawClient::connect(world.node.client_address())?;
        client.send_frame(&frame)?;
        // ApiVersions tells in its first version what is served (KIP-511).
        let is_told = key == Api::ApiVersions.key();
        ensure!(client.answer_frame().is_ok() == is_told, "key {key} version {}", last + 1);
    }
    ensure!(!advertised(&world)?.is_empty(), "the node ended");
    Ok(())
}
