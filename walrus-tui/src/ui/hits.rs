//! What is where in a picture, for the mouse: the tables whose rows can be chosen.

use ratatui::layout::Rect;

/// A table whose rows can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHit {
    /// Its titles and rows.
    pub area: Rect,
    /// The first row that is seen.
    pub top: usize,
    /// How many rows there are.
    pub rows: usize,
    /// The titles, and where each begins and ends.
    pub titles: Vec<(&'static str, u16, u16)>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hits(pub Vec<TableHit>);

/// What somebody pointed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// A row of a table.
    Row(usize),
    /// A title.
    Title(&'static str),
}

impl Hits {
    /// What is at a column and a row of the picture.
    #[must_use]
    pub fn at(&self, column: u16, row: u16) -> Option<Hit> {
        let table = self.0.iter().find(|table| table.area.contains((column, row).into()))?;
        if row == table.area.y {
            let title = table.titles.iter().find(|(_, from, to)| (*from..*to).contains(&column))?;
            return Some(Hit::Title(title.0));
        }
        let at = table.top + usize::from(row - table.area.y - 1);
        (at < table.rows).then_some(Hit::Row(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_titles_are_where_they_are_drawn() {
        let table = TableHit {
            area: Rect::new(2, 5, 20, 4),
            top: 7,
            rows: 9,
            titles: vec![("ID", 3, 6), ("STATE", 7, 12)],
        };
        let hits = Hits(vec![table]);
        for ((column, row), expected) in [
            ((3, 5), Some(Hit::Title("ID"))),
            ((6, 5), None),
            ((11, 5), Some(Hit::Title("STATE"))),
            ((3, 6), Some(Hit::Row(7))),
            ((21, 7), Some(Hit::Row(8))),
            ((3, 8), None),
            ((22, 6), None),
            ((1, 6), None),
            ((3, 4), None),
        ] {
            assert_eq!(hits.at(column, row), expected, "{column} {row}");
        }
    }
}
