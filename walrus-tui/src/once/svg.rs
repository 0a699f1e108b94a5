//! A picture as SVG, with its colours, on the dark ground of a terminal.

use std::fmt::Write as _;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

/// A cell, in units of the picture.
const CELL: (usize, usize) = (9, 19);
/// Around the cells.
const MARGIN: usize = 10;
/// What no cell says otherwise.
const GROUND: &str = "#11151c";
const INK: &str = "#d3d9e1";
const DIM: &str = "#7d848e";
/// Signs of frames, and which arms each has: to the left, right, up and down. They are drawn as
/// lines: letters of another height or width than here would leave gaps between them.
const FRAME: [(&str, [bool; 4]); 6] = [
    ("─", [true, true, false, false]),
    ("│", [false, false, true, true]),
    ("┌", [false, true, false, true]),
    ("┐", [true, false, false, true]),
    ("└", [false, true, true, false]),
    ("┘", [true, false, true, false]),
];

/// What a run of cells looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    ink: String,
    ground: Option<String>,
    bold: bool,
}

/// Writes the picture.
#[must_use]
pub fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (usize::from(buffer.area.width), usize::from(buffer.area.height));
    let (width, height) = (columns * CELL.0 + 2 * MARGIN, rows * CELL.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans Mono, Menlo, Consolas, \
         monospace\" font-size=\"15\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{GROUND}\"/>\n"
    );
    for row in 0..buffer.area.height {
        line(buffer, row, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

/// One row, in runs of one look.
fn line(buffer: &Buffer, row: u16, out: &mut String) {
    let y = MARGIN + usize::from(row) * CELL.1;
    let mut column = 0;
    while column < buffer.area.width {
        let Some(first) = buffer.cell((column, row)) else { return };
        let look = look(first);
        let (begin, mut text) = (column, String::new());
        let mut frames = Frames { y, ink: &look.ink, across: None };
        while let Some(cell) = buffer.cell((column, row)).filter(|cell| self::look(cell) == look) {
            let sign = cell.symbol();
            let is_frame = frames.take(MARGIN + usize::from(column) * CELL.0, sign, out);
            text.push_str(if is_frame { " " } else { sign });
            column += 1;
        }
        frames.end(out);
        let (x, cells) = (MARGIN + usize::from(begin) * CELL.0, usize::from(column - begin));
        run(out, (x, y, cells * CELL.0), &look, &text);
    }
}

/// The lines of a run of one look.
struct Frames<'a> {
    y: usize,
    ink: &'a str,
    /// The level line that goes on: from where, and to where so far.
    across: Option<(usize, usize)>,
}

impl Frames<'_> {
    /// Takes the sign of the cell at `x`; whether it is one of a frame.
    fn take(&mut self, x: usize, sign: &str, out: &mut String) -> bool {
        let arms = FRAME.iter().find(|(known, _)| *known == sign).map(|(_, arms)| *arms);
        let [left, right, up, down] = arms.unwrap_or_default();
        if !left {
            self.end(out);
        }
        let middle = x + CELL.0 / 2;
        if left || right {
            let from = self.across.map_or(if left { x } else { middle }, |(from, _)| from);
            self.across = Some((from, if right { x + CELL.0 } else { middle + 1 }));
        }
        if up || down {
            let half = CELL.1 / 2;
            let (from, to) = (if up { 0 } else { half }, if down { CELL.1 } else { half });
            bar(out, (middle, self.y + from, 1, to - from), self.ink);
        }
        arms.is_some()
    }

    /// Draws the line that goes on no further.
    fn end(&mut self, out: &mut String) {
        if let Some((from, to)) = self.across.take() {
            bar(out, (from, self.y + CELL.1 / 2, to - from, 1), self.ink);
        }
    }
}

fn bar(out: &mut String, (x, y, wide, high): (usize, usize, usize, usize), ink: &str) {
    writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{ink}\"/>")
        .expect("a String takes all");
}

