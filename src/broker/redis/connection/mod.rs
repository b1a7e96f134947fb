//! One connection to a server of Redis, which comes back for ever: [`link`].

pub(crate) mod asker;
mod in_flight;
mod lane;
pub(crate) mod link;
pub(crate) mod pipeline;
mod session;
