//! The messages of the subprotocol `actory.v1` as bytes. docs/protocol.md is its specification.

#![forbid(unsafe_code)]

pub mod client_message;
pub mod server_message;
pub mod session;
pub mod stream;

mod binary_frame;

/// The name of the subprotocol (RFC 6455, section 1.9).
pub const NAME: &str = "actory.v1";
