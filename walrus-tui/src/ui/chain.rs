//! A partition's chain on a line of offsets: a bar for each segment, in the colour of its leader,
//! and below it who has copies.

use walrus_admin::{partition::Segment, snapshot::Snapshot};
use walrus_types::NodeId;

use super::paint::Canvas;

/// Cells that a segment takes at least.
const LEAST: usize = 3;

/// Shares `width` cells by weight, each at least `least` of them; all of the width is used.
///
/// Where there is no room for all, those at the front are left out: the answer is for the last
/// ones, and may be shorter than `weights`.
#[must_use]
pub fn share(weights: &[u64], width: usize, least: usize) -> Vec<usize> {
    let room = width / least.max(1);
    let weights = &weights[weights.len().saturating_sub(room)..];
    let free = u128::try_from(width - weights.len() * least).unwrap_or(0);
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let (mut used, mut weighed) = (0, 0);
    let shares = weights.iter().map(|weight| {
        weighed += u128::from(*weight);
        // The sum of all shares so far is rounded, so that nothing is lost.
        let upto = (free * weighed).checked_div(total).unwrap_or(0);
        let more = usize::try_from(upto - used).unwrap_or(0);
        used = upto;
        least + more
    });
    let mut shares: Vec<usize> = shares.collect();
    let rest = width - shares.iter().sum::<usize>();
    if let Some(last) = shares.last_mut() {
        *last += rest;
    }
    shares
}

/// Where a node stands in the list of nodes, for its colour.
#[must_use]
pub fn place_of(snapshot: Option<&Snapshot>, node: NodeId) -> usize {
    let place = snapshot
        .and_then(|snapshot| snapshot.nodes.iter().position(|entry| entry.node.node == node));
    place.unwrap_or_else(|| usize::try_from(node.0).unwrap_or(0).saturating_sub(1))
}

/// Draws the chain. `chosen` counts from the first of `segments`.
pub fn draw(
    canvas: &mut Canvas<'_>,
    segments: &[Segment],
    chosen: usize,
    snapshot: Option<&Snapshot>,
) {
    const NAMES: usize = 5;
    let theme = canvas.theme;
    let width = canvas.width().saturating_sub(NAMES);
    let lengths: Vec<u64> = segments.iter().map(length).collect();
    let shares = share(&lengths, width, LEAST);
    let skipped = segments.len() - shares.len();
    let mut nodes: Vec<NodeId> =
        segments.iter().flat_map(|segment| segment.members.iter().copied()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    canvas.put(0, 1, "led", theme.dim());
    for (row, node) in nodes.iter().enumerate() {
        let style = theme.node(place_of(snapshot, *node));
        canvas.put(0, 2 + row, &node.to_string(), style);
    }
    let mut x = NAMES;
    for (segment, share) in segments[skipped..].iter().zip(&shares) {
        let at = segments.iter().position(|other| std::ptr::eq(other, segment));
        let is_chosen = at == Some(chosen);
        let leader = theme.node(place_of(snapshot, segment.leader));
        let label = segment.epoch.to_string();
        let style = if is_chosen { theme.chosen() } else { theme.dim() };
        canvas.part(x, 0, share - 1, 1).put(0, 0, &label, style);
        let body = if segment.open { theme.glyph("▒", ":") } else { theme.glyph("█", "#") };
        canvas.put(x, 1, &body.repeat(share - 1), leader);
        let copy = theme.glyph("━", "=");
        for (row, node) in nodes.iter().enumerate() {
            let has = segment.members.contains(node);
            let line = if has { copy.repeat(share - 1) } else { String::new() };
            canvas.put(x, 2 + row, &line, theme.node(place_of(snapshot, *node)));
        }
        x += share;
    }
    if let Some(last) = segments.last().filter(|segment| segment.open) {
        let sign = theme.glyph("▶", ">");
        canvas.put(x - 1, 1, sign, theme.node(place_of(snapshot, last.leader)));
    }
}

/// Records of a segment, as far as its end is known.
fn length(segment: &Segment) -> u64 {
    let end = segment.end.unwrap_or(segment.base);
    u64::try_from(end.0.saturating_sub(segment.base.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shared_by_weight_and_all_of_it_is_used() {
        let cases: [(&[u64], usize, &[usize]); 8] = [
            (&[], 10, &[]),
            (&[5], 10, &[10]),
            (&[1, 1], 10, &[5, 5]),
            (&[3, 1], 10, &[6, 4]),
            (&[0, 0, 0], 10, &[3, 3, 4]),
            (&[0, 100], 10, &[3, 7]),
            (&[9, 9, 9, 9], 10, &[3, 3, 4]),
            (&[u64::MAX, u64::MAX], 9, &[4, 5]),
        ];
        for (weights, width, expected) in cases {
            let shares = share(weights, width, 3);
            assert_eq!(shares, expected, "{weights:?} in {width}");
            assert!(weights.is_empty() || shares.iter().sum::<usize>() == width);
        }
        assert!(share(&[1, 2], 2, 3).is_empty());
    }
}
