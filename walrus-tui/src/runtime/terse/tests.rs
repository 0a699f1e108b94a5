use std::{cell::RefCell, num::NonZero, rc::Rc};

use proptest::prelude::*;
use ratatui::{Terminal, TerminalOptions, Viewport, layout::Rect, style::Style};

use super::*;

const SIZE: (u16, u16) = (24, 5);

/// Signs as the console draws them, and those that take two cells. Not both at one place: where one
/// half of a wide sign is written over, ratatui does not say all that changed.
const SIGNS: [[&str; 7]; 2] =
    [[" ", " ", " ", "a", "7", "─", "█"], ["  ", "  ", "  ", "ab", "日", "本", "語"]];
const COLORS: [Color; 7] = [
    Color::Reset,
    Color::Reset,
    Color::Red,
    Color::White,
    Color::DarkGray,
    Color::Indexed(77),
    Color::Rgb(1, 20, 255),
];
/// Those that the terminal of these tests knows.
const KNOWN: [Modifier; 5] =
    [Modifier::BOLD, Modifier::DIM, Modifier::ITALIC, Modifier::UNDERLINED, Modifier::REVERSED];

/// What a terminal is sent.
#[derive(Debug, Clone, Default)]
struct Sent(Rc<RefCell<Vec<u8>>>);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text somewhere, in some look.
#[derive(Debug, Clone)]
struct Text {
    at: (u16, u16),
    signs: Vec<usize>,
    ink: usize,
    paper: usize,
    modifiers: u8,
}

fn text() -> impl Strategy<Value = Text> {
    let at = (0..SIZE.0, 0..SIZE.1);
    let signs = prop::collection::vec(0..SIGNS[0].len(), 1..24);
    (at, signs, 0..COLORS.len(), 0..COLORS.len(), 0_u8..32)
        .prop_map(|(at, signs, ink, paper, modifiers)| Text { at, signs, ink, paper, modifiers })
}

fn style(text: &Text) -> Style {
    let modifiers = (0..).zip(KNOWN).filter(|(bit, _)| text.modifiers >> bit & 1 == 1);
    let style = Style::new().fg(COLORS[text.ink]).bg(COLORS[text.paper]);
    let all = modifiers.fold(Modifier::empty(), |all, (_, modifier)| all | modifier);
    // The terminal of these tests knows one of the two at a time.
    let both = Modifier::BOLD | Modifier::DIM;
    let all = if all.contains(both) { all.difference(Modifier::DIM) } else { all };
    style.add_modifier(all).remove_modifier(all.complement())
}

/// What is seen of a cell: its sign, and its look as far as it shows.
fn seen(cell: &Cell) -> (String, String, String, Modifier) {
    let is_blank = cell.symbol() == " ";
    let unseen = if is_blank { UNSEEN } else { Modifier::empty() };
    let modifier = cell.modifier.difference(unseen);
    let ink = if is_blank && modifier.is_empty() { Color::Reset } else { cell.fg };
    (cell.symbol().to_owned(), named(ink), named(cell.bg), modifier)
}

fn named(color: Color) -> String {
    match color {
        Color::Reset => "Default".to_owned(),
        Color::Rgb(red, green, blue) => format!("Rgb({red}, {green}, {blue})"),
        Color::Indexed(index) => format!("Idx({index})"),
        Color::Red => "Idx(1)".to_owned(),
        Color::White => "Idx(15)".to_owned(),
        Color::DarkGray => "Idx(8)".to_owned(),
        other => panic!("{other} is not among those of these tests"),
    }
}

