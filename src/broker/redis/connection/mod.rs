//! One connection to a server of Redis, which comes back for ever: [`link`].

mod batch;
pub(crate) mod command;
mod in_flight;
mod lane;
pub(crate) mod link;
pub(crate) mod pipeline;
pub(crate) mod reply;
mod session;
