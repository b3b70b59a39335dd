//! etcd goes back to what it held before: an older certificate, an older authority, an older path, an
//! older ledger.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Done;
use crate::support::api::MEMBERS;
use crate::support::objects::multicluster;
use crate::support::racing::{Ring, rivals, wait_usable, write};
use crate::support::replicas::{Replicas, SECRET};
use crate::support::wait_for;

/// How long after the API server is back calls may still fail: as long as replicas may rest after a
/// failure, twice, and room for a slow machine.
const HEALED: Duration = Duration::from_secs(30);

#[test]
#[ignore = "it takes minutes: `make faults`"]
fn work_continues_from_a_restored_etcd() {
    let replicas = Replicas::start(2, &["--tls-settle=500ms", "--tls-path-life=2s"]);
    let plane = replicas.plane;
    let mut api = replicas.api();
    let before = wait_for("a path", || api.path());
    let (done, is_down) = (AtomicBool::new(false), AtomicBool::new(false));
    let (made, fresh) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // When calls failed that were made while the API server was there.
    let failures = Mutex::new(Vec::new());
    plane.back_up();
    replicas.wait_asked();

    thread::scope(|scope| {
        let running = Done(&done);
        let load = || {
            while !done.load(Ordering::Relaxed) {
                let was_down = is_down.load(Ordering::Relaxed);
                // A connection of its own: those to the last API server end with it.
                let api = replicas.try_api().map_err(|error| error.to_string());
                let called = api.and_then(|mut api| api.try_good());
                let is_down = was_down || is_down.load(Ordering::Relaxed);
                match called {
                    Ok(()) => drop(made.fetch_add(1, Ordering::Relaxed)),
                    Err(_) if is_down => thread::sleep(Duration::from_millis(20)),
                    Err(why) => failures.lock().unwrap().push((Instant::now(), why)),
                }
            }
        };
        let loads = [(); 2].map(|()| scope.spawn(load));
        // All is changed that was kept: authority, certificate and path, so that nothing of what
        // etcd will hold again is known to any replica but by reading it.
        let mut api = replicas.api();
        for _ in 0..3 {
            let shown = replicas.shown();
            api.merge(SECRET, &json!({"data": {"ca.key": null}}));
            wait_for("a certificate of another authority", || {
                let others = replicas.shown();
                let is_over = api.secret("next-ca.key").is_none();
                (is_over && others.len() == 1 && others != shown).then_some(())
            });
        }
        wait_for("paths of which the first is forgotten", || {
            let path = format!("/validate/{before}");
            let answer = replicas.servers[0].client().post(&path, "{}");
            assert_ne!(answer.status, 404, "an old path is not refused for good");
            (answer.status == 503).then_some(())
        });
        assert!(failures.lock().unwrap().is_empty(), "{:?}", failures.lock().unwrap());

        for _ in 0..3 {
            is_down.store(true, Ordering::Relaxed);
            plane.restore(|| {});
            is_down.store(false, Ordering::Relaxed);
            let back = Instant::now();
            // It heals: both are known by the restored path, and by certificates that are trusted.
            wait_for("the replicas to heal", || {
                let mut api = replicas.try_api().ok()?;
                let path = api.path()?;
                let trusted = replicas.servers.iter().all(|server| {
                    let review = crate::support::peer("x", "https://x.example.com/metadata/");
                    let path = format!("/validate/{path}");
                    server.client().post(&path, review.to_string()).status == 200
                        && server.admin("/readyz").status == 200
                });
                trusted.then_some(())
            });
            let healed = made.load(Ordering::Relaxed) + 20;
            wait_for("calls", || (made.load(Ordering::Relaxed) > healed).then_some(()));
            let mut failures = failures.lock().unwrap();
            let last = failures.last().map(|(at, _)| at.saturating_duration_since(back));
            assert!(last.unwrap_or_default() < HEALED, "{failures:?}");
            for (at, why) in failures.drain(..) {
                // Nobody was told that there is no such path.
                assert!(!why.contains("could not find the requested resource"), "{why}");
                fresh.fetch_max(
                    at.saturating_duration_since(back).as_millis() as usize,
                    Ordering::Relaxed,
                );
            }
            drop(failures);
            // From then on no call fails.
            let settled = made.load(Ordering::Relaxed) + 50;
            wait_for("calls", || (made.load(Ordering::Relaxed) > settled).then_some(()));
        }
        assert!(failures.lock().unwrap().is_empty(), "{:?}", failures.lock().unwrap());
        drop(running);
        for load in loads {
            load.join().unwrap();
        }
    });
    println!("calls failed for {fresh:?} ms after the API server was back");
    // What was written since is seen, although its revisions are lower than those seen before.
    let member = multicluster("later").to_string();
    plane.kubectl(&["create", "-f", "-"], &member).ok();
    for server in &replicas.servers {
        server.wait_metric("isthmus_watched_objects", 1.0);
        server.wait_metric("isthmus_lost_watches", 0.0);
    }
}

#[test]
#[ignore = "it takes minutes: `make faults`"]
fn a_ledger_that_etcd_has_forgotten_is_begun_anew_and_told() {
    let ring = Ring::start(2, &["--hold=20s"]);
    let plane = ring.cluster.plane;
    assert_eq!(write(&mut ring.api(), &multicluster("kept-0")).status, 201);
    plane.back_up();
    ring.wait_usable();
    // Swaps that etcd forgets, after which it gives their versions to others.
    for at in 0..6 {
        let name = format!("forgotten{at}-{}", at % 2);
        assert_eq!(write(&mut ring.api(), &multicluster(&name)).status, 201);
    }
    plane.restore(|| {});
    let early = wait_for("an answer about what may be lost", || {
        let answer = ring.api().create(MEMBERS, &multicluster("early-1"));
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(early.status, 429, "{}", early.text());
    assert!(early.text().contains("the ledger is new or was lost"), "{}", early.text());
    ring.with_each(|replica| {
        replica.wait_logged("the ledger is new, spoilt or restored");
        let quarantine = r#"isthmus_delayed_reviews_total{reason="quarantine"}"#;
        assert!(replica.metric(quarantine).is_some());
        wait_usable(replica);
    });
    ring.race(&rivals(0, 2));
    let mut stored = ring.stored();
    stored.retain(|name| !name.starts_with("race"));
    assert_eq!(stored, ["kept-0"]);
}
