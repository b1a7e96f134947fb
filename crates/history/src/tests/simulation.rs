//! Random runs of a store, its replica and several servers, with the log and the follower that ship, through all that can go
//! wrong. A run is a list of operations, drawn before it begins: one that fails is made as short as it can be.
//!
//! `SEED=7` runs that one, `RUNS=1000000` so many; `SEED=7 RUNS=100` a hundred, from 7 on.

mod counts;
mod ledger;
mod node;
mod plan;
mod random;
mod server;
mod shrink;
mod witness;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use counts::Counts;
use plan::{Op, Setup, plan};
use world::World;

/// Runs of `cargo test`.
const RUNS: u64 = 100_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(world: &mut World, ops: &[Op]) -> Result<(), String> {
    let all = AssertUnwindSafe(|| {
        ops.iter().try_for_each(|op| world.run(*op))?;
        world.end()
    });
    catch_unwind(all).unwrap_or_else(|_| Err("it panics".to_owned()))
}

/// A failing run, made short, and its story.
fn explain(setup: Setup, ops: &[Op]) -> (usize, String) {
    let ops = shrink::shrink(ops, |ops| run(&mut World::new(setup), ops).is_err());
    let mut world = World::new(setup);
    world.story = Some(Vec::new());
    let fault = run(&mut world, &ops).err().unwrap_or_default();
    let story = world.story.unwrap_or_default().join("\n");
    (ops.len(), format!("{setup:?}\n{story}\n{fault}"))
}

#[test]
fn every_message_is_handed_on_once_and_in_order_or_it_is_told_that_it_may_be_missing() {
    let first = number("SEED").unwrap_or(1);
    let runs = number("RUNS").unwrap_or(if std::env::var("SEED").is_ok() { 1 } else { RUNS });
    let mut counts = Counts::default();
    for seed in first..first.saturating_add(runs) {
        let (setup, ops) = plan(seed);
        let mut world = World::new(setup);
        if let Err(fault) = run(&mut world, &ops) {
            let (length, story) = explain(setup, &ops);
            panic!(
                "SEED={seed} fails after {} runs, here with {length} of its {} operations\n{story}\nat first: {fault}",
                seed - first + 1,
                ops.len()
            );
        }
        counts.add(&world.counts);
    }
    println!("{counts}");
    if runs >= RUNS {
        assert_eq!(counts.never(), Vec::<&str>::new(), "these never happened");
    }
}
