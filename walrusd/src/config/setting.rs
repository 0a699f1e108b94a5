//! One setting: its names, its meaning, and a typed slot that parses, bounds and shows its value.

use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde_json::Value;

use super::kafka::KafkaKind;

/// A part of the configuration.
pub(super) trait Section {
    /// Every setting of the section, with its place. Implementations take the section apart
    /// field by field, so that a new field does not compile until someone has declared it.
    fn settings(&mut self) -> Vec<Setting<'_>>;

    /// What is wrong between settings of this section, each within its own bounds.
    fn conflicts(&self) -> Vec<Conflict> {
        Vec::new()
    }
}

/// Two values that do not go together, reported at the place of the first.
pub(super) struct Conflict {
    pub(super) key: &'static str,
    pub(super) why: String,
}

/// One setting of a section.
pub(super) struct Setting<'a> {
    /// Section and name in the file, joined by a point.
    pub(super) key: &'static str,
    /// One sentence, no full stop.
    pub(super) about: &'static str,
    pub(super) flag: Option<&'static str>,
    pub(super) env: Option<&'static str>,
    /// Kafka's broker config that says the same.
    pub(super) kafka: Option<(&'static str, KafkaKind)>,
    pub(super) slot: Box<dyn Slot + 'a>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(key: &'static str, about: &'static str, slot: impl Slot + 'a) -> Self {
        Self { key, about, flag: None, env: None, kafka: None, slot: Box::new(slot) }
    }

    pub(super) fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    pub(super) fn env(self, env: &'static str) -> Self {
        Self { env: Some(env), ..self }
    }

    pub(super) fn kafka(self, name: &'static str, kind: KafkaKind) -> Self {
        Self { kafka: Some((name, kind)), ..self }
    }
}

/// The place of a value.
pub(super) trait Slot {
    /// Reads a value from text. On `Err` the old one stands.
    fn put(&mut self, given: &str) -> Result<(), String>;
    /// The value as JSON: a number, a word, true or false, a list, or null for "none".
    fn show(&self) -> Value;
    /// What may be put, to follow "must be".
    fn allowed(&self) -> String;
    /// Whether the value that stands here is one that could have been put.
    fn holds(&self) -> bool {
        true
    }
}

/// What a number counts, and so which endings its text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Plain,
    Bytes,
    Millis,
}

impl Unit {
    /// Greatest first.
    fn endings(self) -> &'static [(&'static str, i128)] {
        match self {
            Self::Plain => &[],
            Self::Bytes => &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1024)],
            Self::Millis => {
                &[("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
            }
        }
    }

    fn show(self, value: i128) -> String {
        let fits = |&&(_, size): &&(&str, i128)| size > 1 && value != 0 && value % size == 0;
        match self.endings().iter().find(fits) {
            Some((ending, size)) => format!("{}{ending}", value / size),
            None => value.to_string(),
        }
    }
}

/// A whole number within bounds.
pub(super) struct Whole<'a, T> {
    at: &'a mut T,
    range: RangeInclusive<i128>,
    unit: Unit,
    /// Whether -1 says "no limit".
    or_unlimited: bool,
}

pub(super) fn whole<T: Into<i128>>(at: &mut T, range: RangeInclusive<T>) -> Whole<'_, T> {
    let (min, max) = range.into_inner();
    Whole { at, range: min.into()..=max.into(), unit: Unit::Plain, or_unlimited: false }
}

pub(super) fn bytes<T: Into<i128>>(at: &mut T, range: RangeInclusive<T>) -> Whole<'_, T> {
    Whole { unit: Unit::Bytes, ..whole(at, range) }
}

pub(super) fn millis<T: Into<i128>>(at: &mut T, range: RangeInclusive<T>) -> Whole<'_, T> {
    Whole { unit: Unit::Millis, ..whole(at, range) }
}

impl<T> Whole<'_, T> {
    pub(super) fn or_unlimited(self) -> Self {
        Self { or_unlimited: true, ..self }
    }

    fn accepts(&self, value: i128) -> bool {
        self.range.contains(&value) || (self.or_unlimited && value == -1)
    }

    fn parse(&self, given: &str) -> Option<i128> {
        let ending = self.unit.endings().iter().find(|(ending, _)| given.ends_with(ending));
        let (digits, size) = ending.map_or((given, 1), |&(ending, size)| {
            (given.strip_suffix(ending).unwrap_or(given).trim_end(), size)
        });
        let plain = digits.strip_prefix('-').unwrap_or(digits);
        if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse::<i128>().ok()?.checked_mul(size)
    }
}

impl<T: Copy + Into<i128> + TryFrom<i128>> Slot for Whole<'_, T> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        let value = self.parse(given).filter(|value| self.accepts(*value));
        let value = value.and_then(|value| T::try_from(value).ok());
        *self.at = value.ok_or_else(|| self.allowed())?;
        Ok(())
    }

    fn show(&self) -> Value {
        // Every bound in the sections fits 64 bits; a number past i64 is shown as text.
        let value: i128 = (*self.at).into();
        i64::try_from(value).map_or_else(|_| Value::from(value.to_string()), Value::from)
    }

    fn allowed(&self) -> String {
        let (min, max) = (self.range.start(), self.range.end());
        let unlimited = if self.or_unlimited { ", or -1 for no limit" } else { "" };
        let show = |value: i128| self.unit.show(value);
        match self.unit {
            Unit::Plain => format!("a whole number in {min} ..= {max}{unlimited}"),
            Unit::Bytes => format!(
                "bytes in {min} ..= {max} ({} ..= {}; KiB, MiB, GiB, TiB may follow){unlimited}",
                show(*min),
                show(*max)
            ),
            Unit::Millis => format!(
                "milliseconds in {min} ..= {max} ({} ..= {}; ms, s, m, h, d may follow){unlimited}",
                show(*min),
                show(*max)
            ),
        }
    }

    fn holds(&self) -> bool {
        self.accepts((*self.at).into())
    }
}

