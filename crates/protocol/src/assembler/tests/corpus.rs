//! The cases that the fuzzer kept, and those that once failed: `fuzz/corpus/`, a folder for each of its targets.

use std::fmt::Display;

use super::{any_frame, differential};

fn play(target: &str, check: impl Fn(&[u8], &dyn Display)) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        check(&std::fs::read(&path).unwrap(), &path.display());
        count += 1;
    }
    assert!(count > 0, "{folder}");
}

#[test]
fn streams_that_the_fuzzer_kept_mean_what_they_mean_to_tungstenite() {
    play("assembler", differential::compare_cut);
}

#[test]
fn frames_that_the_fuzzer_kept_are_what_they_are_wherever_they_are_cut() {
    play("frame", |bytes, _| any_frame::check(bytes));
}
