//! Cells as bytes for a terminal, as few as say the same: a console is looked at over bad links.
//!
//! Beside what ratatui's own backend does: only what is another of a style is told, and all of it at
//! once; the colour of a blank is not told where nobody would see it; blanks one after another are
//! erased; the cursor is moved by the shorter of the two ways. Where a sign may be as wide as the
//! terminal likes, the cursor is told where it is.

use std::io::{self, Write};

use ratatui::{
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
    style::{Color, Modifier},
};

/// From how many blanks on it is shorter to erase them.
const ERASED_MIN: u16 = 6;

/// A terminal behind `W`.
#[derive(Debug)]
pub struct Terse<W: Write> {
    inner: CrosstermBackend<W>,
    /// Whether the cursor was hidden: that is not told with each picture.
    is_hidden: bool,
    /// The bytes of one picture.
    bytes: Vec<u8>,
}

impl<W: Write> Terse<W> {
    /// What is written to `out`.
    pub const fn new(out: W) -> Self {
        Self { inner: CrosstermBackend::new(out), is_hidden: false, bytes: Vec::new() }
    }
}

impl<W: Write> Write for Terse<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.inner, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(&mut self.inner)
    }
}

impl<W: Write> Backend for Terse<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut pen = Pen::default();
        self.bytes.clear();
        for (x, y, cell) in content {
            pen.put(&mut self.bytes, (x, y), cell);
        }
        pen.blanks(&mut self.bytes);
        pen.restyle(&mut self.bytes, Look::default());
        self.inner.write_all(&self.bytes)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_hidden, true) {
            return Ok(());
        }
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.is_hidden = false;
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.inner.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.inner.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        self.inner.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.inner)
    }
}

/// How a cell looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    ink: Color,
    paper: Color,
    modifier: Modifier,
}

impl Default for Look {
    fn default() -> Self {
        Self { ink: Color::Reset, paper: Color::Reset, modifier: Modifier::empty() }
    }
}

/// What the terminal knows while a picture is written. Each picture begins with a plain look.
#[derive(Debug, Default)]
struct Pen {
    look: Look,
    /// Where the cursor is, and whether that is certain.
    at: Option<((u16, u16), bool)>,
    /// Blanks without a look that are not written yet: where they begin, and how many.
    blanks: Option<((u16, u16), u16)>,
}

impl Pen {
    fn put(&mut self, out: &mut Vec<u8>, at: (u16, u16), cell: &Cell) {
        let mut look = Look { ink: cell.fg, paper: cell.bg, modifier: cell.modifier };
        let is_blank = cell.symbol() == " ";
        if is_blank && look.paper == Color::Reset && look.modifier.difference(UNSEEN).is_empty() {
            let next = self.blanks.map(|((x, y), count)| ((x, y), count, (x + count, y)));
            match next {
                Some((from, count, next)) if next == at => self.blanks = Some((from, count + 1)),
                _ => {
                    self.blanks(out);
                    self.blanks = Some((at, 1));
                }
            }
            return;
        }
        self.blanks(out);
        if is_blank && look.modifier.difference(UNSEEN).is_empty() {
            // A blank shows its paper only.
            (look.ink, look.modifier) = (self.look.ink, self.look.modifier & UNSEEN);
        }
        self.go(out, at);
        self.restyle(out, look);
        self.write(out, cell.symbol());
    }

    fn write(&mut self, out: &mut Vec<u8>, sign: &str) {
        out.extend_from_slice(sign.as_bytes());
        let is_plain = sign.len() == 1;
        self.at = self.at.map(|((x, y), certain)| ((x + 1, y), certain && is_plain));
    }

    /// Writes the blanks that wait.
    fn blanks(&mut self, out: &mut Vec<u8>) {
        let Some((at, count)) = self.blanks.take() else { return };
        self.go(out, at);
        let seen = self.look.modifier.difference(UNSEEN);
        if self.look.paper != Color::Reset || !seen.is_empty() {
            self.restyle(out, Look::default());
        }
        if count >= ERASED_MIN {
            number(out, b"\x1b[", count, b"X");
        } else {
            (0..count).for_each(|_| self.write(out, " "));
        }
    }

