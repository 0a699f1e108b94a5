//! The YAML file, flattened: `section.key`, the value as text, and the line it stands on.
//!
//! The parser gives values without their lines. They are found by reading the document again
//! with a reader that fails at one key: the error tells where it stood. So the lines are right
//! for every way to write YAML, and a file of a few dozen keys costs nothing.

use std::{collections::BTreeSet, fmt, path::Path, sync::Arc};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_yaml::Value;

use super::{ConfigError, Source};

/// A file past this is no configuration.
const FILE_BYTES_MAX: usize = 1 << 20;

/// One value of the file.
pub(super) struct Leaf {
    pub(super) key: String,
    /// The value as text, or why it is none.
    pub(super) value: Result<String, String>,
    pub(super) line: usize,
}

/// All values of the file in their order.
pub(super) fn leaves(path: &Arc<Path>, text: &str) -> Result<Vec<Leaf>, ConfigError> {
    let syntax =
        |line, why: String| ConfigError::Syntax { place: Source::line_of(path, line), why };
    if text.len() > FILE_BYTES_MAX {
        return Err(syntax(0, format!("the file is over the limit of {FILE_BYTES_MAX} bytes")));
    }
    let root: Value = serde_yaml::from_str(text)
        .map_err(|error| syntax(error.location().map_or(0, |at| at.line()), error.to_string()))?;
    let sections = match &root {
        Value::Null => return Ok(Vec::new()),
        Value::Mapping(sections) => sections,
        _ => {
            return Err(syntax(
                1,
                "the file must be a mapping of sections, like \"client:\"".into(),
            ));
        }
    };
    let (mut leaves, mut seen) = (Vec::new(), BTreeSet::new());
    for (section, value) in sections {
        let section = name(section);
        let entries: Vec<(Vec<String>, &Value)> = match value {
            Value::Mapping(entries) => {
                let entry = |(key, value)| (vec![section.clone(), name(key)], value);
                entries.iter().map(entry).collect()
            }
            Value::Null => Vec::new(),
            value => vec![(vec![section.clone()], value)],
        };
        for (place, value) in entries {
            let (key, line) = (place.join("."), line_of(text, &place));
            let again = !seen.insert(key.clone());
            let value = if again { Err("is given twice".into()) } else { scalar(value) };
            leaves.push(Leaf { key, value, line });
        }
    }
    Ok(leaves)
}

fn name(key: &Value) -> String {
    scalar(key).unwrap_or_else(|_| "?".into())
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(value) => Ok(value.to_string()),
        Value::String(value) => Ok(value.clone()),
        Value::Sequence(values) => {
            let words: Result<Vec<String>, String> = values.iter().map(scalar).collect();
            words.map(|words| words.join(","))
        }
        Value::Mapping(_) | Value::Tagged(_) => {
            Err("must be one value or a list, not a mapping".into())
        }
    }
}

/// The line of the value at `place`, counted from 1.
fn line_of(text: &str, place: &[String]) -> usize {
    let stopped = Stop { place }.deserialize(serde_yaml::Deserializer::from_str(text)).err();
    stopped.and_then(|error| error.location()).map_or(0, |at| at.line())
}

/// Reads up to the value at `place` and fails there.
struct Stop<'p> {
    place: &'p [String],
}

impl<'de> DeserializeSeed<'de> for Stop<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.place {
            [] => deserializer.deserialize_any(Here),
            _ => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Stop<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Value>()? {
            match self.place.split_first() {
                Some((first, rest)) if *first == name(&key) => {
                    map.next_value_seed(Stop { place: rest })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Err(A::Error::custom("not there"))
    }
}

/// Accepts nothing, so that the parser says where it is.
struct Here;

impl Visitor<'_> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let path: Arc<Path> = Path::new("w.yaml").into();
        let leaves = leaves(&path, text).unwrap();
        let show = |leaf: &Leaf| match &leaf.value {
            Ok(value) => format!("{} {}={value}", leaf.line, leaf.key),
            Err(why) => format!("{} {} {why}", leaf.line, leaf.key),
        };
        assert_eq!(leaves.iter().map(show).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_value_knows_its_line() {
        check("", &[]);
        check("# nothing\n", &[]);
        check("client:\n", &[]);
        check(
            "# c\nclient:\n  host: ::1 # c\n\n  \"port\": 1\nraft: {host: a,\n  port: 2}\n",
            &["3 client.host=::1", "5 client.port=1", "6 raft.host=a", "7 raft.port=2"],
        );
        check("client.port: 9\n", &["1 client.port=9"]);
        check("node-id: 3\n", &["1 node-id=3"]);
        check("a:\n  b: [x, 1]\n  c: ~\n  d: true\n", &["2 a.b=x,1", "3 a.c=", "4 a.d=true"]);
        check("a:\n  b:\n    c: 1\n", &["3 a.b must be one value or a list, not a mapping"]);
        check("a.b: 1\na:\n  b: 2\n", &["1 a.b=1", "3 a.b is given twice"]);
    }

    #[test]
    fn a_file_that_is_no_mapping_is_refused_with_its_line() {
        let path: Arc<Path> = Path::new("w.yaml").into();
        for (text, line) in [("- 1\n", 1), ("a: 1\nb: [\n", 3), ("a:\n  b: 1\n  b: 2\n", 2)] {
            let error = leaves(&path, text).err().unwrap();
            let ConfigError::Syntax { place: Source::File { line: at, .. }, .. } = &error else {
                panic!("{error}")
            };
            assert!(at.abs_diff(line) <= 1, "{text:?}: {error}");
        }
    }
}
