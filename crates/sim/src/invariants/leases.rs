//! A leader whose segment was sealed answers reads no longer than a lease lasts, whoever sealed it
//! and however far its metadata is behind.

use crate::world::World;

impl World {
    pub(crate) fn check_lease(&mut self, at: usize) {
        let (now, memory) = (self.clock(at), &self.nodes[at].memory);
        let Some(lead) = memory.lead.as_ref() else {
            return;
        };
        if !memory.lease.may_read(&lead.lease, now) {
            return;
        }
        let epoch = lead.leader.epoch();
        if let Some(sealed_at) = self.truth.sealed_at.get(&epoch) {
            self.counts.stale_leaders += 1;
            let ms = self.now - sealed_at;
            assert!(ms <= Self::ttl_ms(), "{at} still reads {epoch}, which was sealed {ms} ms ago");
        }
    }
}
