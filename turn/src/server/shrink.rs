//! Memory that is given back once many allocations have ended: a burst of them must not hold it for ever.

use super::{Output, Server};

/// For fewer that have ended it is not worth the work.
const LEAST: usize = 128;

impl Server {
    /// Makes the tables smaller, each time when there are half as many allocations as at most since the last time, or
    /// none: so the work is a few steps for each that has ended. To be called when one has.
    pub(super) fn shrink(&mut self) {
        let live = self.allocations.len();
        let halved = self.most.saturating_sub(live) >= LEAST.max(live);
        // The table of allocations is as long as the place of the last one in it.
        let emptied = live == 0 && self.allocations.capacity() > LEAST;
        if !halved && !emptied {
            return;
        }
        self.most = live;
        self.allocations.shrink_to_fit();
        self.by_tuple.shrink_to_fit();
        self.by_ticket.shrink_to_fit();
        self.common.shrink();
        self.outputs.push_back(Output::Shrink);
    }
}
