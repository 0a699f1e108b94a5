//! The nodes of a made-up cluster, and what they say of themselves.

use walrus_admin::{
    node::{Addresses, Holding, Node, RaftPart},
    snapshot::{
        BUSIEST_MAX, Busy, DiskVitals, LeaseView, NodeEntry, RaftView, StoreVitals, Vitals,
        WalVitals,
    },
};
use walrus_types::{Epoch, Incarnation, StorageId};

use super::{Life, Simulated, node_id};

impl Simulated {
    /// What is written to the partitions that a node leads.
    fn busiest(&self, at: usize) -> Vec<Busy> {
        let led = self.logs.iter().filter(|log| log.leader == at && log.end > log.base);
        let busy = led.map(|log| Busy {
            topic: log.name.topic.clone(),
            partition: log.name.partition,
            epoch: Epoch(i32::try_from(log.epoch).unwrap_or(i32::MAX)),
            bytes: u64::try_from(log.end - log.base).unwrap_or(0) * 300,
            since_ms: self.now_ms - log.opened_ms,
        });
        let mut busy: Vec<Busy> = busy.collect();
        busy.sort_by(|one, other| other.per_second().total_cmp(&one.per_second()));
        busy.truncate(BUSIEST_MAX);
        busy
    }

    pub(super) fn node(&self, at: usize) -> NodeEntry {
        let life = &self.nodes[at];
        let leads = self.logs.iter().filter(|log| log.leader == at).count();
        let leads = u64::try_from(leads).unwrap_or(0);
        let address = |port: usize| format!("10.0.0.{}:{port}", at + 1);
        let stored: u64 =
            self.logs.iter().flat_map(|log| &log.sealed).filter_map(|one| one.bytes).sum();
        let is_down = life.back_at_ms.is_some();
        let vitals = Vitals {
            version: "0.1.0".to_owned(),
            at_ms: self.now(),
            uptime_ms: self.now_ms - life.began_ms,
            metadata_version: self.version,
            raft: RaftView {
                state: if at == self.controller { "leader" } else { "follower" }.to_owned(),
                term: self.term,
                leader: Some(node_id(self.controller)),
                last: self.version,
                applied: self.version,
                committed: self.version,
                snapshot: self.version / 100 * 100,
                purged: self.version / 200 * 100,
            },
            leases: LeaseView { loaded: leads, rolling: 0, without_lease: 0, silent_ms: 80 },
            traffic: life.traffic,
            wal: wal(life),
            store: StoreVitals {
                open_files: leads * 2,
                disk_full: false,
                pruned_held: u64::from(at == 1) * 2,
                pruned_holders: u64::from(at == 1) * 3,
            },
            gc: Some(self.gc(at)),
            disk: Some(DiskVitals {
                total_bytes: 1 << 40,
                free_bytes: (3_u64 << 38).saturating_sub(stored),
            }),
            resident_bytes: Some(48 << 20),
            cpu_ms: Some(life.cpu_ms),
            busiest: Some(self.busiest(at)),
        };
        NodeEntry {
            node: Node {
                node: node_id(at),
                state: life.state,
                drains: life.drains,
                storage: StorageId(uuid(at)),
                incarnation: Incarnation(life.incarnation),
                rack: None,
                addresses: Addresses {
                    client: address(9092),
                    peer: address(6001),
                    admin: address(7071),
                },
                raft: Some(RaftPart {
                    leads: at == self.controller,
                    votes: true,
                    lag_entries: Some(0),
                }),
                holding: Holding { leads, open: leads, ..Holding::default() },
                fences: 0,
            },
            vitals: Some(vitals),
            vitals_age_ms: Some(if is_down { 3_000 } else { 0 }),
            silent: is_down.then(|| "connection refused".to_owned()),
        }
    }
}

fn wal(life: &Life) -> WalVitals {
    WalVitals {
        ring_bytes: 512 << 20,
        used_bytes: (40 << 20) + (life.flushes % 97) * (1 << 20),
        flushes: life.flushes,
        flush_p50_us: 410,
        flush_p99_us: life.flush_p99_us,
        hot_tail_bytes: 9 << 20,
        hot_tail_max_bytes: 256 << 20,
        entries: life.flushes * 20,
        bytes: life.flushes * 24_576,
        flush_counts: [0, 0, 0, 0, 0, 0, 0, 1, 9, 40, 35, 12, 3]
            .map(|share: u64| life.flushes * share / 100)
            .to_vec(),
    }
}

fn uuid(at: usize) -> uuid::Uuid {
    uuid::Uuid::from_u128(u128::try_from(at).unwrap_or(0) + 1)
}