fn run(out: &mut String, (x, y, wide): (usize, usize, usize), look: &Look, text: &str) {
    if let Some(ground) = &look.ground {
        bar(out, (x, y, wide, CELL.1), ground);
    }
    if text.trim().is_empty() {
        return;
    }
    let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" fill=\"{}\"{weight} textLength=\"{wide}\" \
         xml:space=\"preserve\">{text}</text>",
        y + 14,
        look.ink,
    )
    .expect("a String takes all");
}

fn look(cell: &Cell) -> Look {
    let is = |modifier| cell.modifier.contains(modifier);
    let ink = color(cell.fg).unwrap_or_else(|| if is(Modifier::DIM) { DIM } else { INK }.into());
    let ground = color(cell.bg);
    let bold = is(Modifier::BOLD);
    if is(Modifier::REVERSED) {
        let ink_then = ground.unwrap_or_else(|| GROUND.into());
        return Look { ink: ink_then, ground: Some(ink), bold };
    }
    Look { ink, ground, bold }
}

/// Colours as terminals commonly show them.
fn color(color: Color) -> Option<String> {
    let name = match color {
        Color::Rgb(red, green, blue) => return Some(format!("#{red:02x}{green:02x}{blue:02x}")),
        Color::Black => "#000000",
        Color::Red => "#cc4444",
        Color::Green => "#4e9a50",
        Color::Yellow => "#d7a53a",
        Color::Blue => "#4f86e0",
        Color::Magenta => "#b07bd8",
        Color::Cyan => "#35b3a5",
        Color::Gray => "#c0c6ce",
        Color::DarkGray => "#7d848e",
        Color::LightRed => "#ff6b57",
        Color::LightGreen => "#7ccf7e",
        Color::LightYellow => "#f0d060",
        Color::LightBlue => "#7fb4ff",
        Color::LightMagenta => "#d3a5f0",
        Color::LightCyan => "#6fdcd0",
        Color::White => "#eef2f8",
        Color::Reset | Color::Indexed(_) => return None,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style};

    use super::*;

    #[test]
    fn runs_of_one_look_are_one_text_and_signs_of_markup_are_text() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
        buffer.set_string(0, 0, "a<&b", Style::new());
        buffer.set_string(4, 0, "cd", Style::new().fg(Color::Rgb(1, 2, 255)));
        let svg = svg(&buffer);
        assert!(svg.contains(">a&lt;&amp;b</text>"), "{svg}");
        assert!(svg.contains("fill=\"#0102ff\"") && svg.contains(">cd</text>"), "{svg}");
        assert_eq!(svg.matches("<text").count(), 2, "blanks are none: {svg}");
    }

    #[test]
    fn a_frame_is_drawn_as_lines_that_meet() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 5, 2));
        buffer.set_string(0, 0, "┌─a─┐", Style::new());
        buffer.set_string(0, 1, "│ b │", Style::new());
        let svg = svg(&buffer);
        let bar = |x, y, wide, high| {
            let bar = format!("<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\"");
            assert_eq!(svg.matches(&bar).count(), 1, "{bar}\n{svg}");
        };
        // From the middle of each corner to the letter, and down from there.
        bar(14, 19, 14, 1);
        bar(37, 19, 14, 1);
        bar(14, 19, 1, 10);
        bar(50, 19, 1, 10);
        bar(14, 29, 1, 19);
        bar(50, 29, 1, 19);
        assert!(svg.contains(">  a  </text>") && svg.contains(">  b  </text>"), "{svg}");
    }

    #[test]
    fn what_is_turned_around_has_the_ink_as_its_ground() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        buffer.set_string(0, 0, "ab", Style::new().add_modifier(Modifier::REVERSED));
        let svg = svg(&buffer);
        assert!(svg.contains(&format!("fill=\"{INK}\"/>")), "{svg}");
        assert!(svg.contains(&format!("fill=\"{GROUND}\" textLength")), "{svg}");
    }
}
