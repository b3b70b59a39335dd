//! Start and end.

use std::net::TcpListener;

use crate::support::client::Client;
use crate::support::process::{Server, command};
use crate::support::{TempDir, data, peer, wait_for};

const HEAD: &str = "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

fn review() -> String {
    peer("peer", "https://istio.example.com/metadata/").to_string()
}

/// A connection whose request is half sent, and seen.
fn half_sent(server: &Server) -> (Client, String) {
    let body = review();
    let mut client = server.client();
    let (now, later) = body.split_at(body.len() / 2);
    let head = format!("{HEAD}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write(head.as_bytes()).unwrap();
    assert_eq!(client.any_answer().unwrap().status, 100);
    client.write(now.as_bytes()).unwrap();
    (client, later.to_owned())
}

#[test]
fn reviews_in_flight_finish_and_idle_connections_close() {
    let empty = TempDir::new();
    let mut server = Server::start(empty.path(), &[]);
    let mut idle = server.client();
    assert_eq!(idle.post("/validate", review()).header("connection"), None);
    let _fresh = server.client();
    let _silent = Client::plain(server.webhook);
    let (mut client, rest) = half_sent(&server);
    server.terminate();
    server.wait_logged("shutting down");
    assert!(idle.is_closed());
    assert_eq!(server.admin("/livez").status, 200);
    let told = server.admin("/readyz");
    assert_eq!((told.status, told.text().as_str()), (503, "it is shutting down\n"));
    assert!(server.is_running());

    client.write(rest.as_bytes()).unwrap();
    let answer = client.answer().unwrap();
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.response()["allowed"], true);
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn without_reviews_in_flight_it_ends_at_once() {
    let empty = TempDir::new();
    let mut server = Server::start(empty.path(), &["--client-timeout", "1h"]);
    let _idle = server.client();
    server.terminate();
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_whatever_is_under_way() {
    let empty = TempDir::new();
    let mut server = Server::start(empty.path(), &[]);
    let (_client, _rest) = half_sent(&server);
    server.terminate();
    server.wait_logged("shutting down");
    server.terminate();
    assert_eq!(server.wait_exit().code(), Some(143));
}

#[test]
fn before_draining_it_keeps_serving_for_a_while_unready() {
    let empty = TempDir::new();
    let mut server = Server::start(empty.path(), &["--drain-delay", "1h"]);
    let mut kept = server.client();
    assert_eq!(kept.post("/validate", review()).header("connection"), None);
    server.terminate();
    wait_for("the end of readiness", || (server.admin("/readyz").status == 503).then_some(()));
    for client in [&mut kept, &mut server.client()] {
        let answer = client.post("/validate", review());
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(client.is_closed());
    }
    assert!(server.is_running());
    server.terminate();
    assert_eq!(server.wait_exit().code(), Some(143));

    let mut server = Server::start(empty.path(), &["--drain-delay", "100ms"]);
    server.terminate();
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn startup_errors_are_reported() {
    let directory = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: &[(&[&str], &str)] = &[
        (&[], "--inventory DIR"),
        (&["--inventory", "nowhere"], "--inventory nowhere: there is no such directory"),
        (&["--inventory", ".", "--listen", &taken], "cannot listen on"),
        (&["--inventory", ".", "--listen", "nonsense"], "cannot listen on nonsense"),
        (&["--inventory", ".", "--drain-delay", "soon"], "--drain-delay"),
        (&["--inventory", ".", "--inventory-poll", "0s"], "--inventory-poll"),
        (&["--inventory", ".", "--max-connections", "0"], "--max-connections"),
        (&["--inventory", ".", "--self-reference", "Ignore"], "Deny or Warn"),
        (&["--inventory", ".", "--log", "loud=loud=loud"], "--log"),
    ];
    for (args, told) in cases {
        let output = command(directory.path())
            .env("ISTHMUS_ADMIN", "127.0.0.1:0")
            .arg("serve")
            .args(*args)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    }
}

#[test]
fn settings_come_from_flags_and_from_the_environment() {
    let inventory = TempDir::with("peers.yaml", &data("seed/istiomulticlusters.yaml"));
    let own = peer("hub", "https://istio.hub.example.com/metadata/");
    let server = Server::start(inventory.path(), &["--local-member", "hub"]);
    assert!(!server.allows(&own));
    let server =
        Server::start(inventory.path(), &["--local-member", "hub", "--self-reference", "Warn"]);
    assert!(server.allows(&own));

    // Every flag has its variable.
    let help = command(inventory.path()).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags =
        help.lines().filter_map(|line| line.trim().split([' ', '[']).find(|w| w.starts_with("--")));
    for flag in flags.filter(|flag| *flag != "--help" && flag.len() > 2) {
        let variable = flag.trim_start_matches("--").replace('-', "_").to_uppercase();
        assert!(help.contains(&format!("ISTHMUS_{variable}")), "{flag}");
    }
}
