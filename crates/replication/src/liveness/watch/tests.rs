//! The controller's watch as scripts.

use super::*;

const TERMS: Terms = Terms { ttl_ms: 1000, margin_ms: 100, flush_max_ms: 2000 };

fn play(watch: &mut Watch, now: &mut UptimeMs, event: &str) -> String {
    let words: Vec<&str> = event.split(' ').collect();
    let node = |text: &str| NodeId(text.parse().unwrap());
    let life = |text: &str| Incarnation(text.parse().unwrap());
    let beat = |text: &str| Beat { incarnation: life(text), ..Beat::default() };
    let say = |fence: Fence| format!("fence {}.{}: {}", fence.node, fence.incarnation, fence.why);
    match words[..] {
        // Ticks on the way, as the shell does.
        ["at", ms] => {
            let until: u64 = ms.parse().unwrap();
            let mut said = Vec::new();
            while now.0 < until {
                now.0 = (now.0 + 100).min(until);
                said.extend(watch.tick(*now).into_iter().map(say));
            }
            said.join(", ")
        }
        ["paused", "until", ms] => {
            now.0 = ms.parse().unwrap();
            watch.tick(*now).into_iter().map(say).collect()
        }
        ["register", id, of] => {
            watch.registered(node(id), life(of), *now);
            String::new()
        }
        ["fenced", id, of] => {
            watch.fenced(node(id), life(of), *now);
            String::new()
        }
        ["remove", id] => {
            watch.removed(node(id));
            String::new()
        }
        ["beat", id, of] => format!("{:?}", watch.heartbeat(node(id), beat(of), *now)),
        ["beat", id, of, "flush", ms] => {
            let beat = Beat { flush_age_ms: ms.parse().unwrap(), ..beat(of) };
            format!("{:?}", watch.heartbeat(node(id), beat, *now))
        }
        ["gone", id, of] => {
            watch.process_gone(node(id), life(of), *now).map(say).unwrap_or_default()
        }
        ["silent", id] => format!("{:?}", watch.silent_ms(node(id), *now)),
        ["leases", id] => watch.may_take_leases(node(id), *now).to_string(),
        _ => panic!("{event}?"),
    }
}

/// Plays events from the take-over at 0 on, with node 1 registered in life 7.
#[track_caller]
fn check(script: &[(&str, &str)]) {
    check_after(None, script);
}

/// As [`check`], with the node that was the controller before, and for how long it was missed.
#[track_caller]
fn check_after(before: Option<(i32, u64)>, script: &[(&str, &str)]) {
    let mut now = UptimeMs(0);
    let mut watch = Watch::take_over(TERMS, now);
    if let Some((node, silent_ms)) = before {
        watch = watch.after(NodeId(node), silent_ms);
    }
    watch.registered(NodeId(1), Incarnation(7), now);
    for (at, (event, expected)) in script.iter().enumerate() {
        assert_eq!(play(&mut watch, &mut now, event), *expected, "step {at}: {event}");
    }
}

#[test]
fn silence_for_the_ttl_and_the_margin_is_fenced() {
    check(&[
        ("at 500", ""),
        ("beat 1 7", "Extended"),
        ("at 1600", ""),
        ("at 1601", "fence n1.7: it was not heard for 1101 ms"),
    ]);
}

#[test]
fn a_new_controller_waits_a_whole_ttl_before_it_fences_for_silence() {
    // M6.
    check(&[("at 1100", ""), ("at 1101", "fence n1.7: it was not heard for 1101 ms")]);
    // But a process that is gone is gone.
    check(&[("gone 1 7", "fence n1.7: its process is gone")]);
}

#[test]
fn the_silence_of_the_controller_before_counts_from_when_voters_missed_it() {
    let silent = [("at 850", ""), ("at 851", "fence n1.7: it was not heard for 1101 ms")];
    check_after(Some((1, 250)), &silent);
    // Others had nobody to speak to.
    check_after(Some((2, 250)), &[("at 1100", "")]);
    // Once it was heard it is a node like any other.
    let heard = [("at 800", ""), ("beat 1 7", "Extended"), ("at 1900", "")];
    check_after(Some((1, 250)), &heard);
    // When this process had a pause it listens anew, to all alike.
    let paused = [("at 600", ""), ("paused until 1200", ""), ("at 2300", "")];
    check_after(Some((1, 250)), &paused);
}

