//! Changing the cluster from here: what may be done with what is chosen, the plan that the server
//! makes of it, and how it is agreed to. Pure.
//!
//! ```text
//!  a  ──> Menu ──> Planning ──> Agreeing ──> Sent ──> its operation is followed on its screen
//!              :drain n2 ──^        │ Esc, or another word than the name: nothing happens
//! ```
//!
//! No single key changes anything. What is harmless is chosen with the arrows, for the way out is
//! chosen at first; what is not is agreed to by another key than the one that began it, and not
//! before it could be read; what is dangerous by the name of what is changed, typed.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use walrus_admin::{
    ApiError, Code,
    operation::Operation,
    plan::{Danger, Plan, Wanted, Which},
};
use walrus_types::{OperationId, PlanId, UptimeMs};

/// A plan must be on the screen for so long before a key agrees to it.
pub const READ_MS: u64 = 400;
/// The longest name that is typed.
const TYPED_MAX: usize = 260;

/// What may be done with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Something that is planned first.
    Plan(Wanted),
    /// An operation is taken back.
    Cancel {
        /// Which.
        id: OperationId,
        /// What it does.
        what: String,
    },
}

impl Wish {
    /// To take an operation back.
    #[must_use]
    pub fn cancel(operation: &Operation) -> Self {
        let Operation { id, verb, subject, .. } = operation;
        Self::Cancel { id: *id, what: format!("{verb} {subject} ({id})") }
    }

    /// As the menu calls it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Plan(Wanted::Drain { node }) => format!("drain {node}"),
            Self::Plan(Wanted::Undrain { node }) => format!("undrain {node}"),
            Self::Plan(Wanted::Remove { node }) => format!("remove {node} for good"),
            Self::Plan(Wanted::TransferRaft { to }) => {
                format!("let {to} lead the metadata group")
            }
            Self::Plan(Wanted::Rollover { which: Which::LedBy(node), .. }) => {
                format!("roll over what {node} leads")
            }
            Self::Plan(Wanted::Rollover { which: Which::All, .. }) => {
                "roll over every partition".to_owned()
            }
            Self::Plan(wanted @ Wanted::Rollover { .. }) => {
                format!("roll over {}", wanted.subject())
            }
            Self::Plan(wanted @ Wanted::UnsafeSeal { .. }) => {
                format!("give up what is missing of {}", wanted.subject())
            }
            Self::Cancel { what, .. } => format!("take back: {what}"),
        }
    }
}

/// What is asked of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// What would this come to?
    Plan(Wanted),
    /// Carry it out.
    Run {
        /// Which plan.
        plan: PlanId,
        /// Its subject, where that was typed.
        confirm: Option<String>,
    },
    /// Take it back.
    Cancel(OperationId),
}

impl Act {
    /// That nobody could be asked.
    #[must_use]
    pub const fn failed(&self, why: ApiError) -> Acted {
        match self {
            Self::Plan(_) => Acted::Planned(Err(why)),
            Self::Run { .. } | Self::Cancel(_) => Acted::Begun(Err(why)),
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// It would come to this.
    Planned(Result<Box<Plan>, ApiError>),
    /// It has begun, or was taken back.
    Begun(Result<Box<Operation>, ApiError>),
}

/// How a plan is agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// By choosing to.
    Choose,
    /// By a key of its own, once it could be read.
    Press,
    /// By the name of what is changed.
    Type,
}

impl Gate {
    /// What a plan needs; in production more.
    #[must_use]
    pub const fn of(danger: Danger, is_production: bool) -> Self {
        match (danger, is_production) {
            (Danger::Low, _) => Self::Choose,
            (Danger::Moderate, false) => Self::Press,
            (Danger::Moderate, true) | (Danger::Severe, _) => Self::Type,
        }
    }
}

/// What is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// It is chosen what.
    Menu {
        /// What there is to choose from.
        wishes: Vec<Wish>,
        /// Which is chosen.
        at: usize,
    },
    /// The server was asked what it comes to.
    Planning(Wanted),
    /// It is read and agreed to.
    Agreeing(Agreeing),
    /// The server was told to carry it out, or to take it back.
    Sent(String),
    /// It is not done.
    Refused(ApiError),
}

