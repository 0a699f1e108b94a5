//! The description as JSON, out of the table of routes and the models' schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema as _, ToSchema,
    openapi::{RefOr, schema::Schema},
};
use walrus_admin::{API_VERSION, Code, ErrorDocument, Kind};

use super::routes::routes;
use crate::admin::v1::ROUTES;

/// How whoever changed the API renews the file.
const RENEW: &str = "WALRUS_OPENAPI=write cargo test -p walrusd --lib openapi";

type Schemas = BTreeMap<String, Value>;

/// A parameter behind the `?`.
pub(super) struct Query {
    pub(super) name: &'static str,
    /// The least and the greatest number; a text has none.
    pub(super) bounds: Option<(u64, u64)>,
    pub(super) what: &'static str,
}

enum Tells {
    Nothing,
    Document(String),
    Stream(Vec<(&'static str, String)>),
    Itself,
}

/// What one route takes and tells.
pub(super) struct Route {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: Vec<Query>,
    takes: Option<String>,
    tells: Tells,
    schemas: Schemas,
}

impl Route {
    pub(super) fn get(path: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, summary)
    }

    pub(super) fn post(path: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, summary)
    }

    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        let (query, takes, tells) = (Vec::new(), None, Tells::Nothing);
        Self { method, path, summary, query, takes, tells, schemas: Schemas::new() }
    }

    pub(super) fn query(mut self, query: Query) -> Self {
        self.query.push(query);
        self
    }

    /// The body that it takes.
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        self.takes = Some(model::<T>(&mut self.schemas));
        self
    }

    /// The document that it answers with.
    pub(super) fn tells<T: ToSchema + Kind>(mut self) -> Self {
        self.tells = Tells::Document(document::<T>(&mut self.schemas));
        self
    }

    /// A message of the stream that it answers with.
    pub(super) fn streams<T: ToSchema + Kind>(mut self, name: &'static str) -> Self {
        let document = document::<T>(&mut self.schemas);
        match &mut self.tells {
            Tells::Stream(messages) => messages.push((name, document)),
            _ => self.tells = Tells::Stream(vec![(name, document)]),
        }
        self
    }

    pub(super) fn tells_itself(mut self) -> Self {
        self.tells = Tells::Itself;
        self
    }

    /// A name for what is made of it: `postNodesDrain`.
    fn operation(&self) -> String {
        let parts = self.path.trim_start_matches("/v1/").split(['/', '-', '.']);
        let parts = parts.filter(|part| !part.starts_with('{'));
        let big = parts.map(|part| {
            let (first, rest) = part.split_at(1);
            first.to_uppercase() + rest
        });
        let one = if self.path.ends_with('}') { "One" } else { "" };
        format!("{}{}{one}", self.method, big.collect::<String>())
    }

    /// Names in the path, each with what it is.
    fn places(&self) -> Vec<(&'static str, Value)> {
        let names = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')));
        let of = |name: &'static str| {
            let schema = match name {
                "partition" => json!({ "type": "integer", "format": "int32", "minimum": 0 }),
                "operation" => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
                "plan" => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{12}$" }),
                _ => json!({ "type": "string", "minLength": 1 }),
            };
            (name, schema)
        };
        names.map(of).collect()
    }

    fn parameters(&self) -> Vec<Value> {
        let in_path = self.places().into_iter().map(|(name, schema)| {
            let what = match name {
                "node" => "the node's number, like 1 or n1",
                "topic" => "the topic's name",
                "partition" => "the partition's number",
                "group" => "the group's name",
                "plan" => "the plan's id: 12 hex digits",
                "operation" => "the operation's number",
                other => panic!("say here what {other} in a path is"),
            };
            json!({
                "name": name, "in": "path", "required": true, "description": what,
                "schema": schema,
            })
        });
        let behind = self.query.iter().map(|query| {
            let schema = match query.bounds {
                Some((least, most)) if most <= i64::MAX.unsigned_abs() => {
                    json!({ "type": "integer", "minimum": least, "maximum": most })
                }
                Some((least, _)) => {
                    json!({ "type": "integer", "format": "uint64", "minimum": least })
                }
                None => json!({ "type": "string" }),
            };
            json!({
                "name": query.name, "in": "query", "description": query.what, "schema": schema,
            })
        });
        in_path.chain(behind).collect()
    }

    fn answers(&self) -> Value {
        let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        let content = match &self.tells {
            Tells::Nothing => panic!("{} tells nothing", self.path),
            Tells::Document(name) => json!({ "application/json": { "schema": reference(name) } }),
            Tells::Itself => json!({ "application/json": { "schema": { "type": "object" } } }),
            Tells::Stream(messages) => {
                let all: Map<String, Value> = messages
                    .iter()
                    .map(|(name, document)| ((*name).to_owned(), reference(document)))
                    .collect();
                // What a message's data is, by its name.
                let schema = json!({ "type": "string", "x-messages": all });
                json!({ "text/event-stream": { "schema": schema } })
            }
        };
        let mut answers = Map::new();
        answers.insert("200".into(), json!({ "description": self.summary, "content": content }));
        if matches!(self.tells, Tells::Itself) {
            return Value::Object(answers);
        }
        let mut statuses = BTreeSet::from([400, 500, 503]);
        if !self.places().is_empty() {
            statuses.insert(404);
        }
        if self.method == "post" {
            statuses.extend([403, 404, 409, 413, 415, 421, 504]);
        }
        for status in statuses {
            let codes: Vec<String> = codes()
                .into_iter()
                .filter(|code| code.status() == status && *code != Code::Other)
                .map(Code::name)
                .collect();
            let content = json!({ "application/json": { "schema": reference("ErrorDocument") } });
            let description = codes.join(", ");
            answers.insert(
                status.to_string(),
                json!({ "description": description, "content": content }),
            );
        }
        Value::Object(answers)
    }

    fn describe(&self) -> Value {
        let mut all = json!({
            "operationId": self.operation(),
            "summary": self.summary,
            "parameters": self.parameters(),
            "responses": self.answers(),
        });
        if let Some(takes) = &self.takes {
            let schema = json!({ "$ref": format!("#/components/schemas/{takes}") });
            let content = json!({ "application/json": { "schema": schema } });
            all["requestBody"] = json!({ "required": true, "content": content });
        }
        all
    }
}

