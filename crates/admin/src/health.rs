//! What a cluster's facts come to: one verdict, and the findings behind it.
//!
//! A pure function of what the metadata has and of what the nodes answered for themselves, so that
//! whoever shows health shows the same: the API, `walrusctl cluster health`, a console.
//!
//! | severity | means | the verdict is then |
//! |---|---|---|
//! | critical | somebody cannot write or read now, or something was lost | failed |
//! | warning | the next failure may hurt | degraded |
//! | note | it is so by choice | ok, or what the others say |

use std::fmt;

use serde::{Deserialize, Serialize};
use walrus_types::NodeId;

use crate::{
    cluster::{ClusterStatus, SelfStatus},
    document::Kind,
    node::{Node, NodeState},
};

/// Nodes beyond so many only learn, and that is as it should be.
const VOTERS_MAX: u64 = 5;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is so by choice.
    Note,
    /// The next failure may hurt.
    Warning,
    /// It hurts now.
    Critical,
}

/// What it all comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Everything works, and the next failure may hurt.
    Degraded,
    /// Something does not work.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Degraded => "DEGRADED",
            Self::Failed => "FAILED",
        })
    }
}

/// One thing that is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// For programs; names are for ever.
    pub code: String,
    /// Whom it is about: a node, or the cluster.
    pub subject: String,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a node answered for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeCheck {
    /// Which node.
    pub node: NodeId,
    /// Where it was asked.
    pub admin: String,
    /// Its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<SelfStatus>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a cluster stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterHealth {
    /// What it comes to.
    pub verdict: Verdict,
    /// The same as one sentence.
    pub summary: String,
    /// The cluster's id.
    pub cluster: String,
    /// Who answered for the cluster.
    pub answered_by: NodeId,
    /// The metadata's index that this is of.
    pub metadata_version: u64,
    /// What is behind it, worst first.
    pub findings: Vec<Finding>,
    /// Who was asked how it stands.
    pub checks: Vec<NodeCheck>,
}

impl Kind for ClusterHealth {
    const KIND: &'static str = "ClusterHealth";
}

/// Judges a cluster. Nodes that are not in `checks` were not asked and count as what the metadata
/// says of them.
pub fn judge(status: &ClusterStatus, checks: Vec<NodeCheck>) -> ClusterHealth {
    let mut findings = Vec::new();
    for node in status.members() {
        let check = checks.iter().find(|check| check.node == node.node);
        findings.extend(of_node(node, status.group.voters, check));
    }
    findings.extend(of_group(status, &checks));
    findings.extend(of_segments(status));
    if status.members().count() == 1 {
        findings.push(
            note("one_node", "cluster", "this is a cluster of one node: nothing has a second copy")
                .next("start another one: walrusd --join HOST:PEERPORT"),
        );
    }
    // Stable: those of one severity stay in the order above.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let verdict = match findings.first().map(|worst| worst.severity) {
        Some(Severity::Critical) => Verdict::Failed,
        Some(Severity::Warning) => Verdict::Degraded,
        Some(Severity::Note) | None => Verdict::Ok,
    };
    ClusterHealth {
        verdict,
        summary: summary(status, verdict, &findings),
        cluster: status.cluster.clone(),
        answered_by: status.answered_by,
        metadata_version: status.metadata_version,
        findings,
        checks,
    }
}

fn summary(status: &ClusterStatus, verdict: Verdict, findings: &[Finding]) -> String {
    let worst = findings.iter().filter(|finding| finding.severity > Severity::Note);
    match (findings.first().filter(|_| verdict != Verdict::Ok), worst.count()) {
        (Some(first), 1) => format!("{verdict}: {}", first.message),
        (Some(first), count) => format!("{verdict}: {} (and {} more)", first.message, count - 1),
        (None, _) => {
            let nodes = count(status.members().count(), "node");
            format!("{verdict}: {nodes}, {} partitions", status.partitions)
        }
    }
}

fn of_node(node: &Node, voters: u64, check: Option<&NodeCheck>) -> Vec<Finding> {
    let id = node.node;
    let mut found = Vec::new();
    match node.state {
        NodeState::Fenced => found.push(
            warning("node_fenced", id, format!("{id} is fenced: it was silent or is gone"))
                .next(format!("start walrusd of {id} again, or: walrusctl node remove {}", id.0)),
        ),
        NodeState::Draining => found.push(
            note("node_draining", id, format!("{id} is draining: it is given nothing new"))
                .next(format!("walrusctl node undrain {}", id.0)),
        ),
        NodeState::Active | NodeState::Removed => {}
    }
    let learns = node.raft.as_ref().is_some_and(|raft| !raft.votes);
    if learns && node.state == NodeState::Active && voters < VOTERS_MAX {
        found.push(
            warning("awaits_vote", id, format!("{id} has no vote in the metadata group yet"))
                .next("wait: it is given one when it has caught up: walrusctl raft status"),
        );
    }
    match check {
        Some(NodeCheck { answer: Some(answer), .. }) => {
            if answer.state != "ready" {
                let why = answer.reason.as_deref().unwrap_or(&answer.state);
                let code = if answer.state == "failed" { "node_failed" } else { "node_not_ready" };
                found.push(warning(code, id, format!("{id} does not serve: {why}")));
            }
            if answer.disk_full {
                let what = format!("the disk of {id} is full up to its reserve");
                found.push(
                    critical("disk_full", id, format!("{what}: producers are refused there"))
                        .next("make room on the disk, or shorten retention"),
                );
            }
        }
        Some(NodeCheck { answer: None, error, admin, .. }) if node.state.serves() => {
            let why = error.as_deref().unwrap_or("no answer");
            found.push(
                warning("node_unreachable", id, format!("{id} does not answer at {admin}: {why}"))
                    .next(format!(
                        "look whether walrusd of {id} runs, and whether {admin} is open"
                    )),
            );
        }
        Some(_) | None => {}
    }
    found
}

