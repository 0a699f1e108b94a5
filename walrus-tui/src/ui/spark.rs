//! Numbers over time as a row of bars.

use super::{paint::Canvas, theme::Theme};
use crate::model::series::Series;
use ratatui::style::Style;

/// Draws the last values over `width` cells, the newest at the right; the highest bar is the
/// greatest of them, or `least_max` if that is more.
pub fn draw(
    canvas: &mut Canvas<'_>,
    (x, y, width): (usize, usize, usize),
    series: &Series,
    least_max: f32,
    style: Style,
) {
    let max = series.max_of_last(width).max(least_max);
    let values: Vec<f32> = series.last(width).collect();
    let line: String = values.iter().map(|value| bar(canvas.theme, *value, max)).collect();
    let x = x + width.saturating_sub(values.len());
    canvas.put(x, y, &line, style);
}

fn bar(theme: Theme, value: f32, max: f32) -> &'static str {
    theme.height(if max > 0.0 { value / max } else { 0.0 })
}
