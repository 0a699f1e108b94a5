//! `walrusctl segment`.

use walrus_admin::{client::Client, partition::Chain};

use crate::{
    cli::Place,
    failure::{Exit, Failure},
    out::{Console, Flush, bytes, list, table},
};

/// The topic and the number of the one partition that a verb is about.
///
/// # Errors
/// A topic was named.
pub(super) fn one<'a>(place: &'a Place, verb: &str) -> Result<(&'a str, i32), Failure> {
    let Place { topic, partition } = place;
    partition.map(|partition| (topic.as_str(), partition)).ok_or_else(|| {
        let why = format!("{topic} names a topic, and this is about one partition");
        Failure::new(Exit::Usage, "no partition", why)
            .next(format!("walrusctl segment {verb} {topic}/0"))
    })
}

/// Shows a partition's chain.
///
/// # Errors
/// There is no such partition, or nobody answers.
pub(super) async fn chain(
    client: &Client,
    console: &Console,
    place: &Place,
    limit: u16,
) -> Result<(), Failure> {
    let (topic, partition) = one(place, "chain")?;
    let path = format!("/v1/topics/{topic}/partitions/{partition}/segments?limit={limit}");
    let mut chain: Chain = client.get(&path).await?;
    let open = chain.items.last().filter(|last| last.open);
    // How far the open segment got only its leader knows.
    if let Some(open) = open.filter(|open| open.end.is_none())
        && let Ok(known) = super::addresses(client).await
        && let Some((_, at)) = known.iter().find(|(node, _)| *node == open.leader)
        && let Ok(there) = client.get_at(at, &path).await
    {
        chain = there;
    }
    console.show(&chain, chain_text)?;
    let shown = u64::try_from(chain.items.len()).unwrap_or(u64::MAX);
    if shown < chain.segments {
        console
            .note(format_args!("the newest {shown} of {} segments; see --limit", chain.segments));
    }
    Ok(())
}

fn chain_text(chain: &Chain) -> String {
    let head = [
        ("EPOCH", Flush::Right),
        ("STATE", Flush::Left),
        ("BASE", Flush::Right),
        ("END", Flush::Right),
        ("BYTES", Flush::Right),
        ("LEADER", Flush::Left),
        ("MEMBERS", Flush::Left),
        ("OPENED FOR", Flush::Left),
    ];
    let rows: Vec<Vec<String>> = chain
        .items
        .iter()
        .map(|segment| {
            vec![
                segment.epoch.to_string(),
                if segment.open { "open" } else { "sealed" }.to_owned(),
                segment.base.to_string(),
                segment.end.map_or_else(String::new, |end| end.to_string()),
                segment.bytes.map_or_else(String::new, bytes),
                segment.leader.to_string(),
                list(&segment.members),
                segment.reason.clone(),
            ]
        })
        .collect();
    let mut text = table(&head, &rows);
    for loss in &chain.losses {
        let walrus_admin::partition::Loss { epoch, from, seen } = loss;
        text += &if seen > from {
            format!("the seal of epoch {epoch} at {from} may have lost records up to {seen}\n")
        } else {
            format!("the seal of epoch {epoch} at {from} may have lost what was past that\n")
        };
    }
    text
}
