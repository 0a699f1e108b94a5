//! How a request changes what a topic sets, from what it sets now. Pure.

use std::collections::{BTreeMap, BTreeSet};

use walrus_wire::kafka_protocol::error::ResponseError;

use crate::{
    api::{codes::Refusal, topics::check_config},
    config::KafkaKind,
    topic_config::{TopicConfig, entry},
};

/// What a topic sets.
pub(super) type Set = BTreeMap<String, String>;

/// New values, `None` for those that go.
pub(super) type Changes = Vec<(String, Option<String>)>;

/// What IncrementalAlterConfigs does with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Operation {
    fn from_code(code: i8) -> Result<Self, Refusal> {
        match code {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            other => Err(Refusal::invalid(format!("config operation {other} is not known"))),
        }
    }
}

/// AlterConfigs: the topic sets what is given and nothing else.
pub(super) fn replace<'a>(
    set: &Set,
    given: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Changes, Refusal> {
    let mut changes: BTreeMap<String, Option<String>> =
        set.keys().map(|name| (name.clone(), None)).collect();
    let mut seen = BTreeSet::new();
    for (name, value) in given {
        once(&mut seen, name)?;
        let value = some(name, value)?;
        check_config(name, value)?;
        changes.insert(name.to_owned(), Some(value.trim().to_owned()));
    }
    Ok(changes.into_iter().collect())
}

/// IncrementalAlterConfigs: what is not named stays. `in_force` has the values that lists are
/// changed from.
pub(super) fn alter<'a>(
    set: &Set,
    in_force: &TopicConfig,
    given: impl Iterator<Item = (&'a str, i8, Option<&'a str>)>,
) -> Result<Changes, Refusal> {
    let mut changes = Changes::new();
    let mut seen = BTreeSet::new();
    for (name, operation, value) in given {
        once(&mut seen, name)?;
        let value = match Operation::from_code(operation)? {
            // As in Kafka, what is not set may be deleted, whatever its name.
            Operation::Delete if !set.contains_key(name) => continue,
            Operation::Delete => None,
            Operation::Set => Some(some(name, value)?.trim().to_owned()),
            Operation::Append => {
                let (mut words, more) = list(in_force, name, some(name, value)?)?;
                for word in more {
                    if !words.contains(&word) {
                        words.push(word);
                    }
                }
                Some(words.join(","))
            }
            Operation::Subtract => {
                let (mut words, gone) = list(in_force, name, some(name, value)?)?;
                words.retain(|word| !gone.contains(word));
                Some(words.join(","))
            }
        };
        if let Some(value) = &value {
            check_config(name, value)?;
        }
        changes.push((name.to_owned(), value));
    }
    Ok(changes)
}

/// Whether nothing would be set that was not.
pub(super) fn only_deletes<'a>(
    mut given: impl Iterator<Item = (&'a str, i8, Option<&'a str>)>,
) -> bool {
    given.all(|(_, operation, _)| matches!(Operation::from_code(operation), Ok(Operation::Delete)))
}

fn once<'a>(seen: &mut BTreeSet<&'a str>, name: &'a str) -> Result<(), Refusal> {
    let first = seen.insert(name);
    first.then_some(()).ok_or_else(|| Refusal::invalid("Error due to duplicate config keys"))
}

fn some<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Refusal> {
    value.ok_or_else(|| Refusal::invalid(format!("Null value not supported for: {name}")))
}

