//! Colours and signs. What a colour says is said by a sign or a word as well, so a terminal
//! without colours, and an eye that sees fewer, lose nothing.

use ratatui::style::{Color, Modifier, Style};

use walrus_admin::context::Colour;

use crate::model::change::Level;

/// How many colours a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colors {
    /// None: bold, dim and reverse only.
    None,
    /// The sixteen that every terminal has, in its own palette.
    #[default]
    Sixteen,
    /// Any.
    True,
}

/// What cells look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Theme {
    /// How many colours there are.
    pub colors: Colors,
    /// Whether signs are those of ASCII.
    pub ascii: bool,
}

/// Blue, orange, teal, violet, ochre, sky, rose, grey: told apart with any kind of sight, where the
/// terminal can show them.
const NODES_TRUE: [(u8, u8, u8); 8] = [
    (86, 156, 255),
    (240, 160, 60),
    (60, 190, 165),
    (190, 140, 240),
    (205, 185, 90),
    (120, 205, 240),
    (230, 130, 170),
    (170, 170, 170),
];
const NODES_SIXTEEN: [Color; 6] =
    [Color::Blue, Color::Yellow, Color::Cyan, Color::Magenta, Color::LightBlue, Color::White];

impl Theme {
    /// Other colours: those of fewer, then of more.
    #[must_use]
    pub const fn next(self) -> Self {
        let colors = match self.colors {
            Colors::True => Colors::Sixteen,
            Colors::Sixteen => Colors::None,
            Colors::None => Colors::True,
        };
        Self { colors, ..self }
    }

    /// How many colours there are, in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.colors {
            Colors::None => "none",
            Colors::Sixteen => "sixteen",
            Colors::True => "all",
        }
    }

    /// The line at the top, of a context that has a colour of its own.
    #[must_use]
    pub fn bar_of(self, colour: Colour) -> Style {
        let Colour { red, green, blue } = colour;
        match self.colors {
            Colors::None => self.bar(),
            Colors::Sixteen => Style::new().fg(Color::White).bg(match colour.nearest() {
                "red" => Color::Red,
                "orange" | "yellow" => Color::Yellow,
                "green" => Color::Green,
                "cyan" => Color::Cyan,
                "blue" => Color::Blue,
                "magenta" => Color::Magenta,
                _ => Color::DarkGray,
            }),
            Colors::True => {
                let light = u32::from(red) * 3 + u32::from(green) * 6 + u32::from(blue);
                let ink =
                    if light > 1_500 { Color::Rgb(10, 14, 20) } else { Color::Rgb(245, 248, 252) };
                Style::new().fg(ink).bg(Color::Rgb(red, green, blue))
            }
        }
    }

    /// Plain text.
    #[must_use]
    pub fn text(self) -> Style {
        Style::new()
    }

    /// What matters less: titles of columns, frames, units.
    #[must_use]
    pub fn dim(self) -> Style {
        match self.colors {
            Colors::None => Style::new().add_modifier(Modifier::DIM),
            Colors::Sixteen => Style::new().fg(Color::DarkGray),
            Colors::True => Style::new().fg(Color::Rgb(125, 132, 142)),
        }
    }

    /// What is looked at first.
    #[must_use]
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The line at the top.
    #[must_use]
    pub fn bar(self) -> Style {
        match self.colors {
            Colors::None => Style::new().add_modifier(Modifier::REVERSED),
            Colors::Sixteen => Style::new().fg(Color::White).bg(Color::Blue),
            Colors::True => Style::new().fg(Color::Rgb(235, 240, 248)).bg(Color::Rgb(32, 58, 96)),
        }
    }

    /// The chosen row. Where there are many colours those of its cells stay.
    #[must_use]
    pub fn chosen(self) -> Style {
        match self.colors {
            Colors::None => Style::new().add_modifier(Modifier::REVERSED),
            Colors::Sixteen => Style::new().fg(Color::Black).bg(Color::Gray),
            Colors::True => Style::new().bg(Color::Rgb(46, 60, 84)).add_modifier(Modifier::BOLD),
        }
    }

    /// By how much something matters.
    #[must_use]
    pub fn level(self, level: Level) -> Style {
        let color = match (self.colors, level) {
            (Colors::None, Level::Info) => return Style::new(),
            (Colors::None, _) => return Style::new().add_modifier(Modifier::BOLD),
            (Colors::Sixteen, Level::Info) => Color::Cyan,
            (Colors::Sixteen, Level::Warn) => Color::Yellow,
            (Colors::Sixteen, Level::Error) => Color::LightRed,
            (Colors::True, Level::Info) => Color::Rgb(60, 190, 165),
            (Colors::True, Level::Warn) => Color::Rgb(240, 160, 60),
            (Colors::True, Level::Error) => Color::Rgb(255, 95, 70),
        };
        Style::new().fg(color)
    }

    /// The colour of a node, by its place among the nodes.
    #[must_use]
    pub fn node(self, place: usize) -> Style {
        match self.colors {
            Colors::None => Style::new(),
            Colors::Sixteen => Style::new().fg(NODES_SIXTEEN[place % NODES_SIXTEEN.len()]),
            Colors::True => {
                let (red, green, blue) = NODES_TRUE[place % NODES_TRUE.len()];
                Style::new().fg(Color::Rgb(red, green, blue))
            }
        }
    }

    /// The colour of a field of a heat map, from 0, nothing, to 1, the most of all.
    #[must_use]
    pub fn heat(self, share: f32) -> Style {
        let share = share.clamp(0.0, 1.0);
        match self.colors {
            Colors::None => Style::new(),
            Colors::Sixteen if share < 0.34 => Style::new().fg(Color::DarkGray),
            Colors::Sixteen if share < 0.67 => Style::new().fg(Color::Cyan),
            Colors::Sixteen => Style::new().fg(Color::Yellow),
            Colors::True => {
                let mix = |from: f32, to: f32| from + (to - from) * share;
                let (red, green, blue) = (mix(60.0, 250.0), mix(80.0, 170.0), mix(110.0, 60.0));
                #[expect(clippy::cast_possible_truncation, reason = "they are between 0 and 255")]
                #[expect(clippy::cast_sign_loss, reason = "they are between 0 and 255")]
                let byte = |part: f32| part as u8;
                Style::new().fg(Color::Rgb(byte(red), byte(green), byte(blue)))
            }
        }
    }

    /// The sign of a level.
    #[must_use]
    pub fn sign(self, level: Level) -> &'static str {
        match (level, self.ascii) {
            (Level::Info, false) => "✔",
            (Level::Info, true) => "+",
            (Level::Warn, _) => "!",
            (Level::Error, false) => "✗",
            (Level::Error, true) => "X",
        }
    }

    /// Eight heights of a bar, the least first.
    #[must_use]
    pub const fn heights(self) -> [&'static str; 8] {
        if self.ascii {
            ["_", ".", "-", "-", "=", "=", "#", "#"]
        } else {
            ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
        }
    }

    /// A bar as high as a share of the highest, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "it is between 0 and 7")]
    #[expect(clippy::cast_sign_loss, reason = "it is between 0 and 7")]
    pub fn height(self, share: f32) -> &'static str {
        self.heights()[(share.clamp(0.0, 1.0) * 7.0).round() as usize]
    }

    /// One of two signs.
    #[must_use]
    pub const fn glyph(self, utf8: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { utf8 }
    }
}
