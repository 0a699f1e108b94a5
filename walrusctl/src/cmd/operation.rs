//! Changes of the cluster: the plan is told, agreed to and carried out, and the operation that this
//! is followed, if that is wanted. And `walrusctl op`.

use std::time::Duration;

use walrus_admin::{
    Code,
    client::{Client, actor},
    operation::{CancelRequest, Operation, OperationList, OperationState},
    plan::{Danger, Impact, Plan, RunRequest, Wanted},
};
use walrus_types::OperationId;

use super::{refused, tell_plan};
use crate::{
    cli::{self, Follow, Order},
    consent::{agreed, confirmed},
    failure::{Exit, Failure},
    follow::{ASK_AGAIN, Until, follow},
    out::{Console, Flush, table},
    progress::Progress,
};

/// How a change is agreed to.
#[derive(Debug, Clone)]
pub(super) enum Agreed {
    /// With yes, which a flag may have given.
    Yes(bool),
    /// With the name of what is changed, which a flag may have given.
    Name(Option<String>),
}

/// What was asked for on the command line.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// What is to be done.
    pub(super) wanted: Wanted,
    /// How it is agreed to.
    pub(super) agreed: Agreed,
    /// Which plan, why, and whether at all.
    pub(super) order: Order,
    /// Whether it is followed.
    pub(super) follow: Follow,
}

/// Plans what was asked for, has it agreed to, carries it out and follows it. Answers how it stands
/// then; nothing where there was nothing to do, or the plan alone was asked for.
///
/// # Errors
/// Something stands against it, nobody agreed, or it ended otherwise.
pub(super) async fn carry_out(
    client: &Client,
    console: &Console,
    asked: Asked,
) -> Result<Option<Operation>, Failure> {
    let Asked { wanted, agreed, order, follow } = asked;
    let plan = planned(client, &wanted, &order).await?;
    console.note(format_args!("{} {}:", words(&plan.wanted), plan.subject));
    tell_plan(console, &plan.effects, &plan.warnings);
    if order.dry_run {
        console.show(&plan, |plan| {
            impact_text(&plan.impact) + &format!("carry it out: {}\n", plan.command)
        })?;
        return refused(&plan.refusals).map(|()| None);
    }
    refused(&plan.refusals)?;
    if !plan.changes {
        console.show(&plan, |_| "nothing to do\n".to_owned())?;
        return Ok(None);
    }
    agree(console, &plan, &agreed)?;
    let begun = run(client, console, &plan, order.reason, Until::after(follow.timeout)).await?;
    console.note(format_args!("operation {} has begun", begun.id));
    let id = begun.id;
    console.goes_on(format!("operation {id} goes on: walrusctl op wait {id}"));
    if !follow.wait {
        return Ok(Some(begun));
    }
    wait(client, console, id, Until::after(follow.timeout)).await.map(Some)
}

/// The plan that is named, if it is one of what was asked for; a new one otherwise.
async fn planned(client: &Client, wanted: &Wanted, order: &Order) -> Result<Plan, Failure> {
    let Some(id) = order.plan else { return Ok(client.send("/v1/plans", wanted).await?) };
    let plan: Plan = client.get(&format!("/v1/plans/{id}")).await?;
    if plan.wanted == *wanted {
        return Ok(plan);
    }
    let why = format!("it is one to {} {}", words(&plan.wanted), plan.subject);
    let failure = Failure::new(Exit::Usage, format_args!("plan {id} is of something else"), why);
    Err(failure.next(plan.command))
}

fn words(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::Drain { .. } => "drain",
        Wanted::Undrain { .. } => "undrain",
        Wanted::Remove { .. } => "remove",
        Wanted::Rollover { .. } => "rollover",
        Wanted::TransferRaft { .. } => "transfer the metadata group to",
        Wanted::UnsafeSeal { .. } => "unsafe-seal",
    }
}

fn impact_text(impact: &Impact) -> String {
    let Impact {
        leases_move,
        segments_roll,
        segments_copy,
        bytes_copy,
        topics_short,
        voters,
        quorum,
        clients,
    } = impact;
    let clients = clients.map_or_else(|| "not known".to_owned(), |number| number.to_string());
    format!(
        "leases that move            {leases_move}\n\
         segments that are rolled    {segments_roll}\n\
         segments that are copied    {segments_copy}, {bytes_copy} bytes\n\
         topics with fewer copies    {topics_short}\n\
         voters afterwards           {voters}, of which {quorum} decide\n\
         connections of clients      {clients}\n"
    )
}

fn agree(console: &Console, plan: &Plan, how: &Agreed) -> Result<(), Failure> {
    match how {
        Agreed::Yes(yes) => agreed(console, *yes, "Go on?"),
        Agreed::Name(given) => {
            let question = match plan.warnings.first() {
                Some(first) => format!("{first}."),
                None => format!("{} {}.", words(&plan.wanted), plan.subject),
            };
            // A node is called by its number too.
            let name = plan.subject.strip_prefix('n').filter(|rest| {
                matches!(plan.wanted, Wanted::Remove { .. }) && rest.parse::<i32>().is_ok()
            });
            confirmed(console, given.as_deref(), name.unwrap_or(&plan.subject), question)
        }
    }
}

