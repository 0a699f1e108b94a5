//! What is typed after `:`: the name of a screen, a partition, a topic, a node, a group.

use clap::ValueEnum as _;

use walrus_admin::{
    operation::OperationState,
    plan::{Place, ROLLOVER_PER_MINUTE, Wanted, Which},
};
use walrus_types::NodeId;

use super::{doing::Wish, lists::told_operations};
use crate::{
    model::{Model, PartitionName},
    screen::Screen,
};

/// Where a command leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// A screen.
    Screen(Screen),
    /// A partition's chain.
    Partition(PartitionName),
    /// The partitions of a topic.
    Topic(String),
    /// A group.
    Group(String),
    /// The cluster of another context.
    Context(String),
    /// Something to be done to the cluster.
    Do(Wish),
    /// Leave to change something.
    Unlock,
    /// No leave any more.
    Shut,
    /// Out.
    Quit,
}

/// What stands before the name of a context.
const CONTEXT: &str = "context ";

/// Names that are offered at most.
const OFFERED_MAX: usize = 200;

/// Where a command leads, if it leads anywhere.
#[must_use]
pub fn goal(model: &Model, contexts: &[String], typed: &str) -> Option<Goal> {
    let typed = typed.trim();
    match typed {
        "q" | "quit" => return Some(Goal::Quit),
        "rw" => return Some(Goal::Unlock),
        "ro" => return Some(Goal::Shut),
        _ => {}
    }
    if let Some(name) = typed.strip_prefix(CONTEXT).map(str::trim) {
        let known = contexts.iter().find(|context| *context == name);
        return known.map(|name| Goal::Context(name.clone()));
    }
    if let Some(wish) = wish(model, typed) {
        return Some(Goal::Do(wish));
    }
    if let Ok(screen) = Screen::from_str(typed, true) {
        return Some(Goal::Screen(screen));
    }
    if let Some(name) = partition(typed)
        && model.seen().is_some_and(|snapshot| crate::model::find(snapshot, &name).is_some())
    {
        return Some(Goal::Partition(name));
    }
    let topics = model.seen().map(|snapshot| snapshot.topics.as_slice()).unwrap_or_default();
    if topics.iter().any(|topic| topic.topic == typed) {
        return Some(Goal::Topic(typed.to_owned()));
    }
    let groups = model.group_list().map(|list| list.items.as_slice()).unwrap_or_default();
    groups.iter().any(|group| group.group == typed).then(|| Goal::Group(typed.to_owned()))
}

/// What stands before what is to be changed.
const VERBS: [&str; 6] = ["drain", "undrain", "remove", "rollover", "transfer", "cancel"];

/// Something to be done, as it is typed: a verb, and what it is done to. What that comes to is for
/// the server to say.
fn wish(model: &Model, typed: &str) -> Option<Wish> {
    let (verb, of) = typed.split_once(' ')?;
    let of = of.trim();
    let node = || of.parse::<NodeId>().ok();
    Some(match verb {
        "drain" => Wish::Plan(Wanted::Drain { node: node()? }),
        "undrain" => Wish::Plan(Wanted::Undrain { node: node()? }),
        "remove" => Wish::Plan(Wanted::Remove { node: node()? }),
        "transfer" => Wish::Plan(Wanted::TransferRaft { to: node()? }),
        "rollover" => rollover(which(model, of)?),
        "cancel" => {
            let id = of.parse().ok()?;
            let known = told_operations(model).iter().find(|one| one.id == id)?;
            Wish::cancel(known)
        }
        _ => return None,
    })
}

/// Partitions that are rolled over.
#[must_use]
pub const fn rollover(which: Which) -> Wish {
    Wish::Plan(Wanted::Rollover { which, per_minute: ROLLOVER_PER_MINUTE })
}

fn which(model: &Model, of: &str) -> Option<Which> {
    if of == "all" {
        return Some(Which::All);
    }
    let topics = model.seen().map(|snapshot| snapshot.topics.as_slice()).unwrap_or_default();
    if topics.iter().any(|topic| topic.topic == of) {
        return Some(Which::These(vec![Place { topic: of.to_owned(), partition: None }]));
    }
    if let Some(PartitionName { topic, partition }) = partition(of) {
        return Some(Which::These(vec![Place { topic, partition: Some(partition) }]));
    }
    of.parse::<NodeId>().ok().map(Which::LedBy)
}

