//! Heads and whole frames of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
// The shared file knows it as its crate's.
use protocol::frame;

#[path = "../../crates/protocol/src/assembler/tests/any_frame.rs"]
mod any_frame;

fuzz_target!(|bytes: &[u8]| any_frame::check(bytes));
