//! One message of a stream, as server-sent events write it.

use bytes::Bytes;
use serde::Serialize;
use walrus_admin::{Document, Kind};

/// What every stream begins with: how long a reader waits before it comes back.
pub(super) const GREETING: &[u8] = b": walrus\nretry: 1000\n\n";

/// A document under a name; with `id` the reader has all up to that version.
pub(super) fn frame<T: Kind + Serialize>(name: &str, id: Option<u64>, document: &T) -> Bytes {
    let id = id.map(|id| format!("\nid: {id}")).unwrap_or_default();
    let mut frame = format!("event: {name}{id}\ndata: ").into_bytes();
    // JSON has its line ends escaped: it is one line.
    serde_json::to_writer(&mut frame, &Document::of(document)).expect("plain data");
    frame.extend_from_slice(b"\n\n");
    // Without the room that was left for more: it may wait for a slow reader.
    Bytes::from(frame.into_boxed_slice())
}

/// A sign of life, which is no message.
pub(super) fn heartbeat(id: Option<u64>) -> Bytes {
    match id {
        Some(id) => Bytes::from(format!(":\nid: {id}\n\n")),
        None => Bytes::from_static(b":\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use walrus_admin::operation::OperationList;

    use super::*;

    #[test]
    fn a_message_is_three_lines_and_a_blank_one() {
        let answer = OperationList { metadata_version: 7, items: Vec::new() };
        let text = String::from_utf8(frame("x", Some(7), &answer).to_vec()).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!((lines[0], lines[1], lines[3], lines[4]), ("event: x", "id: 7", "", ""));
        assert!(lines[2].starts_with("data: {\"apiVersion\""), "{text}");
        assert!(!frame("x", None, &answer).windows(3).any(|three| three == b"id:"));
    }
}
