//! The opening handshake (RFC 6455, section 4.2) as pure functions of the request head: no socket, no clock.
//!
//! Nothing a peer sends panics, and no message repeats a token.

#![forbid(unsafe_code)]

mod forwarded;
mod handshake;
mod head;
mod header_lines;
mod origin;
pub mod redact;
mod refusal;
pub mod syntax;
#[cfg(test)]
mod tests;

pub use forwarded::{Client, HOPS, ProxyHeader, TrustProxy};
pub use handshake::{Accept, BEARER, Rules, accept, response_101};
pub use head::RequestHead;
pub use header_lines::HeaderLines;
pub use origin::{OriginPattern, Origins, check_origin};
pub use refusal::{Own, Refusal};
