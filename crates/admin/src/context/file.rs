//! The file of contexts: what it may say, and where it says it wrongly.

use std::{collections::BTreeMap, fmt::Display, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Config, ConfigError, Context, Theme};
use crate::Endpoint;

type Value<'i> = Spanned<DeValue<'i>>;

/// Reads the text of a file, which is called `path` in what is wrong with it.
///
/// # Errors
/// Where it is no TOML, says something unknown, or something that means nothing.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let at = Place { path, text };
    let table = at.table(text)?;
    let mut config = Config::default();
    for (key, value) in table.get_ref() {
        let name = key.get_ref().as_ref();
        match name {
            "current" => config.current = Some(at.word(name, value)?.to_owned()),
            "theme" => config.theme = Some(at.theme(name, value)?),
            "contexts" => {
                for (key, value) in at.entries(name, value)? {
                    let context = key.get_ref().to_string();
                    let full = format!("contexts.{context}");
                    config.contexts.insert(context, at.context(&full, value, key.span())?);
                }
            }
            "keys" => config.keys = at.keys(name, value)?,
            other => return Err(at.wrong(&key.span(), other, "nothing is called that here")),
        }
    }
    if let Some((name, value)) = config.current.as_ref().zip(table.get_ref().get("current"))
        && !config.contexts.contains_key(name)
    {
        return Err(at.wrong(&value.span(), "current", format!("there is no context {name:?}")));
    }
    Ok(config)
}

/// The text with another context as the current one; all else stays as it is.
///
/// # Errors
/// Where the text is no TOML.
pub fn with_current(path: &Path, text: &str, name: &str) -> Result<String, ConfigError> {
    let table = Place { path, text }.table(text)?;
    // A basic string of TOML is written as one of JSON.
    let quoted = serde_json::Value::from(name).to_string();
    Ok(match table.get_ref().get("current") {
        Some(value) => {
            let Range { start, end } = value.span();
            format!("{}{quoted}{}", &text[..start], &text[end..])
        }
        None => format!("current = {quoted}\n{text}"),
    })
}

