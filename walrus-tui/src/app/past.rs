//! Time: the picture is held, stepped back and forward, played again, and let go on.

use walrus_types::{TimestampMs, UptimeMs};

use super::{App, player::Player, travel::Going};
use crate::{
    model::Model,
    source::{
        Told,
        record::{
            Record, Tape,
            tape::{Ended, Way},
        },
    },
};

/// A day.
const DAY_MS: i64 = 86_400_000;

/// Of what comes while the picture is held so many are counted one by one.
const COUNTED_MAX: u64 = 3;

/// How fast the past is played, in quarters of how fast it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speed(u32);

impl Speed {
    /// As it was.
    pub const ONE: Self = Self(4);
    const MIN: u32 = 1;
    const MAX: u32 = 1_024;

    /// Half or twice as fast, within what can be watched.
    #[must_use]
    pub fn times(self, way: Way) -> Self {
        let next = match way {
            Way::Back => self.0 / 2,
            Way::On => self.0 * 2,
        };
        Self(next.clamp(Self::MIN, Self::MAX))
    }

    /// What of the past goes by while `ms` do.
    const fn of(self, ms: u64) -> u64 {
        ms.saturating_mul(self.0 as u64) / 4
    }

    /// How long it takes until `ms` of the past have gone by.
    const fn until(self, ms: u64) -> u64 {
        ms * 4 / self.0 as u64
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", f64::from(self.0) / 4.0)
    }
}

impl std::str::FromStr for Speed {
    type Err = String;

    #[expect(clippy::cast_possible_truncation, reason = "it is between the least and the greatest")]
    #[expect(clippy::cast_sign_loss, reason = "it is above zero")]
    fn from_str(given: &str) -> Result<Self, String> {
        let times: f64 = given.parse().map_err(|_not_one| "a number, as 4 or 0.5".to_owned())?;
        if !(0.25..=256.0).contains(&times) {
            return Err("a number from 0.25 to 256".to_owned());
        }
        Ok(Self((times * 4.0).round() as u32))
    }
}

/// Whether the past goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It stands.
    Held,
    /// It goes on: since a moment of the console's time, from a moment of its own.
    Plays {
        /// The console's time then.
        since: UptimeMs,
        /// The moment that was shown then.
        from: UptimeMs,
    },
}

/// What is shown is not what is now.
#[derive(Debug)]
pub struct Past {
    /// Where on the tape that is.
    pub player: Player,
    /// The way to another moment, while it is gone; what is shown is not there yet.
    pub going: Option<Going>,
    /// Whether it goes on.
    pub pace: Pace,
    /// How fast.
    pub speed: Speed,
    /// What is known by now, while the past is shown; a recording has no now.
    pub live: Option<Box<Model>>,
    /// Pictures of the cluster that came since.
    pub arrived: u64,
    /// Whether another moment is shown than the one at which it was held.
    pub moved: bool,
}

impl App {
    /// A console that plays a recording, which is yet to be told.
    pub fn replay(&mut self, speed: Speed) {
        self.tape = Tape::replayed();
        self.past = Some(Past {
            player: Player::default(),
            going: None,
            pace: Pace::Plays { since: self.clock, from: UptimeMs(0) },
            speed,
            live: None,
            arrived: 0,
            moved: true,
        });
    }