/// A plan on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreeing {
    /// What was told.
    pub plan: Box<Plan>,
    /// How it is agreed to.
    pub gate: Gate,
    /// What was typed so far.
    pub typed: String,
    /// Whether going on is chosen.
    pub goes: bool,
    /// Since when it is on the screen.
    pub since: UptimeMs,
}

impl Agreeing {
    /// Whether somebody may agree at all.
    #[must_use]
    pub fn may_go(&self) -> bool {
        self.plan.refusals.is_empty() && self.plan.changes
    }

    /// Whether what was typed is the name.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.typed == self.plan.subject
    }
}

/// What a key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It goes on so.
    On(Doing),
    /// It is over, and nothing happens.
    Over,
    /// This is asked of the cluster, and then it goes on so.
    Asks(Act, Doing),
    /// The command line that does the same is copied.
    Copies(String, Doing),
}

impl Doing {
    /// Something new: asks for its plan, or takes it back.
    #[must_use]
    pub fn begin(wish: Wish) -> Came {
        match wish {
            Wish::Plan(wanted) => Came::Asks(Act::Plan(wanted.clone()), Self::Planning(wanted)),
            Wish::Cancel { id, what } => {
                Came::Asks(Act::Cancel(id), Self::Sent(format!("taking back {what}")))
            }
        }
    }

    /// A key at `now`.
    #[must_use]
    pub fn key(self, key: &KeyEvent, now: UptimeMs) -> Came {
        match self {
            Self::Menu { wishes, at } => menu(wishes, at, key),
            Self::Agreeing(agreeing) => agreeing.key(key, now),
            // What is under way ends by itself; the way out is there all the same.
            Self::Planning(_) | Self::Sent(_) | Self::Refused(_) => match key.code {
                KeyCode::Esc | KeyCode::Enter => Came::Over,
                _ => Came::On(self),
            },
        }
    }

    /// What the cluster answered at `now`; nothing when it was not asked for any more.
    #[must_use]
    pub fn heard(self, acted: Acted, now: UptimeMs, is_production: bool) -> Option<Self> {
        match (self, acted) {
            (Self::Planning(wanted), Acted::Planned(Ok(plan))) if plan.wanted == wanted => {
                let gate = Gate::of(plan.danger, is_production);
                let (typed, goes, since) = (String::new(), false, now);
                Some(Self::Agreeing(Agreeing { plan, gate, typed, goes, since }))
            }
            (Self::Planning(_), Acted::Planned(Err(why)))
            | (Self::Sent(_), Acted::Begun(Err(why))) => Some(Self::Refused(why)),
            (Self::Sent(_), Acted::Begun(Ok(_))) => None,
            // Of something that was left before the answer came.
            (other, _) => Some(other),
        }
    }
}

fn menu(wishes: Vec<Wish>, at: usize, key: &KeyEvent) -> Came {
    let last = wishes.len().saturating_sub(1);
    match key.code {
        KeyCode::Esc | KeyCode::Char('q') => Came::Over,
        KeyCode::Down | KeyCode::Char('j') => {
            Came::On(Doing::Menu { wishes, at: last.min(at + 1) })
        }
        KeyCode::Up | KeyCode::Char('k') => {
            Came::On(Doing::Menu { wishes, at: at.saturating_sub(1) })
        }
        KeyCode::Enter => wishes.get(at).cloned().map_or(Came::Over, Doing::begin),
        _ => Came::On(Doing::Menu { wishes, at }),
    }
}

