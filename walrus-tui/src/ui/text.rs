//! Numbers, times and names as people read them.

use unicode_width::UnicodeWidthChar as _;
use walrus_types::TimestampMs;

/// A name as it may be drawn: no control characters, nothing that takes no or two cells' worth of
/// surprise. What cannot be drawn is a question mark.
#[must_use]
pub fn clean(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() || c.width().unwrap_or(0) == 0 { '?' } else { c })
        .collect()
}

/// Whether each of its bytes is a sign that takes a cell, as almost always.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The cells that a text takes as it may be drawn.
#[must_use]
pub fn width_cleaned(text: &str) -> usize {
    let of = |c: char| if c.is_control() { 1 } else { c.width().unwrap_or(0).max(1) };
    if is_plain(text) { text.len() } else { text.chars().map(of).sum() }
}

/// The cells that a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    if is_plain(text) {
        return text.len();
    }
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The beginning of a text that fits so many cells, with a sign where something is left out.
#[must_use]
pub fn cut(text: &str, cells: usize, ascii: bool) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let sign = cut_sign(ascii);
    let (mut out, mut used) = (String::new(), 1);
    if cells == 0 {
        return out;
    }
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > cells {
            break;
        }
        out.push(c);
    }
    out.push_str(sign);
    out
}

/// What stands where something is left out.
#[must_use]
pub const fn cut_sign(ascii: bool) -> &'static str {
    if ascii { "~" } else { "…" }
}

/// A text in lines of so many cells, broken between words where that can be.
#[must_use]
pub fn wrapped(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let line = lines.last_mut().expect("there is a line");
        let (have, need) = (width(line), width(word.trim_end()));
        if have > 0 && have + need > cells {
            lines.push(String::new());
        }
        for c in word.chars() {
            let line = lines.last_mut().expect("there is a line");
            if width(line) + c.width().unwrap_or(0) > cells {
                lines.push(String::new());
            }
            lines.last_mut().expect("there is a line").push(c);
        }
    }
    lines
}

/// Bytes in the largest unit in which there is one of them, three digits.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// A count in thousands.
#[must_use]
pub fn count(count: f64) -> String {
    scaled(count, 1000.0, &["", "k", "M", "G", "T"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut at = 0;
    while value >= step * 0.9995 && at + 1 < units.len() {
        value /= step;
        at += 1;
    }
    let digits = if at == 0 || value >= 99.95 { 0 } else { 1 };
    let blank = if units[at].is_empty() { "" } else { " " };
    format!("{value:.digits$}{blank}{}", units[at])
}

/// A whole number with blanks between its thousands.
#[must_use]
pub fn whole(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

/// How long something took or is ago.
#[must_use]
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=9 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} m", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long something took, in microseconds.
#[must_use]
pub fn micros(us: u64, ascii: bool) -> String {
    let unit = if ascii { "us" } else { "µs" };
    let ms = us as f64 / 1_000.0;
    match us {
        0..=999 => format!("{us} {unit}"),
        1_000..=99_999 => format!("{ms:.1} ms"),
        100_000..=999_999 => format!("{ms:.0} ms"),
        _ => span(us / 1_000),
    }
}

/// How long something takes, in seconds.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "casts of floats stop at the ends")]
#[expect(clippy::cast_sign_loss, reason = "casts of floats stop at the ends")]
pub fn seconds(seconds: f64) -> String {
    span((seconds * 1_000.0) as u64)
}

/// A share of a whole; a dash where there is no whole.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.0} %", part as f64 * 100.0 / whole as f64)
}

/// Bytes more or less.
#[must_use]
pub fn signed_bytes(more: f64) -> String {
    let sign = if more < 0.0 { "-" } else { "" };
    format!("{sign}{}", bytes(more.abs()))
}

/// The time of day, UTC.
#[must_use]
pub fn clock(at: TimestampMs) -> String {
    let seconds = at.0.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_people() {
        for (value, expected) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.5 KiB"),
            (1_073_741_824.0, "1.0 GiB"),
            (1_073_700_000.0, "1.0 GiB"),
            (150.0 * 1024.0 * 1024.0, "150 MiB"),
        ] {
            assert_eq!(bytes(value), expected);
        }
        assert_eq!([count(999.0), count(1_250.0), count(3e9)], ["999", "1.2 k", "3.0 G"]);
        assert_eq!([whole(0), whole(1_000), whole(-41_882_310)], ["0", "1 000", "-41 882 310"]);
        let spans = [0, 1_449, 11_000, 150_000, 7_300_000, 200_000_000].map(span);
        assert_eq!(spans, ["0.0 s", "1.4 s", "11 s", "2 m", "2 h", "2 d"]);
        let times = [0, 999, 1_500, 99_949, 250_000, 3_000_000].map(|us| micros(us, false));
        assert_eq!(micros(7, true), "7 us");
        assert_eq!(times, ["0 µs", "999 µs", "1.5 ms", "99.9 ms", "250 ms", "3.0 s"]);
        assert_eq!([percent(1, 3), percent(5, 0)], ["33 %", "-"]);
        assert_eq!([signed_bytes(-2048.0), signed_bytes(10.0)], ["-2.0 KiB", "10 B"]);
        assert_eq!(clock(TimestampMs(1_767_268_861_000)), "12:01:01");
        assert_eq!(clock(TimestampMs(-1)), "23:59:59");
    }

    #[test]
    fn what_does_not_fit_is_cut_where_it_shows() {
        for (text, cells, expected) in [
            ("orders", 6, "orders"),
            ("orders", 5, "orde…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("a", 0, ""),
        ] {
            assert_eq!(cut(text, cells, false), expected, "{text} in {cells}");
            assert!(width(&cut(text, cells, false)) <= cells);
        }
        assert_eq!(cut("orders", 5, true), "orde~");
        assert_eq!(clean("a\x1b[2J\u{200b}b\n"), "a?[2J?b?");
    }
}