fn of_group(status: &ClusterStatus, checks: &[NodeCheck]) -> Option<Finding> {
    let group = &status.group;
    if group.leader.is_none() {
        let what = "the metadata group has no leader that this node knows of";
        let finding = critical("no_controller", "cluster", what);
        return Some(
            finding.next("look whether a majority of the voters runs: walrusctl raft status"),
        );
    }
    let silent =
        |node: &Node| checks.iter().any(|check| check.node == node.node && check.answer.is_none());
    let votes = |node: &&Node| node.raft.as_ref().is_some_and(|raft| raft.votes);
    let gone =
        status.nodes.iter().filter(votes).filter(|node| !node.state.serves() || silent(node));
    let live = group.voters.saturating_sub(u64::try_from(gone.count()).unwrap_or(u64::MAX));
    let (voters, quorum) = (group.voters, group.quorum);
    if live < quorum {
        let what =
            format!("{live} of {voters} voters of the metadata group are there, {quorum} must");
        return Some(critical("quorum_lost", "cluster", what).next("start the others again"));
    }
    if live == quorum && live < voters {
        let what =
            format!("{live} of {voters} voters are there: if one more fails, metadata stops");
        return Some(warning("quorum_at_edge", "cluster", what).next("start the others again"));
    }
    (voters == 2).then(|| {
        note("two_voters", "cluster", "two nodes vote, and both must: metadata stops if one fails")
            .next("add a third node: walrusd --join HOST:PEERPORT")
    })
}

fn of_segments(status: &ClusterStatus) -> Vec<Finding> {
    let segments = &status.segments;
    let seals = "wait: the controller seals them; where members are gone for good: \
                 walrusctl segment unsafe-seal TOPIC/PARTITION --dry-run";
    let copies = "wait: copies are made as soon as nodes allow it";
    let rows = [
        (
            segments.leaderless,
            critical("leaderless", "cluster", "have no leader: nobody can write to them")
                .next(seals),
            "partition",
        ),
        (
            segments.below_min_insync,
            critical("below_min_insync", "cluster", "have too few members: acks=all is refused")
                .next("start the nodes that are missing, or lower min.insync.replicas"),
            "partition",
        ),
        (
            segments.unreachable,
            critical("unreachable", "cluster", "lie on no node that serves")
                .next("start the nodes that hold them: walrusctl node list"),
            "segment",
        ),
        (
            segments.losses,
            warning("loss", "cluster", "may have lost acknowledged records at a seal")
                .next("walrusctl segment chain TOPIC/PARTITION tells which offsets"),
            "segment",
        ),
        (
            segments.repairable,
            warning("short_of_copies", "cluster", "have fewer copies than there could be")
                .next(copies),
            "segment",
        ),
        (
            segments.below_target.saturating_sub(segments.repairable),
            note("below_target", "cluster", "have fewer copies than their topics want")
                .next("add nodes: walrusd --join HOST:PEERPORT"),
            "segment",
        ),
    ];
    let found = rows.into_iter().filter(|(number, ..)| *number > 0);
    let told = found.map(|(number, finding, noun)| {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let verb = if number == 1 {
            finding.message.replacen("have ", "has ", 1)
        } else {
            finding.message
        };
        let verb = if number == 1 { verb.replacen("lie ", "lies ", 1) } else { verb };
        Finding { message: format!("{} {verb}", count(number, noun)), ..finding }
    });
    told.collect()
}

/// `1 node`, `2 nodes`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn critical(code: &str, subject: impl fmt::Display, message: impl Into<String>) -> Finding {
    finding(Severity::Critical, code, subject, message)
}

fn warning(code: &str, subject: impl fmt::Display, message: impl Into<String>) -> Finding {
    finding(Severity::Warning, code, subject, message)
}

fn note(code: &str, subject: impl fmt::Display, message: impl Into<String>) -> Finding {
    finding(Severity::Note, code, subject, message)
}

fn finding(
    severity: Severity,
    code: &str,
    subject: impl fmt::Display,
    message: impl Into<String>,
) -> Finding {
    let (code, subject) = (code.to_owned(), subject.to_string());
    Finding { severity, code, subject, message: message.into(), next: None }
}

impl Finding {
    #[must_use]
    fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

#[cfg(test)]
mod tests;