impl Agreeing {
    fn key(mut self, key: &KeyEvent, now: UptimeMs) -> Came {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (self.gate, key.code) {
            (_, KeyCode::Esc) => Came::Over,
            _ if !self.may_go() => match key.code {
                KeyCode::Enter | KeyCode::Char('q') => Came::Over,
                KeyCode::Char('C') => self.copy(),
                _ => Came::On(Doing::Agreeing(self)),
            },
            (Gate::Type, KeyCode::Char(c)) if !control => {
                if self.typed.len() < TYPED_MAX && !c.is_control() {
                    self.typed.push(c);
                }
                Came::On(Doing::Agreeing(self))
            }
            (Gate::Type, KeyCode::Backspace) => {
                self.typed.pop();
                Came::On(Doing::Agreeing(self))
            }
            (Gate::Type, KeyCode::Enter) if self.is_typed() => self.go(),
            (Gate::Press, KeyCode::Char('y')) if self.was_read(key, now) => self.go(),
            (Gate::Choose, KeyCode::Enter) if self.goes => self.go(),
            (Gate::Choose | Gate::Press, KeyCode::Enter | KeyCode::Char('q')) => Came::Over,
            (Gate::Choose, KeyCode::Left | KeyCode::Right | KeyCode::Tab | KeyCode::BackTab) => {
                self.goes = !self.goes;
                Came::On(Doing::Agreeing(self))
            }
            (Gate::Choose | Gate::Press, KeyCode::Char('C')) => self.copy(),
            _ => Came::On(Doing::Agreeing(self)),
        }
    }

    /// A key that is held does not agree, nor one that was pressed for something before.
    fn was_read(&self, key: &KeyEvent, now: UptimeMs) -> bool {
        key.kind == KeyEventKind::Press && now.since(self.since) >= READ_MS
    }

    fn copy(self) -> Came {
        Came::Copies(self.plan.command.clone(), Doing::Agreeing(self))
    }

    fn go(self) -> Came {
        let plan = self.plan;
        let confirm = (self.gate == Gate::Type).then_some(self.typed);
        let sent = format!("{} {}", plan.wanted.verb(), plan.subject);
        Came::Asks(Act::Run { plan: plan.id, confirm }, Doing::Sent(sent))
    }
}

/// That nobody answered who could change the cluster.
#[must_use]
pub fn unreachable(why: String) -> ApiError {
    ApiError::new(Code::Unavailable, why).hint("nothing is known of it: look at the operations")
}

#[cfg(test)]
mod tests {
    use walrus_admin::plan::{Impact, Place};
    use walrus_types::{NodeId, TimestampMs};

    use super::*;

    fn plan(wanted: Wanted) -> Box<Plan> {
        Box::new(Plan {
            id: PlanId::of(7),
            subject: wanted.subject(),
            danger: wanted.danger(),
            command: format!("{} --plan 7", wanted.command()),
            wanted,
            made_by: NodeId(1),
            metadata_version: 1,
            at_ms: TimestampMs(0),
            expires_at_ms: TimestampMs(1),
            changes: true,
            effects: vec![],
            warnings: vec![],
            refusals: vec![],
            impact: Impact::default(),
        })
    }

    fn rollover() -> Wanted {
        let place = Place { topic: "orders".into(), partition: None };
        Wanted::Rollover { which: Which::These(vec![place]), per_minute: 60 }
    }

    fn asked(wanted: Wanted, is_production: bool) -> Doing {
        let told = Acted::Planned(Ok(plan(wanted.clone())));
        Doing::Planning(wanted).heard(told, UptimeMs(1_000), is_production).unwrap()
    }

    /// Presses keys, `late` ms after the plan was shown; answers what the cluster is asked then.
    fn pressed(mut doing: Doing, keys: &[KeyCode], late: u64) -> Option<Act> {
        for code in keys {
            match doing.key(&KeyEvent::new(*code, KeyModifiers::NONE), UptimeMs(1_000 + late)) {
                Came::On(next) | Came::Copies(_, next) => doing = next,
                Came::Over => return None,
                Came::Asks(act, _) => return Some(act),
            }
        }
        None
    }

