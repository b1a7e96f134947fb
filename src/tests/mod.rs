//! Scenario tests: the engine on real loopback sockets, without Node.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod allocations;
mod bridge;
mod client;
mod door;
mod events;
mod fairness;
mod farewells;
mod frames;
mod handshake;
mod harness;
mod heartbeat;
mod lifecycle;
mod log;
mod memory;
mod overdue;
mod proxy;
mod redis;
mod redis_cluster;
mod redis_login;
pub(crate) mod redis_rig;
mod redis_sentinel;
mod relay;
mod rooms;
mod slow;
mod stress;
mod subprotocol;
pub(crate) mod versions;
mod violations;