#[test]
fn a_controller_that_was_paused_does_not_blame_the_others() {
    check(&[
        ("at 500", ""),
        ("beat 1 7", "Extended"),
        ("paused until 9000", ""),
        ("silent 1", "None"),
        ("at 10100", ""),
        ("at 10101", "fence n1.7: it was not heard for 1101 ms"),
    ]);
}

#[test]
fn a_process_that_is_gone_is_fenced_at_once_and_once() {
    check(&[
        ("beat 1 7", "Extended"),
        ("gone 1 6", ""), // an earlier life
        ("gone 2 7", ""),
        ("gone 1 7", "fence n1.7: its process is gone"),
        ("gone 1 7", ""),
        ("fenced 1 7", ""),
        ("at 5000", ""),
    ]);
}

#[test]
fn a_flush_that_does_not_end_is_a_dead_disk() {
    // L15.
    check(&[
        ("beat 1 7 flush 2000", "Extended"),
        ("at 50", ""),
        ("beat 1 7 flush 2001", "Withheld"),
        ("at 100", "fence n1.7: a flush has not ended for 2001 ms"),
        ("beat 1 7", "Fenced"),
    ]);
}

#[test]
fn a_fence_is_asked_for_until_metadata_has_it_and_nothing_takes_it_back() {
    check(&[
        ("gone 1 7", "fence n1.7: its process is gone"),
        ("beat 1 7", "Fenced"),
        ("at 499", ""),
        ("at 500", "fence n1.7: its process is gone"),
        ("at 600", ""),
        ("fenced 1 7", ""),
        ("at 9000", ""),
        ("beat 1 7", "Fenced"),
    ]);
}

#[test]
fn only_the_present_life_is_extended() {
    check(&[
        ("beat 1 6", "Fenced"),
        ("beat 1 8", "Withheld"), // metadata here does not have it yet
        ("register 1 8", ""),
        ("beat 1 8", "Extended"),
        ("beat 1 7", "Fenced"),
        ("register 1 7", ""), // an old entry again
        ("beat 1 8", "Extended"),
        ("beat 2 1", "Withheld"),
        ("remove 1", ""),
        ("beat 1 8", "Withheld"),
    ]);
}

#[test]
fn placement_hears_who_is_silent_and_for_how_long() {
    check(&[
        ("beat 1 7", "Extended"),
        ("at 1000", ""),
        ("silent 1", "None"),
        ("at 1050", ""),
        ("silent 1", "Some(1050)"),
        ("gone 1 7", "fence n1.7: its process is gone"),
        ("fenced 1 7", ""),
        ("at 10000", ""),
        ("silent 1", "Some(10000)"),
        ("register 1 8", ""),
        ("silent 1", "None"),
    ]);
    check(&[("fenced 1 7", ""), ("silent 1", "Some(0)"), ("silent 2", "None")]);
}

#[test]
fn a_node_that_is_fenced_again_and_again_waits_for_leases_longer_each_time() {
    // L1.
    let mut now = UptimeMs(0);
    let mut watch = Watch::take_over(TERMS, now);
    let node = NodeId(1);
    watch.registered(node, Incarnation(1), now);
    assert!(watch.may_take_leases(node, now));
    let waits = [0, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000];
    for (life, wait_ms) in (1..).zip(waits) {
        // Fenced by the controller, or by its own next life: both count, once.
        if life % 2 == 0 {
            watch.fenced(node, Incarnation(life), now);
        }
        watch.registered(node, Incarnation(life + 1), now);
        let at = |ms: u64| UptimeMs(now.0 + ms);
        assert_eq!(watch.may_take_leases(node, now), wait_ms == 0, "life {life}");
        assert!(wait_ms == 0 || !watch.may_take_leases(node, at(wait_ms - 1)), "life {life}");
        assert!(watch.may_take_leases(node, at(wait_ms)), "life {life}");
        now = at(wait_ms);
    }
    now.0 += FORGIVEN_AFTER_MS;
    watch.registered(node, Incarnation(99), now);
    assert!(watch.may_take_leases(node, now), "it is forgiven");
    watch.fenced(node, Incarnation(99), now);
    assert!(!watch.may_take_leases(node, UptimeMs(now.0 + 999_999)), "a fenced life gets none");
}
