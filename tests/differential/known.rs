//! Where Walrus answers otherwise than Kafka, and why.

/// A difference that is meant.
///
/// In each of the texts `*` stands for anything.
#[derive(Debug)]
pub(crate) struct Known {
    /// The names of the cases, each with its version: `a case v3`.
    pub(crate) cases: &'static str,
    /// The path in the answer.
    pub(crate) path: String,
    /// Kafka's value.
    pub(crate) kafka: &'static str,
    /// Ours.
    pub(crate) walrus: &'static str,
    /// Why it is so.
    pub(crate) why: &'static str,
}

impl Known {
    /// Whether this is the difference.
    pub(crate) fn covers(
        &self,
        case: &str,
        version: i16,
        path: &str,
        kafka: &str,
        walrus: &str,
    ) -> bool {
        fits(self.cases, &format!("{case} v{version}"))
            && fits(&self.path, path)
            && fits(self.kafka, kafka)
            && fits(self.walrus, walrus)
    }
}

/// Whether a text is a pattern's: its pieces follow each other, the first and the last at the ends.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, behind)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let (middle, last) = behind.rsplit_once('*').unwrap_or(("", behind));
    for piece in middle.split('*') {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// `cases`, path, Kafka's value, ours.
fn known([cases, path, kafka, walrus]: [&'static str; 4], why: &'static str) -> Known {
    Known { cases, path: path.to_owned(), kafka, walrus, why }
}

const WORDS: &str = "the code is the same, and where there is room for words we say why";
const NO_WORDS: &str = "no words are told as null; Kafka has both";
const TRANSACTIONS: &str = "there are no transactions: what needs one is refused by name";
const REPEATED: &str = "the answer has a place for each that was asked for; Kafka merges them";
const LOG_START: &str = "a refusal tells no log start: nothing was looked up";
const PLUGIN: &str = "Kafka takes clients' metrics only with a plugin; here it is told: none";
const QUORUM: &str = "where there is no such group nobody leads it; Kafka's answer names node 0";

/// What both do, and one of them in another way.
fn everywhere() -> Vec<Known> {
    vec![
        known(["*", "*error_message", "None", "some"], WORDS),
        known(["*", "*error_message", "\"\"", "some"], WORDS),
        known(["*", "*error_message", "\"\"", "None"], NO_WORDS),
    ]
}

fn writes() -> Vec<Known> {
    vec![
        known(["produce*", "*log_start_offset", "0", "-1"], LOG_START),
        known(
            ["produce to a topic without partitions named v9", "responses*", "*", "*"],
            "the answer names what the request named",
        ),
        known(
            ["produce a batch of an unknown codec v9", "*error_code", "-1", "76"],
            "Kafka fails with an exception that has no code",
        ),
        known(["produce a transactional batch v9", "*error_code", "53", "42"], TRANSACTIONS),
        known(
            ["produce in a transaction that nobody began v9", "*error_code", "0", "42"],
            TRANSACTIONS,
        ),
        known(
            ["produce in a transaction that nobody began v9", "*base_offset", "0", "-1"],
            TRANSACTIONS,
        ),
        known(
            ["produce a batch from far in the future v9", "*record_errors*", "*", "*"],
            "records are not decoded on the way in, so it is the batch that is refused",
        ),
        known(
            ["produce a batch again v9", "*log_append_time_ms", "some", "-1"],
            "the time is the producer's here too, and -1 says so as for the first time",
        ),
        known(
            ["produce with a negative epoch v9", "*error_code", "47", "87"],
            "an id without an epoch is malformed, whoever the producer is",
        ),
    ]
}

fn reads() -> Vec<Known> {
    let isolation = "an isolation level that there is not is read as the first; Kafka fails";
    let twice = "the first place is answered and the second refused; Kafka refuses both in one";
    let hints = "who asks in a wrong epoch is told who leads, as where another node leads";
    vec![
        known(["fetch with a future leader epoch v*", "*current_leader*", "-1", "*"], hints),
        known(["fetch with a future leader epoch v16", "node_endpoints*", "*", "*"], hints),
        known(
            ["fetch what was last fetched in a future epoch v12", "*", "*", "*"],
            "only Kafka's own replicas say what they fetched last",
        ),
        known(["fetch at an unknown isolation level v12", "*", "*", "*"], isolation),
        known(["list at an unknown isolation level v7", "*", "*", "*"], isolation),
        known(["fetch the same partition twice v12", "*", "absent", "*"], REPEATED),
        known(
            ["begin a session about nothing v12", "session_id", "some", "0"],
            "a session of no partition would spare nothing",
        ),
        known(
            ["forget a session's topic v*", "session_id", "0", "some"],
            "a session may become empty and be filled again; Kafka ends it",
        ),
        known(["list a partition twice v*", "*", "*", "*"], twice),
        known(
            ["metadata that makes a topic v*", "topics[case-*", "*", "*"],
            "the topic is there when the answer is; Kafka's client has to ask again",
        ),
        known(
            ["find*coordinator*", "*error_message", "some", "\"\""],
            "Kafka writes NONE, or its code's text, where versions before 4 have words",
        ),
        known(
            ["describe a group with what one may do v*", "*authorized_operations", "3400", "328"],
            "groups have no configs that one could read or change",
        ),
        known(["delete a group twice v2", "results*", "absent", "*"], REPEATED),
    ]
}

/// What is not served is not advertised.
fn served() -> Vec<Known> {
    let absent: &[(&[&str], &str)] = &[
        (&["17", "36", "38", "39", "40", "41"], "who a client is comes later"),
        (&["24", "25", "26", "27", "28"], "transactions come later"),
        (&["48", "49"], "quotas come later"),
        (&["68", "69"], "the group protocol of KIP-848 comes later"),
        (&["76", "77", "78", "79", "90", "91", "92"], "share groups come later, if ever"),
        (&["83", "84", "85", "86", "87"], "what Kafka's nodes ask each other about share groups"),
        (&["88", "89"], "groups of streams come later, if ever"),
        (&["34"], "a node has one folder"),
        (&["57"], "features follow the program"),
        (&["80", "81"], "nodes are taken in and out by walrusctl"),
    ];
    let newer: &[(&[&str], &str)] = &[
        (&["2"], "later versions ask for tiers that are not there"),
        (&["3", "35", "60"], "the last version is newer than what is decoded here"),
        (&["8", "9"], "topic ids in commits came with KIP-848's groups"),
        (&["22", "66"], "the last version is about transactions"),
    ];
    let key = |key: &str, suffix, [kafka, walrus]: [&'static str; 2], why| {
        let path = format!("api_keys[{key}]{suffix}");
        Known { cases: "what is served v*", path, kafka, walrus, why }
    };
    let mut keys =
        vec![key("71", "*", ["absent", "*"], PLUGIN), key("72", "*", ["absent", "*"], PLUGIN)];
    for (some, why) in absent {
        keys.extend(some.iter().map(|one| key(one, "*", ["*", "absent"], why)));
    }
    for (some, why) in newer {
        keys.extend(some.iter().map(|one| key(one, ".max_version", ["*", "*"], why)));
    }
    let features = "the features of Kafka's own log of metadata, and of groups that come later";
    for path in ["supported_features*", "finalized_features*"] {
        keys.push(known(["what is served v*", path, "*", "*"], features));
    }
    keys
}

fn topics() -> Vec<Known> {
    let fixed = "it follows from how segments are written, and is shown as what it comes to";
    let without = "there is nothing that it would change";
    let broker = "the settings of these two nodes are not the same";
    vec![
        known(["create a topic twice in one request v*", "topics[*", "absent", "*"], REPEATED),
        known(["delete a topic twice in one request v*", "*", "absent", "*"], REPEATED),
        known(
            ["create a compacted topic v7", "topics[*", "*", "*"],
            "there is no compaction yet, and a topic that wants it is refused by that name",
        ),
        known(["create a topic by defaults v7", "*num_partitions", "4", "1"], broker),
        known(
            ["*topic* v7", "topics[*].topic_id", "some", "00000000-0000-0000-0000-000000000000"],
            "what is only asked for is not made and has no id; Kafka draws one and forgets it",
        ),
        known(
            ["create a topic whose name differs by a dot v7", "topics[*_x]*", "*", "*"],
            "two names that metrics would confuse are refused also within one request",
        ),
        known(["*topic*", "*configs[*].read_only", "false", "true"], fixed),
        known(["*topic*", "*configs[file.delete.delay.ms].*", "*", "*"], fixed),
        known(["*topic*", "*configs[flush.*].value", "*", "*"], fixed),
        known(["*topic*", "*configs[index.interval.bytes].value", "\"4096\"", "\"16384\""], fixed),
        known(["*topic*", "*configs[compression.*.level].*", "*", "absent"], without),
        known(["*topic*", "*configs[*.replication.throttled.replicas].*", "*", "absent"], without),
        known(["*topic*", "*configs[local.retention.*", "*", "absent"], without),
        known(["*topic*", "*configs[remote.*", "*", "absent"], without),
        known(["*topic*", "*configs[walrus.*", "absent", "*"], "Walrus's own"),
        known(
            ["*topic*", "*configs[min.insync.replicas].config_source", "3", "5"],
            "Kafka writes its default down for the whole cluster",
        ),
        known(
            ["describe a topic's configs in full v*", "*synonyms*", "*", "*"],
            "a default is shown by the name that it is set with",
        ),
        known(["describe some configs of a broker v*", "*config_source", "4", "5"], broker),
        known(["describe some configs of a broker v*", "*value", "*", "*"], broker),
    ]
}

fn tools() -> Vec<Known> {
    vec![
        known(
            ["change a config in a way that there is not v1", "*error_code", "-1", "42"],
            "Kafka fails with an exception that has no code",
        ),
        known(
            ["set an unknown config of a broker v1", "*error_code", "0", "42"],
            "a name that means nothing is refused; Kafka keeps it for plugins",
        ),
        known(
            ["elect a leader in a way that there is not v2", "replica_election_results*", "*", "*"],
            "it is the request that is refused, by the code that stands before all partitions",
        ),
        known(["describe the metadata group v*", "*log_end_offset", "*", "*"], "it is its own"),
        known(["describe the metadata group v*", "*high_watermark", "*", "*"], "it is its own"),
        known(
            ["describe the metadata group v2", "nodes[1].listeners*", "*", "*"],
            "nodes talk to each other through the port for peers",
        ),
        known(["describe another partition of the metadata group v*", "*", "*", "-1"], QUORUM),
        known(["describe a topic as the metadata group v*", "*", "*", "-1"], QUORUM),
        known(
            ["*by pages v0", "*topic_authorized_operations", "3576", "-2147483648"],
            "who may do what with a topic that is not there is not told",
        ),
        known(["describe*transaction*", "*error_code", "*", "105"], TRANSACTIONS),
        known(["describe*transaction*", "*producer_*", "0", "-1"], TRANSACTIONS),
        known(["describe*transaction*", "*transaction_start_time_ms", "0", "-1"], TRANSACTIONS),
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Known> {
    [everywhere(), writes(), reads(), served(), topics(), tools()].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_does() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("ab*bc", "abc", false),
            ("a*c*e", "abcde", true),
            ("a*e*c", "abcde", false),
            ("a*b*b*c", "abc", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
