//! `walrusctl`: drives a Walrus cluster from a shell or a script, over the nodes' admin ports.
//!
//! Read next: `cli.rs` for what it understands, `cmd/` for one file for each noun, `failure.rs`
//! for how it fails.

pub mod cli;
pub mod cmd;
pub mod consent;
pub mod failure;
pub mod follow;
pub mod man;
pub mod out;
pub mod pace;
pub mod progress;

use walrus_admin::{Endpoint, client::Client};

use crate::{
    cli::{Args, Command},
    failure::{Exit, Failure},
    out::Console,
};

/// Where endpoints are named when no flag names any.
const ENDPOINTS: &str = "WALRUS_ENDPOINTS";
/// Where a node listens that was told nothing.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:7071";

/// Does what the command line says.
///
/// # Errors
/// It could not be done.
pub fn run(args: Args, console: &Console) -> Result<(), Failure> {
    if let Command::Man { dir } = &args.command {
        return man::write(dir.as_deref(), console);
    }
    let named = std::env::var(ENDPOINTS).ok();
    let client = Client::new(endpoints(&args.endpoints, named.as_deref())?, args.answer_timeout);
    // One thread does: it asks a few nodes and waits.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::new(Exit::Failed, "cannot start", why))?;
    runtime.block_on(async {
        tokio::select! {
            ran = cmd::run(args.command, &client, console) => ran,
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted(console.under_way())),
        }
    })
}

/// Flags stand above the environment, that above the default. An empty variable counts as unset.
fn endpoints(flags: &[Endpoint], named: Option<&str>) -> Result<Vec<Endpoint>, Failure> {
    if !flags.is_empty() {
        return Ok(flags.to_vec());
    }
    let named = named.filter(|named| !named.trim().is_empty()).unwrap_or(DEFAULT_ENDPOINT);
    let each = named.split(',').map(str::trim).filter(|one| !one.is_empty());
    let read: Result<Vec<Endpoint>, _> = each.map(str::parse).collect();
    match read {
        Ok(endpoints) if !endpoints.is_empty() => Ok(endpoints),
        Ok(_) => Err(Failure::new(Exit::Usage, "no endpoint", format!("{ENDPOINTS} names none"))),
        Err(why) => Err(Failure::new(Exit::Usage, ENDPOINTS, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_from_flags_then_from_the_environment_then_by_default() {
        let flags = ["a:1".parse().unwrap()];
        let shown = |flags: &[Endpoint], named| {
            let found = endpoints(flags, named).unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(&flags, Some("b:2")), "a:1");
        assert_eq!(shown(&[], Some("b:2, c:3,")), "b:2 c:3");
        for unset in [None, Some(""), Some(" ")] {
            assert_eq!(shown(&[], unset), DEFAULT_ENDPOINT);
        }
        for wrong in [",", "b", "b:2 c:3"] {
            assert_eq!(endpoints(&[], Some(wrong)).unwrap_err().exit, Exit::Usage, "{wrong:?}");
        }
    }
}
