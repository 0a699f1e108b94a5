//! Who led the metadata group, on a line of time: a bar for each term, in the colour of its leader.

use walrus_admin::snapshot::Snapshot;

use super::{
    chain::{place_of, share},
    paint::Canvas,
    text,
};
use crate::model::terms::{Term, Terms};

/// Rows that it takes with its frame.
pub(super) const ROWS: usize = 5;
/// Cells that a term takes at least: a bar, and what parts it from the next.
const LEAST: usize = 3;

/// Draws the terms up to now. How long a term was is as wide as that, as far as there is room; where
/// there is none for all, the oldest are left out.
pub(super) fn draw(canvas: &mut Canvas<'_>, terms: &Terms, snapshot: &Snapshot) {
    let theme = canvas.theme;
    let known: Vec<&Term> = terms.iter().collect();
    let ends = known.iter().skip(1).map(|next| next.at).chain([snapshot.at_ms]);
    let lengths: Vec<u64> = known
        .iter()
        .zip(ends)
        .map(|(term, end)| u64::try_from(end.0.saturating_sub(term.at.0)).unwrap_or(0))
        .collect();
    let mut inside = canvas.framed("Who led it");
    let shares = share(&lengths, inside.width().saturating_sub(1), LEAST);
    let mut x = 1;
    for (term, wide) in known[known.len() - shares.len()..].iter().zip(&shares) {
        let style = theme.node(place_of(Some(snapshot), term.leader));
        let mut bar = inside.part(x, 0, wide - 1, ROWS - 2);
        let name = format!("{}, term {}", term.leader, term.term);
        let short = term.leader.to_string();
        let name = if text::width(&name) <= bar.width() { name } else { short };
        bar.put(0, 0, &name, theme.strong());
        bar.put(0, 1, &theme.glyph("█", "#").repeat(bar.width()), style);
        let clock = text::clock(term.at);
        // Half a time is another time.
        if text::width(&clock) <= bar.width() {
            bar.put(0, 2, &clock, theme.dim());
        }
        x += wide;
    }
    if known.is_empty() {
        inside.put(1, 0, "nobody, as far as this console was told", theme.dim());
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{buffer::Buffer, layout::Rect};
    use walrus_types::TimestampMs;

    use super::*;
    use crate::{
        source::simulated::{Simulated, Size},
        ui::theme::{Colors, Theme},
    };

    /// What is drawn of terms that began at these seconds after midnight, a minute after the last.
    fn drawn(columns: u16, told: &[(u64, i32, i64)]) -> String {
        let mut snapshot = Simulated::new(1, Size { nodes: 3, partitions: 1 }).snapshot();
        let mut terms = Terms::default();
        for (term, leader, at) in told {
            (snapshot.group.term, snapshot.at_ms) = (*term, TimestampMs(at * 1_000));
            snapshot.group.leader = Some(walrus_types::NodeId(*leader));
            terms.snapshot(&snapshot);
        }
        snapshot.at_ms.0 += 60_000;
        let area = Rect::new(0, 0, columns, 5);
        let mut buffer = Buffer::empty(area);
        let theme = Theme { colors: Colors::None, ascii: true };
        draw(&mut Canvas::new(&mut buffer, area, theme), &terms, &snapshot);
        let rows = buffer.content.chunks(usize::from(columns)).skip(1).take(3);
        rows.map(|row| {
            let text: String = row[1..row.len() - 1].iter().map(|cell| cell.symbol()).collect();
            text.trim_end().to_owned() + "\n"
        })
        .collect()
    }

    #[test]
    fn a_term_is_as_wide_as_it_was_long() {
        let three = [(1, 1, 0), (4, 3, 120), (5, 2, 180)];
        for (columns, told, expected) in [
            (
                63,
                &three[..],
                " n1, term 1                  n3, term 4      n2, term 5\n \
              ########################### ############### ###############\n \
              00:00:00                    00:02:00        00:03:00\n",
            ),
            // Without room for all of it the leaders are left, and then the newest of them.
            (20, &three, " n1     n3   n2\n ###### #### ####\n\n"),
            (10, &three, " n3 n2\n ## ###\n\n"),
            (30, &[], " nobody, as far as this con~\n\n\n"),
        ] {
            assert_eq!(drawn(columns, told), expected, "{columns} columns");
        }
    }
}
