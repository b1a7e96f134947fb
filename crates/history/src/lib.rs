//! The history of topics. A topic is a user or a room; each of its messages has a [`Position`](position::Position).
//! [`log`] gives positions and keeps messages, [`follower`] finds out what a server has missed and repairs it. No socket, clock,
//! thread or runtime: a simulation drives both through what can go wrong.

#![forbid(unsafe_code)]

pub mod follower;
mod known;
pub mod log;
pub mod meta;
pub mod pattern;
pub mod position;
pub mod seen;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod waiting;
