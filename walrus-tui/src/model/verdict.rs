//! Whether the cluster is well, in one word and the facts behind it.

use walrus_admin::node::NodeState;
use walrus_types::UptimeMs;

use super::{Link, Model, change::Level, figures::Figures};

/// A fact that speaks for or against the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// How bad it is.
    pub level: Level,
    /// In words.
    pub text: String,
}

/// What all of it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// As the worst of its facts.
    pub level: Level,
    /// The worst first. Never empty.
    pub facts: Vec<Fact>,
}

impl Verdict {
    /// In one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self.level {
            Level::Info => "WELL",
            Level::Warn => "DEGRADED",
            Level::Error => "IN TROUBLE",
        }
    }
}

/// Judges what is known. What nobody could be asked about is no good news.
#[must_use]
pub fn verdict(model: &Model, now: UptimeMs) -> Verdict {
    let mut facts = Vec::new();
    let mut tell = |level, text: String| facts.push(Fact { level, text });
    if let Link::Lost { why, .. } = &model.link {
        tell(Level::Error, format!("nobody answers: {why}"));
    }
    let Some(snapshot) = model.seen() else {
        if matches!(model.link, Link::Connecting) {
            tell(Level::Warn, "nobody has answered yet".to_owned());
        }
        return judged(facts);
    };
    if model.is_stale(now) {
        tell(Level::Warn, "what is shown is old".to_owned());
    }
    if snapshot.group.leader.is_none() {
        tell(Level::Error, "nobody leads the metadata group: nothing can change".to_owned());
    }
    for entry in &snapshot.nodes {
        let node = entry.node.node;
        match (entry.node.state, &entry.silent) {
            (NodeState::Removed, _) => {}
            (NodeState::Fenced, _) => {
                tell(Level::Error, format!("{node} is fenced: it leads nothing"));
            }
            (_, Some(_)) => tell(Level::Warn, format!("{node} does not answer for itself")),
            (NodeState::Draining, None) => tell(Level::Warn, format!("{node} drains")),
            (NodeState::Active, None) => {}
        }
        let without = entry.vitals.as_ref().map_or(0, |vitals| vitals.leases.without_lease);
        if without > 0 && entry.silent.is_none() && entry.node.state != NodeState::Removed {
            tell(Level::Error, format!("{node} leads {without} partitions without a lease"));
        }
    }
    let Figures { leaderless, narrow, .. } = model.figures;
    if leaderless > 0 {
        tell(Level::Error, format!("{leaderless} partitions have no leader that serves"));
    }
    if narrow > 0 {
        tell(Level::Warn, format!("{narrow} partitions have fewer copies than they should"));
    }
    judged(facts)
}

fn judged(mut facts: Vec<Fact>) -> Verdict {
    if facts.is_empty() {
        facts.push(Fact {
            level: Level::Info,
            text: "all nodes serve, all partitions have leaders and copies".to_owned(),
        });
    }
    facts.sort_by_key(|fact| std::cmp::Reverse(fact.level));
    Verdict { level: facts[0].level, facts }
}
