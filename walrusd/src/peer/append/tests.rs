//! Drawn bytes, everything there and back, and bytes that mean nothing.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use walrus_types::{ClusterId, Incarnation, NodeId};

use super::*;

const FROM: PeerIdentity = PeerIdentity {
    cluster: Some(ClusterId(Uuid::from_u128(1))),
    node: NodeId(7),
    storage: StorageId(Uuid::from_u128(70)),
    incarnation: Incarnation(3),
};

fn message() -> AppendMessage {
    AppendMessage {
        partition: TopicPartition {
            topic: TopicId(Uuid::from_u128(0x0102)),
            partition: PartitionIndex(3),
        },
        base: Offset(4),
        append: Append {
            from: Writer { node: NodeId(7), incarnation: Incarnation(3) },
            storage: StorageId(Uuid::from_u128(0x0605)),
            epoch: Epoch(5),
            prev_end: Offset(7),
            commit: Offset(8),
            stream: 9,
            sent_at: UptimeMs(10),
        },
        batch: Some(Bytes::from_static(b"batch")),
    }
}

fn body(message: &AppendMessage) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(&message.head());
    bytes.put_slice(message.batch.as_deref().unwrap_or_default());
    bytes.freeze()
}

fn encoded(answer: &AnswerMessage) -> BytesMut {
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes);
    bytes
}

fn position(end: i64) -> AnswerMessage {
    let partition = message().partition;
    let (epoch, end, durable) = (Epoch(5), Offset(end), Offset(6));
    let position = Position { epoch, end, durable, stream: 8, sent_at: UptimeMs(9) };
    AnswerMessage { partition, answer: AppendAnswer::Position(position) }
}

/// Every refusal, with numbers that tell its fields apart.
fn refusals() -> [Refusal; 10] {
    let [known, given] = [1, 2].map(|id| StorageId(Uuid::from_u128(id << 100)));
    [
        Refusal::NotYet { applied: u64::MAX },
        Refusal::Fenced,
        Refusal::Sealed { end: Offset(i64::MAX) },
        Refusal::OtherStorage { known, given },
        Refusal::NotMember,
        Refusal::Gap { end: Offset(77) },
        Refusal::Busy,
        Refusal::Malformed,
        Refusal::NotFenced,
        Refusal::Failed,
    ]
}

fn refused(refusal: Refusal) -> AnswerMessage {
    let answer = AppendAnswer::Refused { epoch: Epoch(5), stream: u32::MAX, refusal };
    AnswerMessage { partition: message().partition, answer }
}

#[test]
fn an_append_is_what_is_drawn() {
    let drawn = [
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3][..],
        &[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 5],
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8],
        &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 10],
        b"batch",
    ]
    .concat();
    assert_eq!(body(&message()), drawn);
    assert_eq!(AppendMessage::decode(&FROM, drawn.into()), Ok(message()));
}

#[test]
fn an_answer_is_what_is_drawn() {
    let drawn = [
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3][..],
        &[0, 0, 0, 5, 0, 0, 0, 8, 0],
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 9],
    ]
    .concat();
    assert_eq!(drawn.len(), POSITION_BYTES);
    assert_eq!(encoded(&position(7)), drawn);
    assert_eq!(decode_answers(&drawn), Ok(vec![position(7)]));
    for (kind, refusal) in (1..).zip(refusals()) {
        assert_eq!(encoded(&refused(refusal))[28], kind, "{refusal}");
    }
}

#[test]
fn who_leads_is_who_connected_whatever_the_sender_believes() {
    let mut sent = message();
    sent.append.from = Writer { node: NodeId(8), incarnation: Incarnation(9) };
    assert_eq!(AppendMessage::decode(&FROM, body(&sent)), Ok(message()));
}

#[test]
fn a_batch_is_neither_copied_into_a_frame_nor_out_of_one() {
    let message = message();
    let batch = message.batch.as_ref().map(|batch| batch.as_ptr());
    assert_eq!(Some(message.frame().body().as_ptr()), batch);
    let body = body(&message);
    let there = body[APPEND_HEAD_BYTES..].as_ptr();
    let read = AppendMessage::decode(&FROM, body).unwrap();
    assert_eq!(read.batch.map(|batch| batch.as_ptr()), Some(there));
}

#[test]
fn a_message_without_a_batch_is_a_question() {
    let question = AppendMessage { batch: None, ..message() };
    assert_eq!(body(&question).len(), APPEND_HEAD_BYTES);
    assert_eq!(AppendMessage::decode(&FROM, body(&question)), Ok(question));
}

