//! Cells of a frame, written with bounds: what lies outside is left out, whatever the size.

use std::{cell::RefCell, rc::Rc};

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    hits::{Hits, TableHit},
    text,
    theme::Theme,
};
use crate::model::change::Level;

/// A part of a frame to draw in. Columns and rows count from its upper left corner.
#[derive(Debug)]
pub struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    /// How it is to look.
    pub theme: Theme,
    /// How old what is shown here is, where that has to be said: frames do.
    pub old_ms: Option<u64>,
    hits: Rc<RefCell<Hits>>,
}

impl<'a> Canvas<'a> {
    /// All of `area` that is in the frame.
    pub fn new(buffer: &'a mut Buffer, area: Rect, theme: Theme) -> Self {
        let area = area.intersection(buffer.area);
        Self { buffer, area, theme, old_ms: None, hits: Rc::default() }
    }

    /// Columns.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.area.width as usize
    }

    /// Rows.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.area.height as usize
    }

    /// A part of it: from column `x` and row `y`, so wide and so high, as far as there is room.
    pub fn part(&mut self, x: usize, y: usize, width: usize, height: usize) -> Canvas<'_> {
        let (x, y) = (x.min(self.width()), y.min(self.height()));
        let area = Rect {
            x: self.area.x + cells(x),
            y: self.area.y + cells(y),
            width: cells(width.min(self.width() - x)),
            height: cells(height.min(self.height() - y)),
        };
        let hits = Rc::clone(&self.hits);
        Canvas { buffer: self.buffer, area, theme: self.theme, old_ms: self.old_ms, hits }
    }

    /// The area of the frame that this is.
    #[must_use]
    pub const fn area(&self) -> Rect {
        self.area
    }

    /// A table is drawn here whose rows can be chosen.
    pub fn hit(&self, table: TableHit) {
        self.hits.borrow_mut().0.push(table);
    }

    /// What was drawn that the mouse can point at.
    #[must_use]
    pub fn hits(&self) -> Hits {
        self.hits.borrow().clone()
    }

    /// Takes away what is there, its colours and weights too: what is written later adds to those.
    pub fn wipe(&mut self) {
        for row in self.area.rows() {
            for cell in row.columns() {
                self.buffer[cell.as_position()].reset();
            }
        }
        self.buffer.set_style(self.area, self.theme.text());
    }

    /// Writes a text, cut where the room ends; answers the column after it.
    pub fn put(&mut self, x: usize, y: usize, text: &str, style: Style) -> usize {
        if y >= self.height() || x >= self.width() {
            return x;
        }
        let room = self.width() - x;
        if text::is_plain(text) {
            return self.put_plain((x, y), text, room, style);
        }
        let text = text::cut(&text::clean(text), room, self.theme.ascii);
        let (column, row) = (self.area.x + cells(x), self.area.y + cells(y));
        self.buffer.set_stringn(column, row, &text, self.width() - x, style);
        x + text::width(&text)
    }

    /// The same of a text of which each byte takes a cell.
    fn put_plain(
        &mut self,
        (x, y): (usize, usize),
        text: &str,
        room: usize,
        style: Style,
    ) -> usize {
        let (column, row) = (self.area.x + cells(x), self.area.y + cells(y));
        let is_cut = text.len() > room;
        let shown = if is_cut { &text[..room - 1] } else { text };
        let mut column = column;
        for at in 0..shown.len() {
            self.cell((column, row), &shown[at..=at], style);
            column += 1;
        }
        if is_cut {
            self.cell((column, row), text::cut_sign(self.theme.ascii), style);
        }
        x + text.len().min(room)
    }

    fn cell(&mut self, at: (u16, u16), sign: &str, style: Style) {
        if let Some(cell) = self.buffer.cell_mut(at) {
            cell.set_symbol(sign).set_style(style);
        }
    }

    /// Writes one sign that takes one cell.
    pub fn sign(&mut self, x: usize, y: usize, sign: &'static str, style: Style) {
        if x < self.width() && y < self.height() {
            self.cell((self.area.x + cells(x), self.area.y + cells(y)), sign, style);
        }
    }

    /// Writes a text that ends before column `end`.
    pub fn put_right(&mut self, end: usize, y: usize, text: &str, style: Style) {
        let wide = text::width_cleaned(text);
        self.put(end.saturating_sub(wide), y, text, style);
    }

    /// Gives the cells of a row another style, as they are written.
    pub fn restyle(&mut self, y: usize, style: Style) {
        if y < self.height() {
            let row = Rect { y: self.area.y + cells(y), height: 1, ..self.area };
            self.buffer.set_style(row, style);
        }
    }

    /// Draws a frame with a title, and answers what is within.
    pub fn framed(&mut self, title: &str) -> Canvas<'_> {
        let (width, height) = (self.width(), self.height());
        if width < 2 || height < 2 {
            return self.part(0, 0, 0, 0);
        }
        let theme = self.theme;
        let (line, post) = (theme.glyph("─", "-"), theme.glyph("│", "|"));
        let style = theme.dim();
        let corners = if theme.ascii { ["+", "+", "+", "+"] } else { ["┌", "┐", "└", "┘"] };
        for (y, ends) in [(0, [corners[0], corners[1]]), (height - 1, [corners[2], corners[3]])] {
            self.sign(0, y, ends[0], style);
            (1..width - 1).for_each(|x| self.sign(x, y, line, style));
            self.sign(width - 1, y, ends[1], style);
        }
        for y in 1..height - 1 {
            self.sign(0, y, post, style);
            self.sign(width - 1, y, post, style);
        }
        let old = self.old_ms.map(|ms| format!(" {} old ", text::span(ms)));
        let old = old.filter(|old| text::width(old) + 6 < width);
        let taken = old.as_ref().map_or(0, |old| text::width(old) + 1);
        if let Some(old) = &old {
            self.put_right(width - 2, 0, old, theme.level(Level::Warn));
        }
        if !title.is_empty() && width > taken + 6 {
            let mut head = self.part(2, 0, width - 4 - taken, 1);
            head.put(0, 0, &format!(" {title} "), theme.strong());
        }
        self.part(1, 1, width - 2, height - 2)
    }
}

/// A length of a screen is far below that.
fn cells(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use ratatui::style::Modifier;

    use super::*;
    use crate::ui::theme::Colors;

    #[test]
    fn what_is_wiped_leaves_nothing_to_what_is_written_there() {
        let theme = Theme { colors: Colors::True, ascii: false };
        let area = Rect::new(0, 0, 6, 3);
        let mut buffer = Buffer::empty(area);
        let mut canvas = Canvas::new(&mut buffer, area, theme);
        let loud = theme.strong().add_modifier(Modifier::REVERSED);
        for y in 0..3 {
            canvas.put(0, y, "xxxxxx", loud);
        }
        let mut part = canvas.part(1, 1, 3, 2);
        part.wipe();
        part.put(0, 0, "a", theme.dim());
        for (at, cell) in buffer.content.iter().enumerate() {
            let is_wiped = at / 6 > 0 && (1..4).contains(&(at % 6));
            let is_loud = cell.modifier.contains(Modifier::BOLD | Modifier::REVERSED);
            assert_eq!(is_loud, !is_wiped, "{at}");
        }
        assert_eq!(buffer[(1, 1)].symbol(), "a");
    }
}
