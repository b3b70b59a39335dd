//! HTTP and TLS as callers may use them.

use std::io::{Read, Write};

use rustls::version::{TLS12, TLS13};

use crate::support::client::{Client, tcp};
use crate::support::process::Server;
use crate::support::{TempDir, peer, wait_for};

const JSON: &str = "Content-Type: application/json";

fn server() -> (Server, TempDir) {
    let inventory = TempDir::new();
    (Server::start(inventory.path(), &[]), inventory)
}

fn review() -> String {
    peer("peer", "https://istio.example.com/metadata/").to_string()
}

#[test]
fn statuses_mean_what_http_means() {
    let (server, _inventory) = server();
    let cases: &[(&str, &str, &[&str], u16)] = &[
        ("POST", "/validate", &[JSON], 200),
        ("POST", "/validate?timeout=3s", &[JSON], 200),
        ("POST", "/mutate", &["content-type: Application/JSON; charset=utf-8"], 200),
        ("POST", "/validate", &[], 200),
        ("POST", "/validate", &["Content-Type: text/plain"], 415),
        ("POST", "/validate", &["Content-Type: application/x-www-form-urlencoded"], 415),
        ("POST", "/validate", &["Content-Type: application/yaml"], 415),
        ("POST", "/mutate", &["Content-Type:"], 415),
        ("POST", "/validate", &[JSON, "Content-Encoding: gzip"], 415),
        ("GET", "/validate", &[], 405),
        ("PUT", "/validate", &[JSON], 405),
        ("DELETE", "/mutate", &[], 405),
        ("OPTIONS", "/mutate", &[], 405),
        // What may be a path that is yet to be heard of is not refused for good.
        ("POST", "/", &[JSON], 503),
        ("POST", "/validate/more", &[JSON], 503),
        ("POST", "/validate/", &[JSON], 404),
        ("GET", "/metrics", &[], 404),
        ("GET", "/../validate", &[], 404),
    ];
    for (method, path, headers, status) in cases {
        let answer = server.client().send(method, path, headers, review().as_bytes());
        assert_eq!(answer.status, *status, "{method} {path} {headers:?}");
        if *status == 405 {
            assert_eq!(answer.header("allow"), Some("POST"), "{method} {path}");
        }
    }
    assert_eq!(server.metric("isthmus_refused_requests_total{status=\"404\"}"), Some(3.0));
    assert_eq!(server.metric("isthmus_refused_requests_total{status=\"405\"}"), Some(4.0));
    assert_eq!(server.metric("isthmus_refused_requests_total{status=\"415\"}"), Some(5.0));
}

#[test]
fn a_connection_serves_one_review_after_another() {
    let (server, _inventory) = server();
    let mut client = server.client();
    for _ in 0..100 {
        assert_eq!(client.post("/validate", review()).response()["allowed"], true);
    }
    assert_eq!(client.post("/nowhere", review()).status, 404);
    assert_eq!(client.post("/validate", "not a review").status, 400);
    assert_eq!(client.post("/validate", review()).response()["allowed"], true);
    // Two at once, the second sent before the first is answered.
    let body = review();
    let head = format!(
        "POST /validate HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write(head.repeat(2).as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 200);
    assert_eq!(client.answer().unwrap().status, 200);
    drop(client);
    server.wait_metric("isthmus_connections", 0.0);
}

#[test]
fn bodies_may_be_chunked_or_wait_for_100_continue() {
    let (server, _inventory) = server();
    let body = review();
    let mut client = server.client();
    let head = format!("POST /validate HTTP/1.1\r\nHost: x\r\n{JSON}\r\n");
    client.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    for chunk in body.as_bytes().chunks(7) {
        client.write(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        client.write(chunk).unwrap();
        client.write(b"\r\n").unwrap();
    }
    client.write(b"0\r\n\r\n").unwrap();
    assert_eq!(client.answer().unwrap().response()["allowed"], true);

    let expect = format!("{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write(expect.as_bytes()).unwrap();
    client.write(body.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().response()["allowed"], true);
    let expect = format!("{head}Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n");
    client.write(expect.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 413);
}

#[test]
fn too_large_a_body_is_refused_before_it_is_read() {
    let (server, _inventory) = server();
    let largest = 8 << 20;
    let head = format!("POST /validate HTTP/1.1\r\nHost: x\r\n{JSON}\r\n");
    let mut client = server.client();
    client.write(format!("{head}Content-Length: {}\r\n\r\n", largest + 1).as_bytes()).unwrap();
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));

    // Sent as a whole nevertheless, the answer gets through.
    assert_eq!(server.client().post("/validate", vec![b' '; largest + 1]).status, 413);
    assert_eq!(server.client().post("/validate", vec![b' '; largest]).status, 400);

    let mut client = server.client();
    client.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..9 {
        let _ = client.write(&chunk);
    }
    assert_eq!(client.answer().unwrap().status, 413);
}

#[test]
fn tls_12_and_13_are_spoken_and_http_11_within() {
    let (server, _inventory) = server();
    for version in [&TLS12, &TLS13] {
        let mut client = Client::by(server.webhook, version, b"http/1.1").unwrap();
        assert_eq!(client.post("/validate", review()).response()["allowed"], true);
    }
    assert!(Client::by(server.webhook, &TLS13, b"h2").is_err());
    server.wait_metric("isthmus_handshake_failures_total", 1.0);
}

#[test]
fn plain_http_gets_a_clear_response() {
    let (server, _inventory) = server();
    let mut client = Client::plain(server.webhook);
    let answer = client.post("/validate", review());
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), "This is HTTPS, and the request is in HTTP.\n");

    for bytes in [&b"\x16\x03\x01garbage that is no handshake"[..], b"\0\0\0\0", b"\xff"] {
        let mut stream = tcp(server.webhook);
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Nothing but an alert comes back.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 64);
    }
    server.wait_metric("isthmus_handshake_failures_total", 4.0);
    assert_eq!(server.client().post("/validate", review()).status, 200);
}

#[test]
fn heads_that_are_not_http_are_rejected() {
    let (server, _inventory) = server();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    // Which of the two it is depends on how much of the head has come when it is too much.
    let too_long: &[u16] = &[414, 431];
    let cases: &[(&[u8], &[u16])] = &[
        (b"nonsense\r\n\r\n", &[400]),
        (b"\0\0\0\0\r\n\r\n", &[400]),
        (b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", &[400]),
        (
            b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            &[400],
        ),
        (long.as_bytes(), too_long),
        (many.as_bytes(), &[431]),
    ];
    for (bytes, status) in cases {
        let mut client = server.client();
        let _ = client.write(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = client.answer().map(|answer| answer.status).unwrap();
        assert!(status.contains(&answer), "{shown}: {answer}");
    }
    wait_for("an answer", || {
        (server.client().post("/validate", review()).status == 200).then_some(())
    });
}
