//! `walrusctl cluster`.

use walrus_admin::{
    client::Client,
    cluster::{BootstrapRequest, ClusterStatus, FormAnswer, JoinRequest, SelfStatus},
    health::{ClusterHealth, Severity, Verdict},
};

use super::node;
use crate::{
    cli::{Cluster, Consent, Follow},
    consent::agreed,
    failure::{Exit, Failure},
    follow::{ASK_AGAIN, Until, follow},
    out::Console,
};

/// Does what was asked.
///
/// # Errors
/// It could not be done, or the cluster is not well.
pub(super) async fn run(verb: Cluster, client: &Client, console: &Console) -> Result<(), Failure> {
    match verb {
        Cluster::Bootstrap { consent, follow } => {
            let what = "found a cluster of its own";
            form(client, console, (what, None), consent, follow).await
        }
        Cluster::Join { peer, consent, follow } => {
            let (what, peer) =
                (format!("join the cluster of the node at {peer}"), peer.to_string());
            form(client, console, (&what, Some(peer)), consent, follow).await
        }
        Cluster::Status => {
            let status: ClusterStatus = client.get("/v1/cluster").await?;
            console.show(&status, status_text)
        }
        Cluster::Health { follow } => health(client, console, follow).await,
    }
}

/// Tells the first endpoint to found a cluster, or to join the one of `peer`.
async fn form(
    client: &Client,
    console: &Console,
    (what, peer): (&str, Option<String>),
    consent: Consent,
    wait: Follow,
) -> Result<(), Failure> {
    let at = &client.endpoints()[0];
    let myself: SelfStatus = client.get_at(at, "/v1/self").await?;
    if let (Some(who), None) = (&myself.identity, &peer) {
        let answer = FormAnswer { told: false, cluster: Some(who.cluster.clone()) };
        return console.show(&answer, |_| {
            format!("nothing to do: {} is in cluster {} already\n", who.node, who.cluster)
        });
    }
    console.note(format_args!("the node at {at} is told to {what}"));
    if consent.dry_run && myself.awaits_bootstrap {
        return Ok(());
    }
    // One that does not wait says so itself, and why.
    if myself.awaits_bootstrap {
        agreed(console, consent.yes, "Go on?")?;
    }
    let answer: FormAnswer = match peer {
        Some(peer) => client.send_at(at, "/v1/cluster/join", &JoinRequest { peer }).await?,
        None => client.send_at(at, "/v1/cluster/bootstrap", &BootstrapRequest {}).await?,
    };
    console.goes_on(format!("the node at {at} was told to {what} and goes on"));
    if !wait.wait {
        return console.show(&answer, |_| format!("told: it is to {what}\n"));
    }
    let ended = |told: &SelfStatus| match (&*told.state, &told.identity) {
        ("ready", Some(who)) => Some(Ok(who.clone())),
        ("failed", _) => Some(Err(not_formed(told.reason.as_deref().unwrap_or("it has failed")))),
        _ => None,
    };
    let left = |told: Option<&SelfStatus>| {
        let why = told.and_then(|told| told.reason.clone());
        why.unwrap_or_else(|| "it does not serve yet".into())
    };
    let ask = || client.get_at(at, "/v1/self");
    let who = follow(Until::after(wait.timeout), ask, ended, left).await??;
    let answer = FormAnswer { cluster: Some(who.cluster.clone()), ..answer };
    console.show(&answer, |_| format!("{} is in cluster {} and serves\n", who.node, who.cluster))
}

/// The node gave up, and says why; what to do next stands after that.
fn not_formed(reason: &str) -> Failure {
    let reason = reason.strip_prefix("failed: ").unwrap_or(reason);
    let (why, next) = match reason.split_once("\n  next: ") {
        Some((why, next)) => (why, Some(next)),
        None => (reason, None),
    };
    let failure = Failure::new(Exit::Refused, "the node did not do what it was told", why);
    next.into_iter().fold(failure, Failure::next)
}

async fn health(client: &Client, console: &Console, wait: Follow) -> Result<(), Failure> {
    let until = Until::after(wait.timeout);
    let mut said = String::new();
    loop {
        let health = client.health().await;
        let is_over = !wait.wait || until.is_past();
        match health {
            Ok(health) if health.verdict == Verdict::Ok || is_over => {
                console.show(&health, health_text)?;
                return match health.verdict {
                    Verdict::Ok => Ok(()),
                    Verdict::Degraded | Verdict::Failed => {
                        Err(Failure::new(Exit::Unhealthy, "the cluster", &health.summary))
                    }
                };
            }
            Ok(health) if health.summary != said => {
                console.note(&health.summary);
                said = health.summary;
            }
            Ok(_) => {}
            Err(why) if is_over || !why.is_passing() => return Err(why.into()),
            Err(why) => {
                let why = why.to_string();
                if why != said {
                    console.note(&why);
                    said = why;
                }
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn health_text(health: &ClusterHealth) -> String {
    let mut text = format!("{}\n", health.summary);
    for finding in &health.findings {
        let severity = match finding.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text += &format!("  {severity:8}  {}\n", finding.message);
        if let Some(next) = &finding.next {
            text += &format!("            next: {next}\n");
        }
    }
    text
}

fn status_text(status: &ClusterStatus) -> String {
    let ClusterStatus { cluster, group, segments, .. } = status;
    let leader = group.leader.map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
    let mut text = format!(
        "cluster     {cluster}\n\
         controller  {leader}, term {}, {} of {} voters decide\n\
         metadata    version {}, as {} has it\n\
         topics      {} with {} partitions\n\
         segments    {}, {} of them open\n",
        group.term,
        group.quorum,
        group.voters,
        status.metadata_version,
        status.answered_by,
        status.topics,
        status.partitions,
        segments.total,
        segments.open,
    );
    let copies = [
        (segments.leaderless, "without a leader"),
        (segments.unreachable, "without a copy on a node that serves"),
        (segments.below_min_insync, "with fewer members than min.insync.replicas"),
        (segments.repairable, "with fewer copies than there could be"),
        (
            segments.below_target - segments.repairable.min(segments.below_target),
            "with fewer copies than their topics want, for want of nodes",
        ),
        (segments.losses, "may have lost records at a seal"),
    ];
    for (number, what) in copies.into_iter().filter(|(number, _)| *number > 0) {
        text += &format!("            {number} {what}\n");
    }
    text + "\n" + &node::table_of(status.members())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_when_it_gives_up_is_told_with_its_next_step() {
        for (reason, why, next) in [
            ("failed: n2 may not\n  next: remove it", "n2 may not", Some("remove it")),
            ("failed: the disk is gone", "the disk is gone", None),
            ("it has failed", "it has failed", None),
        ] {
            let failure = not_formed(reason);
            assert_eq!(failure.exit, Exit::Refused);
            assert!(failure.message.ends_with(&format!(": {why}")), "{failure}");
            assert_eq!(failure.next.as_deref(), next);
        }
    }
}
