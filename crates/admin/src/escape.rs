//! Names in paths and parameters: groups may be called anything.

use std::fmt::Write as _;

/// A name as one part of a path, or as the value of a parameter.
pub fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a String takes all");
        }
    }
    escaped
}

/// What [`escape`] was given; `None` for what it never gives.
pub fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back_as_it_went_and_is_one_part_of_a_path() {
        for name in ["", "orders", "a/b", "..", "100%", "a b?c&d=e#f", "näme", "\0"] {
            let escaped = escape(name);
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
            assert!(!escaped.contains(['/', '.', '?', '&', ' ']), "{escaped}");
        }
        assert_eq!(unescape("a.b-c"), Some("a.b-c".into()), "who needs no escapes writes none");
        for wrong in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }
}
