//! `walrusctl context` on files of its own: which cluster is meant, and what is wrong with a file.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

const FILE: &str = "# mine
[contexts.staging]
endpoints = [\"n1:7071\", \"n2:7071\"]

[contexts.prod-eu]
endpoints = [\"10.0.0.1:7071\"]
production = true
colour = \"red\"
";

/// Exit status, standard output, standard error.
fn ctl(file: &Path, variables: &[(&str, &str)], args: &[&str]) -> Result<(i32, String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walrusctl"));
    command.env_remove("WALRUS_ENDPOINTS").env_remove("WALRUS_CONTEXT");
    let ran =
        command.envs(variables.iter().copied()).arg("--config").arg(file).args(args).output()?;
    let status = ran.status.code().context("it was killed")?;
    Ok((status, String::from_utf8(ran.stdout)?, String::from_utf8(ran.stderr)?))
}

#[test]
fn the_context_that_is_meant_is_that_of_a_flag_the_environment_or_the_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.toml");
    std::fs::write(&file, FILE)?;
    let shown = |variables: &[(&str, &str)], args: &[&str]| -> Result<String> {
        let args = [args, &["context", "show", "-o", "json"]].concat();
        let (status, out, err) = ctl(&file, variables, &args)?;
        assert_eq!(status, 0, "{err}");
        let shown: Value = serde_json::from_str(&out)?;
        let name = shown["name"].as_str().unwrap_or("-");
        Ok(format!("{name} {}", shown["endpoints"][0].as_str().unwrap_or("?")))
    };
    let env = |name, value| [(name, value)];
    assert_eq!(shown(&[], &[])?, "- 127.0.0.1:7071");
    assert_eq!(shown(&env("WALRUS_CONTEXT", "staging"), &[])?, "staging n1:7071");
    assert_eq!(
        shown(&env("WALRUS_CONTEXT", "staging"), &["--context", "prod-eu"])?,
        "prod-eu 10.0.0.1:7071"
    );
    assert_eq!(
        shown(&env("WALRUS_ENDPOINTS", "e:1"), &["--context", "staging"])?,
        "staging n1:7071"
    );
    assert_eq!(shown(&env("WALRUS_ENDPOINTS", "e:1"), &["--endpoint", "f:1"])?, "- f:1");

    let (status, out, err) = ctl(&file, &[], &["context", "use", "prod-eu"])?;
    assert_eq!((status, out.as_str()), (0, ""), "{err}");
    assert_eq!(std::fs::read_to_string(&file)?, format!("current = \"prod-eu\"\n{FILE}"));
    assert_eq!(shown(&[], &[])?, "prod-eu 10.0.0.1:7071");
    let (_, out, _) = ctl(&file, &[], &["context", "list"])?;
    let rows: Vec<Vec<&str>> = out.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["*", "prod-eu", "10.0.0.1:7071", "yes", "red"]);
    assert_eq!(rows[2], ["staging", "n1:7071", "n2:7071", "no", "-"]);
    Ok(())
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.toml");
    std::fs::write(&file, FILE)?;
    let (status, _, err) = ctl(&file, &[], &["context", "use", "nonsense"])?;
    assert_eq!(status, 3, "{err}");
    assert!(err.contains("there are prod-eu, staging"), "{err}");
    assert_eq!(std::fs::read_to_string(&file)?, FILE);

    let (status, _, err) = ctl(&file, &[], &["--context", "nonsense", "node", "list"])?;
    assert_eq!(status, 3, "{err}");
    let (status, _, err) = ctl(&folder.path().join("none"), &[], &["context", "list"])?;
    assert_eq!(status, 2, "{err}");

    std::fs::write(&file, FILE.replace("red", "mud"))?;
    for args in [&["context", "list"][..], &["context", "use", "staging"], &["cluster", "status"]] {
        let (status, _, err) = ctl(&file, &[], args)?;
        assert_eq!(status, 2, "{args:?}: {err}");
        let place = format!("{}:8: contexts.prod-eu.colour: \"mud\" is no colour", file.display());
        assert!(err.contains(&place), "{args:?}: {err}");
    }
    Ok(())
}
