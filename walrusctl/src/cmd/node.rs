//! `walrusctl node`.

use walrus_admin::{
    Code,
    client::Client,
    cluster::SelfStatus,
    node::{Change, ChangeAnswer, ChangeRequest, Holding, Node, NodeList, NodeState},
};
use walrus_types::NodeId;

use super::{raft, refused, tell_plan};
use crate::{
    cli::{self, Follow},
    consent::{agreed, confirmed},
    failure::{Exit, Failure},
    follow::{Until, follow},
    out::{Console, Flush, table},
    progress::Progress,
};

/// Shows the nodes.
///
/// # Errors
/// Nobody answers.
pub(super) async fn list(client: &Client, console: &Console, all: bool) -> Result<(), Failure> {
    let mut list: NodeList = client.get("/v1/nodes").await?;
    list.items.retain(|node| all || node.state != NodeState::Removed);
    console.show(&list, |list| table_of(list.items.iter()))
}

/// Tells whether the node at the first endpoint serves.
///
/// # Errors
/// It does not, or does not answer.
pub(super) async fn ready(client: &Client, console: &Console) -> Result<(), Failure> {
    let at = &client.endpoints()[0];
    let told: SelfStatus = client.get_at(at, "/v1/self").await?;
    console.show(&told, |told| format!("{at} is {}\n", told.state))?;
    if told.state == "ready" {
        return Ok(());
    }
    let why = told.reason.unwrap_or(told.state);
    Err(Failure::new(Exit::Unhealthy, format_args!("the node at {at} does not serve"), why))
}

/// Nodes as rows.
pub(super) fn table_of<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    let head = [
        ("NODE", Flush::Left),
        ("STATE", Flush::Left),
        ("RAFT", Flush::Left),
        ("LEADS", Flush::Right),
        ("OPEN", Flush::Right),
        ("SEALED", Flush::Right),
        ("ALONE", Flush::Right),
        ("RACK", Flush::Left),
        ("CLIENTS", Flush::Left),
        ("ADMIN", Flush::Left),
    ];
    let rows: Vec<Vec<String>> = nodes
        .map(|node| {
            let part = node.raft.as_ref().map_or("", |raft| match (raft.leads, raft.votes) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            });
            let drains = node.drains && node.state == NodeState::Fenced;
            let Holding { leads, open, sealed, sole, .. } = node.holding;
            vec![
                node.node.to_string(),
                if drains { "fenced, drains".to_owned() } else { node.state.name().to_owned() },
                part.to_owned(),
                leads.to_string(),
                open.to_string(),
                sealed.to_string(),
                sole.to_string(),
                node.rack.clone().unwrap_or_default(),
                node.addresses.client.clone(),
                node.addresses.admin.clone(),
            ]
        })
        .collect();
    table(&head, &rows)
}

/// Changes a node.
///
/// # Errors
/// Something stands against it, or nobody answers.
pub(super) async fn change(
    verb: cli::Node,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    client.meet().await;
    match verb {
        cli::Node::List { all } => list(client, console, all).await,
        cli::Node::Ready => ready(client, console).await,
        cli::Node::Drain(change) => drain(client, console, change).await,
        cli::Node::Undrain(change) => undrain(client, console, change).await,
        cli::Node::Remove { node, confirm, dry_run, follow } => {
            Removal { client, console, node, until: Until::after(follow.timeout) }
                .run(confirm, dry_run, follow)
                .await
        }
    }
}

async fn ask(
    client: &Client,
    node: NodeId,
    change: Change,
    dry_run: bool,
) -> Result<ChangeAnswer, Failure> {
    let path = format!("/v1/nodes/{}/{}", node.0, change.verb());
    let request = ChangeRequest { dry_run, incarnation: None };
    Ok(client.send(&path, &request).await?)
}

/// Plans a drain or undrain, and makes it if that is wanted. `None` when it was a dry run.
async fn make(
    client: &Client,
    console: &Console,
    change: Change,
    wanted: &cli::Change,
) -> Result<Option<ChangeAnswer>, Failure> {
    let planned = ask(client, wanted.node, change, true).await?;
    refused(&planned.refusals)?;
    console.note(format_args!("{} {}:", change.verb(), wanted.node));
    tell_plan(console, &planned.effects, &planned.warnings);
    if wanted.consent.dry_run {
        console.show(&planned, |_| String::new())?;
        return Ok(None);
    }
    if planned.changes {
        agreed(console, wanted.consent.yes, "Go on?")?;
    }
    // What is so already is answered like a change.
    ask(client, wanted.node, change, false).await.map(Some)
}

