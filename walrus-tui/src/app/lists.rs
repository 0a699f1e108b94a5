//! The lists of the screens: which rows there are, in which order, which is chosen.

mod partitions;

use std::cmp::Reverse;

use walrus_admin::{
    group::{Group, GroupList},
    operation::Operation,
    snapshot::{PartitionEntry, Snapshot, TopicEntry},
};
use walrus_types::{NodeId, OperationId};

use super::{connected, going};
use crate::{
    model::{
        Model, PartitionName,
        change::{Change, Subject},
    },
    screen::Screen,
    ui::table::Window,
};

/// What a screen lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Partitions of all topics.
    Partitions,
    /// Nodes.
    Nodes,
    /// Consumer groups.
    Groups,
    /// Connections of clients.
    Clients,
    /// What goes, and what stands in its way.
    Going,
    /// What changed, the newest first.
    Changes,
    /// Operations, the newest first.
    Operations,
}

impl Listing {
    /// Of a screen, if it has one.
    #[must_use]
    pub const fn of(screen: Screen) -> Option<Self> {
        match screen {
            Screen::Topics | Screen::Leases => Some(Self::Partitions),
            Screen::Nodes => Some(Self::Nodes),
            Screen::Groups => Some(Self::Groups),
            Screen::Events => Some(Self::Changes),
            Screen::Operations => Some(Self::Operations),
            Screen::Gc => Some(Self::Going),
            Screen::Clients => Some(Self::Clients),
            Screen::Overview | Screen::Raft | Screen::Storage | Screen::Playbooks => None,
        }
    }

    /// By what it may be ordered, the first unless somebody says otherwise.
    #[must_use]
    pub const fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Partitions => &["name", "leader", "segments", "bytes"],
            Self::Nodes => &["number", "leases", "bytes in", "cores"],
            Self::Groups => &["name", "records behind", "time behind", "risk"],
            Self::Clients => &["node", "name", "requests", "bytes in", "bytes out", "idle"],
            Self::Going => &["urgency", "bytes", "node"],
            Self::Changes | Self::Operations => &["time"],
        }
    }

    /// Which of [`Listing::orders`] a column is of, by its title.
    #[must_use]
    pub fn order_of(self, title: &str) -> Option<usize> {
        let order = match (self, title) {
            (Self::Partitions, "TOPIC/P") => "name",
            (Self::Partitions, "LEADER") => "leader",
            (Self::Partitions, "SEGMENTS") => "segments",
            (Self::Partitions, "SEALED") => "bytes",
            (Self::Nodes, "ID") => "number",
            (Self::Nodes, "LEASES") => "leases",
            (Self::Nodes, "IN/s") => "bytes in",
            (Self::Nodes, "CPU") => "cores",
            (Self::Groups, "GROUP") => "name",
            (Self::Groups, "RECORDS") => "records behind",
            (Self::Groups, "TIME") => "time behind",
            (Self::Groups, "RISK") => "risk",
            (Self::Clients | Self::Going, "NODE") => "node",
            (Self::Clients, "CLIENT") => "name",
            (Self::Clients, "REQUESTS") => "requests",
            (Self::Clients, "IN") => "bytes in",
            (Self::Clients, "OUT") => "bytes out",
            (Self::Clients, "IDLE") => "idle",
            (Self::Going, "BYTES") => "bytes",
            (Self::Going, "STATE") => "urgency",
            _ => return None,
        };
        self.orders().iter().position(|other| *other == order)
    }
}

/// What a row is of. The chosen row stays chosen wherever it stands in the next list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOf {
    /// A partition.
    Partition(PartitionName),
    /// A node.
    Node(NodeId),
    /// A group.
    Group(String),
    /// A connection, by its node and its number there.
    Client(NodeId, u64),
    /// What goes on a node, by its name there; and of which partition.
    Going(NodeId, String, Option<PartitionName>),
    /// A change, by its number since the console began.
    Change(u64),
    /// An operation.
    Operation(OperationId),
}

/// A list.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Places in what is listed: of partitions the topic's and its own, else the first number.
    pub rows: Vec<(usize, usize)>,
    /// Which of them are seen.
    pub window: Window,
    /// By which of [`Listing::orders`] they are ordered.
    pub order: usize,
    /// The other way around.
    pub reversed: bool,
    /// What they must have; with `!` before it, must not.
    pub filter: String,
    /// The chosen one.
    pub chosen: Option<RowOf>,
    /// What a long list was made of.
    made: Option<partitions::Made>,
}