    fn word(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).chain([KeyCode::Enter]).collect()
    }

    #[test]
    fn no_key_alone_agrees_to_a_plan() {
        let codes = (0..=127_u8).map(|c| KeyCode::Char(char::from(c))).chain([
            KeyCode::Enter,
            KeyCode::Tab,
            KeyCode::Right,
            KeyCode::Delete,
            KeyCode::F(1),
        ]);
        for code in codes {
            for wanted in [Wanted::Drain { node: NodeId(2) }, rollover()] {
                for times in 1..=3 {
                    let act = pressed(asked(wanted.clone(), false), &vec![code; times], 5_000);
                    assert_eq!(act, None, "{code:?} {times} times for {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_harmless_is_chosen_and_what_is_dangerous_is_typed() {
        let run = |confirm: Option<&str>| Act::Run {
            plan: PlanId::of(7),
            confirm: confirm.map(str::to_owned),
        };
        let transfer = || Wanted::TransferRaft { to: NodeId(3) };
        let drain = || Wanted::Drain { node: NodeId(2) };
        let y = [KeyCode::Char('y')];
        for (wanted, production, keys, late, expected) in [
            (rollover(), false, vec![KeyCode::Right, KeyCode::Enter], 0, Some(run(None))),
            (rollover(), true, vec![KeyCode::Tab, KeyCode::Enter], 0, Some(run(None))),
            (rollover(), false, vec![KeyCode::Enter], 0, None),
            (rollover(), false, vec![KeyCode::Right, KeyCode::Left, KeyCode::Enter], 0, None),
            (transfer(), false, y.to_vec(), 400, Some(run(None))),
            (transfer(), false, y.to_vec(), 399, None),
            (transfer(), true, y.to_vec(), 9_000, None),
            (transfer(), true, word("n3"), 0, Some(run(Some("n3")))),
            (drain(), false, word("n2"), 0, Some(run(Some("n2")))),
            (drain(), false, word("n1"), 0, None),
            (drain(), false, word("n22"), 0, None),
            (drain(), false, word("2"), 0, None),
        ] {
            let act = pressed(asked(wanted.clone(), production), &keys, late);
            assert_eq!(act, expected, "{keys:?} after {late} ms for {wanted:?}");
        }
    }

    #[test]
    fn a_key_that_is_held_does_not_agree() {
        let doing = asked(Wanted::TransferRaft { to: NodeId(3) }, false);
        let mut held = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::NONE);
        held.kind = KeyEventKind::Repeat;
        assert!(matches!(doing.key(&held, UptimeMs(9_000)), Came::On(_)));
    }

    #[test]
    fn what_is_refused_or_changes_nothing_is_read_and_left() {
        for refused in [false, true] {
            let mut plan = plan(Wanted::Drain { node: NodeId(2) });
            plan.changes = refused;
            if refused {
                plan.refusals.push(ApiError::new(Code::LastNode, "alone"));
            }
            let doing = Doing::Planning(plan.wanted.clone());
            let doing = doing.heard(Acted::Planned(Ok(plan)), UptimeMs(0), false).unwrap();
            assert_eq!(pressed(doing, &word("n2"), 5_000), None);
        }
    }

    #[test]
    fn an_answer_to_what_was_left_changes_nothing() {
        let waits = Doing::Planning(Wanted::Drain { node: NodeId(3) });
        let late = Acted::Planned(Ok(plan(Wanted::Drain { node: NodeId(2) })));
        assert_eq!(waits.clone().heard(late, UptimeMs(0), false), Some(waits));
        let sent = Doing::Sent("drain n2".into());
        let refused = ApiError::new(Code::Changed, "changed");
        let told = sent.heard(Acted::Begun(Err(refused.clone())), UptimeMs(0), false);
        assert_eq!(told, Some(Doing::Refused(refused)));
    }
}
