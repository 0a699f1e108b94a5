//! The colour of a context, by a name or as red, green and blue.

use std::{fmt, str::FromStr};

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// How much red.
    pub red: u8,
    /// How much green.
    pub green: u8,
    /// How much blue.
    pub blue: u8,
}

/// The text is no colour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no colour: one of {}, or as \"#c02020\"", names())]
pub struct NotAColour {
    given: String,
}

/// The names, with what they are.
const NAMED: [(&str, Colour); 8] = [
    ("red", rgb(176, 32, 32)),
    ("orange", rgb(184, 92, 0)),
    ("yellow", rgb(140, 112, 0)),
    ("green", rgb(28, 112, 52)),
    ("cyan", rgb(0, 112, 124)),
    ("blue", rgb(32, 72, 168)),
    ("magenta", rgb(136, 40, 136)),
    ("grey", rgb(88, 92, 100)),
];

const fn rgb(red: u8, green: u8, blue: u8) -> Colour {
    Colour { red, green, blue }
}

fn names() -> String {
    NAMED.map(|(name, _)| name).join(", ")
}

impl Colour {
    /// The name of the nearest that has one.
    #[must_use]
    pub fn nearest(self) -> &'static str {
        let far = |other: &Self| {
            let part = |one: u8, other: u8| u32::from(one.abs_diff(other)).pow(2);
            part(self.red, other.red) + part(self.green, other.green) + part(self.blue, other.blue)
        };
        NAMED.iter().min_by_key(|(_, other)| far(other)).map_or("grey", |(name, _)| name)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, named)| named == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue),
        }
    }
}

impl FromStr for Colour {
    type Err = NotAColour;

    fn from_str(given: &str) -> Result<Self, NotAColour> {
        let refuse = || NotAColour { given: given.to_owned() };
        if let Some((_, colour)) = NAMED.iter().find(|(name, _)| *name == given) {
            return Ok(*colour);
        }
        let digits = given.strip_prefix('#').ok_or_else(refuse)?;
        if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        let part =
            |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_no_digits| refuse());
        Ok(rgb(part(0)?, part(2)?, part(4)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_names_or_parts() {
        for (given, expected, near) in
            [("red", "red", "red"), ("#B02020", "red", "red"), ("#0000ff", "#0000ff", "blue")]
        {
            let colour: Colour = given.parse().unwrap();
            assert_eq!((colour.to_string().as_str(), colour.nearest()), (expected, near));
        }
        for wrong in ["", "reddish", "#12345", "#12345g", "#é1234"] {
            let why = wrong.parse::<Colour>().unwrap_err().to_string();
            assert!(why.contains("orange"), "{why}");
        }
    }
}
