//! openraft's own figures as JSON, under its names, with node ids in the place of storage ids.

use std::collections::BTreeMap;

use openraft::RaftMetrics;
use serde_json::{Map, Value};
use walrus_types::NodeId;

use crate::types::TypeConfig;

/// The figures, with every member named as people name nodes.
pub(crate) fn to_json(metrics: &RaftMetrics<TypeConfig>) -> Value {
    let nodes = metrics.membership_config.membership().nodes();
    let names = nodes.map(|(member, peer)| (member.to_string(), peer.node)).collect();
    match serde_json::to_value(metrics) {
        Ok(value) => translate(value, &names),
        Err(error) => Value::String(format!("metrics are not to be had: {error}")),
    }
}

fn translate(value: Value, names: &BTreeMap<String, NodeId>) -> Value {
    match value {
        Value::String(text) => match names.get(&text) {
            Some(node) => node.0.into(),
            None => Value::String(text),
        },
        Value::Array(values) => values.into_iter().map(|value| translate(value, names)).collect(),
        Value::Object(fields) => {
            let renamed = |(name, value): (String, Value)| {
                let name = names.get(&name).map_or(name, |node| node.0.to_string());
                (name, translate(value, names))
            };
            Value::Object(fields.into_iter().map(renamed).collect::<Map<_, _>>())
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}