/// All lists.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    partitions: Listed,
    nodes: Listed,
    groups: Listed,
    clients: Listed,
    going: Listed,
    changes: Listed,
    operations: Listed,
}

impl Lists {
    /// One of them.
    #[must_use]
    pub const fn of(&self, listing: Listing) -> &Listed {
        match listing {
            Listing::Partitions => &self.partitions,
            Listing::Nodes => &self.nodes,
            Listing::Groups => &self.groups,
            Listing::Clients => &self.clients,
            Listing::Going => &self.going,
            Listing::Changes => &self.changes,
            Listing::Operations => &self.operations,
        }
    }

    /// One of them.
    pub const fn of_mut(&mut self, listing: Listing) -> &mut Listed {
        match listing {
            Listing::Partitions => &mut self.partitions,
            Listing::Nodes => &mut self.nodes,
            Listing::Groups => &mut self.groups,
            Listing::Clients => &mut self.clients,
            Listing::Going => &mut self.going,
            Listing::Changes => &mut self.changes,
            Listing::Operations => &mut self.operations,
        }
    }

    /// Makes one anew from what is known.
    pub fn refresh(&mut self, listing: Listing, model: &Model) {
        let listed = self.of_mut(listing);
        listed.refresh(listing, model);
        let rows = &listed.rows;
        let chosen = listed.chosen.as_ref().and_then(|chosen| match chosen {
            RowOf::Partition(name) => partitions::position(listed, model, name),
            _ => rows.iter().position(|row| row_of(listing, model, *row).as_ref() == Some(chosen)),
        });
        let last = listed.rows.len().saturating_sub(1);
        listed.window.chosen = chosen.unwrap_or_else(|| listed.window.chosen.min(last));
        // Who has chosen nothing yet looks at the newest change.
        let is_new_first = matches!(listing, Listing::Changes | Listing::Operations);
        let follows = is_new_first && listed.window.chosen == 0;
        let chosen = if follows { None } else { self.chosen(listing, model) };
        self.of_mut(listing).chosen = chosen;
    }

    /// Chooses another row.
    pub fn step(&mut self, listing: Listing, model: &Model, to: impl Fn(usize, usize) -> usize) {
        let listed = self.of_mut(listing);
        let last = listed.rows.len().saturating_sub(1);
        listed.window.chosen = to(listed.window.chosen, last).min(last);
        self.of_mut(listing).chosen = self.chosen(listing, model);
    }

    fn chosen(&self, listing: Listing, model: &Model) -> Option<RowOf> {
        let listed = self.of(listing);
        row_of(listing, model, *listed.rows.get(listed.window.chosen)?)
    }
}

impl Listed {
    fn refresh(&mut self, listing: Listing, model: &Model) {
        let Self { order, reversed, filter, .. } = &*self;
        let mut rows = match listing {
            Listing::Partitions => return partitions::refresh(self, model),
            Listing::Nodes => nodes(model, filter, *order),
            Listing::Groups => groups(model, filter, *order),
            Listing::Clients => connected::rows(model.client_list(), filter, *order),
            Listing::Going => {
                model.seen().map_or_else(Vec::new, |seen| going::rows(seen, filter, *order))
            }
            Listing::Changes => changes(model, filter),
            Listing::Operations => operations(model, filter),
        };
        if *reversed {
            rows.reverse();
        }
        self.rows = rows;
    }
}

fn row_of(listing: Listing, model: &Model, at: (usize, usize)) -> Option<RowOf> {
    Some(match listing {
        Listing::Partitions => {
            let (topic, partition) = partition_at(model.seen()?, at)?;
            let (topic, partition) = (topic.topic.clone(), partition.partition);
            RowOf::Partition(PartitionName { topic, partition })
        }
        Listing::Nodes => RowOf::Node(model.seen()?.nodes.get(at.0)?.node.node),
        Listing::Groups => RowOf::Group(model.group_list()?.items.get(at.0)?.group.clone()),
        Listing::Clients => {
            let client = model.client_list().get(at.0)?;
            RowOf::Client(client.node, client.connection)
        }
        Listing::Going => {
            let (node, entry) = going::entry_at(model.seen()?, at)?;
            RowOf::Going(node.node.node, entry.name(), entry.partition())
        }
        Listing::Operations => RowOf::Operation(told_operations(model).get(at.0)?.id),
        Listing::Changes => {
            RowOf::Change(model.changes_dropped + u64::try_from(at.0).unwrap_or(u64::MAX))
        }
    })
}

