//! The codes that users of the package see: of [errors](error), and of [closed connections](close).

#![forbid(unsafe_code)]

pub mod close;
pub mod error;
