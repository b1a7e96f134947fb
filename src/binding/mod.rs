//! The binding: the only place that names napi. What JavaScript calls is converted, delegated to the engine, and
//! converted back; nothing is decided here.

mod batch;
mod bridge;
mod catalogue;
mod manager;
mod options;
mod raise;
