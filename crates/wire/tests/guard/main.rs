//! Guard and decoder, held against each other over every key and version that has a shape.
//!
//! The shape table is generated from Kafka's definitions, the decoder by others from the same:
//! random requests written by the one must be taken by the other, to the byte. Damaged and
//! hostile ones must neither make the decoder panic nor allocate more than is stated.

mod sample;
#[expect(dead_code, reason = "names of fields are for errors, which are the guard's")]
#[path = "../../src/guard/shape.rs"]
mod shape;
#[path = "../../src/guard/table.rs"]
mod table;

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, FetchRequest, RequestKind},
    protocol::Encodable as _,
};
use peak_alloc::PeakAlloc;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sample::Style;
use shape::Shape;
use walrus_wire::{
    Api,
    guard::{self, ALLOCATION_FLOOR, AMPLIFICATION_MAX},
    versions,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time, for they all look at the same allocator.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A seed to run with: `WALRUS_TEST_SEED`, or one by the clock. Printed by whoever uses it.
fn seed() -> u64 {
    std::env::var("WALRUS_TEST_SEED").map_or_else(
        |_unset| rand::rng().random(),
        |text| text.parse().expect("WALRUS_TEST_SEED is a number"),
    )
}

/// Keys of which the crate decodes requests up to an earlier version than its `valid_versions`
/// says, which are those of the response.
const DECODER_ENDS: [(i16, i16); 3] = [(8, 9), (9, 9), (22, 5)];

/// Every key and version that both the table and the decoder know.
fn all() -> Vec<(&'static Shape, ApiKey, i16)> {
    let mut all = Vec::new();
    for shape in table::SHAPES {
        let key = ApiKey::try_from(shape.key).expect("every shape has a decoder");
        let decoded = key.valid_versions();
        let early = DECODER_ENDS.iter().find(|(key, _)| *key == shape.key);
        let last = early.map_or(decoded.max, |(_, last)| *last).min(shape.versions.1);
        for version in shape.versions.0.max(decoded.min)..=last {
            all.push((shape, key, version));
        }
    }
    all
}

/// Decodes what the guard accepted and returns the decoder's peak of allocated bytes, and what it
/// left unread; `None` when it refused.
fn decode(key: ApiKey, version: i16, body: &[u8]) -> (usize, Option<(RequestKind, usize)>) {
    let mut bytes = Bytes::copy_from_slice(body);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let decoded = RequestKind::decode(key, &mut bytes, version).ok();
    let peak = MEMORY.peak_usage().saturating_sub(before);
    (peak, decoded.map(|request| (request, bytes.len())))
}

#[test]
fn the_decoder_takes_every_request_the_shapes_describe_to_the_byte() {
    let _alone = alone();
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for (shape, key, version) in all() {
        for round in 0..60 {
            let body = sample::body(shape, version, Style::Plain, &mut rng);
            let context = format!("{} v{version} round {round}", shape.name);
            let accepted = guard::check(shape.key, version, &body).unwrap();
            assert_eq!(accepted, Ok(body.len()), "{context}");
            let (_, decoded) = decode(key, version, &body);
            let (request, left) = decoded.unwrap_or_else(|| panic!("{context} is not decoded"));
            assert_eq!(left, 0, "{context}: the decoder left bytes");

            let mut again = BytesMut::new();
            request.encode(&mut again, version).unwrap();
            let accepted = guard::check(shape.key, version, &again).unwrap();
            assert_eq!(accepted, Ok(again.len()), "{context}, encoded by the crate");
        }
    }
}

#[test]
fn a_damaged_request_is_refused_or_decoded_in_bounded_memory() {
    let _alone = alone();
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut accepted, mut refused) = (0_u32, 0_u32);
    for (shape, key, version) in all() {
        for round in 0..150 {
            let mut body = sample::body(shape, version, Style::Plain, &mut rng);
            damage(&mut body, &mut rng);
            if guard::check(shape.key, version, &body).unwrap().is_err() {
                refused += 1;
                continue;
            }
            accepted += 1;
            let (peak, _) = decode(key, version, &body);
            let bound = AMPLIFICATION_MAX * body.len() + ALLOCATION_FLOOR;
            let name = shape.name;
            assert!(peak <= bound, "{name} v{version} round {round}: {peak} > {bound}");
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

/// Flips, cuts, inserts and plants lengths that lie.
fn damage(body: &mut Vec<u8>, rng: &mut StdRng) {
    const LIES: [&[u8]; 6] = [
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0x80, 0x80, 0x80, 0x80, 0x80],
        &[0x00, 0x10, 0x00, 0x00],
        &[0xfe, 0xff, 0x03],
    ];
    for _ in 0..rng.random_range(1..4) {
        if body.is_empty() {
            return;
        }
        let at = rng.random_range(0..body.len());
        match rng.random_range(0..5) {
            0 => body[at] = rng.random(),
            1 => body[at] ^= 1 << rng.random_range(0..8),
            2 => body.truncate(at),
            3 => {
                let lie = LIES[rng.random_range(0..LIES.len())];
                let end = (at + lie.len()).min(body.len());
                body[at..end].copy_from_slice(&lie[..end - at]);
            }
            _ => {
                let lie = LIES[rng.random_range(0..LIES.len())];
                body.splice(at..at, lie.iter().copied());
            }
        }
    }
}

#[test]
fn the_densest_requests_stay_below_the_stated_multiple() {
    let _alone = alone();
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut worst = (0, "", 0);
    for (shape, key, version) in all() {
        for _ in 0..12 {
            let style = Style::Dense { elements: 3000 };
            let body = sample::body(shape, version, style, &mut rng);
            assert_eq!(guard::check(shape.key, version, &body).unwrap(), Ok(body.len()));
            let (peak, decoded) = decode(key, version, &body);
            assert!(decoded.is_some(), "{} v{version}", shape.name);
            let bound = AMPLIFICATION_MAX * body.len() + ALLOCATION_FLOOR;
            assert!(peak <= bound, "{} v{version}: {peak} for {}", shape.name, body.len());
            if body.len() > 2000 {
                worst = worst.max((peak * 10 / body.len(), shape.name, version));
            }
        }
    }
    println!("worst amplification: {worst:?} tenths");
}

#[test]
fn counts_tags_and_elements_over_their_limits_are_refused() {
    use walrus_types::limits::{REQUEST_ELEMENTS_MAX, UNKNOWN_TAGS_MAX};
    let _alone = alone();
    let varint = |mut value: usize| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f | 0x80).unwrap());
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    };
    // Metadata v9: topics of a name and no tags, two bytes each.
    for (topics, fits) in [(REQUEST_ELEMENTS_MAX, true), (REQUEST_ELEMENTS_MAX + 1, false)] {
        let mut body = varint(topics + 1);
        body.extend(std::iter::repeat_n([1, 0], topics).flatten());
        body.extend([0, 0, 0, 0]);
        let result = guard::check(3, 9, &body).unwrap();
        assert_eq!(result.is_ok(), fits, "{topics} topics: {result:?}");
    }
    for (tags, fits) in [(UNKNOWN_TAGS_MAX, true), (UNKNOWN_TAGS_MAX + 1, false)] {
        let mut body = vec![1, 1];
        body.extend(varint(tags));
        for tag in 0..tags {
            body.extend(varint(tag));
            body.push(0);
        }
        let result = guard::check(18, 3, &body).unwrap();
        assert_eq!(result.is_ok(), fits, "{tags} tags: {result:?}");
    }
    for (tags, fits) in [([5, 6], true), ([6, 5], false), ([5, 5], false)] {
        let body = [1, 1, 2, tags[0], 0, tags[1], 0];
        assert_eq!(guard::check(18, 3, &body).unwrap().is_ok(), fits, "{tags:?}");
    }
}

