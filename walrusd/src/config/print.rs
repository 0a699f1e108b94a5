//! `walrusd config print` and `walrusd config keys`.

use std::{fmt::Write as _, io};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Config, Source, load::Listed};

/// The form of `config print`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// A file that `--config` accepts, with the source of each value beside it.
    Yaml,
    /// For scripts.
    Json,
}

/// Writes every setting with its value and source.
///
/// # Errors
/// What writing said.
pub fn print(config: &Config, output: Output, out: &mut dyn io::Write) -> io::Result<()> {
    let listed = config.listed();
    let text = match output {
        Output::Table => table(&listed),
        Output::Yaml => yaml(&listed),
        Output::Json => json(&listed),
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes what every setting means and allows.
///
/// # Errors
/// What writing said.
pub fn keys(out: &mut dyn io::Write) -> io::Result<()> {
    for listed in Config::default().listed() {
        writeln!(out, "{}\n    {}", listed.key, listed.about)?;
        writeln!(out, "    {}; default {}", listed.allowed, shown(&listed.default))?;
        let names = [
            ("flag", listed.flag),
            ("variable", listed.env),
            ("Kafka's name", listed.kafka.map(|(name, _)| name)),
        ];
        let names: Vec<String> = names
            .into_iter()
            .filter_map(|(what, name)| Some(format!("{what} {}", name?)))
            .collect();
        if !names.is_empty() {
            writeln!(out, "    {}", names.join(", "))?;
        }
    }
    out.flush()
}

/// A value in one word; a dash for none.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(word) => word.clone(),
        Value::Array(words) if words.is_empty() => "-".into(),
        Value::Array(words) => words.iter().map(shown).collect::<Vec<_>>().join(","),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn table(listed: &[Listed]) -> String {
    let width = |of: &dyn Fn(&Listed) -> usize| listed.iter().map(of).max().unwrap_or(0);
    let keys = width(&|one| one.key.len());
    let values = width(&|one| shown(&one.value).chars().count());
    let mut text = format!("{:keys$}  {:values$}  SOURCE\n", "SETTING", "VALUE");
    for one in listed {
        let row = format!("{:keys$}  {:values$}  {}\n", one.key, shown(&one.value), one.source);
        text += &row;
    }
    text
}

/// Blocks of sections; what JSON writes as a scalar is also YAML.
fn yaml(listed: &[Listed]) -> String {
    let mut text = String::new();
    let mut open = "";
    for one in listed {
        let (section, name) = one.key.split_once('.').expect("every key has a section");
        if section != open {
            text += &format!("{section}:\n");
            open = section;
        }
        writeln!(text, "  {name}: {}  # {}", one.value, one.source)
            .expect("writing to a String cannot fail");
    }
    text
}

fn json(listed: &[Listed]) -> String {
    let item = |one: &Listed| {
        let mut source = json!({ "kind": one.source.kind() });
        match &one.source {
            Source::Flag(name) | Source::Env(name) => source["name"] = json!(name),
            Source::File { path, line } => {
                source["path"] = json!(path.display().to_string());
                source["line"] = json!(line);
            }
            Source::Default => {}
        }
        json!({
            "key": one.key,
            "value": one.value,
            "default": one.default,
            "source": source,
            "kafka_name": one.kafka.map(|(name, _)| name),
        })
    };
    let items: Vec<Value> = listed.iter().map(item).collect();
    let document = json!({ "apiVersion": "walrus/v1", "kind": "Config", "items": items });
    let mut text = serde_json::to_string_pretty(&document).expect("values are plain");
    text.push('\n');
    text
}
