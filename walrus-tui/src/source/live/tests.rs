use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use walrus_admin::{ApiError, Document, ErrorDocument};

use super::*;
use crate::{
    model::PartitionName,
    source::simulated::{Simulated, Size},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each connection by what was asked for, until the test ends.
fn node(answer: impl Fn(&str) -> String + Send + 'static) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..length]).to_lowercase();
            // Whoever asked may have gone.
            drop(stream.write_all(answer(&asked).as_bytes()));
        }
    }));
    at
}

fn body(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}")
}

fn not_found() -> String {
    let error = ApiError::new(Code::NotFound, "there is nothing");
    let told = ErrorDocument { error, routes: Vec::new() };
    body("404 x", "application/json", &serde_json::to_string(&told).unwrap())
}

fn snapshot(version: u64) -> String {
    let mut snapshot = Simulated::new(1, Size { nodes: 1, partitions: 2 }).snapshot();
    snapshot.metadata_version = version;
    for entry in &mut snapshot.nodes {
        entry.node.addresses.admin = "0.0.0.0:0".to_owned();
    }
    serde_json::to_string(&Document::of(&snapshot)).unwrap()
}

fn follow(endpoints: Vec<Endpoint>) -> (Receiver<Told>, watch::Sender<Wanted>) {
    let (wanted, wishes) = watch::channel(Wanted::default());
    let (tell, told) = sync_channel(16);
    drop(thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(endpoints, Instant::now(), wishes, tell));
    }));
    (told, wanted)
}

/// Versions of snapshots as they come, and what else: e for events, - for none to come, l for lost.
fn words(told: &Receiver<Told>, count: usize) -> Vec<String> {
    let word = |_| match told.recv_timeout(PATIENCE).unwrap() {
        Told::Snapshot(snapshot) => snapshot.metadata_version.to_string(),
        Told::Events(Some(_)) => "e".to_owned(),
        Told::Events(None) => "-".to_owned(),
        Told::Lost { why, .. } => format!("l {why}"),
        other => format!("{other:?}"),
    };
    (0..count).map(word).collect()
}

#[test]
fn a_node_of_before_is_asked_again_and_again() {
    let at = node(|asked| {
        if asked.starts_with("get /v1/stream") {
            return not_found();
        }
        let version = if asked.contains("since=7") { 8 } else { 7 };
        body("200 OK", "application/json", &snapshot(version))
    });
    let (told, _wanted) = follow(vec![at]);
    assert_eq!(words(&told, 3), ["-", "7", "8"]);
}

#[test]
fn when_a_stream_ends_the_next_node_goes_on_from_there() {
    let stream = |version: u64| {
        let told = snapshot(version);
        let told = format!("event: snapshot\nid: {version}\ndata: {told}\n\n");
        body("200 OK", "text/event-stream", &told)
    };
    let of = move |first: u64| {
        node(move |asked: &str| {
            if asked.starts_with("get /v1/events") {
                return not_found();
            }
            // The second is asked for what came after the first.
            let is_next = asked.contains("last-event-id: 7");
            stream(if is_next { 8 } else { first })
        })
    };
    let (told, _wanted) = follow(vec![of(7), of(70)]);
    assert_eq!(words(&told, 4), ["e", "7", "e", "8"]);
}

#[test]
fn a_console_that_nobody_answers_says_so_and_asks_on() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (told, _wanted) = follow(vec![gone.to_string().parse().unwrap()]);
    let words = words(&told, 2);
    assert!(words.iter().all(|word| word.starts_with("l ")), "{words:?}");
}

