//! Where the console is, and the ways from there.

use super::{
    App, Effect,
    lists::{self, Listing, RowOf},
};
use crate::{
    model::{PartitionName, Seen},
    screen::Screen,
    source::{Also, Wanted},
};

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A screen of the whole cluster.
    Screen(Screen),
    /// One partition's chain.
    Partition(PartitionName),
    /// One group.
    Group(String),
}

impl Place {
    /// As it is called at the top.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Screen(screen) => screen.title().to_owned(),
            Self::Partition(name) => name.to_string(),
            Self::Group(name) => name.clone(),
        }
    }
}

impl App {
    /// The present screen.
    ///
    /// # Panics
    /// Never: the way always has one.
    #[must_use]
    pub fn place(&self) -> &Place {
        self.places.last().expect("the way has a first screen")
    }

    /// What the present screen lists.
    #[must_use]
    pub fn listing(&self) -> Option<Listing> {
        match self.place() {
            Place::Screen(screen) => Listing::of(*screen),
            Place::Partition(_) | Place::Group(_) => None,
        }
    }

    /// What is asked for beside the cluster as a whole.
    pub(super) fn also(&self) -> Option<Also> {
        match self.place() {
            Place::Partition(name) => Some(Also::Chain(name.clone())),
            Place::Group(name) => Some(Also::Group(name.clone())),
            Place::Screen(Screen::Groups) => Some(Also::Groups),
            Place::Screen(Screen::Clients) => Some(Also::Clients),
            Place::Screen(_) => None,
        }
    }

    /// What the present screen asks for.
    #[must_use]
    pub fn ask(&self) -> Effect {
        Effect::Ask(Wanted { also: self.also(), refreshes: self.refreshes })
    }

    /// Rows of the chain or the group that is shown.
    pub(super) fn links(&self) -> usize {
        match self.place() {
            Place::Partition(_) => {
                let chain = self.model.chain.as_ref().and_then(Seen::known);
                chain.map_or(0, |chain| chain.items.len())
            }
            Place::Group(_) => {
                let group = self.model.group.as_ref().and_then(Seen::known);
                group.map_or(0, |group| group.items.len())
            }
            Place::Screen(_) => 0,
        }
    }

    pub(super) fn go(&mut self, screen: Screen) -> Vec<Effect> {
        self.places = vec![Place::Screen(screen)];
        self.typing = None;
        self.look_up();
        self.relist();
        vec![self.ask()]
    }

    pub(super) fn open(&mut self) -> Vec<Effect> {
        let chosen = self.listing().and_then(|listing| self.lists.of(listing).chosen.clone());
        let partition = |index: usize| {
            let change = self.model.changes.get(index)?;
            lists::leads_to(change)
        };
        let place = match (chosen, self.place()) {
            (Some(RowOf::Partition(name) | RowOf::Going(_, _, Some(name))), _) => {
                Place::Partition(name)
            }
            (Some(RowOf::Group(name)), _) => Place::Group(name),
            (Some(RowOf::Change(number)), _) => {
                let index = number.checked_sub(self.model.changes_dropped);
                let index = index.and_then(|index| usize::try_from(index).ok());
                match index.and_then(partition) {
                    Some(name) => Place::Partition(name),
                    None => return Vec::new(),
                }
            }
            (
                Some(RowOf::Node(_) | RowOf::Operation(_) | RowOf::Client(..) | RowOf::Going(..))
                | None,
                _,
            ) => return Vec::new(),
        };
        vec![self.open_place(place)]
    }

    /// Goes to a partition's chain or to a group, from where the way led so far.
    pub fn open_place(&mut self, place: Place) -> Effect {
        self.link = 0;
        (self.model.chain, self.model.group) = (None, None);
        self.places.push(place);
        self.look_up();
        self.ask()
    }

    /// A filter goes first, then the screen. From the first screen there is no way back: one key
    /// too many must not end the console.
    pub(super) fn back(&mut self) -> Vec<Effect> {
        let filtered = self.listing().filter(|listing| !self.lists.of(*listing).filter.is_empty());
        if let Some(listing) = filtered {
            self.lists.of_mut(listing).filter.clear();
            self.relist();
        } else if self.places.len() > 1 {
            self.places.pop();
            self.look_up();
            self.relist();
            return vec![self.ask()];
        } else if *self.place() != Place::Screen(Screen::Overview) {
            return self.go(Screen::Overview);
        }
        Vec::new()
    }

    /// What the chosen row is called.
    pub(super) fn chosen_name(&self) -> Option<String> {
        if let Some(listing) = self.listing() {
            return Some(match self.lists.of(listing).chosen.as_ref()? {
                RowOf::Partition(name) => name.to_string(),
                RowOf::Node(node) => node.to_string(),
                RowOf::Group(name) | RowOf::Going(_, name, _) => name.clone(),
                RowOf::Client(node, connection) => format!("{node}/{connection}"),
                RowOf::Operation(id) => id.to_string(),
                RowOf::Change(number) => {
                    let index = number.checked_sub(self.model.changes_dropped)?;
                    self.model.changes.get(usize::try_from(index).ok()?)?.subject.to_string()
                }
            });
        }
        match self.place() {
            Place::Partition(name) => Some(name.to_string()),
            Place::Group(name) => Some(name.clone()),
            Place::Screen(_) => None,
        }
    }
}
