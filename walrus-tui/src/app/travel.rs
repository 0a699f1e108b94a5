//! The way to another moment. A short one is gone at once; one that takes a while is left to whoever
//! carries out effects, on a thread of its own, and what is shown stays until it has arrived.

use super::{
    App,
    past::{Pace, Past},
    player::Player,
};
use crate::{
    model::Model,
    source::{Also, record::Tape},
};

/// Bytes of records that are gone through at once where there is somebody to leave ways to: some
/// milliseconds' worth.
pub const AT_ONCE_MAX: usize = 64 << 10;

/// The ways that are left to somebody.
#[derive(Debug)]
pub struct Travels {
    /// Those of more bytes of records are, to whoever carries out effects.
    pub at_once_max: usize,
    count: u64,
    pub(super) leaving: Option<Box<Travel>>,
}

impl Default for Travels {
    /// None is: all are gone at once.
    fn default() -> Self {
        Self { at_once_max: usize::MAX, count: 0, leaving: None }
    }
}

/// A way to be gone.
#[derive(Debug, Clone)]
pub struct Travel {
    number: u64,
    player: Player,
    model: Model,
    tape: Tape,
    to: u64,
    also: Option<Also>,
    looks_up: bool,
}

/// They are told apart by their numbers.
impl PartialEq for Travel {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Travel {}

impl Travel {
    /// Goes it.
    #[must_use]
    pub fn arrive(mut self) -> Arrived {
        let Self { player, model, tape, to, also, looks_up, .. } = &mut self;
        player.seek(model, tape, *to, also.as_ref());
        if *looks_up {
            player.look_up(model, tape, also.as_ref());
        }
        let Self { number, player, model, to, also, .. } = self;
        Arrived { number, player, model, to, also }
    }
}

/// What is at the end of a way.
#[derive(Debug, Clone)]
pub struct Arrived {
    number: u64,
    player: Player,
    model: Model,
    to: u64,
    also: Option<Also>,
}

/// A way that is being gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Going {
    number: u64,
    /// Where to; whoever changes that is brought there next.
    pub to: u64,
}

impl App {
    /// The record that is shown, or to which it is gone: from where a step is made.
    pub(super) fn stands_at(&self) -> Option<u64> {
        let past = self.past.as_ref()?;
        past.going.map_or_else(|| past.player.at(), |going| Some(going.to))
    }

    /// Brings what is shown to a record.
    pub(super) fn seek(&mut self, number: u64) {
        let also = self.also();
        let Some(past) = &mut self.past else { return };
        past.moved = true;
        if let Some(going) = &mut past.going {
            going.to = number;
            return;
        }
        let bytes = past.player.bytes_to(&self.model, &self.tape, number);
        if bytes > self.travels.at_once_max {
            return self.leave(number, false);
        }
        past.player.seek(&mut self.model, &self.tape, number, also.as_ref());
        self.relist();
    }

    /// Of the past, what is looked at now is what was told of it last.
    pub(super) fn look_up(&mut self) {
        let also = self.also();
        let Some(past) = &self.past else { return };
        if past.going.is_some() {
            // Whoever arrives looks it up.
            return self.model.forget_beside();
        }
        let bytes = past.player.bytes_to_look_up(&self.tape, also.as_ref());
        match past.player.at() {
            Some(at) if bytes > self.travels.at_once_max => {
                self.model.forget_beside();
                self.leave(at, true);
            }
            _ => past.player.look_up(&mut self.model, &self.tape, also.as_ref()),
        }
    }

    /// Leaves a way to whoever carries out effects.
    fn leave(&mut self, to: u64, looks_up: bool) {
        let also = self.also();
        let Some(past) = &mut self.past else { return };
        self.travels.count += 1;
        let number = self.travels.count;
        past.going = Some(Going { number, to });
        let player = past.player.leave();
        let (model, tape) = (self.model.clone(), self.tape.clone());
        let travel = Travel { number, player, model, tape, to, also, looks_up };
        self.travels.leaving = Some(Box::new(travel));
    }

    /// Shows what is at the end of a way, unless nobody wants to be there any more.
    pub(super) fn arrived(&mut self, arrived: Arrived) {
        let Arrived { number, player, model, to, also } = arrived;
        let Some(past) = &mut self.past else { return };
        let Some(going) = past.going.take_if(|going| going.number == number) else { return };
        past.player = player;
        self.model = model;
        self.stand(to);
        if also != self.also() {
            self.look_up();
        }
        if going.to != to {
            self.seek(going.to);
            if self.going().is_none() {
                self.stand(going.to);
            }
        }
    }

    /// The way that is being gone.
    #[must_use]
    pub fn going(&self) -> Option<Going> {
        self.past.as_ref()?.going
    }

    /// What is shown is a record's moment now. The past goes on from there, if it does.
    fn stand(&mut self, number: u64) {
        if let Some(at) = self.tape.get(number).map(|record| record.at) {
            self.now = at;
            if let Some(Past { pace: Pace::Plays { since, from }, .. }) = &mut self.past {
                (*since, *from) = (self.clock, at);
            }
        }
        self.relist();
    }
}