#[test]
fn a_tagged_field_must_be_as_long_as_it_says() {
    let _alone = alone();
    let request = FetchRequest::default().with_cluster_id(Some("abc".into()));
    let mut body = BytesMut::new();
    request.encode(&mut body, 12).unwrap();
    let size_at = body.len() - 5;
    assert_eq!(body[size_at..], *b"\x04\x04abc", "size, length, cluster id");
    for (size, fits) in [(3, false), (4, true), (5, false), (0, false)] {
        body[size_at] = size;
        assert_eq!(guard::check(1, 12, &body).unwrap().is_ok(), fits, "size {size}");
    }
}

#[test]
fn a_varint_of_more_than_32_bits_is_refused() {
    let _alone = alone();
    // ApiVersions v3: two compact strings and no tags; the first length is 1 for an empty string.
    for (length, fits) in [
        (&[1][..], true),
        (&[0x81, 0x80, 0x80, 0x80, 0], true),
        (&[0x81, 0x80, 0x80, 0x80, 0x10], false),
        (&[0x81, 0x80, 0x80, 0x80, 0x80], false),
    ] {
        let body = [length, &[1, 0]].concat();
        assert_eq!(guard::check(18, 3, &body).unwrap().is_ok(), fits, "{length:?}");
    }
}

#[test]
fn null_is_refused_where_the_version_does_not_allow_it() {
    let _alone = alone();
    // Metadata: the topics may be null from version 1, a topic's name from version 10.
    for (version, body, fits) in [
        (0, &[0xff, 0xff, 0xff, 0xff][..], false),
        (1, &[0xff, 0xff, 0xff, 0xff], true),
        (1, &[0, 0, 0, 1, 0xff, 0xff], false),
        (1, &[0xff, 0xff, 0xff, 0xfe], false),
        (9, &[2, 0, 0, 0, 0, 0, 0], false),
        (9, &[0, 0, 0, 0, 0], true),
    ] {
        let result = guard::check(3, version, body).unwrap();
        assert_eq!(result.is_ok(), fits, "v{version} {body:?}: {result:?}");
    }
}