/// Where something stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Place<'a> {
    fn wrong(self, span: &Range<usize>, key: &str, why: impl Display) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        ConfigError::Wrong {
            path: self.path.to_owned(),
            line: 1 + before.matches('\n').count(),
            key: key.to_owned(),
            why: why.to_string(),
        }
    }

    fn table(self, text: &'a str) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(text).map_err(|why| {
            let span = why.span().unwrap_or(0..0);
            self.wrong(&span, "not TOML", why.message())
        })
    }

    fn entries<'v>(self, key: &str, value: &'v Value<'a>) -> Result<&'v DeTable<'a>, ConfigError> {
        let table = value.get_ref().as_table();
        table.ok_or_else(|| self.wrong(&value.span(), key, "this is to be a table"))
    }

    fn word<'v>(self, key: &str, value: &'v Value<'a>) -> Result<&'v str, ConfigError> {
        let word = value.get_ref().as_str();
        word.ok_or_else(|| self.wrong(&value.span(), key, "this is to be a text"))
    }

    fn theme(self, key: &str, value: &Value<'a>) -> Result<Theme, ConfigError> {
        Ok(match self.word(key, value)? {
            "auto" => Theme::Auto,
            "none" => Theme::None,
            "sixteen" => Theme::Sixteen,
            "true" => Theme::True,
            other => {
                let why = format!("{other:?} is no theme: auto, none, sixteen or true");
                return Err(self.wrong(&value.span(), key, why));
            }
        })
    }

    /// One text or several.
    fn words(
        self,
        key: &str,
        value: &Value<'a>,
    ) -> Result<Vec<(String, Range<usize>)>, ConfigError> {
        if value.get_ref().is_str() {
            return Ok(vec![(self.word(key, value)?.to_owned(), value.span())]);
        }
        let all = value.get_ref().as_array();
        let all =
            all.ok_or_else(|| self.wrong(&value.span(), key, "this is to be a list of texts"))?;
        all.iter().map(|one| Ok((self.word(key, one)?.to_owned(), one.span()))).collect()
    }

    fn keys(
        self,
        key: &str,
        value: &Value<'a>,
    ) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
        let mut keys = BTreeMap::new();
        for (action, value) in self.entries(key, value)? {
            let name = action.get_ref().to_string();
            let words = self.words(&format!("keys.{name}"), value)?;
            keys.insert(name, words.into_iter().map(|(word, _)| word).collect());
        }
        Ok(keys)
    }

    fn context(
        self,
        full: &str,
        value: &Value<'a>,
        named: Range<usize>,
    ) -> Result<Context, ConfigError> {
        let mut context = Context::default();
        for (key, value) in self.entries(full, value)? {
            let name = format!("{full}.{}", key.get_ref());
            let span = value.span();
            match key.get_ref().as_ref() {
                "endpoints" => {
                    for (word, span) in self.words(&name, value)? {
                        let endpoint: Result<Endpoint, _> = word.parse();
                        let endpoint = endpoint.map_err(|why| self.wrong(&span, &name, why))?;
                        context.endpoints.push(endpoint);
                    }
                }
                "production" => {
                    let is = value.get_ref().as_bool();
                    context.production =
                        is.ok_or_else(|| self.wrong(&span, &name, "this is to be true or false"))?;
                }
                "colour" => {
                    let colour = self.word(&name, value)?.parse();
                    context.colour = Some(colour.map_err(|why| self.wrong(&span, &name, why))?);
                }
                _ => return Err(self.wrong(&key.span(), &name, "nothing is called that here")),
            }
        }
        if context.endpoints.is_empty() {
            let why = "a context needs an endpoint, as endpoints = [\"host:7071\"]";
            return Err(self.wrong(&named, &format!("{full}.endpoints"), why));
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_all_that_it_may() {
        let text = "theme = \"sixteen\"\ncurrent = 'one'\n[contexts.one]\n\
                    endpoints = [\"n1:7071\", \"[::1]:7\"]\nproduction = true\ncolour = \"#123456\"\n\
                    [contexts.\"two words\"]\nendpoints = \"n2:1\"\n[keys]\nsort = \"o\"\nopen = [\"f2\", \"x\"]\n";
        let config = parse(Path::new("f"), text).unwrap();
        assert_eq!(config.theme, Some(Theme::Sixteen));
        assert_eq!(config.current.as_deref(), Some("one"));
        let one = &config.contexts["one"];
        assert_eq!((one.endpoints.len(), one.production), (2, true));
        assert_eq!(one.colour.map(|colour| colour.to_string()).as_deref(), Some("#123456"));
        assert_eq!(config.contexts["two words"].endpoints[0].port(), 1);
        assert_eq!(config.keys["open"], ["f2", "x"]);
        assert_eq!(parse(Path::new("f"), "").unwrap(), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file_line_and_key() {
        let cases = [
            ("a = ", "f:1: not TOML: "),
            ("x = 1", "f:1: x: nothing is called that"),
            ("\ntheme = 3", "f:2: theme: this is to be a text"),
            ("theme = \"dark\"", "f:1: theme: \"dark\" is no theme: auto"),
            ("current = \"a\"", "f:1: current: there is no context \"a\""),
            ("contexts = 1", "f:1: contexts: this is to be a table"),
            ("[contexts.a]\n", "f:1: contexts.a.endpoints: a context needs an endpoint"),
            ("[contexts.a]\nendpoints = []", "contexts.a.endpoints: a context needs"),
            (
                "[contexts.a]\nendpoints = [\n\"n:1\",\n\"n\"]",
                "f:4: contexts.a.endpoints: \"n\" is no endpoint",
            ),
            ("[contexts.a]\nendpoints = [1]", "f:2: contexts.a.endpoints: this is to be a text"),
            ("[contexts.a]\nproduction = 1", "f:2: contexts.a.production: this is to be true or"),
            (
                "[contexts.a]\ncolour = \"mud\"",
                "f:2: contexts.a.colour: \"mud\" is no colour: one of red",
            ),
            ("[contexts.a]\nreadonly = true", "f:2: contexts.a.readonly: nothing is called that"),
            ("[keys]\nsort = { a = 1 }", "f:2: keys.sort: this is to be a list of texts"),
        ];
        for (text, expected) in cases {
            let why = parse(Path::new("f"), text).unwrap_err().to_string();
            assert!(why.contains(expected), "{text:?}: {why}");
        }
    }

    #[test]
    fn another_current_context_leaves_all_else_as_it_is() {
        let rest = "[contexts.a] # mine\nendpoints = [\"n:1\"]\n[contexts.'b\"c']\nendpoints = [\"n:2\"]\n";
        let file = Path::new("f");
        let one = with_current(file, rest, "a").unwrap();
        assert_eq!(one, format!("current = \"a\"\n{rest}"));
        let other = with_current(file, &one, "b\"c").unwrap();
        assert_eq!(other, format!("current = \"b\\\"c\"\n{rest}"));
        assert_eq!(parse(file, &other).unwrap().current.as_deref(), Some("b\"c"));
    }
}
