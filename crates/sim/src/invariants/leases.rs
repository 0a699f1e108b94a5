//! A leader that was deposed serves no longer than a lease lasts. One that handed over by itself
//! was not deposed: it may be behind for as long as its metadata is.

use crate::world::World;

impl World {
    pub(crate) fn check_lease(&mut self, at: usize) {
        let (now, memory) = (self.clock(at), &self.nodes[at].memory);
        let Some(lead) = memory.lead.as_ref() else {
            return;
        };
        if !memory.lease.may_serve(&lead.lease, now) {
            return;
        }
        let epoch = lead.leader.epoch();
        if let Some(deposed_at) = self.truth.deposed_at.get(&epoch) {
            self.counts.stale_leaders += 1;
            let ms = self.now - deposed_at;
            assert!(ms <= Self::ttl_ms(), "{at} still leads {epoch}, which was sealed {ms} ms ago");
        }
    }
}
