//! The bus of a single process: whoever publishes calls the listener.

use std::fmt;
use std::sync::OnceLock;

use super::{Bus, Event};

#[derive(Default)]
pub struct LocalBus {
    listener: OnceLock<Box<dyn Fn(Event) + Send + Sync>>,
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus").finish_non_exhaustive()
    }
}

impl Bus for LocalBus {
    fn publish(&self, event: Event) {
        if let Some(listener) = self.listener.get() {
            listener(event);
        }
    }

    fn attach(&self, listener: Box<dyn Fn(Event) + Send + Sync>) {
        // A second hub on a local bus would have nobody to hear from.
        let _ = self.listener.set(listener);
    }
}
