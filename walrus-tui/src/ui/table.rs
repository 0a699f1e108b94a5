//! A table of which only the rows that are seen are made.

use ratatui::style::Style;

use super::{hits::TableHit, paint::Canvas};

/// On which side the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Cells that it takes.
    pub width: usize,
    /// On which side its text stands.
    pub side: Side,
    /// Where there is little room, columns of a higher number go first.
    pub rank: u8,
    /// Whether it takes the room that is left.
    pub grows: bool,
}

/// A column of words.
#[must_use]
pub const fn words(title: &'static str, width: usize, rank: u8) -> Column {
    Column { title, width, side: Side::Left, rank, grows: false }
}

/// A column of numbers.
#[must_use]
pub const fn numbers(title: &'static str, width: usize, rank: u8) -> Column {
    Column { title, width, side: Side::Right, rank, grows: false }
}

/// A column of words that takes the room that is left; `width` at least.
#[must_use]
pub const fn rest(title: &'static str, width: usize, rank: u8) -> Column {
    Column { title, width, side: Side::Left, rank, grows: true }
}

/// A text with its style.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How.
    pub style: Style,
}

impl Cell {
    /// A text.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Style::new())
    }
}

/// Which rows of a table are seen, and which is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// The first that is seen.
    pub top: usize,
    /// The chosen one.
    pub chosen: usize,
}

impl Window {
    /// Brought to where the chosen one is seen, with `rows` of which `seen` fit.
    #[must_use]
    pub fn fitted(self, rows: usize, seen: usize) -> Self {
        let chosen = self.chosen.min(rows.saturating_sub(1));
        let last_top = rows.saturating_sub(seen);
        let lowest = chosen.saturating_sub(seen.saturating_sub(1));
        Self { top: self.top.clamp(lowest.min(last_top), chosen.max(lowest)).min(last_top), chosen }
    }
}

/// The columns that fit: those of the highest rank go first.
#[must_use]
pub fn fitting(columns: &[Column], width: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| kept.iter().map(|at| columns[*at].width + 1).sum::<usize>();
    while kept.len() > 1 && needed(&kept) > width + 1 {
        let goes = kept.iter().copied().max_by_key(|at| (columns[*at].rank, *at)).unwrap_or(0);
        kept.retain(|at| *at != goes);
    }
    kept
}

/// The columns, with what is left of the room given to the first that takes it.
fn grown(columns: &[Column], kept: &[usize], width: usize) -> Vec<Column> {
    let mut columns = columns.to_vec();
    let needed: usize = kept.iter().map(|at| columns[*at].width + 1).sum();
    if let Some(at) = kept.iter().find(|at| columns[**at].grows) {
        columns[*at].width += (width + 1).saturating_sub(needed);
    }
    columns
}

/// Draws titles and the rows from `window.top` on. `row` makes one row, a cell for each column.
pub fn draw(
    canvas: &mut Canvas<'_>,
    columns: &[Column],
    (rows, window): (usize, Option<Window>),
    mut row: impl FnMut(usize) -> Vec<Cell>,
) {
    let theme = canvas.theme;
    let kept = fitting(columns, canvas.width().saturating_sub(2));
    let columns = grown(columns, &kept, canvas.width().saturating_sub(2));
    let mut x = 1;
    let mut titles = Vec::with_capacity(kept.len());
    for at in &kept {
        let column = &columns[*at];
        let mut part = canvas.part(x, 0, column.width, 1);
        let area = part.area();
        titles.push((column.title, area.left(), area.right()));
        column.put(&mut part, &Cell::new(column.title, theme.dim()));
        x += column.width + 1;
    }
    if let Some(window) = window {
        canvas.hit(TableHit { area: canvas.area(), top: window.top, rows, titles });
    }
    let seen = canvas.height().saturating_sub(1);
    let top = window.map_or(0, |window| window.top);
    for line in 0..seen.min(rows.saturating_sub(top)) {
        let cells = row(top + line);
        let mut x = 1;
        for at in &kept {
            if let Some(cell) = cells.get(*at) {
                columns[*at].put(&mut canvas.part(x, line + 1, columns[*at].width, 1), cell);
            }
            x += columns[*at].width + 1;
        }
        if window.is_some_and(|window| window.chosen == top + line) {
            canvas.restyle(line + 1, theme.chosen());
        }
    }
}

impl Column {
    /// Writes a cell into its room.
    fn put(&self, part: &mut Canvas<'_>, cell: &Cell) {
        match self.side {
            Side::Left => {
                part.put(0, 0, &cell.text, cell.style);
            }
            Side::Right => part.put_right(self.width, 0, &cell.text, cell.style),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_row_is_always_seen() {
        // (top, chosen, rows, seen) to (top, chosen)
        let cases = [
            ((0, 0, 0, 5), (0, 0)),
            ((0, 7, 20, 5), (3, 7)),
            ((9, 7, 20, 5), (7, 7)),
            ((5, 7, 20, 5), (5, 7)),
            ((18, 19, 20, 5), (15, 19)),
            ((3, 40, 10, 5), (5, 9)),
            ((3, 4, 3, 5), (0, 2)),
            ((0, 3, 9, 0), (3, 3)),
        ];
        for ((top, chosen, rows, seen), expected) in cases {
            let window = Window { top, chosen }.fitted(rows, seen);
            assert_eq!((window.top, window.chosen), expected, "{top} {chosen} {rows} {seen}");
        }
    }

    #[test]
    fn columns_of_the_highest_rank_go_first() {
        let columns = [words("A", 5, 0), words("B", 5, 2), words("C", 5, 1)];
        assert_eq!(fitting(&columns, 17), [0, 1, 2]);
        assert_eq!(fitting(&columns, 16), [0, 2]);
        assert_eq!(fitting(&columns, 11), [0, 2]);
        assert_eq!(fitting(&columns, 1), [0]);
    }
}
