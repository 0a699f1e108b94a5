//! What every command that changes something takes.

use std::time::Duration;

use walrus_types::PlanId;

use crate::pace::duration;

/// What is ordered with a change: the plan alone, or one that was looked at; and why.
#[derive(Debug, Clone, clap::Args)]
pub struct Order {
    /// Say what would happen, and change nothing; the plan that is told may be carried out
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Carry out a plan that --dry-run told, if it would still come to that
    #[arg(long, value_name = "PLAN", conflicts_with = "dry_run")]
    pub plan: Option<PlanId>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Whether a change may be made.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Consent {
    /// Answer the question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// Say what would happen, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Whether and how long something is followed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Follow {
    /// Follow it to its end
    #[arg(short, long)]
    pub wait: bool,
    /// Follow it no longer than this; exit status 8 then
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
}
