//! What the nodes of one server tell each other of what is true only now, beside what their hubs do by themselves. One place
//! for all of it: each part of the program has a variant of [`Word`], and is told here what others say.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use moznods_signaling::{News, NodeId};
use serde::{Deserialize, Serialize};

use super::App;
use super::abuse;

/// Nodes of different versions are told apart by what is in it: what a node cannot read it passes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    Abuse(abuse::Word),
}

impl App {
    /// Says it to all other nodes, if there are any. Does not block.
    pub(super) fn tell_nodes(&self, word: &Word) {
        match serde_json::to_vec(word) {
            Ok(word) => self.hub.publish_news(word.into()),
            Err(error) => tracing::error!(%error, "other nodes cannot be told something"),
        }
    }

    pub(super) fn listen_to_nodes(self: &Arc<Self>) {
        let app: Weak<App> = Arc::downgrade(self);
        self.hub.listen_to_news(move |news| {
            let Some(app) = app.upgrade() else {
                return;
            };
            match news {
                News::Said { from, bytes } => app.hear_node(from, &bytes),
                News::Asked => app.say_again(),
                News::Gone(node) => app.forget_node(node),
            }
        });
    }

    fn hear_node(&self, from: NodeId, bytes: &Bytes) {
        match serde_json::from_slice(bytes) {
            Ok(Word::Abuse(word)) => self.abuse.hear(word),
            Err(error) => {
                tracing::debug!(%error, from, "another node says what this one does not know")
            }
        }
    }

    /// Another node does not know what was said: what still holds is said once more.
    fn say_again(&self) {}

    /// What a node has said of itself does not hold any more.
    fn forget_node(&self, _: NodeId) {}
}
