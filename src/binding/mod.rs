//! The binding: the only place that names napi. A call of JavaScript's is converted, delegated to the engine, and
//! converted back; nothing is decided here.

// Test binaries don't export what only JavaScript calls.
#![cfg_attr(test, allow(dead_code))]

mod batch;
mod bridge;
mod catalogue;
mod constants;
mod history;
mod log;
mod manager;
mod notify;
mod options;
mod outcome;
mod pubsub;
mod teardown;
mod throw;
mod utf16;
