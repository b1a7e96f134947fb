//! One connection to a server of Redis, which comes back for ever.

mod batch;
pub(crate) mod command;
pub(crate) mod health;
mod in_flight;
mod lane;
pub(crate) mod link;
pub(crate) mod pipeline;
pub(crate) mod reconnect;
pub(crate) mod reply;
pub(crate) mod script;
mod session;