/// `topic/partition`.
#[must_use]
pub fn partition(given: &str) -> Option<PartitionName> {
    let (topic, partition) = given.rsplit_once('/')?;
    let partition = walrus_types::PartitionIndex(partition.parse().ok()?);
    Some(PartitionName { topic: topic.to_owned(), partition })
}

/// What a verb that was typed may be done to.
fn objects(model: &Model, typed: &str) -> Vec<String> {
    let Some((verb, _)) = typed.split_once(' ').filter(|(verb, _)| VERBS.contains(verb)) else {
        return Vec::new();
    };
    let Some(snapshot) = model.seen() else { return Vec::new() };
    let names: Vec<String> = match verb {
        "cancel" => told_operations(model)
            .iter()
            .filter(|one| one.state == OperationState::Running)
            .map(|one| one.id.to_string())
            .collect(),
        "rollover" => std::iter::once("all".to_owned())
            .chain(snapshot.topics.iter().map(|topic| topic.topic.clone()))
            .collect(),
        _ => snapshot.nodes.iter().map(|entry| entry.node.node.to_string()).collect(),
    };
    names.into_iter().map(|name| format!("{verb} {name}")).collect()
}

/// What may be meant by what was typed so far: names that begin with it.
#[must_use]
pub fn offers(model: &Model, contexts: &[String], typed: &str) -> Vec<String> {
    let screens = Screen::value_variants()
        .iter()
        .filter_map(|screen| Some(screen.to_possible_value()?.get_name().to_owned()));
    let topics = model.seen().map(|snapshot| snapshot.topics.as_slice()).unwrap_or_default();
    let groups = model.group_list().map(|list| list.items.as_slice()).unwrap_or_default();
    let names = screens
        .chain(["quit", "ro", "rw"].map(str::to_owned))
        .chain(contexts.iter().map(|name| format!("{CONTEXT}{name}")))
        .chain(VERBS.iter().map(|verb| format!("{verb} ")))
        .chain(objects(model, typed))
        .chain(topics.iter().map(|topic| topic.topic.clone()))
        .chain(groups.iter().map(|group| group.group.clone()));
    names.filter(|name| name.starts_with(typed)).take(OFFERED_MAX).collect()
}

/// What all offers begin with.
#[must_use]
pub fn completed(offers: &[String]) -> Option<String> {
    let (first, rest) = offers.split_first()?;
    let mut common = first.as_str();
    for other in rest {
        let same = common.char_indices().zip(other.chars()).take_while(|((_, a), b)| a == b);
        let end = same.last().map_or(0, |((at, c), _)| at + c.len_utf8());
        common = &common[..end];
    }
    Some(common.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use walrus_types::{PartitionIndex, UptimeMs};

    use super::*;
    use crate::source::simulated::{Simulated, Size};

    #[test]
    fn names_lead_to_what_they_are_of() {
        let mut model = Model::default();
        let snapshot = Simulated::new(7, Size::default()).snapshot();
        model.snapshot(Arc::new(snapshot), UptimeMs(0));
        let orders = PartitionName { topic: "orders".into(), partition: PartitionIndex(3) };
        for (typed, expected) in [
            ("raft", Some(Goal::Screen(Screen::Raft))),
            (" GC ", Some(Goal::Screen(Screen::Gc))),
            ("q", Some(Goal::Quit)),
            ("orders", Some(Goal::Topic("orders".into()))),
            ("orders/3", Some(Goal::Partition(orders))),
            ("orders/99", None),
            ("", None),
            ("rw", Some(Goal::Unlock)),
            ("ro", Some(Goal::Shut)),
            ("context prod", Some(Goal::Context("prod".into()))),
            ("context test", None),
        ] {
            assert_eq!(goal(&model, &["prod".to_owned()], typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn tab_completes_as_far_as_all_offers_agree() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (offers, expected) in [
            (words(&[]), None),
            (words(&["raft"]), Some("raft")),
            (words(&["overview", "operations"]), Some("o")),
            (words(&["日本", "日経"]), Some("日")),
            (words(&["a", "b"]), Some("")),
        ] {
            assert_eq!(completed(&offers).as_deref(), expected, "{offers:?}");
        }
    }
}