/// The words of a list in force, and those given.
fn list(
    in_force: &TopicConfig,
    name: &str,
    given: &str,
) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let words = |list: &str| -> Vec<String> {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    match entry(name) {
        Some(entry) if entry.kind == KafkaKind::List => {
            Ok((words(&entry.value(in_force)), words(given)))
        }
        Some(_) => Err(Refusal::new(
            ResponseError::InvalidConfig,
            format!("Can't append to or subtract from {name} because its type is not LIST."),
        )),
        None => check_config(name, given).map(|()| (Vec::new(), Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn changes(expected: &[(&str, Option<&str>)]) -> Changes {
        let owned =
            |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        expected.iter().map(owned).collect()
    }

    type Pairs<'a> = &'a [(&'a str, Option<&'a str>)];
    type Expected<'a> = Result<Pairs<'a>, ResponseError>;

    #[test]
    fn a_replacement_leaves_only_what_is_given() {
        use ResponseError::{InvalidConfig, InvalidRequest};
        let set =
            Set::from([("retention.ms".into(), "1".into()), ("segment.ms".into(), "2".into())]);
        let cases: &[(Pairs<'_>, Expected<'_>)] = &[
            (&[], Ok(&[("retention.ms", None), ("segment.ms", None)])),
            (
                &[("retention.ms", Some(" 3 "))],
                Ok(&[("retention.ms", Some("3")), ("segment.ms", None)]),
            ),
            (
                &[("min.insync.replicas", Some("1")), ("segment.ms", Some("2"))],
                Ok(&[
                    ("min.insync.replicas", Some("1")),
                    ("retention.ms", None),
                    ("segment.ms", Some("2")),
                ]),
            ),
            (&[("retention.ms", None)], Err(InvalidRequest)),
            (&[("segment.ms", Some("1")), ("segment.ms", Some("2"))], Err(InvalidRequest)),
            (&[("retention.ms", Some("x"))], Err(InvalidConfig)),
            (&[("no.such", Some("x"))], Err(InvalidConfig)),
        ];
        for (given, expected) in cases {
            let replaced = replace(&set, given.iter().copied()).map_err(|refusal| refusal.code);
            assert_eq!(replaced, expected.map(changes), "{given:?}");
        }
    }

    #[test]
    fn an_increment_changes_only_what_it_names() {
        use ResponseError::{InvalidConfig, InvalidRequest};
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        const APPEND: i8 = 2;
        const SUBTRACT: i8 = 3;
        let set = Set::from([("retention.ms".into(), "1".into())]);
        let in_force = TopicConfig::defaults(&Config::default());
        type Given<'a> = (&'a str, i8, Option<&'a str>);
        let cases: &[(&[Given<'_>], Expected<'_>)] = &[
            (&[], Ok(&[])),
            (&[("retention.ms", SET, Some("3 "))], Ok(&[("retention.ms", Some("3"))])),
            (&[("retention.ms", DELETE, None)], Ok(&[("retention.ms", None)])),
            (&[("retention.ms", DELETE, Some("x"))], Ok(&[("retention.ms", None)])),
            (&[("segment.ms", DELETE, None)], Ok(&[])),
            (&[("no.such", DELETE, None)], Ok(&[])),
            (
                &[("segment.ms", SET, Some("1")), ("retention.ms", DELETE, None)],
                Ok(&[("segment.ms", Some("1")), ("retention.ms", None)]),
            ),
            (
                &[("cleanup.policy", APPEND, Some("delete"))],
                Ok(&[("cleanup.policy", Some("delete"))]),
            ),
            (&[("cleanup.policy", APPEND, Some("compact"))], Err(InvalidConfig)),
            (
                &[("cleanup.policy", SUBTRACT, Some("compact"))],
                Ok(&[("cleanup.policy", Some("delete"))]),
            ),
            (&[("cleanup.policy", SUBTRACT, Some("delete"))], Err(InvalidConfig)),
            (&[("retention.ms", APPEND, Some("3"))], Err(InvalidConfig)),
            (&[("retention.ms", SUBTRACT, Some("3"))], Err(InvalidConfig)),
            (&[("no.such", APPEND, Some("3"))], Err(InvalidConfig)),
            (&[("retention.ms", SET, None)], Err(InvalidRequest)),
            (&[("cleanup.policy", APPEND, None)], Err(InvalidRequest)),
            (&[("retention.ms", 4, Some("3"))], Err(InvalidRequest)),
            (&[("retention.ms", -1, Some("3"))], Err(InvalidRequest)),
            (
                &[("retention.ms", SET, Some("3")), ("retention.ms", DELETE, None)],
                Err(InvalidRequest),
            ),
        ];
        for (given, expected) in cases {
            let altered =
                alter(&set, &in_force, given.iter().copied()).map_err(|refusal| refusal.code);
            assert_eq!(altered, expected.map(changes), "{given:?}");
        }
    }
}