    /// Whether there is no now: a recording is played.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.live.is_none())
    }

    /// One more of what was told.
    pub(super) fn kept(&mut self, record: Record) {
        let at = record.at;
        let is_first = self.tape.last().is_none();
        self.tape.push(record);
        let Some(past) = self.past.as_mut().filter(|past| past.live.is_none()) else { return };
        if let Pace::Plays { .. } = past.pace
            && is_first
        {
            past.pace = Pace::Plays { since: self.clock, from: at };
        }
    }

    /// Holds what is shown, if it is not held yet.
    fn hold(&mut self) {
        let (model, tape) = (&self.model, &self.tape);
        let past = self.past.get_or_insert_with(|| Past {
            player: Player::at_end(tape),
            going: None,
            pace: Pace::Held,
            speed: Speed::ONE,
            live: Some(Box::new(model.clone())),
            arrived: 0,
            moved: false,
        });
        past.pace = Pace::Held;
    }

    /// Holds the picture; lets it go on if it is held.
    pub(super) fn freeze(&mut self) {
        match &mut self.past {
            Some(past) if past.pace == Pace::Held && (past.moved || past.live.is_none()) => {
                past.pace = Pace::Plays { since: self.clock, from: self.now };
            }
            Some(past) if past.pace == Pace::Held => self.live(),
            Some(_) | None => self.hold(),
        }
    }

    /// Shows what is now; of a recording its end.
    pub(super) fn live(&mut self) {
        match self.past.take() {
            Some(Past { live: Some(model), .. }) => {
                self.model = *model;
                self.now = self.clock;
                self.relist();
            }
            Some(past) => {
                self.past = Some(past);
                match self.tape.last() {
                    Some(last) => self.show(last),
                    None => self.tell("nothing of the recording is read yet".to_owned()),
                }
            }
            None => {}
        }
    }

    /// To the record before or after that is so.
    pub(super) fn step_time(&mut self, way: Way, is: impl Fn(&Record) -> bool, what: &str) {
        let tape = &self.tape;
        let found = match (self.past.as_ref().map(|_| self.stands_at()), way) {
            (None, Way::On) => return self.tell("this is now".to_owned()),
            (None | Some(None), Way::Back) => tape.last().and_then(|last| tape.find(last, way, is)),
            (Some(None), Way::On) => tape.find(tape.first(), way, is),
            (Some(Some(at)), _) => tape.find(at, way, is),
        };
        match (found, way) {
            (Some(number), _) => self.show(number),
            (None, Way::Back) => self.tell(format!("nothing is kept of {what} before this")),
            (None, Way::On) => self.tell(format!("there is no {what} after this")),
        }
    }

    /// Half or twice as fast.
    pub(super) fn pace(&mut self, way: Way) {
        let (clock, now) = (self.clock, self.now);
        let Some(past) = &mut self.past else {
            return self.tell("what is now has its own pace; a step back first".to_owned());
        };
        past.speed = past.speed.times(way);
        if let Pace::Plays { since, from } = &mut past.pace {
            (*since, *from) = (clock, now);
        }
    }

    /// Goes to a time that was typed: of the day, or so long before or after.
    pub(super) fn go_to_time(&mut self, typed: &str) {
        if let Err(why) = self.try_time(typed) {
            self.tell(why);
        }
    }

    /// Shows a moment of a recording that is read: so long after its beginning, at a time of the
    /// day, or its end.
    ///
    /// # Errors
    /// There is nothing in it, or that is no time.
    pub fn show_at(&mut self, time: Option<&str>) -> Result<(), String> {
        let first = self.tape.get(self.tape.first()).ok_or("there is nothing in the recording")?;
        self.now = first.at;
        match (time, self.tape.last()) {
            (Some(time), _) => self.try_time(time)?,
            (None, Some(last)) => self.show(last),
            (None, None) => {}
        }
        Ok(())
    }

    fn try_time(&mut self, typed: &str) -> Result<(), String> {
        let time = Time::of(typed)
            .ok_or_else(|| format!("{typed:?} is no time: 12:03, 12:03:07, -90s, +5m"))?;
        let found = match time {
            Time::OfDay(ms) => self.of_day(ms).and_then(|wall| self.tape.at_wall(wall)),
            Time::Before(ms) => self.tape.at(UptimeMs(self.from().0.saturating_sub(ms))),
            Time::After(ms) => self.tape.at(UptimeMs(self.from().0.saturating_add(ms))),
        };
        let found = found.or_else(|| self.tape.last().map(|_| self.tape.first()));
        self.show(found.ok_or("nothing is kept yet")?);
        Ok(())
    }

    /// The moment that is shown, or to which it is gone.
    fn from(&self) -> UptimeMs {
        let going = self.going().and_then(|going| self.tape.get(going.to));
        going.map_or(self.now, |record| record.at)
    }

    /// A time of the day on the last day of what is kept on which it is within that.
    fn of_day(&self, ms: i64) -> Option<TimestampMs> {
        let last = self.tape.records().filter_map(|record| record.wall).next_back()?;
        let day = last.0.div_euclid(DAY_MS) * DAY_MS;
        let at = day.saturating_add(ms);
        Some(TimestampMs(if at > last.0 { at.saturating_sub(DAY_MS) } else { at }))
    }

    /// Shows the moment of a record, and stands there.
    fn show(&mut self, number: u64) {
        self.hold();
        self.seek(number);
        if let Some(record) = self.tape.get(number).filter(|_| self.going().is_none()) {
            self.now = record.at;
        }
    }

    /// The past goes on by as much as the console's time did.
    pub(super) fn play(&mut self) {
        let Some(past) = &self.past else { return };
        let Pace::Plays { since, from } = past.pace else { return };
        if past.going.is_some() {
            return;
        }
        let Some(end) = self.tape.last().and_then(|last| self.tape.get(last)).map(|one| one.at)
        else {
            return;
        };
        let target = UptimeMs(from.0.saturating_add(past.speed.of(self.clock.since(since))));
        let has_caught_up = past.live.is_some() && target >= self.clock;
        let has_ended = target >= end && self.tape.ended().is_some();
        if has_caught_up {
            return self.live();
        }
        // A recording that is read still goes on when there is more of it.
        let target = if past.live.is_none() { target.min(end) } else { target };
        if has_ended && let Some(past) = &mut self.past {
            past.pace = Pace::Held;
        }
        self.now = target;
        let to = self.tape.at(target).filter(|to| past_of(self) != Some(*to));
        if let Some(to) = to {
            self.seek(to);
        }
    }

    /// Whether a picture is due when this is told. Of one that is held only how much came since is
    /// another then: the first few are counted one by one, then ten by ten.
    #[must_use]
    pub fn is_seen(&self, told: &Told) -> bool {
        match (told, &self.past) {
            // What it is of came before it.
            (Told::Kept(_), _) => self.is_replay(),
            (told, Some(Past { pace: Pace::Held, live: Some(_), arrived, .. })) => {
                matches!(told, Told::Snapshot(_)) && (*arrived < COUNTED_MAX || arrived % 10 == 9)
            }
            _ => true,
        }
    }

    /// How long the picture stays as it is, if nothing comes: a second, less where the past is
    /// played faster.
    #[must_use]
    pub fn stays_ms(&self) -> u64 {
        match &self.past {
            Some(Past { pace: Pace::Plays { .. }, speed, .. }) => {
                speed.until(1_000).clamp(40, 1_000)
            }
            _ => 1_000,
        }
    }

    /// Whether time goes on in what is shown.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.pace == Pace::Held)
    }

    /// How what is played ends, if it does not go on.
    #[must_use]
    pub const fn ended(&self) -> Option<&Ended> {
        self.tape.ended()
    }
}

