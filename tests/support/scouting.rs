//! A running `isthmus scout`, in a cluster of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::client::Client;
use super::guarded::{CRDS, clear, isthmus, wait_established};
use super::plane::Plane;
use super::process::{command, peak};
use super::showing::Showing;
use super::{TempDir, wait_for};

/// A scout; killed at the end.
pub(crate) struct Scout {
    child: Child,
    log: Arc<Mutex<String>>,
    admin: SocketAddr,
    _directory: TempDir,
}

impl Scout {
    /// Starts one in this cluster with the rights that `isthmus rbac --scout` prints.
    pub(crate) fn start(home: &Plane, args: &[&str]) -> Self {
        let token = home.kubectl(&["create", "token", "isthmus-scout", "-n=isthmus"], "").ok();
        let kubeconfig = home.kubeconfig("scout", token.trim());
        Self::launch(&[&["--kubeconfig", kubeconfig.to_str().unwrap()], args].concat())
    }

    /// Starts one, and waits until it listens.
    pub(crate) fn launch(args: &[&str]) -> Self {
        let directory = TempDir::new();
        let fixed = ["scout", "--admin=127.0.0.1:0", "--log-format=json", "--allow-loopback-peers"];
        let mut child = command(directory.path()).args(fixed).args(args).spawn().unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (lines, written) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let admin = wait_for("the address of the scout", || {
            let log = log.lock().unwrap();
            let line = log.lines().find(|line| line.contains("\"admin\":"))?;
            line.split("\"admin\":\"").nth(1)?.split('"').next()?.parse().ok()
        });
        Self { child, log, admin, _directory: directory }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The most memory that it has taken, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        peak(self.child.id())
    }

    /// A page of its probes and metrics.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let answer = Client::plain(self.admin).send("GET", path, &[], b"");
        (answer.status, answer.text())
    }
}

impl Drop for Scout {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = std::io::stderr().write_all(self.log().as_bytes());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster that knows MeshMembers, and grants a scout what it needs.
pub(crate) fn home(plane: &'static Plane, rights: &[&str]) -> Showing {
    clear(plane, CRDS);
    let mut api = plane.admin();
    for path in ["/api/v1/namespaces/istio-system/secrets", "/api/v1/namespaces/default/events"] {
        api.clear(path);
    }
    provide(plane, rights);
    Showing::nothing(plane)
}

/// Has a cluster know MeshMembers, and grant a scout what it needs.
pub(crate) fn provide(plane: &Plane, rights: &[&str]) {
    plane.kubectl(&["apply", "-f", "-"], &isthmus(&["crd"])).ok();
    wait_established(plane);
    let path = "/api/v1/namespaces/isthmus/serviceaccounts";
    let made = plane.admin().create(path, &json!({"metadata": {"name": "isthmus-scout"}}));
    assert!([201, 409].contains(&made.status), "{}", made.text());
    let rights = [&["rbac", "--scout"], rights].concat();
    let granted = plane.kubectl(&["apply", "-f", "-"], &isthmus(&rights));
    let absent = |line: &str| line.contains("namespaces \"d8-istio\" not found");
    assert!(granted.stderr.lines().all(absent), "{granted:?}");
}

/// The token of an account in a peer that may read what Istio's readers may.
pub(crate) fn reader(peer: &Plane) -> String {
    peer.kubectl(&["apply", "-f", "-"], &super::data("istio-reader.yaml")).ok();
    let account = "istio-reader-service-account";
    let path = "/api/v1/namespaces/istio-system/serviceaccounts";
    let made = peer.admin().create(path, &json!({"metadata": {"name": account}}));
    assert!([201, 409].contains(&made.status), "{}", made.text());
    // Whoever reads it before the API server knows of the role sees a part of it.
    wait_granted(peer, &["list", "nodes"]);
    peer.kubectl(&["create", "token", account, "-n=istio-system"], "").ok().trim().to_owned()
}

/// Waits until Istio's reader may do something.
pub(crate) fn wait_granted(peer: &Plane, what: &[&str]) {
    let reader = "--as=system:serviceaccount:istio-system:istio-reader-service-account";
    let ask = [&["auth", "can-i", reader], what].concat();
    wait_for("a right", || peer.kubectl(&ask, "").succeeded.then_some(()));
}

/// The same, whose token is not about to expire.
pub(crate) fn lasting_reader(peer: &Plane) -> String {
    reader(peer);
    let create = ["create", "token", "istio-reader-service-account", "-n=istio-system"];
    let token = peer.kubectl(&[&create[..], &["--duration=8760h"]].concat(), "").ok();
    token.trim().to_owned()
}

/// A remote Secret as `istioctl create-remote-secret` prints it.
pub(crate) fn remote_secret(id: &str, peer: &Plane, token: &str) -> Json {
    let authority = STANDARD.encode(peer.authority());
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": id,
        "clusters": [{"name": id, "cluster": {
            "server": format!("https://{}", peer.api()),
            "certificate-authority-data": authority,
        }}],
        "contexts": [{"name": id, "context": {"cluster": id, "user": id}}],
        "users": [{"name": id, "user": {"token": token}}],
    });
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": format!("istio-remote-secret-{id}"),
            "namespace": "istio-system",
            "labels": {"istio/multiCluster": "true"},
            "annotations": {"networking.istio.io/cluster": id},
        },
        "stringData": {id: kubeconfig.to_string()},
    })
}