/// What stands at a row of a list of partitions.
#[must_use]
pub fn partition_at(
    snapshot: &Snapshot,
    (topic, partition): (usize, usize),
) -> Option<(&TopicEntry, &PartitionEntry)> {
    let topic = snapshot.topics.get(topic)?;
    Some((topic, topic.partitions.get(partition)?))
}

fn nodes(model: &Model, filter: &str, order: usize) -> Vec<(usize, usize)> {
    let Some(snapshot) = model.seen() else { return Vec::new() };
    let all = snapshot.nodes.iter().enumerate();
    let kept = all.filter(|(_, entry)| {
        passes(filter, |text| {
            let node = &entry.node;
            node.node.to_string() == text
                || node.state.name().contains(text)
                || node.addresses.client.contains(text)
        })
    });
    let mut rows: Vec<(usize, usize)> = kept.map(|(at, _)| (at, 0)).collect();
    let leases = model.figures.leases(snapshot);
    let rate = |row: &(usize, usize)| model.rates.of(leases[row.0].0).unwrap_or_default();
    match order {
        1 => rows.sort_by_key(|row| Reverse(leases[row.0].1)),
        2 => rows.sort_by(|one, other| rate(other).bytes_in.total_cmp(&rate(one).bytes_in)),
        3 => {
            let cores = |row: &(usize, usize)| rate(row).cores.unwrap_or(0.0);
            rows.sort_by(|one, other| cores(other).total_cmp(&cores(one)));
        }
        _ => {}
    }
    rows
}

fn groups(model: &Model, filter: &str, order: usize) -> Vec<(usize, usize)> {
    let Some(GroupList { items, .. }) = model.group_list() else { return Vec::new() };
    let kept = items.iter().enumerate().filter(|(_, group)| {
        passes(filter, |text| group.group.contains(text) || group.state.contains(text))
    });
    let mut rows: Vec<(usize, usize)> = kept.map(|(at, _)| (at, 0)).collect();
    let risk = |group: &Group| group.risk.as_ref().map_or(u64::MAX, |risk| risk.in_ms);
    match order {
        1 => rows.sort_by_key(|row| Reverse(items[row.0].lag_records)),
        2 => rows.sort_by_key(|row| Reverse(items[row.0].lag_ms)),
        3 => rows.sort_by_key(|row| risk(&items[row.0])),
        _ => {}
    }
    rows
}

fn changes(model: &Model, filter: &str) -> Vec<(usize, usize)> {
    let kept = model.changes.iter().enumerate().rev().filter(|(_, change)| {
        let Change { level, subject, text, .. } = change;
        passes(filter, |wanted| {
            level.name() == wanted || subject.to_string().contains(wanted) || text.contains(wanted)
        })
    });
    kept.map(|(at, _)| (at, 0)).collect()
}

/// The operations that are known, the newest first.
#[must_use]
pub fn told_operations(model: &Model) -> &[Operation] {
    model.seen().and_then(|snapshot| snapshot.operations.as_deref()).unwrap_or_default()
}

fn operations(model: &Model, filter: &str) -> Vec<(usize, usize)> {
    let kept = told_operations(model).iter().enumerate().filter(|(_, one)| {
        passes(filter, |text| {
            one.verb.contains(text)
                || one.subject.contains(text)
                || one.actor.contains(text)
                || one.state.name() == text
        })
    });
    kept.map(|(at, _)| (at, 0)).collect()
}

/// `text` is part of what people call something; `!text` is not.
pub(super) fn passes(filter: &str, has: impl Fn(&str) -> bool) -> bool {
    let (wanted, text) = filter.strip_prefix('!').map_or((true, filter), |text| (false, text));
    text.is_empty() || has(text) == wanted
}

/// What a change leads to when it is opened.
#[must_use]
pub fn leads_to(change: &Change) -> Option<PartitionName> {
    match &change.subject {
        Subject::Partition(name) => Some(name.clone()),
        Subject::Cluster | Subject::Node(_) | Subject::Topic(_) => None,
    }
}
