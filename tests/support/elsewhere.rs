//! Other clusters, as far as whoever reads them can tell: HTTPS servers that answer as a test says,
//! at an address that is not loopback, since isthmus connects to no such peer.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::https::{Connection, listen};

/// An address of this machine by which others could reach it, if it has one.
pub(crate) fn known_outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // This sends nothing: it only chooses a way there.
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

/// The same, for tests that cannot do without.
pub(crate) fn outer_address() -> IpAddr {
    known_outer_address().expect("this test needs an address of this machine that is not loopback")
}

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// It answers with this status and body.
    Answer(u16, String),
    /// It answers nothing as long as the test runs.
    Hang,
    /// It answers with what never ends.
    Endless,
}

/// A server of another cluster; it ends with the test's process.
pub(crate) struct Elsewhere {
    pub(crate) address: SocketAddr,
    /// The certificate, which has signed itself.
    pub(crate) authority: String,
    /// The paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Elsewhere {
    pub(crate) fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let (asked, is_over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (kept, over) = (Arc::clone(&asked), Arc::clone(&is_over));
        let (address, authority) =
            listen(outer_address(), move |connection| serve(connection, &reply, &kept, &over));
        Self { address, authority, asked, is_over }
    }

    /// How often a path was asked for that begins so.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(path)).count()
    }

    /// A kubeconfig as `istioctl create-remote-secret` writes it.
    pub(crate) fn kubeconfig(&self, id: &str, token: &str) -> String {
        kubeconfig(id, &format!("https://{}", self.address), &self.authority, token)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

/// A kubeconfig as `istioctl create-remote-secret` writes it.
pub(crate) fn kubeconfig(id: &str, server: &str, authority: &str, token: &str) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": id,
        "clusters": [{"name": id, "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "contexts": [{"name": id, "context": {"cluster": id, "user": id}}],
        "users": [{"name": id, "user": {"token": token}}],
    });
    config.to_string()
}

/// A remote Secret as an API server has it.
pub(crate) fn remote_secret(id: &str, kubeconfig: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": format!("istio-remote-secret-{id}"),
            "namespace": "istio-system",
            "labels": {"istio/multiCluster": "true"},
            "annotations": {"networking.istio.io/cluster": id},
        },
        "data": {id: STANDARD.encode(kubeconfig)},
    })
}

/// What a cluster shows to the account of a remote Secret.
#[derive(Clone)]
pub(crate) struct Shows<'a> {
    pub(crate) uid: &'a str,
    pub(crate) pods: &'a str,
    pub(crate) services: &'a str,
    pub(crate) domain: &'a str,
    /// The label of its Istio namespace.
    pub(crate) network: &'a str,
    /// What its istiod is called by.
    pub(crate) id: &'a str,
}

impl Shows<'_> {
    /// Its answer to a request.
    pub(crate) fn reply(&self, path: &str) -> Reply {
        let Self { uid, pods, services, domain, network, id } = self;
        let list = |items: Json| json!({"kind": "PodList", "metadata": {}, "items": items});
        let component = |name: &str, flag: String| {
            json!({
                "metadata": {
                    "name": format!("{name}-m"), "namespace": "kube-system",
                    "labels": {"component": name},
                    "annotations": {"kubernetes.io/config.mirror": "x"},
                    "ownerReferences": [{"kind": "Node", "name": "m"}],
                },
                "spec": {"hostNetwork": true, "containers": [{"command": [name, flag]}]},
            })
        };
        let body = match path.split('?').next().unwrap() {
            "/api/v1/namespaces/kube-system" => {
                json!({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": uid}})
            }
            "/api/v1/namespaces/istio-system" => {
                let labels = match *network {
                    "" => json!({}),
                    network => json!({"topology.istio.io/network": network}),
                };
                json!({"kind": "Namespace", "metadata": {"name": "istio-system", "labels": labels}})
            }
            "/api/v1/namespaces/kube-system/pods" => list(json!([
                component("kube-controller-manager", format!("--cluster-cidr={pods}")),
                component("kube-apiserver", format!("--service-cluster-ip-range={services}")),
            ])),
            "/api/v1/pods" => {
                let ip = pods.replace(".0.0/16", ".0.7");
                list(json!([{
                    "metadata": {"name": "p", "namespace": "default"},
                    "spec": {"containers": []},
                    "status": {"phase": "Running", "podIPs": [{"ip": ip}]},
                }]))
            }
            "/api/v1/namespaces/istio-system/pods" if !path.contains("notin") => list(json!([{
                "metadata": {
                    "name": "istiod-1", "namespace": "istio-system", "labels": {"app": "istiod"},
                },
                "spec": {"containers": [{
                    "args": ["discovery", "--domain", domain],
                    "env": [{"name": "CLUSTER_ID", "value": id}],
                }]},
            }])),
            "/api/v1/namespaces/d8-istio" => return Reply::Answer(404, "{}".to_owned()),
            "/api/v1/services" => json!({"kind": "ServiceList", "metadata": {}, "items": []}),
            path if path.ends_with("/pods") => list(json!([])),
            _ => return Reply::Answer(403, "{}".to_owned()),
        };
        Reply::Answer(200, body.to_string())
    }
}

fn serve(
    stream: Connection,
    reply: &(dyn Fn(&str) -> Reply + Send + Sync),
    asked: &Mutex<Vec<String>>,
    is_over: &AtomicBool,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        asked.lock().unwrap().push(path.to_owned());
        let (status, body) = match reply(path) {
            Reply::Answer(status, body) => (status, body),
            Reply::Hang => {
                while !is_over.load(Relaxed) {
                    thread::sleep(Duration::from_millis(250));
                }
                return Ok(());
            }
            Reply::Endless => {
                let out = stream.get_mut();
                out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                while !is_over.load(Relaxed) {
                    out.write_all(format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes())?;
                }
                return Ok(());
            }
        };
        let location = "location: https://192.0.2.254/elsewhere";
        let head =
            format!("HTTP/1.1 {status} x\r\n{location}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all((head + &body).as_bytes())?;
    }
}