#[test]
fn what_is_cut_off_is_malformed() {
    let bytes = body(&message());
    for cut in 0..APPEND_HEAD_BYTES {
        let short = Malformed::Short { needed: APPEND_HEAD_BYTES, given: cut };
        assert_eq!(AppendMessage::decode(&FROM, bytes.slice(..cut)), Err(short));
    }
    for answer in refusals().map(refused).into_iter().chain([position(7)]) {
        let bytes = encoded(&answer);
        for cut in 1..bytes.len() {
            let read = decode_answers(&bytes[..cut]);
            assert!(matches!(read, Err(Malformed::Short { .. })), "{answer:?} cut at {cut}");
        }
    }
}

#[test]
fn an_offset_below_zero_is_malformed_wherever_it_stands() {
    for at in [20, 48, 56] {
        let mut bytes = body(&message()).to_vec();
        bytes[at..at + 8].copy_from_slice(&(-1_i64).to_be_bytes());
        let read = AppendMessage::decode(&FROM, bytes.into());
        assert_eq!(read, Err(Malformed::Offset(-1)), "at {at}");
    }
    let sealed = encoded(&refused(Refusal::Sealed { end: Offset(-5) }));
    assert_eq!(decode_answers(&sealed), Err(Malformed::Offset(-5)));
    assert_eq!(decode_answers(&encoded(&position(-6))), Err(Malformed::Offset(-6)));
}

#[test]
fn one_answer_that_is_not_known_spoils_the_frame() {
    let mut bytes = encoded(&position(7));
    position(8).encode(&mut bytes);
    bytes[POSITION_BYTES + 28] = 11;
    assert_eq!(decode_answers(&bytes), Err(Malformed::Kind(11)));
}

fn random_message(random: &mut StdRng) -> AppendMessage {
    let any = |random: &mut StdRng| Offset(random.random_range(0..=i64::MAX));
    let batch = vec![random.random(); random.random_range(0..300)];
    AppendMessage {
        partition: TopicPartition {
            topic: TopicId(Uuid::from_u128(random.random())),
            partition: PartitionIndex(random.random()),
        },
        base: any(random),
        append: Append {
            from: Writer { node: FROM.node, incarnation: FROM.incarnation },
            storage: StorageId(Uuid::from_u128(random.random())),
            epoch: Epoch(random.random()),
            prev_end: any(random),
            commit: any(random),
            stream: random.random(),
            sent_at: UptimeMs(random.random()),
        },
        batch: Some(Bytes::from(batch)).filter(|batch| !batch.is_empty()),
    }
}

fn random_answer(random: &mut StdRng) -> AnswerMessage {
    let AppendMessage { partition, append, base: end, .. } = random_message(random);
    let Append { epoch, stream, sent_at, commit: durable, .. } = append;
    let answer = match random.random_range(0..20) {
        at @ 0..10 => AppendAnswer::Refused { epoch, stream, refusal: refusals()[at] },
        _ => AppendAnswer::Position(Position { epoch, end, durable, stream, sent_at }),
    };
    AnswerMessage { partition, answer }
}

#[test]
fn everything_comes_back_as_it_went() {
    let seed = rand::random();
    println!("seed {seed}");
    let random = &mut StdRng::seed_from_u64(seed);
    for _ in 0..500 {
        let message = random_message(random);
        assert_eq!(AppendMessage::decode(&FROM, body(&message)), Ok(message), "seed {seed}");
        let count = random.random_range(0..20);
        let answers: Vec<AnswerMessage> = (0..count).map(|_| random_answer(random)).collect();
        let mut bytes = BytesMut::new();
        for answer in &answers {
            answer.encode(&mut bytes);
        }
        assert_eq!(decode_answers(&bytes), Ok(answers), "seed {seed}");
    }
}

#[test]
fn bytes_that_mean_nothing_are_read_or_refused_and_no_more() {
    let seed = rand::random();
    println!("seed {seed}");
    let random = &mut StdRng::seed_from_u64(seed);
    for _ in 0..5_000 {
        let mut bytes = match random.random_range(0..3) {
            0 => body(&random_message(random)).to_vec(),
            1 => encoded(&random_answer(random)).to_vec(),
            _ => vec![0; random.random_range(0..200)],
        };
        for _ in 0..random.random_range(0..8) {
            if !bytes.is_empty() {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        if let Ok(answers) = decode_answers(&bytes) {
            let mut again = BytesMut::new();
            for answer in answers {
                answer.encode(&mut again);
            }
            assert_eq!(again, bytes, "seed {seed}");
        }
        let bytes = Bytes::from(bytes);
        if let Ok(message) = AppendMessage::decode(&FROM, bytes.clone()) {
            assert_eq!(body(&message), bytes, "seed {seed}");
        }
    }
}
