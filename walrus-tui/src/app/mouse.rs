//! The mouse, where it is taken: the wheel goes through rows, a click chooses one, two
//! open it, a click on a title orders by it.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::{App, Effect};
use crate::ui::hits::Hit;

/// Rows that the wheel goes.
const WHEEL: usize = 3;
/// Two clicks on a row within this open it.
const DOUBLE_MS: u64 = 400;

impl App {
    pub(super) fn moused(&mut self, event: MouseEvent) -> Vec<Effect> {
        if !self.mouse || self.overlay.is_some() || self.doing.is_some() || self.typing.is_some() {
            return Vec::new();
        }
        match event.kind {
            MouseEventKind::ScrollDown => self.step(|at, _| at.saturating_add(WHEEL)),
            MouseEventKind::ScrollUp => self.step(|at, _| at.saturating_sub(WHEEL)),
            MouseEventKind::Down(MouseButton::Left) => {
                match self.hits.at(event.column, event.row) {
                    Some(Hit::Row(row)) => return self.clicked(row),
                    Some(Hit::Title(title)) => self.order_by(title),
                    None => {}
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// Chooses a row; the second of two clicks on it opens it.
    fn clicked(&mut self, row: usize) -> Vec<Effect> {
        let now = self.clock();
        let is_second =
            self.click.is_some_and(|(other, at)| other == row && now.since(at) <= DOUBLE_MS);
        self.click = (!is_second).then_some((row, now));
        if is_second {
            return self.open();
        }
        self.step(|_, last| row.min(last));
        Vec::new()
    }

    fn order_by(&mut self, title: &str) {
        let Some(listing) = self.listing() else { return };
        let Some(order) = listing.order_of(title) else { return };
        self.reorder(|listed, _| {
            if listed.order == order {
                listed.reversed = !listed.reversed;
            } else {
                (listed.order, listed.reversed) = (order, false);
            }
        });
    }
}