    /// Moves the cursor.
    fn go(&mut self, out: &mut Vec<u8>, (x, y): (u16, u16)) {
        match self.at {
            Some((at, _)) if at == (x, y) => return,
            Some(((from, row), true)) if row == y && from + 1 == x => {
                out.extend_from_slice(b"\x1b[C");
            }
            Some(((from, row), true)) if row == y && from < x => {
                number(out, b"\x1b[", x - from, b"C");
            }
            Some(((_, row), _)) if row == y => number(out, b"\x1b[", x + 1, b"G"),
            _ if x == 0 => number(out, b"\x1b[", y + 1, b"H"),
            _ => {
                number(out, b"\x1b[", y + 1, b"");
                number(out, b";", x + 1, b"H");
            }
        }
        self.at = Some(((x, y), true));
    }

    fn restyle(&mut self, out: &mut Vec<u8>, look: Look) {
        if self.look == look {
            return;
        }
        // From what there is, or anew: whichever is shorter.
        let begin = out.len();
        out.extend_from_slice(b"\x1b[");
        difference(self.look, look, out);
        let changed = out.len() - begin;
        out.extend_from_slice(b"\x1b[");
        difference(Look::default(), look, out);
        if out.len() - begin - changed < changed {
            out.drain(begin..begin + changed);
        } else {
            out.truncate(begin + changed);
            // The first parameter has none before it.
            out.remove(begin + 2);
        }
        if look == Look::default() {
            out.truncate(begin + 2);
        }
        out.push(b'm');
        self.look = look;
    }
}

/// What nobody sees of a blank.
const UNSEEN: Modifier = Modifier::BOLD.union(Modifier::DIM).union(Modifier::ITALIC);

/// Modifiers, how they are told, and how it is told that they are not.
const MODIFIERS: [(Modifier, u8, u8); 9] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::SLOW_BLINK, 5, 25),
    (Modifier::RAPID_BLINK, 6, 25),
    (Modifier::REVERSED, 7, 27),
    (Modifier::HIDDEN, 8, 28),
    (Modifier::CROSSED_OUT, 9, 29),
];

/// Parameters that make one look of another, each after a semicolon.
fn difference(before: Look, now: Look, out: &mut Vec<u8>) {
    let mut has = before.modifier;
    for (modifier, _, off) in MODIFIERS {
        if has.contains(modifier) && !now.modifier.contains(modifier) {
            number(out, b";", off.into(), b"");
            // Two may end by one word.
            let ended = MODIFIERS.iter().filter(|(.., other)| *other == off);
            ended.for_each(|(modifier, ..)| has.remove(*modifier));
        }
    }
    for (modifier, on, _) in MODIFIERS {
        if now.modifier.contains(modifier) && !has.contains(modifier) {
            number(out, b";", on.into(), b"");
        }
    }
    if before.ink != now.ink {
        color(now.ink, 30, out);
    }
    if before.paper != now.paper {
        color(now.paper, 40, out);
    }
}

/// A colour's parameters; `base` is 30 for ink and 40 for paper.
fn color(color: Color, base: u16, out: &mut Vec<u8>) {
    let of_sixteen = match color {
        Color::Reset => 9,
        Color::Rgb(red, green, blue) => {
            number(out, b";", base + 8, b";2");
            return [red, green, blue]
                .iter()
                .for_each(|part| number(out, b";", (*part).into(), b""));
        }
        Color::Indexed(index) => {
            number(out, b";", base + 8, b";5");
            return number(out, b";", index.into(), b"");
        }
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        Color::LightRed => 61,
        Color::LightGreen => 62,
        Color::LightYellow => 63,
        Color::LightBlue => 64,
        Color::LightMagenta => 65,
        Color::LightCyan => 66,
        Color::White => 67,
    };
    number(out, b";", base + of_sixteen, b"");
}

/// A number between what stands before and after it.
fn number(out: &mut Vec<u8>, before: &[u8], number: u16, after: &[u8]) {
    out.extend_from_slice(before);
    let mut unit = [10_000, 1_000, 100, 10].into_iter().find(|unit| number >= *unit).unwrap_or(1);
    while unit > 0 {
        out.push(b'0' + u8::try_from(number / unit % 10).unwrap_or(0));
        unit /= 10;
    }
    out.extend_from_slice(after);
}

#[cfg(test)]
mod tests;
