//! What can be done with what is chosen, and the way from there to an operation.

use crossterm::event::{KeyEvent, KeyModifiers};
use walrus_admin::{
    node::{Node, NodeState},
    operation::OperationState,
    plan::{Place as Part, Wanted, Which},
    snapshot::Snapshot,
};

use super::{
    App, Effect, Place,
    command::rollover,
    doing::{Acted, Came, Doing, Wish},
    lists::{RowOf, told_operations},
};
use crate::{
    model::{PartitionName, find},
    screen::Screen,
    ui::keymap::Action,
};

impl App {
    /// Shows what can be done with what is chosen, or why nothing can.
    pub(super) fn offer(&mut self) {
        if let Err(why) = self.permit() {
            return self.tell(why.to_string());
        }
        let wishes = self.wishes();
        if wishes.is_empty() {
            let what =
                "nothing can be done here: choose a node (2), a partition (3) or an operation (0)";
            return self.tell(what.to_owned());
        }
        self.doing = Some(Doing::Menu { wishes, at: 0 });
    }

    /// Something to be done, as it was typed.
    pub(super) fn begin(&mut self, wish: Wish) -> Vec<Effect> {
        match self.permit() {
            Ok(_asked_again_when_it_is_sent) => self.came(Doing::begin(wish)),
            Err(why) => {
                self.tell(why.to_string());
                Vec::new()
            }
        }
    }

    /// A key while something is being done; `None` when nothing is.
    pub(super) fn doing_key(&mut self, key: &KeyEvent) -> Option<Vec<Effect>> {
        let doing = self.doing.take()?;
        // Names have all letters: only a key with Ctrl leaves from here.
        let leaves = key.modifiers.contains(KeyModifiers::CONTROL)
            && self.keys.action(key) == Some(Action::Quit);
        if leaves {
            return Some(vec![Effect::Quit]);
        }
        Some(self.came(doing.key(key, self.clock())))
    }

    fn came(&mut self, came: Came) -> Vec<Effect> {
        match came {
            Came::Over => Vec::new(),
            Came::On(doing) => {
                self.doing = Some(doing);
                Vec::new()
            }
            Came::Copies(text, doing) => {
                self.doing = Some(doing);
                vec![Effect::Copy(text)]
            }
            Came::Asks(act, doing) => match self.permit() {
                Ok(_spent_on_this) => {
                    self.doing = Some(doing);
                    vec![Effect::Act(act)]
                }
                // A plan may be read for so long that what is shown is old by then.
                Err(why) => {
                    self.tell(format!("nothing was done: {why}"));
                    Vec::new()
                }
            },
        }
    }

    /// The cluster answered.
    pub(super) fn acted(&mut self, acted: Acted) -> Vec<Effect> {
        let begun = match &acted {
            Acted::Begun(Ok(operation)) => Some((operation.id, operation.state)),
            Acted::Planned(_) | Acted::Begun(Err(_)) => None,
        };
        let was_sent = matches!(self.doing, Some(Doing::Sent(_)));
        let (now, is_production) = (self.clock(), self.sent.is_production);
        self.doing = self.doing.take().and_then(|doing| doing.heard(acted, now, is_production));
        let Some((id, state)) = begun else { return Vec::new() };
        self.tell(format!("operation {id} is {}", state.name()));
        // It is followed where it is listed, unless somebody went on to something else.
        if was_sent && self.doing.is_none() { self.go(Screen::Operations) } else { Vec::new() }
    }

    /// What can be done with what is chosen.
    fn wishes(&self) -> Vec<Wish> {
        let Some(snapshot) = self.model.seen() else { return Vec::new() };
        let chosen = self.listing().and_then(|listing| self.lists.of(listing).chosen.as_ref());
        match (chosen, self.place()) {
            (Some(RowOf::Partition(name)), _) | (None, Place::Partition(name)) => {
                of_partition(snapshot, name)
            }
            (Some(RowOf::Node(id)), _) => {
                let entry = snapshot.nodes.iter().find(|entry| entry.node.node == *id);
                entry.map_or_else(Vec::new, |entry| of_node(&entry.node))
            }
            (Some(RowOf::Operation(id)), _) => {
                let all = told_operations(&self.model).iter();
                let running = |one: &&walrus_admin::operation::Operation| {
                    one.id == *id && one.state == OperationState::Running
                };
                all.filter(running).map(Wish::cancel).collect()
            }
            (None, Place::Screen(Screen::Raft)) => of_raft(snapshot),
            _ => self.first_operation(),
        }
    }

    /// On the screen of operations before one was chosen, the newest is.
    fn first_operation(&self) -> Vec<Wish> {
        if *self.place() != Place::Screen(Screen::Operations) {
            return Vec::new();
        }
        let first = told_operations(&self.model).first();
        let running = first.filter(|one| one.state == OperationState::Running);
        running.map(Wish::cancel).into_iter().collect()
    }
}

fn of_partition(snapshot: &Snapshot, name: &PartitionName) -> Vec<Wish> {
    let PartitionName { topic, partition } = name;
    let part = |partition| Part { topic: topic.clone(), partition };
    let mut wishes = vec![
        rollover(Which::These(vec![part(Some(*partition))])),
        rollover(Which::These(vec![part(None)])),
    ];
    if find(snapshot, name).is_some_and(|(_, entry)| !entry.leader_serves) {
        let (topic, partition) = (topic.clone(), *partition);
        wishes.push(Wish::Plan(Wanted::UnsafeSeal { topic, partition }));
    }
    wishes
}

fn of_node(node: &Node) -> Vec<Wish> {
    let id = node.node;
    if node.state == NodeState::Removed {
        return Vec::new();
    }
    let mut wishes = vec![rollover(Which::LedBy(id))];
    if node.raft.as_ref().is_some_and(|raft| raft.votes && !raft.leads) {
        wishes.push(Wish::Plan(Wanted::TransferRaft { to: id }));
    }
    wishes.push(Wish::Plan(if node.drains {
        Wanted::Undrain { node: id }
    } else {
        Wanted::Drain { node: id }
    }));
    wishes.push(Wish::Plan(Wanted::Remove { node: id }));
    wishes
}

fn of_raft(snapshot: &Snapshot) -> Vec<Wish> {
    let nodes = snapshot.nodes.iter().map(|entry| &entry.node);
    let may = nodes.filter(|node| {
        node.state.serves() && node.raft.as_ref().is_some_and(|raft| raft.votes && !raft.leads)
    });
    may.map(|node| Wish::Plan(Wanted::TransferRaft { to: node.node })).collect()
}
