//! One of two replicas is killed under load.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use crate::support::Done;
use crate::support::api::MEMBERS;
use crate::support::cable::Cable;
use crate::support::guarded::Guarded;
use crate::support::objects::multicluster;
use crate::support::wait_for;
use rustix::process::Signal;

const CALLERS: usize = 8;
/// How many calls each caller makes before and after, at least.
const CALLS: u32 = 50;

/// Writes through the API server until it is done; says which calls failed, and how.
fn call_until(done: &AtomicBool, cluster: &Guarded, calls: &AtomicU32) -> Vec<(u32, String)> {
    let member = multicluster("call");
    let mut api = cluster.plane.admin();
    let mut failed = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let answer = api.try_create(MEMBERS, &member);
        let call = calls.fetch_add(1, Ordering::Relaxed);
        if answer.status != 201 {
            failed.push((call, answer.text()));
        }
    }
    failed
}

#[test]
fn only_calls_in_flight_fail() {
    let cluster = Guarded::start();
    let replica = cluster.replica();
    let cable = Cable::to_any([cluster.isthmus.webhook, replica.webhook]);
    cluster.register_at(cable.address, "Fail");
    let done = AtomicBool::new(false);
    let calls = [const { AtomicU32::new(0) }; CALLERS];
    let made = || calls.each_ref().map(|calls| calls.load(Ordering::Relaxed));
    let make = |more: u32| {
        let before = made();
        let is_enough = || made().iter().zip(before).all(|(made, before)| *made >= before + more);
        wait_for("calls", || is_enough().then_some(before));
        before
    };
    let (failed, before, open, settled) = thread::scope(|scope| {
        let _done = Done(&done);
        let callers = calls.each_ref().map(|calls| {
            let (done, cluster) = (&done, &cluster);
            scope.spawn(move || call_until(done, cluster, calls))
        });
        make(CALLS);
        assert!(cluster.isthmus.reviews() > 0.0 && replica.reviews() > 0.0, "both are asked");
        let (before, open) = (made(), cable.connections());
        replica.signal(Signal::KILL);
        make(CALLS);
        let settled = make(CALLS);
        done.store(true, Ordering::Relaxed);
        (callers.map(|caller| caller.join().unwrap()), before, open, settled)
    });
    // A call that fails costs the connection that it was on; no more fail than there were.
    let lost: usize = failed.iter().map(Vec::len).sum();
    assert!(lost <= open, "{lost} calls failed on {open} connections");
    for ((failed, before), settled) in failed.iter().zip(before).zip(settled) {
        for (call, told) in failed {
            assert!(told.contains("failed calling webhook"), "{told}");
            let at_the_kill = before..settled;
            assert!(at_the_kill.contains(call), "call {call} failed, not within {at_the_kill:?}");
        }
    }
}
