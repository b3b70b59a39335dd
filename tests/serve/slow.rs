//! Clients that take their time, and clients that are many.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::client::{Client, tcp};
use crate::support::process::Server;
use crate::support::{Done, TempDir, peer, wait_for};

const HEAD: &str = "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

fn review() -> String {
    peer("peer", "https://istio.example.com/metadata/").to_string()
}

fn begun(server: &Server, bytes: &str) -> Client {
    let mut client = server.client();
    client.write(bytes.as_bytes()).unwrap();
    client
}

#[test]
fn every_step_has_its_time() {
    let empty = TempDir::new();
    // Longer than what comes before the last of them takes, on whatever machine.
    let server = Server::start(empty.path(), &["--client-timeout", "8s"]);
    let mut silent = Client::plain(server.webhook);
    let mut half_shaken = Client::plain(server.webhook);
    half_shaken.write(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let mut fresh = server.client();
    let mut slow_head = begun(&server, "POST /validate HTTP/1.1\r\nHost:");
    let mut idle = server.client();
    assert_eq!(idle.post("/validate", review()).status, 200);
    let mut slow_body = begun(&server, &format!("{HEAD}Content-Length: 100\r\n\r\n{{"));

    assert!(silent.is_closed() && half_shaken.is_closed() && fresh.is_closed());
    assert!(slow_head.is_closed());
    let told = slow_body.answer().unwrap();
    assert_eq!((told.status, told.header("connection")), (408, Some("close")));
    assert!(slow_body.is_closed());
    // Kubernetes keeps idle connections for reviews to come.
    assert_eq!(idle.post("/validate", review()).status, 200);
    server.wait_metric("isthmus_closed_connections_total{reason=\"timeout\"}", 4.0);
}

#[test]
fn a_caller_who_waits_no_longer_is_not_waited_for() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &[]);
    let head = HEAD.replace("/validate", "/validate?timeout=50ms");
    let mut client = begun(&server, &format!("{head}Content-Length: 100\r\n\r\n{{"));
    assert_eq!(client.answer().unwrap().status, 408);
}

#[test]
fn slow_and_idle_connections_stop_no_review() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &["--max-connections", "16"]);
    let mut caller = server.client();
    assert_eq!(caller.post("/validate", review()).status, 200);

    let mut crowd = Vec::new();
    for n in 0..100 {
        crowd.push(match n % 4 {
            0 => Client::plain(server.webhook),
            1 => server.client(),
            2 => begun(&server, "POST /validate HTTP/1.1\r\nHost:"),
            _ => begun(&server, &format!("{HEAD}Content-Length: 100\r\n\r\n{{")),
        });
        // Newcomers get through the crowd, whoever is in it.
        if n % 10 == 9 {
            assert_eq!(server.client().post("/validate", review()).status, 200);
        }
    }
    assert_eq!(caller.post("/validate", review()).status, 200, "a proven connection is kept");
    assert!(crowd[0].is_closed(), "who waits the longest has made room");
    assert!(server.metric("isthmus_connections").unwrap() <= 16.0);
    assert!(server.metric("isthmus_closed_connections_total{reason=\"evicted\"}").unwrap() >= 84.0);
    drop(crowd);
    server.wait_metric("isthmus_connections", 1.0);
}

#[test]
fn a_thousand_idle_connections_are_kept() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &[]);
    let crowd: Vec<_> = (0..1000).map(|_| tcp(server.webhook)).collect();
    server.wait_metric("isthmus_connections", 1000.0);
    assert_eq!(server.client().post("/validate", review()).status, 200);
    drop(crowd);
    server.wait_metric("isthmus_connections", 0.0);
}

#[test]
fn large_bodies_share_their_memory_and_leave_the_small_ones_alone() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &["--max-body-memory", "1"]);
    let large = "x".repeat(3 << 20);
    let answer = server.client().post("/validate", &large);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(server.metric("isthmus_shed_reviews_total{resource=\"memory\"}"), Some(1.0));

    // One that takes nearly all of it, and stalls.
    let stalled = "x".repeat(1000 << 10);
    let stalled = begun(&server, &format!("{HEAD}Content-Length: 2000000\r\n\r\n{stalled}"));
    server.wait_metric("isthmus_body_memory_bytes", 15.0 * 65536.0);
    assert_eq!(server.client().post("/validate", "x".repeat(200 << 10)).status, 503);
    assert_eq!(server.client().post("/validate", review()).status, 200);
    drop(stalled);
    server.wait_metric("isthmus_body_memory_bytes", 0.0);
    assert_eq!(server.client().post("/validate", "x".repeat(200 << 10)).status, 400);
}

#[test]
fn work_beyond_the_limit_is_put_off() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &["--max-reviews", "1"]);
    // Large enough to be under way for a while.
    let mut review = peer("peer", "https://istio.example.com/metadata/");
    let labels = (0..100_000).map(|n| (format!("l{n}"), "x".into())).collect();
    review["request"]["object"]["metadata"]["labels"] = serde_json::Value::Object(labels);
    let body = review.to_string();
    let (made, put_off) = ((200, None), (503, Some("1".to_owned())));
    let (done, answers) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let answered = |answer| answers.lock().unwrap().contains(answer).then_some(());
    thread::scope(|scope| {
        let _running = Done(&done);
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = server.client().post("/validate", &body);
                    let retry = answer.header("retry-after").map(str::to_owned);
                    answers.lock().unwrap().insert((answer.status, retry));
                }
            });
        }
        wait_for("a review that is made", || answered(&made));
        wait_for("a review that is put off", || answered(&put_off));
    });
    assert_eq!(answers.into_inner().unwrap(), BTreeSet::from([made, put_off]));
    server.wait_metric("isthmus_reviews_in_flight", 0.0);
    assert_eq!(server.client().post("/validate", self::review()).status, 200);
}

#[test]
fn many_callers_at_once_are_all_answered() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &[]);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..50 {
                    assert_eq!(client.post("/validate", review()).response()["allowed"], true);
                }
            });
        }
    });
}