/// Carries a plan out. Asked again when the answer was lost: nothing is done twice.
async fn run(
    client: &Client,
    console: &Console,
    plan: &Plan,
    reason: Option<String>,
    until: Until,
) -> Result<Operation, Failure> {
    let path = format!("/v1/plans/{}/run", plan.id);
    let confirm = (plan.danger >= Danger::Severe).then(|| plan.subject.clone());
    let request = RunRequest { actor: actor(), reason: reason.unwrap_or_default(), confirm };
    console.goes_on(format!("plan {} may be carried out by now: walrusctl op list", plan.id));
    loop {
        match client.send::<Operation>(&path, &request).await {
            Ok(operation) => return Ok(operation),
            Err(why) if why.is_passing() && !until.is_past() => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Err(why) => {
                let stale = why
                    .refusal()
                    .is_some_and(|error| matches!(error.code, Code::Changed | Code::Expired));
                let failure = Failure::from(why);
                return Err(if stale {
                    failure.next(format!("{} --dry-run", plan.wanted.command()))
                } else {
                    failure
                });
            }
        }
    }
}

/// Follows an operation to its end.
///
/// # Errors
/// It ended otherwise than by being done; or it goes on, when the time is up.
pub(super) async fn wait(
    client: &Client,
    console: &Console,
    id: OperationId,
    until: Until,
) -> Result<Operation, Failure> {
    // A node that is removed goes when it is done, and may be the one that was asked.
    let client = client.with_registered().await;
    let mut progress = None;
    let ends = |told: &Operation| {
        if told.state != OperationState::Running {
            return Some(told.clone());
        }
        let line = progress.get_or_insert_with(|| Progress::new(console, told.what(), told.total));
        line.at(told.done, &what_now(told));
        None
    };
    let left = |last: Option<&Operation>| {
        last.map_or_else(|| format!("nobody tells how operation {id} stands"), what_now)
    };
    let path = format!("/v1/operations/{id}");
    let told = follow(until, || client.get(&path), ends, left).await;
    let told = told.map_err(|failure| match failure.exit {
        Exit::Running => failure.next(format!(
            "it goes on in the cluster: walrusctl op wait {id}, or walrusctl op cancel {id}"
        )),
        _ => failure,
    })?;
    if told.state == OperationState::Done {
        return Ok(told);
    }
    let what = format!("operation {id} is {}", told.state.name());
    Err(Failure::new(Exit::Failed, what, &told.now).next(format!("walrusctl op get {id}")))
}

/// What it waits for, and what somebody has to do for it.
fn what_now(told: &Operation) -> String {
    let mut text = told.now.clone();
    for blocker in &told.blockers {
        text += &format!("; {}", blocker.message);
        if let Some(hint) = &blocker.hint {
            text += &format!(" ({hint})");
        }
    }
    text
}

/// `walrusctl op`.
///
/// # Errors
/// There is no such operation, or nobody answers.
pub(super) async fn op(verb: cli::Op, client: &Client, console: &Console) -> Result<(), Failure> {
    match verb {
        cli::Op::List { all } => {
            let mut list: OperationList = client.get("/v1/operations").await?;
            list.items.retain(|one| all || one.state == OperationState::Running);
            console.show(&list, |list| table_of(&list.items))
        }
        cli::Op::Get { id } => {
            let told: Operation = client.get(&format!("/v1/operations/{id}")).await?;
            console.show(&told, text)
        }
        cli::Op::Wait { id, timeout } => {
            console.goes_on(format!("operation {id} goes on: walrusctl op wait {id}"));
            let told = wait(client, console, id, Until::after(timeout)).await?;
            console.show(&told, ended)
        }
        cli::Op::Cancel { id, yes } => {
            let told: Operation = client.get(&format!("/v1/operations/{id}")).await?;
            console.note(format_args!(
                "operation {id} ({}) is taken back: what it did stays",
                told.what()
            ));
            agreed(console, yes, "Go on?")?;
            let request = CancelRequest { actor: actor() };
            let path = format!("/v1/operations/{id}/cancel");
            let told: Operation = client.send(&path, &request).await?;
            console.show(&told, |told| format!("operation {id} is {}\n", told.state.name()))
        }
    }
}

/// One line for an operation that has ended.
pub(super) fn ended(told: &Operation) -> String {
    format!("{} is {}{}\n", told.what(), told.state.name(), took(told))
}

fn took(told: &Operation) -> String {
    let Some(ended) = told.ended_at_ms else { return String::new() };
    let ms = ended.0.saturating_sub(told.began_at_ms.0).max(0);
    format!(" in {}.{:03} s", ms / 1_000, ms % 1_000)
}

/// A line for what was begun and is not followed.
pub(super) fn begun(told: &Operation) -> String {
    format!("operation {} is under way: walrusctl op wait {}\n", told.id, told.id)
}

fn table_of(operations: &[Operation]) -> String {
    let head = [
        ("ID", Flush::Right),
        ("VERB", Flush::Left),
        ("SUBJECT", Flush::Left),
        ("STATE", Flush::Left),
        ("DONE", Flush::Right),
        ("LEFT", Flush::Right),
        ("BY", Flush::Left),
        ("NOW", Flush::Left),
    ];
    let rows: Vec<Vec<String>> = operations
        .iter()
        .map(|told| {
            let left = told.left_ms.map(Duration::from_millis);
            vec![
                told.id.to_string(),
                told.verb.clone(),
                told.subject.clone(),
                told.state.name().to_owned(),
                format!("{}/{}", told.done, told.total),
                left.map_or_else(String::new, |left| format!("{} s", left.as_secs())),
                told.actor.clone(),
                what_now(told),
            ]
        })
        .collect();
    table(&head, &rows)
}

fn text(told: &Operation) -> String {
    let reason = if told.reason.is_empty() { "none given" } else { &told.reason };
    format!(
        "operation  {} of plan {}\n\
         what       {}\n\
         state      {}{}, {} of {}\n\
         by         {}\n\
         reason     {reason}\n\
         now        {}\n",
        told.id,
        told.plan,
        told.what(),
        told.state.name(),
        took(told),
        told.done,
        told.total,
        told.actor,
        what_now(told),
    )
}