async fn undrain(client: &Client, console: &Console, wanted: cli::Change) -> Result<(), Failure> {
    let Some(answer) = make(client, console, Change::Undrain, &wanted).await? else {
        return Ok(());
    };
    console.show(&answer, |answer| match answer.state {
        NodeState::Active => format!("{} takes part\n", answer.node),
        NodeState::Draining | NodeState::Fenced | NodeState::Removed => {
            format!("{} is {}\n", answer.node, answer.state.name())
        }
    })
}

async fn drain(client: &Client, console: &Console, wanted: cli::Change) -> Result<(), Failure> {
    let Some(mut answer) = make(client, console, Change::Drain, &wanted).await? else {
        return Ok(());
    };
    let node = wanted.node;
    console.goes_on(format!("{node} goes on draining: walrusctl node list tells how far it is"));
    if wanted.follow.wait {
        let until = Until::after(wanted.follow.timeout);
        let is_empty = |held: &Holding| held.leads == 0 && held.open == 0;
        let open = |held: &Holding| held.open;
        emptied(client, console, (node, until), is_empty, open).await?;
        answer = ask(client, node, Change::Drain, false).await?;
    }
    console.show(&answer, drained_text)
}

fn drained_text(answer: &ChangeAnswer) -> String {
    let ChangeAnswer { node, holding, .. } = answer;
    let Holding { leads, open, sealed, sole, .. } = holding;
    if *leads > 0 || *open > 0 {
        return format!(
            "{node} is draining: it leads {leads} and is a member of {open} open segments; follow \
             it with --wait\n"
        );
    }
    let text = format!("{node} is drained: it leads nothing and no open segment needs it\n");
    if holding.is_spare() {
        text + &format!("it may be stopped for a while; {sealed} sealed segments stay on it\n")
    } else {
        text + &format!(
            "{sole} of its {sealed} sealed segments are on no other node that serves: \
                         while it is stopped they cannot be read\n"
        )
    }
}

/// Follows a node until nothing of some kind is left to it. `rest` counts what is.
async fn emptied(
    client: &Client,
    console: &Console,
    (id, until): (NodeId, Until),
    is_empty: impl Fn(&Holding) -> bool,
    rest: impl Fn(&Holding) -> u64,
) -> Result<(), Failure> {
    let mut first = None;
    let mut progress = None;
    let ends = |list: &NodeList| {
        let node = list.items.iter().find(|node| node.node == id)?;
        if is_empty(&node.holding) {
            return Some(());
        }
        let left = rest(&node.holding);
        let most: u64 = *first.get_or_insert(left);
        let line = progress
            .get_or_insert_with(|| Progress::new(console, format!("{id}: segments moved"), most));
        line.at(most.saturating_sub(left), &held(&node.holding));
        None
    };
    let left = |list: Option<&NodeList>| {
        let node = list.and_then(|list| list.items.iter().find(|node| node.node == id));
        node.map_or_else(
            || format!("{id} is not listed"),
            |node| format!("{id} {}", held(&node.holding)),
        )
    };
    follow(until, || client.get("/v1/nodes"), ends, left).await.map_err(|failure| {
        if failure.exit != Exit::Running {
            return failure;
        }
        failure.next("it goes on in the cluster: walrusctl node list, or the same command again")
    })
}

fn held(holding: &Holding) -> String {
    let Holding { leads, open, sealed, needed, .. } = holding;
    format!(
        "leads {leads}, is a member of {open} open and {sealed} sealed segments, {needed} of which \
         have too few copies elsewhere"
    )
}

/// A node on its way out.
struct Removal<'a> {
    client: &'a Client,
    console: &'a Console,
    node: NodeId,
    until: Until,
}

/// How often a step is begun again when what was planned has changed.
const ROUNDS_MAX: usize = 10;

