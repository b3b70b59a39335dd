//! Clients that take their time, and clients that are many.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use crate::support::client::{Answer, Client};
use crate::support::process::Server;
use crate::support::{PATIENCE, TempDir, peer, wait_for};

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
fn a_caller_that_has_given_up_is_not_waited_for() {
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

    let other = Ipv4Addr::new(127, 0, 0, 2);
    let secured = || Client::from(other, server.webhook).unwrap();
    let mut crowd = Vec::new();
    for n in 0..100 {
        let mut client = match n % 4 {
            0 => Client::plain_from(other, server.webhook).unwrap(),
            _ => secured(),
        };
        let begun = match n % 4 {
            2 => "POST /validate HTTP/1.1\r\nHost:".to_owned(),
            3 => format!("{HEAD}Content-Length: 100\r\n\r\n{{"),
            _ => String::new(),
        };
        client.write(begun.as_bytes()).unwrap();
        crowd.push(client);
        // Newcomers get through the crowd, whoever is in it.
        if n % 10 == 9 {
            assert_eq!(server.client().post("/validate", review()).status, 200);
        }
    }
    assert_eq!(caller.post("/validate", review()).status, 200, "the crowd makes room in itself");
    assert!(crowd[0].is_closed(), "who waits the longest has made room");
    assert!(server.metric("isthmus_connections").unwrap() <= 16.0);
    assert!(server.metric("isthmus_closed_connections_total{reason=\"evicted\"}").unwrap() >= 84.0);
    drop(crowd);
    server.wait_metric("isthmus_connections", 1.0);
}

#[test]
fn idle_connections_are_kept_while_there_is_room() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &["--max-connections", "64"]);
    let mut crowd: Vec<_> = (0..47)
        .map(|n| Client::from(Ipv4Addr::new(127, 0, 0, 2 + n % 4), server.webhook).unwrap())
        .collect();
    for client in &mut crowd {
        assert_eq!(client.post("/validate", review()).status, 200);
    }
    assert_eq!(server.client().post("/validate", review()).status, 200);
    for client in &mut crowd {
        assert_eq!(client.post("/validate", review()).status, 200, "it was kept");
    }
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

    // Two that take nearly all of it, and stall.
    let text = "x".repeat(500 << 10);
    let stalled = |last| {
        let source = Ipv4Addr::new(127, 0, 0, last);
        let mut client = Client::from(source, server.webhook).unwrap();
        let head = format!("{HEAD}Content-Length: 2000000\r\n\r\n{text}");
        client.write(head.as_bytes()).unwrap();
        client
    };
    let stalled = [stalled(2), stalled(3)];
    server.wait_metric("isthmus_body_memory_bytes", 2.0 * f64::from((500 - 32) << 10));
    assert_eq!(server.client().post("/validate", "x".repeat(200 << 10)).status, 503);
    assert_eq!(server.client().post("/validate", review()).status, 200);
    drop(stalled);
    server.wait_metric("isthmus_body_memory_bytes", 0.0);
    assert_eq!(server.client().post("/validate", "x".repeat(200 << 10)).status, 400);
    // One source alone has half of it.
    assert_eq!(server.client().post("/validate", "x".repeat(700 << 10)).status, 503);
}

/// A review whose body has about so many bytes, in labels that are read one by one.
fn laborious(bytes: usize) -> String {
    let mut review = peer("peer", "https://istio.example.com/metadata/");
    let labels = (0..bytes / 16).map(|n| (format!("l{n:07}"), "x".into())).collect();
    review["request"]["object"]["metadata"]["labels"] = serde_json::Value::Object(labels);
    review.to_string()
}

/// The status and `Retry-After` of an answer.
fn told(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.header("retry-after").map(str::to_owned))
}

#[test]
fn large_reviews_have_a_lower_priority() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &[]);
    let small = review();
    let large = format!("{}{small}", " ".repeat(1 << 20));
    let give_way = || {
        let niceness = server.niceness();
        niceness.iter().filter(|nice| *nice > niceness.iter().min().unwrap()).count()
    };
    assert_eq!(server.client().post("/validate", &small).status, 200);
    assert_eq!(give_way(), 0);
    // Threads that have nothing to do may have ended again.
    wait_for("a thread that gives way", || {
        assert_eq!(server.client().post("/validate", &large).status, 200);
        (give_way() > 0).then_some(())
    });
}

#[test]
fn work_beyond_the_limit_is_shed() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &["--max-reviews", "1"]);
    let body = laborious(30 << 10);
    let (begun, put_off) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                while !put_off.load(Relaxed) {
                    match told(&client.post("/validate", &body)) {
                        (200, None) => {}
                        (503, Some(seconds)) if seconds == "1" => put_off.store(true, Relaxed),
                        other => panic!("{other:?}"),
                    }
                    assert!(begun.elapsed() < PATIENCE, "no review was put off");
                }
            });
        }
    });
    assert!(server.metric("isthmus_shed_reviews_total{resource=\"reviews\"}").unwrap() >= 1.0);
    server.wait_metric("isthmus_reviews_in_flight", 0.0);
    assert_eq!(server.client().post("/validate", review()).status, 200);
}

#[test]
fn waiting_large_reviews_do_not_take_slots_of_small_ones() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &["--max-reviews", "1"]);
    let body = laborious(2 << 20);
    let (begun, done) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = server.client();
                while !done.load(Relaxed) && begun.elapsed() < 2 * PATIENCE {
                    assert_eq!(client.post("/validate", &body).status, 200);
                }
            });
        }
        // More than are made at once: some wait.
        let in_flight = || server.metric("isthmus_reviews_in_flight");
        wait_for("large reviews", || in_flight().is_some_and(|n| n >= 3.0).then_some(()));
        let mut client = server.client();
        let served = (0..100).filter(|_| client.post("/validate", review()).status == 200).count();
        done.store(true, Relaxed);
        assert_eq!(served, 100);
    });
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
