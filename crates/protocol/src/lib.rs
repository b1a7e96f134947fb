//! The WebSocket protocol (RFC 6455, section 5): bytes in, messages and frames out. No socket, clock, thread or runtime.

#![forbid(unsafe_code)]

pub mod assembler;
pub mod endpoint;
pub mod extension;
pub mod frame;
pub mod reflected;
