//! The clock of one of two replicas is wrong, while certificates and paths follow each other.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use crate::support::Done;
use crate::support::replicas::Replicas;
use crate::support::{TempDir, wait_for};

/// Where Debian's package `faketime` has its library.
const PLACES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];
/// How far the clock is off, one step after another. The last one is in 1970.
const OFF: [&str; 7] = ["+0", "+2d", "-2d", "+120d", "-120d", "-20000d", "+0"];

#[test]
#[ignore = "it takes minutes, and a library that turns clocks: `make faults`"]
fn a_replica_whose_clock_jumps_does_no_harm() {
    let library = PLACES.iter().map(PathBuf::from).find(|place| place.exists());
    let library = library.expect("install the package faketime, for its libfaketime.so.1");
    let clock = TempDir::with("offset", "+0");
    let offset = clock.path().join("offset");
    let lives = ["--tls-life=8s", "--tls-ca-life=16s", "--tls-settle=300ms", "--tls-path-life=2s"];
    let mut replicas = Replicas::unregistered(1, &lives);
    replicas.join(&[
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_RESET", "1"),
    ]);
    replicas.register();
    let (done, made) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut api = replicas.api();
    thread::scope(|scope| {
        let running = Done(&done);
        let calls = scope.spawn(|| replicas.call_until(&done, &made));
        let fresh = scope.spawn(|| replicas.connect_until(&done, drop));
        for off in OFF {
            clock.write("offset", off);
            let (changes, mut path) = (replicas.logged("signs from now on"), api.path());
            // Certificates, an authority and paths follow.
            for _ in 0..2 {
                wait_for("another path", || {
                    let next = api.path().filter(|next| Some(next) != path.as_ref())?;
                    path = Some(next);
                    Some(())
                });
            }
            wait_for("another authority", || {
                let over = calls.is_finished() || fresh.is_finished();
                (over || replicas.logged("signs from now on") > changes).then_some(())
            });
            assert!(!calls.is_finished() && !fresh.is_finished(), "{off}");
            for server in &replicas.servers {
                assert_eq!(
                    server.admin("/readyz").status,
                    200,
                    "{off}: {}",
                    server.admin("/readyz").text()
                );
            }
        }
        drop(running);
        fresh.join().unwrap();
        calls.join().unwrap();
        assert!(made.load(Ordering::Relaxed) > 100);
    });
    assert_eq!(replicas.logged("is restored"), 0, "nobody undid what another did");
    let told = replicas.servers[1].logged();
    assert!(told.contains("\"timestamp\":\"19"), "its clock was in the last century: {told}");
}
