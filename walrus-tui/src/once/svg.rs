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
/// The side of a frame.
const POST: &str = "│";

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
        while let Some(cell) = buffer.cell((column, row)).filter(|cell| self::look(cell) == look) {
            if cell.symbol() == POST {
                post(out, (MARGIN + usize::from(column) * CELL.0, y), &look);
                text.push(' ');
            } else {
                text.push_str(cell.symbol());
            }
            column += 1;
        }
        let (x, cells) = (MARGIN + usize::from(begin) * CELL.0, usize::from(column - begin));
        run(out, (x, y, cells * CELL.0), &look, &text);
    }
}

/// The side of a frame: lines of text lie further apart than its sign is high.
fn post(out: &mut String, (x, y): (usize, usize), look: &Look) {
    let (x, high, ink) = (x + CELL.0 / 2, CELL.1, &look.ink);
    writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"1\" height=\"{high}\" fill=\"{ink}\"/>")
        .expect("a String takes all");
}

fn run(out: &mut String, (x, y, wide): (usize, usize, usize), look: &Look, text: &str) {
    // Writing to a string does not fail.
    if let Some(ground) = &look.ground {
        let high = CELL.1;
        writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{ground}\"/>"
        )
        .expect("a String takes all");
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
    fn what_is_turned_around_has_the_ink_as_its_ground() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        buffer.set_string(0, 0, "ab", Style::new().add_modifier(Modifier::REVERSED));
        let svg = svg(&buffer);
        assert!(svg.contains(&format!("fill=\"{INK}\"/>")), "{svg}");
        assert!(svg.contains(&format!("fill=\"{GROUND}\" textLength")), "{svg}");
    }
}
