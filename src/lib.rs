//! `@actory/websocket`: WebSockets for Node servers, run by Rust.
//!
//! The map: [`engine`] is everything that has to do with sockets and knows nothing of Node; `binding` is the thin
//! layer that JavaScript calls (feature `node`). Below the engine, each naming nothing above it: [`broker`], [`events`],
//! [`registry`], [`worker`], and the crates `auth`, `http`, `protocol` and `codes`. ARCHITECTURE.md tells how they fit together
//! and why.

#[cfg(feature = "node")]
mod binding;
pub mod broker;
pub mod engine;
pub mod events;
pub mod outcome;
mod random_name;
pub mod registry;
mod time_of_day;
pub mod worker;

#[cfg(test)]
mod tests;
