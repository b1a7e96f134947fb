//! The common parts of the load generator (`load`) and the floor (`floor`).
//!
//! - [`frame`]: RFC 6455 frames, pure.
//! - [`dialect`]: a server's dialect on top of them, pure.
//! - [`net`]: sockets and epoll, thin.
//! - [`peer`]: one client connection.
//! - [`meter`]: the measured window: latency, CPU time, memory.

pub mod dialect;
pub mod frame;
pub mod meter;
pub mod net;
pub mod peer;
