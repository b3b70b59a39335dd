//! Certificates: given, renewed, made.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::client::Client;
use crate::support::pem::{self, Pair};
use crate::support::process::{Server, command};
use crate::support::{TempDir, peer, wait_for};

fn written(pair: &Pair) -> TempDir {
    let directory = TempDir::new();
    put(&directory, pair);
    directory
}

fn put(directory: &TempDir, pair: &Pair) {
    directory.write("tls.key", &pair.key);
    directory.write("tls.crt", &pair.chain);
}

fn start(inventory: &Path, certificates: &Path) -> Server {
    let [certificate, key] = ["tls.crt", "tls.key"].map(|file| certificates.join(file));
    let args = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    Server::launch(inventory, &args)
}

fn shown(server: &Server) -> CertificateDer<'static> {
    server.client().certificate()
}

#[track_caller]
fn wait_shown(server: &Server, pair: &Pair) {
    wait_for("the certificate", || (shown(server) == pair.leaf).then_some(()));
}

#[test]
fn the_given_chain_is_served_up_to_its_ca() {
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let begun = now();
    let (inventory, pair) = (TempDir::new(), pem::pair(-60, 3600));
    // Certificates know no fractions of a second.
    let ends = begun.floor() + 3600.0..=now() + 3600.0;
    let certificates = written(&pair);
    let server = start(inventory.path(), certificates.path());
    server.wait_ready();
    assert_eq!(server.client().chain().len(), 2);
    let mut client = Client::checking(server.webhook, pair.authority.clone()).unwrap();
    let review = peer("peer", "https://istio.example.com/metadata/");
    assert_eq!(client.post("/validate", review.to_string()).response()["allowed"], true);
    assert!(Client::checking(server.webhook, pem::valid().authority).is_err());
    let expiry = server.metric("isthmus_certificate_expiry_timestamp_seconds").unwrap();
    assert!(ends.contains(&expiry), "{expiry} is not in {ends:?}");
}

#[test]
fn a_new_certificate_is_served_and_an_invalid_one_is_not() {
    let (inventory, first) = (TempDir::new(), pem::valid());
    let certificates = written(&first);
    let server = start(inventory.path(), certificates.path());
    server.wait_ready();
    let mut kept = server.client();

    let second = pem::valid();
    // One of the two is bound to be there first.
    certificates.write("tls.crt", &second.chain);
    server.wait_metric("isthmus_certificate_errors_total", 1.0);
    assert_eq!(shown(&server), first.leaf);
    certificates.write("tls.key", &second.key);
    wait_shown(&server, &second);
    assert_eq!(server.metric("isthmus_certificate_errors_total"), Some(1.0));

    certificates.write("tls.key", "no key");
    server.wait_metric("isthmus_certificate_errors_total", 2.0);
    certificates.remove("tls.key");
    server.wait_metric("isthmus_certificate_errors_total", 3.0);
    assert_eq!(shown(&server), second.leaf);
    let third = pem::valid();
    put(&certificates, &third);
    wait_shown(&server, &third);

    let review = peer("peer", "https://istio.example.com/metadata/");
    assert_eq!(kept.post("/validate", review.to_string()).status, 200, "connections are kept");
    server.wait_logged("the key does not match the certificate");
    assert!(!server.logged().contains("PRIVATE KEY"));
}

#[test]
fn a_mounted_secret_swaps_a_symlink() {
    let (inventory, mount) = (TempDir::new(), TempDir::new());
    let (first, second) = (pem::valid(), pem::valid());
    for (name, pair) in [("..1", &first), ("..2", &second)] {
        fs::create_dir(mount.path().join(name)).unwrap();
        fs::write(mount.path().join(name).join("tls.crt"), &pair.chain).unwrap();
        fs::write(mount.path().join(name).join("tls.key"), &pair.key).unwrap();
    }
    symlink("..1", mount.path().join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), mount.path().join(file)).unwrap();
    }
    let server = start(inventory.path(), mount.path());
    server.wait_ready();
    assert_eq!(shown(&server), first.leaf);
    symlink("..2", mount.path().join("..data_tmp")).unwrap();
    fs::rename(mount.path().join("..data_tmp"), mount.path().join("..data")).unwrap();
    fs::remove_dir_all(mount.path().join("..1")).unwrap();
    wait_shown(&server, &second);
}

#[test]
fn only_a_valid_certificate_is_ready() {
    for (from, until, why) in [(-7200, -3600, "expired"), (3600, 7200, "not valid for another")] {
        let inventory = TempDir::new();
        let certificates = written(&pem::pair(from, until));
        let server = start(inventory.path(), certificates.path());
        let told = wait_for("what is missing", || {
            let told = server.admin("/readyz");
            (!told.text().contains("inventory")).then_some(told)
        });
        assert_eq!(told.status, 503);
        assert!(told.text().contains(why), "{}", told.text());
        let review = peer("peer", "https://istio.example.com/metadata/");
        let answer = server.client().post("/validate", review.to_string());
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(server.admin("/livez").status, 200);
        put(&certificates, &pem::valid());
        server.wait_ready();
    }
}

#[test]
fn an_unusable_certificate_is_reported_at_startup() {
    let (inventory, pair) = (TempDir::new(), pem::valid());
    let certificates = written(&pair);
    let serve = |args: &[&str]| {
        let mut command = command(certificates.path());
        let output = command
            .args(["serve", "--inventory"])
            .arg(inventory.path())
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(args)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    certificates.write("other.key", &pem::valid().key);
    let (code, told) = serve(&["--tls-cert", "tls.crt", "--tls-key", "other.key"]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("tls.crt and other.key: the key does not match the certificate"),
        "{told}"
    );
    let (code, told) = serve(&["--tls-cert", "tls.crt", "--tls-key", "none.key"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("none.key: No such file"), "{told}");
    let (code, told) = serve(&["--tls-cert", "tls.crt"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("--tls-key"), "{told}");
}

#[test]
fn development_certificates_are_written_and_used() {
    let (inventory, directory) = (TempDir::new(), TempDir::new());
    let certs = directory.path().join("certs");
    let write = || {
        let output =
            command(directory.path()).args(["certs", "--name", "isthmus.test"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(write(), "wrote certs/ca.pem\nwrote certs/tls-key.pem\nwrote certs/tls.pem\n");
    let mode = fs::metadata(certs.join("tls-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let server = Server::start(inventory.path(), &["--certs-dir", certs.to_str().unwrap()]);
    let authority = CertificateDer::from_pem_file(certs.join("ca.pem")).unwrap();
    assert!(Client::checking(server.webhook, authority.clone()).is_ok());
    // Written anew, they are shown anew.
    write();
    let renewed = CertificateDer::from_pem_file(certs.join("ca.pem")).unwrap();
    assert_ne!(renewed, authority);
    wait_for("the renewed certificate", || {
        Client::checking(server.webhook, renewed.clone()).ok().map(drop)
    });

    // Those that cannot be used are passed over.
    fs::write(certs.join("tls-key.pem"), &pem::valid().key).unwrap();
    let server = Server::start(inventory.path(), &["--certs-dir", certs.to_str().unwrap()]);
    assert!(Client::checking(server.webhook, renewed).is_err());
    server.wait_logged("cannot be used");
}
