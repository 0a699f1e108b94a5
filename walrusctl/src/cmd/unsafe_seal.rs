//! `walrusctl segment unsafe-seal`.

use walrus_admin::{
    Code,
    client::Client,
    unsafe_seal::{UnsafeSeal, UnsafeSealRequest, UnsafeSealState},
};

use super::segment::one;
use crate::{
    cli::{Follow, Place},
    consent::confirmed,
    failure::{Exit, Failure},
    follow::{Until, follow},
    out::Console,
};

/// Seals a partition's open segment without the votes that its seal needs.
///
/// # Errors
/// It is not needed, is not agreed to, or comes to something else by now.
pub(super) async fn unsafe_seal(
    client: &Client,
    console: &Console,
    place: &Place,
    (confirm, dry_run, wait): (Option<String>, bool, Follow),
) -> Result<(), Failure> {
    let (topic, partition) = one(place, "unsafe-seal")?;
    let (name, path) = (
        format!("{topic}/{partition}"),
        format!("/v1/topics/{topic}/partitions/{partition}/unsafe-seal"),
    );
    client.meet().await;
    let until = Until::after(wait.timeout);
    let ask = UnsafeSealRequest { dry_run: true, ..UnsafeSealRequest::default() };
    let plan: UnsafeSeal = client.send(&path, &ask).await?;
    console.note(plan_text(&plan));
    if dry_run {
        return console.show(&plan, |_| String::new());
    }
    let question = format!("What {name} has past {} is given up for good.", plan.end);
    confirmed(console, confirm.as_deref(), &name, question)?;
    console.goes_on(format!("{name} may be sealed by now: walrusctl segment chain {name}"));
    let order = UnsafeSealRequest { dry_run: false, epoch: Some(plan.epoch), end: Some(plan.end) };
    let mut answer: UnsafeSeal = match client.send(&path, &order).await {
        Ok(answer) => answer,
        // The answer was lost, or the controller: the same order is good for once only.
        Err(why) if why.is_passing() && wait.wait => plan,
        Err(why) => return Err(failed(&name, why)),
    };
    if wait.wait && answer.state != UnsafeSealState::Sealed {
        let ends =
            |told: &UnsafeSeal| (told.state == UnsafeSealState::Sealed).then(|| told.clone());
        let left = |_: Option<&UnsafeSeal>| format!("{name} is not sealed yet");
        answer = follow(until, || client.send(&path, &order), ends, left).await?;
    }
    console.show(&answer, |answer| match answer.state {
        UnsafeSealState::Sealed => format!("{name} is sealed at {}\n", answer.end),
        UnsafeSealState::Planned | UnsafeSealState::UnderWay => {
            format!("{name} is being sealed at {}: follow it with --wait\n", answer.end)
        }
    })
}

fn failed(name: &str, why: walrus_admin::client::ClientError) -> Failure {
    let is_changed = why.refusal().is_some_and(|error| error.code == Code::Changed);
    let failure = Failure::from(why);
    if is_changed && failure.exit == Exit::Refused {
        return failure.next(format!("walrusctl segment unsafe-seal {name} --dry-run"));
    }
    failure
}

/// What would be lost, and for whom it would be given up.
fn plan_text(plan: &UnsafeSeal) -> String {
    let UnsafeSeal { topic, partition, epoch, end, seen, votes, votes_needed, missing, .. } = plan;
    let mut text = format!(
        "unsafe-seal {topic}/{partition}:\n  \
         its leader is gone, and {votes} of the {votes_needed} members are there that its seal needs\n"
    );
    for missing in missing {
        text += &format!("  {}: {}\n", missing.node, missing.why);
    }
    text += &format!("  the segment of epoch {epoch} would end at {end}\n");
    text += &match seen {
        Some(seen) => format!("  records {end} to {seen} were seen, and would be lost\n"),
        None if *votes == 0 => {
            "  all that was written to it would be lost; nobody can say how much that is\n"
                .to_owned()
        }
        None => {
            format!("  what was acknowledged past {end} would be lost; nobody can say how much\n")
        }
    };
    text + "  start one of the missing again if there is any way: with enough of them nothing is lost"
}

#[cfg(test)]
mod tests {
    use walrus_admin::unsafe_seal::MissingVote;
    use walrus_types::{Epoch, NodeId, Offset, PartitionIndex};

    use super::*;

    #[test]
    fn a_plan_tells_what_is_lost_as_far_as_that_is_known() {
        let plan = |votes, seen| UnsafeSeal {
            topic: "t".into(),
            partition: PartitionIndex(0),
            state: UnsafeSealState::Planned,
            epoch: Epoch(3),
            end: Offset(120),
            seen,
            votes,
            votes_needed: 2,
            missing: vec![MissingVote { node: NodeId(1), why: "no answer".into() }],
        };
        let text = plan_text(&plan(1, None));
        assert!(text.contains("1 of the 2 members") && text.contains("n1: no answer"), "{text}");
        assert!(text.contains("acknowledged past 120 would be lost"), "{text}");
        assert!(plan_text(&plan(1, Some(Offset(125)))).contains("records 120 to 125 were seen"));
        assert!(plan_text(&plan(0, None)).contains("all that was written to it would be lost"));
    }
}
