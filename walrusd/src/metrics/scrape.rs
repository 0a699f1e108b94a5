//! The text for Prometheus: every name, its type, its HELP with the unit.
//!
//! `raft_*`, `partition_*` and `cluster_*` are names that dashboards of an earlier system know;
//! ours begin with `walrus_`; `process_*` are Prometheus' own conventions.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use walrus_storage::wal::{LATENCY_BUCKETS, Latency, WalStats};
use walrus_wire::{Api, kafka_protocol::error::ResponseError};

use super::{Metrics, NodeFacts, PartitionFacts, RaftFacts, TEXT_COMMANDS, lags};
use crate::{
    admin::{Health, State},
    process::ProcessFacts,
};

/// Latencies are told from 16 µs (2^4) to 16 s (2^24); what is below or above joins the ends.
const FIRST_BUCKET: usize = 4;
const LAST_BUCKET: usize = 24;

pub(super) fn render(metrics: &Metrics, facts: NodeFacts, health: &Health) -> String {
    let scrape = Scrape {
        metrics: metrics.clone(),
        facts,
        state: health.state(),
        process: ProcessFacts::read(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::with_capacity(16 << 10);
    text::encode(&mut text, &registry).expect("writing to a String cannot fail");
    text
}

/// One moment of the node.
#[derive(Debug)]
struct Scrape {
    metrics: Metrics,
    facts: NodeFacts,
    state: State,
    process: ProcessFacts,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.node(&mut page)?;
        self.clients(&mut page)?;
        self.changes(&mut page)?;
        self.wal(&mut page)?;
        self.storage(&mut page)?;
        self.raft(&mut page)?;
        self.cluster(&mut page)?;
        lags::tell(&mut page, self.facts.lags.as_ref())?;
        self.process(&mut page)
    }
}

/// Writes families.
pub(super) struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn seconds(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// `name` without `_total`, which is added.
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// One line for each item, in seconds of so many milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "2^53 ms is 285,000 years")]
    pub(super) fn seconds_family<L: EncodeLabelSet>(
        &mut self,
        (name, help): (&str, &str),
        lines: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, GAUGE)?;
        for (labels, ms) in lines {
            family.encode_family(&labels)?.encode_gauge(&(ms as f64 / 1e3))?;
        }
        Ok(())
    }

    /// One line for each item.
    pub(super) fn family<L: EncodeLabelSet>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        lines: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in lines {
            let mut line = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => line.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                _ => line.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    fn latency(&mut self, name: &str, help: &str, latency: &Latency) -> fmt::Result {
        if latency.count == 0 {
            return Ok(());
        }
        latency_line(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?, latency)
    }

    fn latencies<L: EncodeLabelSet>(
        &mut self,
        (name, help): (&str, &str),
        lines: impl IntoIterator<Item = (L, Latency)>,
    ) -> fmt::Result {
        let mut lines = lines.into_iter().filter(|(_, latency)| latency.count > 0).peekable();
        if lines.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, latency) in lines {
            latency_line(family.encode_family(&labels)?, &latency)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sum of 2^53 us is 285 years")]
fn latency_line(mut line: MetricEncoder<'_>, latency: &Latency) -> fmt::Result {
    let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(LAST_BUCKET - FIRST_BUCKET + 2);
    let mut joined = 0;
    for (place, count) in latency.buckets.iter().enumerate().take(LAST_BUCKET + 1) {
        joined += count;
        if place >= FIRST_BUCKET {
            buckets.push(((1u64 << place) as f64 / 1e6, joined));
            joined = 0;
        }
    }
    joined += latency.buckets[LAST_BUCKET + 1..LATENCY_BUCKETS].iter().sum::<u64>();
    buckets.push((f64::INFINITY, joined));
    let sum = latency.sum_us as f64 / 1e6;
    line.encode_histogram::<NoLabelSet>(sum, latency.count, &buckets, None)
}

/// Name, HELP, type, and where the number stands.
type WalFamily = (&'static str, &'static str, MetricType, fn(&WalStats) -> u64);

const COUNTER: MetricType = MetricType::Counter;
pub(super) const GAUGE: MetricType = MetricType::Gauge;

impl Scrape {
    fn node(&self, page: &mut Page<'_>) -> fmt::Result {
        page.family(
            ("walrus_build", "1, with the version that runs", GAUGE),
            [([("version", env!("CARGO_PKG_VERSION"))], 1)],
        )?;
        let states = ["starting", "ready", "draining", "failed"];
        page.family(
            ("walrus_state", "1 for the state that the node is in, 0 for the others", GAUGE),
            states.map(|name| ([("state", name)], u64::from(name == self.state.name()))),
        )
    }

    fn clients(&self, page: &mut Page<'_>) -> fmt::Result {
        let counters = &self.metrics.0;
        let apis = || Api::ALL.into_iter().enumerate();
        let name = |api: Api| [("api", format!("{api:?}"))];
        page.gauge(
            "walrus_connections",
            "Clients that are connected now",
            Some(counters.connections.load(Relaxed)),
        )?;
        page.counter(
            "walrus_connections_accepted",
            "Clients that were let in",
            counters.connections_accepted.load(Relaxed),
        )?;
        page.counter(
            "walrus_connections_refused",
            "Clients that a limit sent away",
            counters.connections_refused.load(Relaxed),
        )?;
        page.family(
            ("walrus_requests", "Kafka requests that were understood, by API", COUNTER),
            apis().map(|(at, api)| (name(api), counters.requests[at].load(Relaxed))),
        )?;
        page.latencies(
            ("walrus_request_seconds", "From a request's last byte to its answer, in seconds"),
            apis().map(|(at, api)| (name(api), counters.took[at].read())),
        )?;
        let refused = [("Produce", &counters.produce_refused), ("Fetch", &counters.fetch_refused)];
        page.family(
            (
                "walrus_request_errors",
                "Errors by API and Kafka's name, one for each partition",
                COUNTER,
            ),
            refused.into_iter().flat_map(|(api, table)| {
                let counted = table.iter().enumerate().map(|(at, count)| (at, count.load(Relaxed)));
                counted.filter(|(_, count)| *count > 0).map(move |(at, count)| {
                    ([("api", api.to_owned()), ("error", error_name(at))], count)
                })
            }),
        )?;
        page.counter(
            "walrus_request_frames_refused",
            "Frames that were no request that is served",
            counters.frames_refused.load(Relaxed),
        )?;
        page.family(
            ("walrus_text_commands", "Commands of the text protocol, by name", COUNTER),
            TEXT_COMMANDS
                .into_iter()
                .enumerate()
                .map(|(at, name)| ([("command", name)], counters.text_commands[at].load(Relaxed))),
        )?;
        let produced = "Records that clients sent to be appended";
        page.counter("walrus_produced_records", produced, counters.produced_records.load(Relaxed))?;
        let produced = "Bytes of record batches that clients sent to be appended";
        page.counter("walrus_produced_bytes", produced, counters.produced_bytes.load(Relaxed))?;
        let fetched = "Bytes of record batches that were handed to clients";
        page.counter("walrus_fetched_bytes", fetched, counters.fetched_bytes.load(Relaxed))?;
        let held = "Bytes that requests under way hold in memory";
        page.gauge("walrus_request_memory_bytes", held, self.facts.request_bytes)
    }

    fn changes(&self, page: &mut Page<'_>) -> fmt::Result {
        let counters = &self.metrics.0;
        page.counter(
            "walrus_segments_rolled",
            "Segments that were sealed and followed by the next",
            counters.rolled.load(Relaxed),
        )?;
        let parked =
            "From the beginning of a roll to the first append in the successor, in seconds";
        page.latency("walrus_roll_parked_seconds", parked, &counters.roll_parked.read())?;
        page.counter(
            "walrus_segments_cut",
            "Copies of segments whose tails were in no log and were cut",
            counters.cut.load(Relaxed),
        )
    }

    fn wal(&self, page: &mut Page<'_>) -> fmt::Result {
        let wals = [("records", &self.facts.records_wal), ("raft", &self.facts.raft_wal)];
        let wals: Vec<([(&str, &str); 1], WalStats)> = wals
            .into_iter()
            .filter_map(|(name, stats)| Some(([("wal", name)], (*stats)?)))
            .collect();
        let lines = |of: fn(&WalStats) -> u64| {
            wals.iter().map(move |(labels, stats)| (*labels, of(stats))).collect::<Vec<_>>()
        };
        let families: [WalFamily; 9] = [
            (
                "walrus_wal_groups",
                "Groups that became durable, each with one flush",
                COUNTER,
                |s| s.groups,
            ),
            ("walrus_wal_entries", "Entries that became durable", COUNTER, |s| s.entries),
            ("walrus_wal_bytes", "Bytes that became durable, padding included", COUNTER, |s| {
                s.bytes
            }),
            ("walrus_wal_refused", "Appends refused because the queue was full", COUNTER, |s| {
                s.refused_full
            }),
            ("walrus_wal_queued_bytes", "Bytes that wait for a group", GAUGE, |s| s.queued_bytes),
            ("walrus_wal_ring_used_bytes", "Bytes of the ring that are still needed", GAUGE, |s| {
                s.ring_used_bytes
            }),
            ("walrus_wal_ring_bytes", "Bytes of the whole ring", GAUGE, |s| s.ring_bytes),
            ("walrus_wal_ring_full", "1 while appends wait for room in the ring", GAUGE, |s| {
                u64::from(s.ring_full)
            }),
            (
                "walrus_wal_oldest_flush_milliseconds",
                "Age of the oldest flush under way, in milliseconds; 0 for none",
                GAUGE,
                |s| {
                    s.oldest_flush_age
                        .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
                },
            ),
        ];
        for (name, help, kind, of) in families {
            page.family((name, help, kind), lines(of))?;
        }
        page.latencies(
            (
                "walrus_wal_flush_seconds",
                "From handing a group to the disk until it was durable, in seconds",
            ),
            wals.iter().map(|(labels, stats)| (*labels, stats.flush)),
        )
    }

    fn storage(&self, page: &mut Page<'_>) -> fmt::Result {
        let facts = &self.facts;
        let gauges = [
            (
                "walrus_hot_tail_bytes",
                "Batches in memory that their segment files do not have yet, in bytes",
                facts.hot_tail_bytes,
            ),
            (
                "walrus_hot_tail_max_bytes",
                "The bound of the hot tail, in bytes",
                facts.hot_tail_bytes_max,
            ),
            (
                "walrus_disk_free_bytes",
                "Free on the disk of the data folder, in bytes",
                facts.disk_free_bytes,
            ),
            (
                "walrus_disk_reserve_bytes",
                "Free disk that producers never get, in bytes",
                facts.disk_reserve_bytes,
            ),
            (
                "walrus_disk_full",
                "1 while producers are refused because the reserve is reached",
                facts.disk_full.map(u64::from),
            ),
            ("walrus_topics", "Topics of the cluster", facts.topics),
            ("walrus_partitions", "Partitions of the cluster", facts.partitions),
            ("walrus_segments", "Segments in the chains of all partitions", facts.segments),
            (
                "walrus_open_segment_files",
                "Segment files that are held open",
                facts.open_segment_files,
            ),
        ];
        for (name, help, value) in gauges {
            page.gauge(name, help, value)?;
        }
        Ok(())
    }

    fn raft(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(RaftFacts { leader, is_leader, term, commit_index, applied_index }) =
            self.facts.raft
        else {
            return Ok(());
        };
        let leader = leader.and_then(|node| u64::try_from(node.0).ok());
        page.gauge(
            "raft_leader",
            "Node id of the metadata's leader; missing while there is none",
            leader,
        )?;
        let whose = [("topic", "__meta"), ("partition", "0")];
        page.family(
            ("raft_is_leader", "1 if this node leads the metadata, else 0", GAUGE),
            [(whose, u64::from(is_leader))],
        )?;
        page.gauge("raft_term", "Raft's term", Some(term))?;
        page.gauge(
            "raft_commit_index",
            "Last committed entry of the metadata's log",
            Some(commit_index),
        )?;
        page.gauge(
            "raft_applied_index",
            "Last applied entry of the metadata's log",
            Some(applied_index),
        )
    }

    fn cluster(&self, page: &mut Page<'_>) -> fmt::Result {
        let cluster = self.facts.cluster;
        page.gauge("cluster_size", "Nodes of the cluster", cluster.map(|facts| facts.size))?;
        let quorum = cluster.map(|facts| facts.quorum);
        page.gauge("cluster_quorum_size", "Voters that must agree on metadata", quorum)?;
        let lines = |of: fn(&PartitionFacts) -> u64| {
            self.facts.led.iter().map(move |one| {
                let labels =
                    [("topic", one.topic.clone()), ("partition", one.partition.to_string())];
                (labels, of(one))
            })
        };
        page.family(
            ("partition_isr_size", "Replicas in sync, of partitions that this node leads", GAUGE),
            lines(|one| one.in_sync),
        )?;
        page.family(
            ("partition_has_min_isr", "1 if acks=all can be answered, else 0", GAUGE),
            lines(|one| u64::from(one.has_min_in_sync)),
        )
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let ProcessFacts { resident_bytes, cpu_seconds, open_files, open_files_max, started } =
            self.process;
        page.gauge("process_resident_memory_bytes", "Memory in RAM, in bytes", resident_bytes)?;
        if let Some(cpu_seconds) = cpu_seconds {
            let help = "User and system CPU time spent, in seconds";
            self_counter(page, "process_cpu_seconds", help, cpu_seconds)?;
        }
        page.gauge("process_open_fds", "File descriptors that are open", open_files)?;
        page.gauge("process_max_fds", "File descriptors that may be open", open_files_max)?;
        let help = "When the process started, in seconds since 1970";
        page.seconds("process_start_time_seconds", help, started)
    }
}

fn self_counter(page: &mut Page<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    page.0
        .encode_descriptor(name, help, None, COUNTER)?
        .encode_counter::<NoLabelSet, _, f64>(&value, None)
}

/// The name of the error at a place of the tables in [`Metrics`].
fn error_name(place: usize) -> String {
    let code = i16::try_from(place).unwrap_or(0) - 1;
    ResponseError::try_from_code(code)
        .map_or_else(|| code.to_string(), |error| format!("{error:?}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use walrus_types::{NodeId, PartitionIndex};

    use super::*;
    use crate::metrics::ClusterFacts;

    fn page(metrics: &Metrics, facts: NodeFacts) -> String {
        render(metrics, facts, &Health::new("storage"))
    }

    #[track_caller]
    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|one| one == line), "no line {line:?} in:\n{text}");
    }

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::default();
        let guard = metrics.connected();
        drop(metrics.connected());
        metrics.request(Api::Fetch);
        metrics.request_took(Api::Fetch, Duration::from_micros(40));
        metrics.roll_parked(Duration::from_micros(1500));
        metrics.produced(3, 700);
        metrics.produced(-1, 0);
        metrics.produce_refused(ResponseError::CorruptMessage);
        metrics.fetch_refused(ResponseError::UnknownServerError);
        metrics.text_command(&walrus_wire::text::Command::Metrics);
        let text = page(&metrics, NodeFacts::default());
        for line in [
            "walrus_connections 1",
            "walrus_connections_accepted_total 2",
            "walrus_requests_total{api=\"Fetch\"} 1",
            "walrus_request_seconds_bucket{le=\"0.000032\",api=\"Fetch\"} 0",
            "walrus_request_seconds_bucket{le=\"0.000064\",api=\"Fetch\"} 1",
            "walrus_request_seconds_bucket{le=\"+Inf\",api=\"Fetch\"} 1",
            "walrus_produced_records_total 3",
            "walrus_roll_parked_seconds_bucket{le=\"0.001024\"} 0",
            "walrus_roll_parked_seconds_bucket{le=\"0.002048\"} 1",
            "walrus_produced_bytes_total 700",
            "walrus_request_errors_total{api=\"Produce\",error=\"CorruptMessage\"} 1",
            "walrus_request_errors_total{api=\"Fetch\",error=\"UnknownServerError\"} 1",
            "walrus_text_commands_total{command=\"METRICS\"} 1",
            "walrus_state{state=\"starting\"} 1",
            "walrus_state{state=\"ready\"} 0",
            "# EOF",
        ] {
            has(&text, line);
        }
        assert!(!text.contains("raft_term"), "what nobody knows is not told");
        drop(guard);
        has(&page(&metrics, NodeFacts::default()), "walrus_connections 0");
    }

    #[test]
    fn what_other_parts_know_is_told_under_the_names_that_dashboards_know() {
        let facts = NodeFacts {
            records_wal: Some(WalStats { groups: 7, ..WalStats::default() }),
            disk_full: Some(true),
            raft: Some(RaftFacts {
                leader: Some(NodeId(2)),
                is_leader: false,
                term: 3,
                commit_index: 9,
                applied_index: 8,
            }),
            cluster: Some(ClusterFacts { size: 1, quorum: 1 }),
            led: vec![PartitionFacts {
                topic: "a\"b".into(),
                partition: PartitionIndex(0),
                in_sync: 1,
                has_min_in_sync: true,
            }],
            ..NodeFacts::default()
        };
        let text = page(&Metrics::default(), facts);
        for line in [
            "walrus_wal_groups_total{wal=\"records\"} 7",
            "walrus_disk_full 1",
            "raft_leader 2",
            "raft_is_leader{topic=\"__meta\",partition=\"0\"} 0",
            "raft_term 3",
            "raft_commit_index 9",
            "raft_applied_index 8",
            "cluster_size 1",
            "cluster_quorum_size 1",
            "partition_isr_size{topic=\"a\\\"b\",partition=\"0\"} 1",
            "partition_has_min_isr{topic=\"a\\\"b\",partition=\"0\"} 1",
        ] {
            has(&text, line);
        }
    }

    #[test]
    fn every_family_has_a_help_text_and_every_count_is_cumulative() {
        let metrics = Metrics::default();
        for us in [0, 1, 15, 16, 20_000_000, u64::MAX / 2000] {
            metrics.request_took(Api::Produce, Duration::from_micros(us));
        }
        let text = page(&metrics, NodeFacts::default());
        for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = family.split(' ').next().unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
        }
        has(&text, "walrus_request_seconds_bucket{le=\"0.000016\",api=\"Produce\"} 3");
        has(&text, "walrus_request_seconds_bucket{le=\"16.777216\",api=\"Produce\"} 4");
        has(&text, "walrus_request_seconds_bucket{le=\"+Inf\",api=\"Produce\"} 6");
        has(&text, "walrus_request_seconds_count{api=\"Produce\"} 6");
    }
}
