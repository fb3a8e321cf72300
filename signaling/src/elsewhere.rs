//! Who has a connection at other nodes, as these have told.

use std::collections::{BTreeSet, HashMap, HashSet};

use foldhash::fast::FixedState;

use crate::{NodeId, UserId};

#[derive(Default)]
pub(crate) struct Elsewhere {
    nodes: HashMap<NodeId, HashSet<UserId, FixedState>>,
}

impl Elsewhere {
    pub fn has(&self, user: UserId) -> bool {
        self.nodes.values().any(|users| users.contains(&user))
    }

    pub fn set(&mut self, node: NodeId, user: UserId, is_here: bool) {
        let users = self.nodes.entry(node).or_default();
        match is_here {
            true => users.insert(user),
            false => users.remove(&user),
        };
    }

    /// The node has these and no others; of whom that is news.
    pub fn replace(&mut self, node: NodeId, users: Vec<UserId>) -> BTreeSet<UserId> {
        let new: HashSet<UserId, FixedState> = users.into_iter().collect();
        let old = self.nodes.remove(&node).unwrap_or_default();
        let news = old.symmetric_difference(&new).copied().collect();
        if !new.is_empty() {
            self.nodes.insert(node, new);
        }
        news
    }
}