/// True or false.
pub(super) struct Switch<'a>(pub(super) &'a mut bool);

impl Slot for Switch<'_> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        *self.0 = match given.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(self.allowed()),
        };
        Ok(())
    }

    fn show(&self) -> Value {
        Value::Bool(*self.0)
    }

    fn allowed(&self) -> String {
        "true or false (also 1, 0, yes, no, on, off)".into()
    }
}

/// A word that a type of its own understands.
pub(super) struct Parsed<'a, T> {
    at: &'a mut T,
    allowed: &'static str,
}

pub(super) fn parsed<'a, T>(at: &'a mut T, allowed: &'static str) -> Parsed<'a, T> {
    Parsed { at, allowed }
}

impl<T: FromStr + fmt::Display> Slot for Parsed<'_, T> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        *self.at = given.parse().ok().ok_or_else(|| self.allowed())?;
        Ok(())
    }

    fn show(&self) -> Value {
        Value::from(self.at.to_string())
    }

    fn allowed(&self) -> String {
        self.allowed.into()
    }

    fn holds(&self) -> bool {
        self.at.to_string().parse::<T>().is_ok()
    }
}

/// A word that may be missing; empty text takes it away.
pub(super) struct Maybe<'a, T> {
    at: &'a mut Option<T>,
    allowed: &'static str,
}

pub(super) fn maybe<'a, T>(at: &'a mut Option<T>, allowed: &'static str) -> Maybe<'a, T> {
    Maybe { at, allowed }
}

impl<T: FromStr + fmt::Display> Slot for Maybe<'_, T> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        *self.at = match given {
            "" => None,
            word => Some(word.parse().ok().ok_or_else(|| self.allowed())?),
        };
        Ok(())
    }

    fn show(&self) -> Value {
        self.at.as_ref().map_or(Value::Null, |value| Value::from(value.to_string()))
    }

    fn allowed(&self) -> String {
        self.allowed.into()
    }
}

/// A list of words, separated by commas.
pub(super) struct Several<'a, T> {
    pub(super) at: &'a mut Vec<T>,
    pub(super) allowed: &'static str,
}

impl<T: FromStr + fmt::Display> Slot for Several<'_, T> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        let words = given.split(',').map(str::trim).filter(|word| !word.is_empty());
        let parsed: Result<Vec<T>, _> = words.map(str::parse).collect();
        *self.at = parsed.ok().ok_or_else(|| self.allowed())?;
        Ok(())
    }

    fn show(&self) -> Value {
        Value::from(self.at.iter().map(T::to_string).collect::<Vec<_>>())
    }

    fn allowed(&self) -> String {
        self.allowed.into()
    }
}

/// A path. Not checked here: whoever opens it says what is wrong with it.
pub(super) struct Place<'a>(pub(super) &'a mut PathBuf);

impl Slot for Place<'_> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        if given.is_empty() || given.contains('\0') {
            return Err(self.allowed());
        }
        *self.0 = PathBuf::from(given);
        Ok(())
    }

    fn show(&self) -> Value {
        Value::from(self.0.display().to_string())
    }

    fn allowed(&self) -> String {
        "a path".into()
    }

    fn holds(&self) -> bool {
        self.0.as_path() != Path::new("")
    }
}

/// A path that may be missing.
pub(super) struct MaybePlace<'a>(pub(super) &'a mut Option<PathBuf>);

impl Slot for MaybePlace<'_> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        if given.contains('\0') {
            return Err(self.allowed());
        }
        *self.0 = Some(given).filter(|given| !given.is_empty()).map(PathBuf::from);
        Ok(())
    }

    fn show(&self) -> Value {
        self.0.as_ref().map_or(Value::Null, |path| Value::from(path.display().to_string()))
    }

    fn allowed(&self) -> String {
        "a path".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_with_its_ending_and_refused_outside_its_bounds() {
        let mut at = 5u64;
        for (given, expected) in [
            ("64", Some(64)),
            ("1KiB", Some(1024)),
            ("1 KiB", Some(1024)),
            ("2MiB", Some(2 << 20)),
            ("3MiB", None),
            ("9", None),
            ("", None),
            ("KiB", None),
            ("+64", None),
            ("1e3", None),
            ("-1", None),
            ("64 ", None),
            ("99999999999999999999999999999999999999999", None),
            ("99999999999999999999999999999TiB", None),
        ] {
            let mut slot = bytes(&mut at, 10..=2 << 20);
            assert_eq!(slot.put(given).is_ok(), expected.is_some(), "{given:?}");
            assert!(slot.holds() || given.is_empty(), "{given:?}");
            if let Some(expected) = expected {
                assert_eq!(at, expected, "{given:?}");
            }
            at = 10;
        }
    }

    #[test]
    fn minus_one_is_no_limit_only_where_that_is_declared() {
        let mut at = 0i64;
        assert!(millis(&mut at, 0..=i64::MAX).put("-1").is_err());
        assert!(millis(&mut at, 0..=i64::MAX).or_unlimited().put("-1").is_ok());
        assert_eq!(at, -1);
        assert!(millis(&mut at, 0..=i64::MAX).or_unlimited().put("7d").is_ok());
        assert_eq!(at, 604_800_000);
        assert!(millis(&mut at, 0..=i64::MAX).put("15m").is_ok());
        assert_eq!(at, 900_000);
    }
}
