//! The same requests to Kafka and to Walrus, and what of the answers differs: codes, which fields
//! are set, which lists are null or empty.
//!
//! `walrus-differential KAFKA WALRUS` takes two addresses; `tests/differential/run` starts the two
//! brokers. A difference that `known.rs` does not name fails, and so does one that it names and
//! that is not there any more.

#![expect(clippy::print_stdout, reason = "it is a program that tells")]

mod cases;
mod known;
mod scene;
mod shape;

use std::{collections::BTreeMap, net::SocketAddr, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use walrus_tests::raw::RawClient;

use cases::Case;
use known::Known;
use shape::Shape;

/// Telemetry: Kafka has it only with a plugin that takes what clients push.
const OURS_ALONE: &[i16] = &[71, 72];

/// What stands where a broker's answer has no such field.
const ABSENT: &str = "absent";

/// One request: a case in one version.
type Asked<'a> = (&'a Case, i16);

/// Where answers differ: a path, Kafka's value, ours.
type Difference = (String, String, String);

/// First and last version by key.
type Served = BTreeMap<i16, (i16, i16)>;

fn served(at: SocketAddr) -> Result<Served> {
    let told = scene::served(&mut RawClient::connect(at)?)?;
    Ok(told.into_iter().map(|(key, first, last)| (key, (first, last))).collect())
}

/// Every case in every version that both serve.
fn requests<'a>(cases: &'a [Case], kafka: &Served, walrus: &Served) -> Result<Vec<Asked<'a>>> {
    let mut requests = Vec::new();
    for case in cases {
        let both = kafka.get(&case.key).zip(walrus.get(&case.key));
        let (theirs, ours) = both.with_context(|| format!("{}: not served", case.name))?;
        let common = theirs.0.max(ours.0)..=theirs.1.min(ours.1);
        // Kafka says so too, and answers none of them (KAFKA-18659).
        let common = if case.key == 0 { 3..=*common.end() } else { common };
        let wanted: Vec<i16> = match case.versions {
            [] => common.collect(),
            some => some.iter().copied().filter(|version| common.contains(version)).collect(),
        };
        ensure!(!wanted.is_empty(), "{}: no version that both serve", case.name);
        requests.extend(wanted.into_iter().map(|version| (case, version)));
    }
    let has_case = |key: &i16| cases.iter().any(|case| case.key == *key);
    let without = walrus.keys().find(|key| !has_case(key) && !OURS_ALONE.contains(key));
    ensure!(without.is_none(), "no case asks key {without:?}");
    Ok(requests)
}

/// All answers of one broker, in order.
fn answers(at: SocketAddr, requests: &[Asked<'_>]) -> Vec<Result<Shape>> {
    let answer = |(index, (case, version)): (usize, &Asked<'_>)| {
        let shape = case.ask(at, &format!("case-{index}"), *version);
        shape.with_context(|| format!("{} v{version} at {at}", case.name))
    };
    requests.iter().enumerate().map(answer).collect()
}

fn differences(kafka: &Shape, walrus: &Shape) -> Vec<Difference> {
    let value = |shape: &Shape, path: &str| {
        shape.get(path).map_or_else(|| ABSENT.to_owned(), String::clone)
    };
    let mut paths: Vec<&String> = kafka.keys().chain(walrus.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let both = paths.into_iter().map(|path| (path, value(kafka, path), value(walrus, path)));
    both.filter(|(_, theirs, ours)| theirs != ours)
        .map(|(path, theirs, ours)| (path.clone(), theirs, ours))
        .collect()
}

/// What a run found.
#[derive(Debug, Default)]
struct Verdict {
    same: usize,
    known: usize,
    failed: usize,
}

fn compare(requests: &[Asked<'_>], kafka: SocketAddr, walrus: SocketAddr) -> Verdict {
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| answers(kafka, requests));
        let ours = answers(walrus, requests);
        (theirs.join().expect("a broker is asked without a panic"), ours)
    });
    let known = known::all();
    let mut seen = vec![0; known.len()];
    let mut verdict = Verdict::default();
    for (((case, version), theirs), ours) in requests.iter().zip(theirs).zip(ours) {
        let name = format!("{} v{version}", case.name);
        let (theirs, ours) = match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (theirs, ours) => {
                verdict.failed += 1;
                for why in [theirs.err(), ours.err()].into_iter().flatten() {
                    println!("FAILED  {name}: {why:#}");
                }
                continue;
            }
        };
        let found = differences(&theirs, &ours);
        let new = unknown(&found, case, *version, &known, &mut seen);
        match (found.is_empty(), new.is_empty()) {
            (true, _) => verdict.same += 1,
            (false, true) => verdict.known += 1,
            (false, false) => {
                verdict.failed += 1;
                println!("DIFFERS {name} (key {})", case.key);
            }
        }
        for (path, theirs, ours) in new {
            println!("    {path}: Kafka {theirs}, Walrus {ours}");
        }
    }
    for (Known { cases, path, why, .. }, seen) in known.iter().zip(seen) {
        if seen == 0 {
            verdict.failed += 1;
            println!("GONE    {cases}: {path} does not differ as known.rs says");
        } else {
            println!("known   {seen:4} times: {cases}: {path}: {why}");
        }
    }
    verdict
}

/// Those that are not named, and counts those that are.
fn unknown<'d>(
    found: &'d [Difference],
    case: &Case,
    version: i16,
    known: &[Known],
    seen: &mut [usize],
) -> Vec<&'d Difference> {
    let is_new = |difference: &&Difference| {
        let (path, theirs, ours) = difference;
        let mut is_new = true;
        for (known, seen) in known.iter().zip(seen.iter_mut()) {
            if known.covers(case.name, version, path, theirs, ours) {
                is_new = false;
                *seen += 1;
            }
        }
        is_new
    };
    found.iter().filter(is_new).collect()
}

fn run() -> Result<Verdict> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    let [kafka, walrus] = &addresses[..] else {
        anyhow::bail!("usage: walrus-differential KAFKA WALRUS");
    };
    let (kafka, walrus) = (kafka.parse()?, walrus.parse()?);
    let cases = cases::all();
    let requests = requests(&cases, &served(kafka)?, &served(walrus)?)?;
    println!("{} requests of {} cases", requests.len(), cases.len());
    Ok(compare(&requests, kafka, walrus))
}

fn main() -> ExitCode {
    match run() {
        Ok(Verdict { same, known, failed }) => {
            println!("{same} the same, {known} different for a known reason, {failed} failed");
            ExitCode::from(u8::from(failed > 0))
        }
        Err(why) => {
            println!("{why:#}");
            ExitCode::FAILURE
        }
    }
}
