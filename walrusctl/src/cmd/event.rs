//! `walrusctl event`.

use std::time::Duration;

use serde_json::json;
use walrus_admin::{
    API_VERSION,
    client::{Client, ClientError},
    event::{EVENTS_PAGE_MAX, Event, EventList, Repeats},
    stream::{Following, News, SILENT_MAX},
};

use crate::{
    cli::{EventWatch, Events},
    failure::Failure,
    out::{Console, Flush, clock, table},
};

/// Between two rounds over all endpoints, none of which tells anything.
const AGAIN: Duration = Duration::from_millis(500);

/// Shows what changed.
///
/// # Errors
/// Nobody answers.
pub(super) async fn list(client: &Client, console: &Console, which: Events) -> Result<(), Failure> {
    let limit = usize::from(which.limit);
    let page = limit.min(EVENTS_PAGE_MAX);
    let path = match which.after {
        // The newest of those that are wanted may lie behind many others.
        None if which.filter.is_all() => format!("/v1/events?limit={page}"),
        None => format!("/v1/events?after=0&limit={EVENTS_PAGE_MAX}"),
        Some(after) => format!("/v1/events?after={after}&limit={page}"),
    };
    let mut all: EventList = client.get(&path).await?;
    if which.after.is_none() {
        all.truncated = false;
    }
    all.items.retain(|event| which.filter.wants(event));
    while let Some(next) = all.next.filter(|_| which.after.is_none() || all.items.len() < limit) {
        let path = format!("/v1/events?after={next}&limit={EVENTS_PAGE_MAX}");
        let more: EventList = client.get(&path).await?;
        all.items.extend(more.items.into_iter().filter(|event| which.filter.wants(event)));
        (all.metadata_version, all.next) = (more.metadata_version, more.next);
        if which.after.is_none() {
            newest(&mut all.items, limit);
        }
    }
    if which.after.is_none() {
        newest(&mut all.items, limit);
    }
    if all.truncated {
        console.note("there was more: the node keeps the oldest of them no longer");
    }
    console.show(&all, |all| {
        let head = [
            ("TIME", Flush::Left),
            ("VERSION", Flush::Right),
            ("LEVEL", Flush::Left),
            ("SUBJECT", Flush::Left),
            ("WHAT", Flush::Left),
        ];
        let row = |event: &Event| {
            vec![
                clock(event.at_ms),
                event.version.to_string(),
                event.severity.name().to_owned(),
                event.subject.clone(),
                event.message.clone(),
            ]
        };
        table(&head, &all.items.iter().map(row).collect::<Vec<_>>())
    })
}

fn newest(items: &mut Vec<Event>, limit: usize) {
    items.drain(..items.len().saturating_sub(limit));
}

/// Shows what changes until somebody ends it. When a node is gone the next one is asked for what
/// came after.
///
/// # Errors
/// Nobody answers at the beginning, or nobody reads.
pub(super) async fn watch(
    client: &Client,
    console: &Console,
    which: EventWatch,
    patience: Duration,
) -> Result<(), Failure> {
    let mut after = which.after;
    let mut repeats = Repeats::default();
    let mut heard = false;
    loop {
        let mut first: Option<ClientError> = None;
        for endpoint in client.endpoints() {
            let query = "kinds=event&every_ms=250";
            let begun = Following::begin(endpoint, query, after, (patience, SILENT_MAX)).await;
            let ended = match begun {
                Ok(mut following) => {
                    if heard {
                        console.note(format_args!("{endpoint} goes on"));
                    }
                    heard = true;
                    let ended = show(console, &mut following, &which, &mut repeats).await?;
                    after = following.after();
                    first = None;
                    ended
                }
                Err(why) if !why.is_passing() => return Err(why.into()),
                Err(why) => why,
            };
            if heard {
                console.note(format_args!("{ended}; the next one is asked"));
            }
            first = first.or(Some(ended));
        }
        if let Some(why) = first.filter(|_| !heard) {
            return Err(why.into());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Shows what one node tells, and why it tells no more.
async fn show(
    console: &Console,
    following: &mut Following,
    which: &EventWatch,
    repeats: &mut Repeats,
) -> Result<ClientError, Failure> {
    loop {
        let list = match following.next().await {
            Ok(News::Events(list)) => list,
            Ok(News::Snapshot(_) | News::Vitals(_) | News::Groups(_) | News::Clients(_)) => {
                continue;
            }
            Err(why) => return Ok(why),
        };
        if list.truncated {
            console.note("some are missing: the node keeps the oldest of them no longer");
        }
        for event in list.items.iter().filter(|event| which.filter.wants(event)) {
            if !repeats.is_new(event) {
                continue;
            }
            let line = if console.is_json() {
                json!({ "apiVersion": API_VERSION, "kind": "Event", "event": event }).to_string()
            } else {
                let (at, level) = (clock(event.at_ms), event.severity.name());
                format!("{at}  {level:<5}  {}  {}", event.subject, event.message)
            };
            console.write(format!("{line}\n").as_bytes())?;
        }
    }
}
