//! An answer as lines that can be compared: a path to each value, and the value, after what a
//! broker may choose by itself has been replaced.
//!
//! What is read is the answer's pretty debug text, so that every field of every message is there
//! without a line of code for it.

use std::collections::BTreeMap;

/// Path and value, by path.
pub(crate) type Shape = BTreeMap<String, String>;

/// What names an element of a list, so that the order of a list does not matter.
const NAMES: &[&str] = &[
    "api_key",
    "name",
    "topic",
    "topic_name",
    "partition_index",
    "partition",
    "partition_id",
    "group_id",
    "resource_name",
    "group_instance_id",
    "node_id",
    "broker_id",
    "user",
    "transactional_id",
    "key",
];

/// A value as it was printed.
#[derive(Debug, PartialEq)]
enum Value {
    /// A number, a text, nothing.
    Leaf(String),
    /// The fields of a message.
    Fields(Vec<(String, Self)>),
    List(Vec<Self>),
}

/// The shape of an answer, from its pretty debug text.
pub(crate) fn shape(text: &str) -> Shape {
    let mut lines = text.lines();
    let mut shape = Shape::new();
    if let Some(first) = lines.next() {
        flatten("", value(first, &mut lines), &mut shape);
    }
    shape
}

/// Reads the value that begins on a line and may go on over the next ones.
fn value<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>) -> Value {
    let first = first.trim().trim_end_matches(',');
    match first.chars().last() {
        Some('{') => Value::Fields(fields(lines)),
        Some('[') => Value::List(list(lines)),
        // `Some(`: what it holds stands alone between the brackets.
        Some('(') => list(lines).into_iter().next().unwrap_or(Value::Leaf(String::new())),
        _ => Value::Leaf(first.to_owned()),
    }
}

fn is_end(line: &str) -> bool {
    matches!(line.trim().trim_end_matches(','), "}" | "]" | ")")
}

fn fields<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    while let Some(line) = lines.next().filter(|line| !is_end(line)) {
        let (name, first) = line.trim().split_once(": ").unwrap_or((line.trim(), ""));
        let value = value(first, lines);
        fields.push((name.to_owned(), value));
    }
    fields
}

fn list<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<Value> {
    let mut list = Vec::new();
    while let Some(line) = lines.next().filter(|line| !is_end(line)) {
        list.push(value(line, lines));
    }
    list
}

fn flatten(path: &str, value: Value, shape: &mut Shape) {
    match value {
        Value::Leaf(text) => {
            let field = path.rsplit('.').next().unwrap_or(path);
            shape.insert(path.to_owned(), kept(field, &text));
        }
        Value::Fields(fields) => {
            for (name, value) in fields {
                if name == "unknown_tagged_fields" && value == Value::Leaf("{}".to_owned()) {
                    continue;
                }
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, shape);
            }
        }
        Value::List(list) if list.iter().all(|one| matches!(one, Value::Leaf(_))) => {
            let leaves = list.iter().filter_map(|one| match one {
                Value::Leaf(text) => Some(text.as_str()),
                Value::Fields(_) | Value::List(_) => None,
            });
            let text = format!("[{}]", leaves.collect::<Vec<_>>().join(", "));
            flatten(path, Value::Leaf(text), shape);
        }
        Value::List(list) => {
            for one in list {
                let name = called(&one).unwrap_or_default();
                let mut at = format!("{path}[{name}]");
                while shape.keys().any(|path| path.starts_with(&at)) {
                    at.push('\'');
                }
                flatten(&at, one, shape);
            }
        }
    }
}

/// What an element of a list is called.
fn called(value: &Value) -> Option<String> {
    let Value::Fields(fields) = value else { return None };
    let named = NAMES.iter().find_map(|name| {
        fields.iter().find_map(|(field, value)| match value {
            Value::Leaf(text) if field == name && text != "\"\"" && text != "None" => Some(text),
            _ => None,
        })
    })?;
    Some(named.trim_matches('"').to_owned())
}

/// What of a value is compared: all of it, or whether there is one where each broker has its own.
fn kept(field: &str, text: &str) -> String {
    let kept = match field {
        // How long it took.
        "throttle_time_ms" => "any",
        // Who and where it is, and what it drew by chance.
        "host" | "cluster_id" | "topic_id" | "member_id" | "leader" | "producer_id"
        | "session_id" | "log_dir" | "client_host" | "client_instance_id" | "subscription_id"
        | "leader_directory_id" | "replica_directory_id" | "error_message" | "documentation"
        | "max_timestamp" | "last_timestamp" | "last_fetch_timestamp"
        | "last_caught_up_timestamp" | "log_append_time_ms" | "timestamp" | "port"
        // What it has on its disk.
        | "partition_size" | "total_bytes" | "usable_bytes" | "finalized_features_epoch" => {
            presence(text)
        }
        // Where it begins to count.
        "leader_epoch" if text != "-1" => "some",
        // Records differ by the epoch that the broker writes into them.
        "records" if text != "None" && text != "b\"\"" => "records",
        _ => text,
    };
    kept.to_owned()
}

fn presence(text: &str) -> &str {
    match text {
        "None" | "-1" | "0" | "\"\"" | "00000000-0000-0000-0000-000000000000" => text,
        _ => "some",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "it is there to be printed")]
    struct Part {
        partition_index: i32,
        error_code: i16,
        error_message: Option<&'static str>,
        replicas: Option<Vec<i32>>,
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "it is there to be printed")]
    struct Answer {
        throttle_time_ms: i32,
        parts: Vec<Part>,
        more: Option<Vec<Part>>,
        none: Vec<Part>,
    }

    #[test]
    fn every_value_has_a_path_and_lists_are_known_by_name() {
        let part = |index: i32, message| Part {
            partition_index: index,
            error_code: 3,
            error_message: message,
            replicas: (index == 0).then(|| vec![1, 2]),
        };
        let answer = Answer {
            throttle_time_ms: 5,
            parts: vec![part(1, Some("of its own, words")), part(0, None), part(0, Some(""))],
            more: None,
            none: Vec::new(),
        };
        let shape = shape(&format!("{answer:#?}"));
        let lines: Vec<String> = shape.iter().map(|(at, value)| format!("{at}={value}")).collect();
        let expected = [
            "more=None",
            "none=[]",
            "parts[0]'.error_code=3",
            "parts[0]'.error_message=\"\"",
            "parts[0]'.partition_index=0",
            "parts[0]'.replicas=[1, 2]",
            "parts[0].error_code=3",
            "parts[0].error_message=None",
            "parts[0].partition_index=0",
            "parts[0].replicas=[1, 2]",
            "parts[1].error_code=3",
            "parts[1].error_message=some",
            "parts[1].partition_index=1",
            "parts[1].replicas=None",
            "throttle_time_ms=any",
        ];
        assert_eq!(lines, expected);
    }
}
