//! The binding: the only place that names napi. What JavaScript calls is converted, delegated to the engine, and
//! converted back; nothing is decided here.

// Test binaries don't export what only JavaScript calls.
#![cfg_attr(test, allow(dead_code))]

mod batch;
mod bridge;
mod catalogue;
mod manager;
mod options;
mod outcome;
mod protocol;
mod pubsub;
mod raise;
mod teardown;
mod text;
mod wake;