#[test]
fn random_frames_are_refused_or_decoded_in_bounded_memory() {
    let _alone = alone();
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(1);
    let mut decoded = 0_u32;
    while std::time::Instant::now() < end {
        let frame = random_frame(&mut rng);
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let result = walrus_wire::decode(frame.clone());
        let peak = MEMORY.peak_usage().saturating_sub(before);
        let bound = AMPLIFICATION_MAX * frame.len() + ALLOCATION_FLOOR;
        assert!(peak <= bound, "{peak} > {bound} for {frame:?}");
        decoded += u32::from(result.is_ok());
    }
    assert!(decoded > 100, "only {decoded} frames were decoded: the test looks at nothing");
}

/// A served key with a header and a body that may be whole, damaged or noise.
fn random_frame(rng: &mut StdRng) -> Bytes {
    let api = Api::ALL[rng.random_range(0..Api::ALL.len())];
    let versions::Served { advertised_min, max, .. } = api.served();
    let version = rng.random_range(advertised_min - 1..=max + 1);
    let mut frame = Vec::new();
    frame.extend(api.key().to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 1, b'c']);
    if guard::is_flexible(api.key(), version) == Some(true) {
        frame.push(0);
    }
    if rng.random_ratio(1, 4) {
        frame.extend((0..rng.random_range(0..60)).map(|_| rng.random::<u8>()));
    } else {
        let shape = table::SHAPES.iter().find(|shape| shape.key == api.key());
        let shape = shape.expect("a served key has a shape");
        frame.extend(sample::body(shape, version.max(0), Style::Plain, rng));
    }
    if rng.random() {
        damage(&mut frame, rng);
    }
    frame.into()
}
