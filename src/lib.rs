//! `@actory/websocket`: WebSockets for Node servers, run by Rust.
//!
//! The map: [`engine`] is everything that has to do with sockets and knows nothing of Node; `binding` is the thin
//! layer that JavaScript calls (feature `node`). ARCHITECTURE.md tells how they fit together and why.

#[cfg(feature = "node")]
mod binding;
pub mod engine;

#[cfg(test)]
mod tests;
