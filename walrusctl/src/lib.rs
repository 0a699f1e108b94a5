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

use walrus_admin::{client::Client, context::Asked};

use crate::{
    cli::{Args, Command},
    cmd::context,
    failure::{Exit, Failure},
    out::Console,
};

/// Where endpoints are named when no flag names any.
const ENDPOINTS: &str = "WALRUS_ENDPOINTS";
/// Where a context is, when neither that nor a flag names one.
const CONTEXT: &str = "WALRUS_CONTEXT";

/// Does what the command line says.
///
/// # Errors
/// It could not be done.
pub fn run(args: Args, console: &Console) -> Result<(), Failure> {
    if let Command::Man { dir } = &args.command {
        return man::write(dir.as_deref(), console);
    }
    let (endpoints, named) = (std::env::var(ENDPOINTS).ok(), std::env::var(CONTEXT).ok());
    let asked = Asked {
        endpoints: &args.endpoints,
        context: args.context.as_deref(),
        env_endpoints: endpoints.as_deref(),
        env_context: named.as_deref(),
    };
    if let Command::Context { verb } = &args.command {
        return context::run(verb, args.config.as_deref(), asked, console);
    }
    let config = context::config(args.config.as_deref())?.1;
    let chosen = config.choose(asked).map_err(context::not_chosen)?;
    let client = Client::new(chosen.context.endpoints, args.answer_timeout);
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