/// All codes, by the models' own schema.
fn codes() -> Vec<Code> {
    let schema = serde_json::to_value(Code::schema()).expect("plain data");
    let names = schema["enum"].as_array().expect("codes are names").clone();
    names.into_iter().map(|name| serde_json::from_value(name).expect("a code")).collect()
}

/// Puts a model's schema, and those that it names, into `schemas`.
fn model<T: ToSchema>(schemas: &mut Schemas) -> String {
    let mut named: Vec<(String, RefOr<Schema>)> = Vec::new();
    T::schemas(&mut named);
    named.push((T::name().into_owned(), T::schema()));
    for (name, schema) in named {
        let schema = serde_json::to_value(schema).expect("plain data");
        let known = schemas.insert(name.clone(), schema.clone());
        assert!(known.is_none_or(|known| known == schema), "two models are called {name}");
    }
    T::name().into_owned()
}

/// A model in its frame.
fn document<T: ToSchema + Kind>(schemas: &mut Schemas) -> String {
    let of = model::<T>(schemas);
    let name = format!("{of}Document");
    let frame = json!({
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": { "type": "string", "const": API_VERSION },
            "kind": { "type": "string", "const": T::KIND },
        },
    });
    let reference = json!({ "$ref": format!("#/components/schemas/{of}") });
    schemas.insert(name.clone(), json!({ "allOf": [reference, frame] }));
    name
}

fn description() -> String {
    let mut schemas = Schemas::new();
    model::<ErrorDocument>(&mut schemas);
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        for (name, schema) in &route.schemas {
            let known = schemas.insert(name.clone(), schema.clone());
            assert!(
                known.is_none_or(|known| known == *schema),
                "two models are called {name}: say another name with schema(as = …)"
            );
        }
        paths.entry(route.path).or_default().insert(route.method.into(), route.describe());
    }
    let description = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Walrus admin API",
            "version": "v1",
            "description": "What an operator asks a node, and has it do. Fields are added, never \
                renamed or taken away: readers pass over what they do not know.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": schemas },
    });
    serde_json::to_string_pretty(&description).expect("plain data") + "\n"
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let described = routes();
    let described: BTreeSet<String> = described
        .iter()
        .map(|route| format!("{} {}", route.method.to_uppercase(), route.path))
        .collect();
    let there: BTreeSet<String> = ROUTES.iter().map(|route| (*route).to_owned()).collect();
    assert_eq!(described, there, "see the head of openapi/mod.rs");
    let names: BTreeSet<String> = routes().iter().map(Route::operation).collect();
    assert_eq!(names.len(), there.len(), "two operations have one name: {names:?}");
}

#[test]
fn what_is_served_is_what_the_models_say() {
    let now = description();
    if std::env::var_os("WALRUS_OPENAPI").is_some_and(|what| what == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        std::fs::write(path, &now).expect("the checkout can be written to");
        return;
    }
    let served = super::DESCRIPTION;
    let line = served.lines().zip(now.lines()).position(|(served, now)| served != now);
    let line = line.map_or_else(String::new, |at| format!(", from line {} on", at + 1));
    assert!(served == now, "openapi.json is not what the models say{line}. Renew it: {RENEW}");
}