fn past_of(app: &App) -> Option<u64> {
    app.past.as_ref()?.player.at()
}

/// A time that somebody typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// Milliseconds since midnight.
    OfDay(i64),
    Before(u64),
    After(u64),
}

impl Time {
    fn of(typed: &str) -> Option<Self> {
        let typed = typed.trim();
        if let Some(ago) = typed.strip_prefix('-') {
            return span(ago).map(Self::Before);
        }
        if let Some(on) = typed.strip_prefix('+') {
            return span(on).map(Self::After);
        }
        let mut parts = typed.split(':').map(|part| part.parse::<u32>().ok());
        let hours = parts.next()??;
        let minutes = parts.next()??;
        let seconds = parts.next().unwrap_or(Some(0))?;
        let is_time = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
        let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60 + i64::from(seconds);
        is_time.then_some(Self::OfDay(seconds * 1_000))
    }
}

/// `90s`, `5m`, `2h`; seconds where nothing is said.
fn span(given: &str) -> Option<u64> {
    let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let unit = units.iter().find_map(|(unit, ms)| Some((given.strip_suffix(unit)?, *ms)));
    let (number, ms) = unit.unwrap_or((given, 1_000));
    number.parse::<u64>().ok()?.checked_mul(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_day_or_from_what_is_shown() {
        for (typed, expected) in [
            ("12:03", Some(Time::OfDay(43_380_000))),
            (" 00:00:07 ", Some(Time::OfDay(7_000))),
            ("-90s", Some(Time::Before(90_000))),
            ("+5m", Some(Time::After(300_000))),
            ("-7", Some(Time::Before(7_000))),
            ("-2h", Some(Time::Before(7_200_000))),
            ("24:00", None),
            ("12:03:07:1", None),
            ("12", None),
            ("", None),
            ("-", None),
            ("+99999999999999999999h", None),
            ("-9999999999999999999h", None),
        ] {
            assert_eq!(Time::of(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn speeds_are_doubled_and_halved_within_what_can_be_watched() {
        let shown = |speed: Speed| speed.to_string();
        assert_eq!(shown(Speed::ONE), "1");
        assert_eq!(shown(Speed::ONE.times(Way::Back)), "0.5");
        let mut speed = Speed::ONE;
        for _ in 0..20 {
            speed = speed.times(Way::On);
        }
        assert_eq!((shown(speed), speed.of(1_000), speed.until(1_000)), ("256".into(), 256_000, 3));
        for _ in 0..20 {
            speed = speed.times(Way::Back);
        }
        assert_eq!((shown(speed), speed.of(1_000)), ("0.25".into(), 250));
        for (given, expected) in [("4", Some(4_000)), ("0.5", Some(500)), ("0", None), ("x", None)]
        {
            assert_eq!(given.parse::<Speed>().ok().map(|speed| speed.of(1_000)), expected);
        }
    }
}