/// The same of a cell of the terminal.
fn shown(cell: &vt100::Cell) -> (String, String, String, Modifier) {
    let has = [cell.bold(), cell.dim(), cell.italic(), cell.underline(), cell.inverse()];
    let all = KNOWN.into_iter().zip(has).filter(|(_, has)| *has);
    let modifier = all.fold(Modifier::empty(), |all, (one, _)| all | one);
    let sign = if cell.contents().is_empty() { " " } else { cell.contents() };
    let is_blank = sign == " ";
    let modifier = modifier.difference(if is_blank { UNSEEN } else { Modifier::empty() });
    let ink = format!("{:?}", cell.fgcolor());
    let ink = if is_blank && modifier.is_empty() { "Default".to_owned() } else { ink };
    (sign.to_owned(), ink, format!("{:?}", cell.bgcolor()), modifier)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_terminal_shows_what_was_drawn_whatever_stood_there(
        pictures in prop::collection::vec(prop::collection::vec(text(), 0..6), 1..6),
        wide in 0_u16..2,
    ) {
        let viewport = Viewport::Fixed(Rect::new(0, 0, SIZE.0, SIZE.1));
        let size = [SIZE.1, SIZE.0].map(|length| NonZero::new(length).unwrap());
        let mut parser = vt100::Parser::new(size[0], size[1], 0);
        let sent = Sent::default();
        let backend = Terse::new(sent.clone());
        let options = TerminalOptions { viewport };
        let mut terminal = Terminal::with_options(backend, options).unwrap();
        for texts in &pictures {
            let drawn = terminal.draw(|frame| {
                for text in texts {
                    let signs = SIGNS[usize::from(wide)];
                    let signs: String = text.signs.iter().map(|at| signs[*at]).collect();
                    let (x, y) = (text.at.0 / (wide + 1) * (wide + 1), text.at.1);
                    let room = usize::from(SIZE.0 - x);
                    frame.buffer_mut().set_stringn(x, y, signs, room, style(text));
                }
            });
            let expected = drawn.unwrap().buffer.clone();
            let bytes = std::mem::take(&mut *sent.0.borrow_mut());
            parser.process(&bytes);
            for y in 0..SIZE.1 {
                let mut x = 0;
                while x < SIZE.0 {
                    let cell = parser.screen().cell(y, x).unwrap();
                    let drawn = expected.cell((x, y)).unwrap();
                    prop_assert_eq!(shown(cell), seen(drawn), "{},{}: {:?}", x, y,
                        String::from_utf8_lossy(&bytes));
                    x += if cell.is_wide() { 2 } else { 1 };
                }
            }
        }
    }
}

#[test]
fn what_changed_is_told_in_few_bytes() {
    let cell = |sign: &str, style: Style| {
        let mut cell = Cell::default();
        cell.set_symbol(sign).set_style(style);
        cell
    };
    let (plain, red) = (Style::new(), Style::new().fg(Color::Red));
    let bold = red.add_modifier(Modifier::BOLD);
    let cases = [
        (vec![(0, 0, "a", plain), (1, 0, "b", plain)], "\x1b[1Hab"),
        (vec![(3, 1, "a", red), (4, 1, "b", bold)], "\x1b[2;4H\x1b[31ma\x1b[1mb\x1b[m"),
        (
            vec![(0, 0, "a", plain), (2, 0, "b", plain), (9, 0, "c", plain)],
            "\x1b[1Ha\x1b[Cb\x1b[6Cc",
        ),
        (vec![(0, 0, "─", plain), (2, 0, "b", plain)], "\x1b[1H─\x1b[3Gb"),
        (vec![(0, 0, "a", red), (1, 0, " ", plain), (2, 0, "b", red)], "\x1b[1H\x1b[31ma b\x1b[m"),
        ((0..7).map(|x| (x, 3, " ", red)).collect(), "\x1b[4H\x1b[7X"),
    ];
    for (cells, expected) in cases {
        let cells: Vec<_> =
            cells.into_iter().map(|(x, y, sign, style)| (x, y, cell(sign, style))).collect();
        let sent = Sent::default();
        let mut backend = Terse::new(sent.clone());
        backend.draw(cells.iter().map(|(x, y, cell)| (*x, *y, cell))).unwrap();
        let written = String::from_utf8(sent.0.take()).unwrap();
        assert_eq!(written, expected);
    }
}
