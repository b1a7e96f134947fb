//! The assembler against tungstenite: the test of `crates/protocol` with the fuzzer's streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
// The shared files know these as their crate's.
use protocol::{assembler, endpoint, extension, frame};

#[path = "../../crates/protocol/src/assembler/tests/differential.rs"]
mod differential;
#[path = "../../crates/protocol/src/assembler/tests/heard.rs"]
mod heard;

fuzz_target!(|case: &[u8]| differential::compare_cut(case, &"the case"));
