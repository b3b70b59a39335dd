//! Thousands of writers that clash, while replicas are restarted and killed and their watches stall.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::Done;
use crate::support::api::MEMBERS;
use crate::support::cable::Cable;
use crate::support::objects::{annotated, described};
use crate::support::racing::{Ring, write};

const REPLICAS: usize = 3;
/// How much a watch has received by which it is known from other connections.
const LARGE: usize = 200 << 10;
/// How long a replica stays before it is restarted or its watch stalls.
const PERIOD: Duration = Duration::from_secs(5);

#[test]
#[ignore = "takes minutes: `make faults`"]
fn of_writes_that_clash_one_is_stored_whoever_dies() {
    let ring = Ring::start(REPLICAS, &[]);
    let large = annotated(described("large-0", true, &[]), "note", &"x".repeat(LARGE));
    assert_eq!(write(&mut ring.cluster.plane.admin(), &large).status, 201);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| disturb(&ring, &done));
        ring.races(1000, 200);
    });
}

/// Restarts, kills and deafens one replica after another.
fn disturb(ring: &Ring, done: &AtomicBool) {
    let mut cables = Vec::new();
    for turn in 0.. {
        thread::sleep(PERIOD);
        if done.load(Ordering::Relaxed) {
            return;
        }
        let number = turn % REPLICAS;
        match turn / REPLICAS % 3 {
            0 => ring.restart(number, Signal::TERM),
            1 => ring.restart(number, Signal::KILL),
            _ => {
                // Its watch of the members stalls, and nothing else.
                let cable = Cable::to(ring.cluster.plane.api());
                let server = ring.cluster.replica_by(cable.address, &ring.args());
                drop(ring.seat(number, server));
                cable.die_where_received(LARGE);
                cables.push(cable);
            }
        }
    }
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_thousand_sound_members_of_many_writers_are_all_stored() {
    const MEMBERS_OF_ALL: usize = 1000;
    const WRITERS: usize = 32;
    let ring = Ring::start(REPLICAS, &[]);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut api = ring.cluster.plane.admin();
                loop {
                    let member = next.fetch_add(1, Ordering::Relaxed);
                    if member >= MEMBERS_OF_ALL {
                        return;
                    }
                    let name = format!("sound{member}-{}", member % REPLICAS);
                    let answer = write(&mut api, &described(&name, true, &[]));
                    assert_eq!(answer.status, 201, "{MEMBERS}/{name}: {}", answer.text());
                }
            });
        }
    });
    assert_eq!(ring.stored().len(), MEMBERS_OF_ALL);
}
