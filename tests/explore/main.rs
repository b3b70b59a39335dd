//! Schedules of several replicas, at random and by a seed each, of the ledger as it is shipped.
//!
//! `make test` runs a few thousand of them, `make explore` a million. Then each safeguard is left
//! out in turn, and the failure has to be found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test may fail, and tells what it has found; its numbers are small"
)]

mod aim;
mod replica;
mod request;
mod world;

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use isthmus::ledger::Safeguard;

use world::{Left, World};

/// How many steps a schedule has.
const STEPS: usize = 260;

/// What is found so soon that `make test` looks for it, too; `make explore` looks for all.
const FOUND_SOON: [Left; 12] = [
    Left::Safeguard(Safeguard::Nonce),
    Left::Safeguard(Safeguard::Identity),
    Left::Safeguard(Safeguard::Creations),
    Left::Safeguard(Safeguard::Worlds),
    Left::Safeguard(Safeguard::Look),
    Left::Safeguard(Safeguard::Relist),
    Left::Safeguard(Safeguard::Own),
    Left::Safeguard(Safeguard::Stale),
    Left::Safeguard(Safeguard::Confirm),
    Left::Safeguard(Safeguard::Opaque),
    Left::Safeguard(Safeguard::Absent),
    Left::Test,
];

/// What may be left out without a failure, and why it is kept.
const KEPT: [(Left, &str); 1] = [(
    Left::Safeguard(Safeguard::Quarantine),
    "Relist implies it, for no list is new enough before it is over; but it answers at once, and says why",
)];

/// What a schedule has come to.
#[derive(Default)]
struct Sum {
    schedules: AtomicU64,
    stored: AtomicU64,
    denied: AtomicU64,
    delayed: AtomicU64,
}

fn run(seed: u64, left: Left, sum: &Sum) -> Option<String> {
    let mut world = World::new(seed, left);
    world.is_told = told() == Some(seed);
    for _ in 0..STEPS {
        world.step();
        if world.failure.is_some() {
            return world.failure;
        }
    }
    world.end();
    sum.schedules.fetch_add(1, Ordering::Relaxed);
    sum.stored.fetch_add(world.stored, Ordering::Relaxed);
    sum.denied.fetch_add(world.denied, Ordering::Relaxed);
    sum.delayed.fetch_add(world.delayed, Ordering::Relaxed);
    world.failure
}

/// The schedule that `ISTHMUS_SCHEDULE` names: it alone is run, and what happens in it is told.
fn told() -> Option<u64> {
    env::var("ISTHMUS_SCHEDULE").ok().map(|text| text.parse().expect("a number"))
}

/// How many schedules, of which `ISTHMUS_SCHEDULES` says more.
fn schedules(usual: u64) -> u64 {
    env::var("ISTHMUS_SCHEDULES").map_or(usual, |text| text.parse().expect("a number"))
}

/// The first schedule that fails, of so many.
fn explore(left: Left, schedules: u64, sum: &Sum) -> Option<(u64, String)> {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let is_found = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        let search = |of: u64| {
            let is_found = &is_found;
            scope.spawn(move || {
                let seeds = (of..schedules).step_by(threads as usize);
                let only = told().filter(|_| of == 0);
                let mut seeds = seeds.filter(|_| told().is_none()).chain(only);
                let found = seeds.find_map(|seed| {
                    if is_found.load(Ordering::Relaxed) {
                        return Some(None);
                    }
                    run(seed, left, sum).map(|failure| Some((seed, failure)))
                });
                is_found.fetch_or(found.is_some(), Ordering::Relaxed);
                found.flatten()
            })
        };
        let threads: Vec<_> = (0..threads).map(search).collect();
        let found: Vec<_> = threads.into_iter().filter_map(|it| it.join().unwrap()).collect();
        found
    });
    found.into_iter().min()
}

#[test]
fn no_schedule_stores_a_clash_or_leaves_a_write_waiting() {
    let sum = Sum::default();
    let found = explore(Left::Nothing, schedules(2_000), &sum);
    assert_eq!(found, None);
    let [schedules, stored, denied, delayed] =
        [&sum.schedules, &sum.stored, &sum.denied, &sum.delayed]
            .map(|it| it.load(Ordering::Relaxed));
    println!("{schedules} schedules: {stored} stored, {denied} denied, {delayed} delayed");
    assert!(stored > schedules && denied > schedules / 10 && delayed > schedules / 10);
}

#[test]
fn safeguards_that_are_left_out_are_missed() {
    let safeguards = Safeguard::ALL.map(Left::Safeguard);
    let around = [Left::Test, Left::Checksum, Left::Monotonic, Left::Late];
    let is_long = env::var("ISTHMUS_SCHEDULES").is_ok();
    let only = env::var("ISTHMUS_WITHOUT").ok();
    let mut missing = Vec::new();
    for left in safeguards.into_iter().chain(around) {
        let is_asked = only.as_ref().is_none_or(|only| *only == left.to_string());
        if !is_asked || !is_long && only.is_none() && !FOUND_SOON.contains(&left) {
            continue;
        }
        let kept = KEPT.iter().find(|(kept, _)| *kept == left);
        match (explore(left, schedules(2_000), &Sum::default()), kept) {
            (Some((seed, failure)), _) => println!("without {left}: schedule {seed}: {failure}"),
            (None, Some((_, why))) => println!("without {left}: nothing is found: {why}"),
            (None, None) => missing.push(left),
        }
    }
    assert_eq!(missing, [], "nothing is found without these");
}
