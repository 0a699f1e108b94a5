//! Idempotent producers: five batches in flight, in order, and all of them again to a new leader.
//! Consumers, which read from whomever they reach.

use std::collections::VecDeque;

use walrus_replication::Writer;
use walrus_types::{
    Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
    batch::{BatchHeader, plain_header},
};

use crate::{
    message::{Key, key},
    world::World,
};

const IN_FLIGHT_MAX: usize = 5;

pub(crate) struct Client {
    pub(crate) id: ProducerId,
    pub(crate) next: Sequence,
    pub(crate) in_flight: VecDeque<BatchHeader>,
    /// The life of the leader to which all that is in flight was sent, in order.
    pub(crate) sent_to: Option<Writer>,
}

impl Client {
    pub(crate) fn new(id: i64) -> Self {
        let (next, in_flight) = (Sequence(0), VecDeque::new());
        Self { id: ProducerId(id), next, in_flight, sent_to: None }
    }
}

/// Where a consumer stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Consumer {
    pub(crate) at: Offset,
}

impl World {
    /// A client sends something to whoever leads, or to whoever thinks so.
    pub(crate) fn client_acts(&mut self, client: usize) {
        let known = self.slot_of(self.raft.open().writer.node);
        let known = known.filter(|at| self.nodes[*at].runs(self.now) && !self.rng.one_in(4));
        let Some(at) = known.or_else(|| self.some_leader()) else {
            return;
        };
        if !self.may_append(at) {
            return;
        }
        if self.healing || self.rng.one_in(8) {
            if self.clients[client].sent_to != Some(self.nodes[at].memory.life) || !self.healing {
                self.resend(client, at);
            }
        } else {
            self.produce(client, at);
        }
    }

    /// A consumer reads on, from any node that it reaches.
    pub(crate) fn consume(&mut self) {
        let consumer = self.rng.index(self.consumers.len());
        let at = self.rng.index(self.nodes.len());
        if !self.nodes[at].runs(self.now) {
            return;
        }
        let from = self.consumers[consumer].at;
        let read = self.nodes[at].readable(from);
        let Some(last) = read.last() else {
            return;
        };
        self.counts.reads += 1;
        self.consumers[consumer].at = last.end();
        self.truth.check_read(from, &read);
    }

    /// A client sends its next batch to whoever leads, or thinks so.
    pub(crate) fn produce(&mut self, client: usize, at: usize) {
        if self.nodes[at].memory.lead.is_none() {
            return;
        }
        let records = i32::try_from(self.rng.index(3) + 1).unwrap();
        let life = self.nodes[at].memory.life;
        let Client { id, next, in_flight, sent_to } = &mut self.clients[client];
        if in_flight.len() == IN_FLIGHT_MAX {
            return;
        }
        let batch = BatchHeader {
            producer_id: *id,
            producer_epoch: ProducerEpoch(0),
            base_sequence: *next,
            max_timestamp: TimestampMs(i64::try_from(self.now).unwrap()),
            ..plain_header(records)
        };
        *next = next.plus(records);
        in_flight.push_back(batch);
        if *sent_to == Some(life) {
            self.request(at, batch);
        } else {
            self.resend(client, at);
        }
    }

    /// All that is in flight again, in order, until the leader refuses.
    pub(crate) fn resend(&mut self, client: usize, at: usize) {
        if self.nodes[at].memory.lead.is_none() {
            return;
        }
        let to = Some(self.nodes[at].memory.life);
        self.clients[client].sent_to = to;
        for batch in self.clients[client].in_flight.clone() {
            if self.clients[client].sent_to == to {
                self.request(at, batch);
            }
        }
    }

    pub(crate) fn client_is_done(&mut self, with: Key) {
        for client in &mut self.clients {
            client.in_flight.retain(|batch| key(batch) != with);
        }
    }

    pub(crate) fn client_begins_again(&mut self, id: ProducerId) {
        for client in self.clients.iter_mut().filter(|client| client.id == id) {
            client.sent_to = None;
        }
    }

    pub(crate) fn client_lost_leader(&mut self, leader: Writer) {
        for client in &mut self.clients {
            client.sent_to = client.sent_to.filter(|to| *to != leader);
        }
    }
}
