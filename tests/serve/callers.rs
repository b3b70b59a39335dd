//! Callers that have to show a certificate.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::client::Client;
use crate::support::pem::{self, Pair};
use crate::support::process::{Server, command};
use crate::support::{TempDir, peer, wait_for};

fn authority(pair: &Pair) -> String {
    ::pem::encode(&::pem::Pem::new("CERTIFICATE", pair.authority.as_ref()))
}

fn start(authorities: &TempDir, args: &[&str]) -> Server {
    let file = authorities.path().join("ca.crt");
    let args = [&["--tls-client-ca", file.to_str().unwrap()], args].concat();
    Server::start(authorities.path(), &args)
}

/// Whether a review is answered. By TLS 1.3 a caller learns of its refusal only when it reads.
fn is_served(client: std::io::Result<Client>) -> bool {
    let review = peer("peer", "https://istio.example.com/metadata/").to_string();
    let head = "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{review}", review.len());
    let Ok(mut client) = client else { return false };
    client.write(request.as_bytes()).is_ok()
        && client.answer().is_ok_and(|answer| answer.status == 200)
}

fn serves(server: &Server, version: &'static SupportedProtocolVersion, pair: &Pair) -> bool {
    is_served(Client::presenting(server.webhook, version, pair))
}

#[test]
fn only_callers_of_the_authority_are_served() {
    let (caller, stranger) = (pem::valid(), pem::valid());
    let authorities = TempDir::with("ca.crt", &authority(&caller));
    let server = start(&authorities, &[]);
    for version in [&TLS12, &TLS13] {
        assert!(serves(&server, version, &caller));
        assert!(!serves(&server, version, &stranger));
        assert!(!is_served(Client::by(server.webhook, version, b"http/1.1")));
    }
    assert_eq!(server.admin("/readyz").status, 200, "probes show no certificate");
}

#[test]
fn only_callers_with_the_given_names_are_accepted() {
    let caller = pem::valid();
    let authorities = TempDir::with("ca.crt", &authority(&caller));
    for (names, served) in [
        ("kube-apiserver", true),
        ("front-proxy,localhost", true),
        ("front-proxy", false),
        ("kube", false),
    ] {
        let server = start(&authorities, &["--tls-client-names", names]);
        assert_eq!(serves(&server, &TLS13, &caller), served, "{names}");
        assert_eq!(serves(&server, &TLS12, &caller), served, "{names}");
        assert!(!serves(&server, &TLS13, &pem::valid()), "{names}");
    }
}

#[test]
fn other_callers_are_answered_if_the_certificate_is_optional() {
    let caller = pem::valid();
    let authorities = TempDir::with("ca.crt", &authority(&caller));
    let args = ["--tls-client-optional", "--tls-client-names=kube-apiserver"];
    let server = start(&authorities, &args);
    for version in [&TLS12, &TLS13] {
        assert!(serves(&server, version, &caller));
        assert!(!serves(&server, version, &pem::valid()), "a bad one is worse than none");
        assert!(is_served(Client::by(server.webhook, version, b"http/1.1")));
    }
}

#[test]
fn another_ca_takes_effect_when_it_is_written() {
    let (first, second) = (pem::valid(), pem::valid());
    let authorities = TempDir::with("ca.crt", &authority(&first));
    let server = start(&authorities, &[]);
    assert!(serves(&server, &TLS13, &first));
    authorities.write("ca.crt", "no PEM");
    server.wait_metric("isthmus_certificate_errors_total", 1.0);
    server.wait_logged("it contains no certificate");
    assert!(serves(&server, &TLS13, &first), "the last good one stays");
    authorities.write("ca.crt", authority(&second));
    wait_for("the second authority", || serves(&server, &TLS13, &second).then_some(()));
    assert!(!serves(&server, &TLS13, &first));
}

#[test]
fn unusable_arguments_are_reported_at_startup() {
    let directory = TempDir::with("empty.crt", "");
    let cases: &[(&[&str], &str)] = &[
        (&["--tls-client-ca", "none.crt"], "none.crt: No such file"),
        (&["--tls-client-ca", "empty.crt"], "empty.crt: it contains no certificate"),
        (&["--tls-client-names", "x"], "--tls-client-ca"),
        (&["--tls-secret", "a/b"], "--tls-names"),
        (&["--tls-secret", "b", "--tls-names", "x"], "isthmus/isthmus-tls"),
        (&["--tls-secret", "a/b", "--tls-names", "x y"], "neither a DNS name nor an IP address"),
        (&["--tls-secret", "a/b", "--tls-names", "x"], "--tls-secret needs a cluster"),
        (
            &[
                "--tls-secret",
                "a/b",
                "--tls-names",
                "x",
                "--tls-life",
                "9h",
                "--tls-ca-life",
                "17h",
            ],
            "--tls-life",
        ),
        (
            &["--tls-secret", "a/b", "--tls-names", "x", "--tls-ca-life", "9999999h"],
            "--tls-ca-life",
        ),
        (&["--tls-secret", "a/b", "--tls-names", "x", "--tls-life", "2m"], "--tls-settle"),
        (
            &["--tls-secret", "a/b", "--tls-names", "x", "--tls-cert", "c", "--tls-key", "k"],
            "cannot be used with",
        ),
        (&["--ledger", "a/b"], "--ledger needs a cluster to watch"),
        (&["--ledger-optional", "all"], "--ledger"),
    ];
    for (args, told) in cases {
        let output = command(directory.path())
            .args([
                "serve",
                "--inventory",
                ".",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
            ])
            .args(*args)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    }
}
