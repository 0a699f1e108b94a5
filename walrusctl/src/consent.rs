//! The question before a change.

use std::{fmt::Display, io};

use crate::{
    failure::{Exit, Failure},
    out::Console,
};

/// Goes on if `yes` was given or somebody says so. The default is no.
///
/// # Errors
/// Nobody said yes, or nobody is there to ask; nothing was changed.
pub fn agreed(console: &Console, yes: bool, question: impl Display) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !console.can_ask() {
        return Err(nobody("--yes"));
    }
    console.ask(format_args!("{question} [y/N] "));
    match answer()?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(declined()),
    }
}

/// Goes on if the name was given, or somebody types it.
///
/// # Errors
/// Another name, or nobody is there to ask; nothing was changed.
pub fn confirmed(
    console: &Console,
    given: Option<&str>,
    name: &str,
    question: impl Display,
) -> Result<(), Failure> {
    let typed = match given {
        Some(given) => given.to_owned(),
        None if !console.can_ask() => return Err(nobody(&format!("--confirm={name}"))),
        None => {
            console.ask(format_args!("{question}\nType {name} to go on: "));
            answer()?
        }
    };
    if typed == name {
        return Ok(());
    }
    let why = format!("{typed:?} was confirmed, and it is {name}");
    Err(Failure::new(Exit::Usage, "nothing was changed", why))
}

fn nobody(flag: &str) -> Failure {
    let why = "this has to be agreed to, and no terminal is there to ask at";
    Failure::new(Exit::Usage, "nothing was changed", why)
        .next(format!("look at it with --dry-run, and give {flag}"))
}

fn declined() -> Failure {
    Failure::new(Exit::Failed, "nothing was changed", "the answer was not yes")
}

fn answer() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    read.map_err(|why| Failure::new(Exit::Failed, "the answer cannot be read", why))?;
    Ok(line.trim().to_owned())
}
