//! Bytes that Kafka writes are read, ours are what it reads, and no bytes do harm.

use ::bytes::Bytes;
use walrus_types::TimestampMs;

use super::*;

fn key() -> OffsetKey {
    OffsetKey { group: "g".into(), topic: "logs".into(), partition: 3 }
}

fn offset(expires_at: Option<i64>) -> CommittedOffset {
    CommittedOffset {
        offset: 42,
        leader_epoch: if expires_at.is_some() { -1 } else { 7 },
        metadata: "m\u{e9}".into(),
        committed_at: TimestampMs(9),
        expires_at: expires_at.map(TimestampMs),
    }
}

fn member(instance: Option<&str>) -> MemberValue {
    MemberValue {
        member: "c-1".into(),
        instance: instance.map(str::to_owned),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(b"sub"),
        assignment: Bytes::from_static(b"\0\xff"),
    }
}

fn group(members: Vec<MemberValue>) -> GroupValue {
    GroupValue {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: members.first().map(|member| member.member.clone()),
        since: TimestampMs(1_700_000_000_000),
        members,
    }
}

fn all() -> Vec<Record> {
    let name = || "g\u{f6}".to_owned();
    let offset_of = |value| Record::Offset { key: key(), value };
    let group_of = |value| Record::Group { group: name(), value };
    vec![
        offset_of(None),
        offset_of(Some(offset(None))),
        offset_of(Some(offset(Some(1_000)))),
        group_of(None),
        group_of(Some(group(Vec::new()))),
        group_of(Some(group(vec![member(None), member(Some("i"))]))),
    ]
}

#[test]
fn records_come_back_as_they_went_in() {
    for record in all() {
        let (key, value) = record.encode();
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
    }
}

#[test]
fn a_record_that_is_cut_anywhere_is_refused() {
    for record in all() {
        let (key, value) = record.encode();
        for cut in 0..key.len() {
            assert!(Record::decode(&key[..cut], value.as_deref()).is_err(), "key at {cut}");
        }
        let value = value.unwrap_or_default();
        for cut in 0..value.len() {
            assert!(Record::decode(&key, Some(&value[..cut])).is_err(), "value at {cut}");
        }
    }
}

#[test]
fn a_text_that_no_record_of_ours_can_hold_is_refused() {
    let (key, _) = Record::Offset { key: key(), value: None }.encode();
    for (length, varint) in [(32_767_usize, b"\x80\x80\x02"), (32_768, b"\x81\x80\x02")] {
        let fixed = [&b"\0\x04"[..], &7_i64.to_be_bytes(), &(-1_i32).to_be_bytes()].concat();
        let text = vec![b'm'; length];
        let value = [&fixed, &varint[..], &text, &9_i64.to_be_bytes(), b"\0"].concat();
        let read = Record::decode(&key, Some(&value));
        assert_eq!(read.is_ok(), length == 32_767, "{length}: {read:.40?}");
    }
}

#[test]
fn the_bytes_are_those_that_kafka_writes() {
    let record = Record::Offset { key: key(), value: Some(offset(None)) };
    let (key, value) = record.encode();
    assert_eq!(key, b"\0\x01\0\x01g\0\x04logs\0\0\0\x03");
    let expected = b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x07\0\x03m\xc3\xa9\0\0\0\0\0\0\0\x09";
    assert_eq!(value.unwrap(), expected);
    let record = Record::Group { group: "g".into(), value: Some(group(vec![member(Some("i"))])) };
    let (key, value) = record.encode();
    assert_eq!(key, b"\0\x02\0\x01g");
    let expected: Vec<u8> = [
        &b"\0\x03\0\x08consumer\0\0\0\x05\0\x05range\0\x03c-1"[..],
        &1_700_000_000_000_i64.to_be_bytes(),
        b"\0\0\0\x01\0\x03c-1\0\x01i\0\x01c\0\x0a/127.0.0.1",
        &300_000_i32.to_be_bytes(),
        &45_000_i32.to_be_bytes(),
        b"\0\0\0\x03sub\0\0\0\x02\0\xff",
    ]
    .concat();
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn older_and_newer_values_are_read() {
    let (offset_key, _) = Record::Offset { key: key(), value: None }.encode();
    let read = |value: &[u8]| match Record::decode(&offset_key, Some(value)) {
        Ok(Some(Record::Offset { value: Some(value), .. })) => value,
        other => panic!("{other:?}"),
    };
    let plain = |expires_at| CommittedOffset {
        offset: 1,
        leader_epoch: -1,
        metadata: "x".into(),
        committed_at: TimestampMs(2),
        expires_at,
    };
    let fields = |version: u8| [&[0, version][..], &1_i64.to_be_bytes()].concat();
    let old = |version| [&fields(version)[..], b"\0\x01x", &2_i64.to_be_bytes()].concat();
    assert_eq!(read(&old(0)), plain(None));
    let kept = |at: i64| [&old(1)[..], &at.to_be_bytes()].concat();
    assert_eq!(read(&kept(5)), plain(Some(TimestampMs(5))));
    assert_eq!(read(&kept(-1)), plain(None));
    assert_eq!(read(&old(2)), plain(None));
    // Version 4, with a tagged field that nobody knows.
    let flexible =
        [&fields(4)[..], &7_i32.to_be_bytes(), b"\x02x", &2_i64.to_be_bytes(), b"\x01\x00\x03abc"]
            .concat();
    assert_eq!(read(&flexible), CommittedOffset { leader_epoch: 7, ..plain(None) });

    let (group_key, _) = Record::Group { group: "g".into(), value: None }.encode();
    // Version 0: no times but the session's, no instance.
    let old = b"\0\0\0\x01c\0\0\0\x02\xff\xff\xff\xff\0\0\0\x01\0\x01m\0\x01i\0\x01h\0\0\0\x09\0\0\0\0\0\0\0\0";
    // The same in version 4.
    let flexible = b"\0\x04\x02c\0\0\0\x02\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x02\x02m\0\x02i\x02h\0\0\0\x09\0\0\0\x09\x01\x01\0\0";
    for value in [&old[..], flexible] {
        let Ok(Some(Record::Group { value: Some(value), .. })) =
            Record::decode(&group_key, Some(value))
        else {
            panic!("not read")
        };
        assert_eq!((value.generation, value.protocol, value.leader), (2, None, None));
        assert_eq!(value.since, TimestampMs::NONE);
        let member = &value.members[0];
        assert_eq!((member.session_timeout_ms, member.rebalance_timeout_ms), (9, 9));
        assert_eq!(member.instance, None);
    }
}

#[test]
fn later_kinds_are_passed_over_and_later_values_are_refused() {
    assert_eq!(Record::decode(b"\0\x03\0\x01g", Some(b"\0\0")), Ok(None));
    let (key, _) = all()[0].encode();
    assert_eq!(Record::decode(&key, Some(b"\0\x05")), Err(DecodeError::Version(5)));
    assert_eq!(Record::decode(&key, Some(b"\xff\xff")), Err(DecodeError::Version(-1)));
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    // Every byte of every record changed to a few others: lengths and counts among them.
    for record in all() {
        let (key, value) = record.encode();
        let value = value.unwrap_or_default();
        for (bytes, is_key) in [(&key, true), (&value, false)] {
            for at in 0..bytes.len() {
                for to in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = to;
                    for version in 0..=4 {
                        changed[1] = if is_key { changed[1] } else { version };
                        let (key, value) =
                            if is_key { (&changed, &value) } else { (&key, &changed) };
                        drop(Record::decode(key, Some(value)));
                    }
                }
            }
        }
    }
}