/// The stream says that the partition is another right after the chain was asked for.
#[test]
fn the_chain_that_is_shown_is_asked_for_as_soon_as_it_is_another() {
    let whole = Simulated::new(1, Size { nodes: 1, partitions: 2 }).snapshot();
    let name = PartitionName {
        topic: whole.topics[0].topic.clone(),
        partition: whole.topics[0].partitions[0].partition,
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at: Endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    let (chain_asked, chains) = sync_channel(4);
    drop(thread::spawn(move || {
        let mut streams = Vec::new();
        let told = |version: u64| {
            let mut snapshot = whole.clone();
            (snapshot.metadata_version, snapshot.nodes) = (version, Vec::new());
            Arc::make_mut(&mut snapshot.topics[0]).partitions[0].epoch.0 +=
                i32::try_from(version).unwrap();
            let told = serde_json::to_string(&Document::of(&snapshot)).unwrap();
            format!("event: snapshot\nid: {version}\ndata: {told}\n\n")
        };
        let mut asked_chains = 0;
        while let Ok((mut connection, _)) = listener.accept() {
            let mut asked = vec![0; 4096];
            let length = connection.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..length]).to_lowercase();
            // Who comes again, because it heard nothing for long, finds no stream.
            if asked.starts_with("get /v1/stream") && streams.is_empty() {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                connection.write_all(format!("{head}{}", told(7)).as_bytes()).unwrap();
                streams.push(connection);
            } else if asked.contains("/segments") {
                asked_chains += 1;
                drop(connection.write_all(not_found().as_bytes()));
                if asked_chains == 1 {
                    streams[0].write_all(told(8).as_bytes()).unwrap();
                }
                chain_asked.send(asked_chains).unwrap();
            } else {
                drop(connection.write_all(not_found().as_bytes()));
            }
        }
    }));
    let (told, wanted) = follow(vec![at]);
    wanted.send(Wanted { also: Some(Also::Chain(name)), refreshes: 0 }).unwrap();
    for expected in [1, 2] {
        assert_eq!(chains.recv_timeout(PATIENCE), Ok(expected));
    }
    drop(told);
}

/// What a stream tells, or a question is answered with.
fn groups(name: &str) -> String {
    let mut list = Simulated::new(1, Size { nodes: 1, partitions: 12 }).groups();
    list.items.truncate(1);
    name.clone_into(&mut list.items[0].group);
    serde_json::to_string(&Document::of(&list)).unwrap()
}

#[test]
fn a_list_is_followed_where_the_node_tells_it_and_asked_for_where_it_does_not() {
    for (tells_lists, expected) in [(true, ["first", "second"]), (false, ["asked", "asked"])] {
        let at = node(move |asked| {
            if asked.starts_with("get /v1/stream?kinds=group") {
                let told = ["first", "second"]
                    .map(|name| format!("event: groups\ndata: {}\n\n", groups(name)));
                let refused = ApiError::new(Code::BadRequest, "kinds: \"group\" is unknown");
                let refused = ErrorDocument { error: refused, routes: Vec::new() };
                return match tells_lists {
                    true => body("200 OK", "text/event-stream", &told.concat()),
                    false => {
                        body("400 x", "application/json", &serde_json::to_string(&refused).unwrap())
                    }
                };
            }
            match asked.split_whitespace().nth(1) {
                Some(path) if path.starts_with("/v1/stream") => not_found(),
                Some("/v1/groups") => body("200 OK", "application/json", &groups("asked")),
                _ => body("200 OK", "application/json", &snapshot(7)),
            }
        });
        let client = Client::new(vec![at.clone()], ANSWER_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let name = |told: &Told| match told {
            Told::Groups(Ok(groups)) => groups.items[0].group.clone(),
            other => format!("{other:?}"),
        };
        runtime.block_on(async {
            let told = beside::begin(client.clone(), at.clone(), Also::Groups, true).await;
            assert_eq!((name(&told.told), told.tells_lists), (expected[0].to_owned(), tells_lists));
            let again = match told.following {
                Some((wish, following)) => {
                    beside::next(client.clone(), at.clone(), wish, following).await
                }
                None => beside::begin(client.clone(), at.clone(), Also::Groups, false).await,
            };
            assert_eq!(name(&again.told), expected[1]);
            // When the stream ends the node is asked once more.
            if let Some((wish, following)) = again.following {
                let ended = beside::next(client, at, wish, following).await;
                assert_eq!((name(&ended.told), ended.following.is_none()), ("asked".into(), true));
            }
        });
    }
}