impl Removal<'_> {
    async fn run(
        self,
        confirm: Option<NodeId>,
        dry_run: bool,
        wait: Follow,
    ) -> Result<(), Failure> {
        let Self { client, console, node, .. } = self;
        let planned = ask(client, node, Change::Remove, true).await?;
        console.note(format_args!("remove {node}:"));
        tell_plan(console, &planned.effects, &planned.warnings);
        if dry_run {
            console.show(&planned, |_| String::new())?;
            return refused(&planned.refusals);
        }
        self.can_be_mended(&planned)?;
        if planned.state != NodeState::Removed {
            let question = format!("{node} leaves the cluster for good.");
            let given = confirm.map(|node| node.0.to_string());
            confirmed(console, given.as_deref(), &node.0.to_string(), question)?;
        }
        for _round in 0..ROUNDS_MAX {
            let planned = ask(client, node, Change::Remove, true).await?;
            self.can_be_mended(&planned)?;
            if let Some(done) = self.step(&planned, wait.wait).await? {
                return console.show(&done, removed_text);
            }
        }
        let what = format!("{node} is not removed");
        Err(Failure::new(Exit::Running, what, "the cluster changes too often")
            .next("walrusctl cluster health"))
    }

    /// Whether nothing stands against it but what this command itself puts right.
    fn can_be_mended(&self, planned: &ChangeAnswer) -> Result<(), Failure> {
        let stands = planned.refusals.iter().find(|refusal| {
            !matches!(refusal.code, Code::NotDrained | Code::Needed | Code::LeadsRaft)
        });
        stands.map_or(Ok(()), |refusal| Err(refusal.clone().into()))
    }

    /// Does the first thing that is still to be done; answers when it was the last.
    async fn step(
        &self,
        planned: &ChangeAnswer,
        wait: bool,
    ) -> Result<Option<ChangeAnswer>, Failure> {
        let Self { client, console, node, until } = *self;
        match planned.refusals.first().map(|refusal| refusal.code) {
            Some(Code::NotDrained) => {
                ask(client, node, Change::Drain, false).await?;
                console.note(format_args!("{node} is draining"));
                let goes_on = "goes on draining and is not removed: run the same command again";
                console.goes_on(format!("{node} {goes_on}"));
                Ok(None)
            }
            Some(Code::Needed) if wait => {
                let every = |held: &Holding| held.open + held.needed;
                emptied(client, console, (node, until), Holding::is_free, every).await?;
                Ok(None)
            }
            Some(Code::Needed) => {
                let what = format!("{node} is drained, and not removed yet");
                let again = format!("walrusctl node remove {0} --confirm={0} --wait", node.0);
                Err(Failure::new(Exit::Running, what, held(&planned.holding)).next(again))
            }
            Some(Code::LeadsRaft) => {
                let to = self.heir().await?;
                raft::hand_over(client, console, to, Some(until)).await?;
                console.note(format_args!("{to} leads the metadata group"));
                Ok(None)
            }
            Some(_) | None => self.leave().await,
        }
    }

    /// Who leads the metadata group in its place: the voter that lacks least.
    async fn heir(&self) -> Result<NodeId, Failure> {
        let list: NodeList = self.client.get("/v1/nodes").await?;
        let others = list.items.iter().filter(|node| {
            node.node != self.node
                && node.state.serves()
                && node.raft.as_ref().is_some_and(|raft| raft.votes)
        });
        // One whose lag is not known comes last.
        let lag =
            |node: &&Node| node.raft.as_ref().and_then(|raft| raft.lag_entries).unwrap_or(u64::MAX);
        others.min_by_key(lag).map(|node| node.node).ok_or_else(|| {
            let what = format!("{} leads the metadata group", self.node);
            Failure::new(Exit::Refused, what, "no other node has a vote")
                .next("wait until another node votes: walrusctl raft status")
        })
    }

    /// The change itself. `None` when it has to be planned again.
    async fn leave(&self) -> Result<Option<ChangeAnswer>, Failure> {
        let Self { client, console, node, until } = *self;
        console.goes_on(format!("{node} may be removed by now: walrusctl node list --all"));
        loop {
            let path = format!("/v1/nodes/{}/{}", node.0, Change::Remove.verb());
            let asked = client.send::<ChangeAnswer>(&path, &ChangeRequest::default()).await;
            match asked {
                Ok(answer) => return Ok(Some(answer)),
                Err(why) if why.is_passing() && !until.is_past() => {
                    tokio::time::sleep(crate::follow::ASK_AGAIN).await;
                }
                Err(why) => {
                    let mended = why.refusal().is_some_and(|error| {
                        matches!(
                            error.code,
                            Code::NotDrained | Code::Needed | Code::LeadsRaft | Code::Changed
                        )
                    });
                    return if mended { Ok(None) } else { Err(why.into()) };
                }
            }
        }
    }
}

fn removed_text(answer: &ChangeAnswer) -> String {
    let node = answer.node;
    if answer.safe_to_switch_off {
        format!("{node} is removed: it is safe to switch off, and its folder may be deleted\n")
    } else {
        format!(
            "{node} is removed; its place in the metadata group is not given up yet: run the same command again\n"
        )
    }
}
