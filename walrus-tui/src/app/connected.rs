//! The list of clients.

use std::cmp::Reverse;

use walrus_admin::connection::Client;

use super::lists::passes;

/// The rows that pass, in that order.
pub(super) fn rows(all: &[Client], filter: &str, order: usize) -> Vec<(usize, usize)> {
    let kept = all.iter().enumerate().filter(|(_, one)| passes(filter, |text| has(one, text)));
    let mut rows: Vec<(usize, usize)> = kept.map(|(at, _)| (at, 0)).collect();
    let of = |row: &(usize, usize)| &all[row.0];
    match order {
        1 => rows.sort_by(|one, other| of(one).client_id.cmp(&of(other).client_id)),
        2 => rows.sort_by_key(|row| Reverse(of(row).requests)),
        3 => rows.sort_by_key(|row| Reverse(of(row).bytes_in)),
        4 => rows.sort_by_key(|row| Reverse(of(row).bytes_out)),
        5 => rows.sort_by_key(|row| Reverse(of(row).idle_ms)),
        _ => {}
    }
    rows
}

fn has(one: &Client, text: &str) -> bool {
    let contains = |said: &Option<String>| said.as_ref().is_some_and(|said| said.contains(text));
    one.node.to_string() == text
        || one.address.contains(text)
        || one.mostly.is_some_and(|mostly| mostly.word() == text)
        || contains(&one.client_id)
        || contains(&one.software)
        || contains(&one.software_version)
        || contains(&one.last)
}
