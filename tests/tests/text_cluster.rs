//! The text protocol at three nodes at once: a topic is one queue, whichever node its clients know.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use walrus_tests::{Cluster, NodeSettings, text::TextClient};

/// Something is broken when an entry does not come for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three whose segments are rolled after a few entries.
fn three(folder: &tempfile::TempDir) -> Result<Cluster> {
    let settings = NodeSettings::default()
        .env("WALRUS_MAX_SEGMENT_ENTRIES", 20)
        .env("WALRUS_MONITOR_CHECK_MS", 50);
    Cluster::start(folder.path(), 3, &settings)
}

fn client(cluster: &Cluster, id: i32) -> Result<TextClient> {
    TextClient::connect(cluster.node(id).client_address())
}

/// Gets until nothing is left; what came, in order.
fn drain(client: &mut TextClient) -> Result<Vec<String>> {
    let mut came = Vec::new();
    loop {
        let answer = String::from_utf8(client.ask(b"GET jobs")?)?;
        match answer.strip_prefix("OK ") {
            Some(entry) => came.push(entry.to_owned()),
            None if answer == "EMPTY" => return Ok(came),
            None => anyhow::bail!("GET was answered {answer:?}"),
        }
    }
}

/// The segments that the topic has had, and who led them.
fn leaders(client: &mut TextClient) -> Result<BTreeMap<String, u64>> {
    let state = String::from_utf8(client.ask(b"STATE jobs")?)?;
    let json = state.strip_prefix("OK ").with_context(|| format!("STATE says {state}"))?;
    let state: serde_json::Value = serde_json::from_str(json)?;
    Ok(serde_json::from_value(state["segment_leaders"].clone())?)
}

#[test]
fn any_node_takes_and_hands_out_and_every_entry_comes_once_and_in_order() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = three(&folder)?;
    let mut clients = [client(&cluster, 1)?, client(&cluster, 2)?, client(&cluster, 3)?];
    ensure!(clients[1].ask(b"REGISTER jobs")? == b"OK", "REGISTER is not OK");
    for entry in 0..120 {
        let (put, get) = (entry % 3, (entry / 3 + 1) % 3);
        let answer = clients[put].ask(format!("PUT jobs {entry}").as_bytes())?;
        ensure!(answer == b"OK", "PUT was answered {:?}", String::from_utf8_lossy(&answer));
        // What was answered is there for everybody.
        let answer = clients[get].ask(b"GET jobs")?;
        let expected = format!("OK {entry}");
        ensure!(answer == expected.as_bytes(), "{:?}", String::from_utf8_lossy(&answer));
    }
    for client in &mut clients {
        ensure!(client.ask(b"GET jobs")? == b"EMPTY", "more came than was put");
        // A topic that was registered moves on to the next node with every segment.
        let leaders = leaders(client)?;
        let mut nodes: Vec<_> = leaders.values().collect();
        nodes.sort_unstable();
        nodes.dedup();
        ensure!(leaders.len() > 3 && nodes.len() == 3, "segments were led by {leaders:?}");
    }
    Ok(())
}

#[test]
fn nothing_comes_twice_while_nodes_are_restarted_one_after_the_other() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = three(&folder)?;
    ensure!(client(&cluster, 1)?.ask(b"REGISTER jobs")? == b"OK", "REGISTER is not OK");
    let mut put = 0;
    let mut came = Vec::new();
    for victim in [1, 2, 3] {
        let others: Vec<i32> = (1..=3).filter(|id| *id != victim).collect();
        let stop = AtomicBool::new(false);
        let addresses: Vec<_> =
            others.iter().map(|id| cluster.node(*id).client_address()).collect();
        let round = thread::scope(|scope| -> Result<(usize, Vec<String>)> {
            let stop = &stop;
            let putting = scope.spawn(move || -> Result<usize> {
                let (mut client, mut put) = (TextClient::connect(addresses[0])?, put);
                while !stop.load(Ordering::Acquire) {
                    let answer = client.ask(format!("PUT jobs {put}").as_bytes())?;
                    ensure!(answer == b"OK", "{:?}", String::from_utf8_lossy(&answer));
                    put += 1;
                }
                Ok(put)
            });
            let address = cluster.node(others[1]).client_address();
            let getting = scope.spawn(move || -> Result<Vec<String>> {
                let (mut client, mut came) = (TextClient::connect(address)?, Vec::new());
                while !stop.load(Ordering::Acquire) {
                    came.extend(drain(&mut client)?);
                }
                Ok(came)
            });
            let restarted = (|| {
                ensure!(cluster.node_mut(victim).terminate()?.success(), "it did not stop");
                cluster.node_mut(victim).restart()?;
                cluster.wait_until_all_are_shown()
            })();
            stop.store(true, Ordering::Release);
            let put = putting.join().expect("it does not panic")?;
            let came = getting.join().expect("it does not panic")?;
            restarted.map(|()| (put, came))
        });
        let (count, some) = round.with_context(|| format!("while node {victim} was restarted"))?;
        put = count;
        came.extend(some);
    }
    came.extend(drain(&mut client(&cluster, 2)?)?);
    let expected: Vec<String> = (0..put).map(|entry| entry.to_string()).collect();
    let first = came.iter().zip(&expected).position(|(came, expected)| came != expected);
    ensure!(
        came == expected,
        "{} of {put} came; the first that differs is {first:?}: {:?}",
        came.len(),
        first.map(|at| &came[at.saturating_sub(3)..(at + 5).min(came.len())]),
    );
    Ok(())
}

#[test]
fn no_entry_is_skipped_when_the_node_that_has_the_cursor_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = three(&folder)?;
    ensure!(client(&cluster, 1)?.ask(b"REGISTER jobs")? == b"OK", "REGISTER is not OK");
    for entry in 0..60 {
        ensure!(
            client(&cluster, 2)?.ask(format!("PUT jobs {entry}").as_bytes())? == b"OK",
            "PUT {entry} is not OK"
        );
    }
    let mut came = Vec::new();
    for _ in 0..20 {
        let answer = client(&cluster, 3)?.ask(b"GET jobs")?;
        came.push(String::from_utf8(answer)?.trim_start_matches("OK ").to_owned());
    }
    for victim in [1, 2, 3] {
        cluster.node_mut(victim).kill()?;
        let other = victim % 3 + 1;
        // The others may have to be without a coordinator for a moment.
        let until = Instant::now() + PATIENCE;
        let mut asked = client(&cluster, other)?;
        loop {
            let answer = String::from_utf8(asked.ask(b"GET jobs")?)?;
            match answer.strip_prefix("OK ") {
                Some(entry) => break came.push(entry.to_owned()),
                None => ensure!(Instant::now() < until, "GET is answered {answer} for ever"),
            }
        }
        cluster.node_mut(victim).restart()?;
        cluster.wait_until_all_are_shown()?;
    }
    // What a node that was killed had taken out comes again.
    let (mut client, until) = (client(&cluster, 1)?, Instant::now() + PATIENCE);
    loop {
        came.extend(drain(&mut client)?);
        let seen = came.iter().map(|entry| entry.parse()).collect::<Result<BTreeSet<i32>, _>>()?;
        if seen == (0..60).collect() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "these alone came: {came:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
