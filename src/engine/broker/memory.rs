//! The broker of a single server: what is published is delivered here, at once, on the caller's thread.

use std::sync::Arc;

use super::{Broker, Channel, Delivery, Status};
use crate::engine::delivery::deliver;
use crate::engine::frame::Message;
use crate::engine::registry::Registry;

/// See the module.
#[derive(Debug)]
pub struct MemoryBroker {
    registry: Arc<Registry>,
    outbox_limit: usize,
}

impl MemoryBroker {
    /// A broker that delivers to the connections in `registry`.
    pub fn new(registry: Arc<Registry>, outbox_limit: usize) -> Self {
        MemoryBroker { registry, outbox_limit }
    }
}

impl Broker for MemoryBroker {
    fn publish(&self, channel: Channel<'_>, message: Message<'_>) -> Delivery {
        let local = deliver(&self.registry, channel, message, self.outbox_limit);
        Delivery { status: Status::Published, nodes: u32::from(local > 0), local }
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}
