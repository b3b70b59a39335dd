//! The day of installation: nothing is annotated or stated, and what clashes is denied.

use serde_json::json;

use crate::support::elsewhere::{Elsewhere, Reply, outer_address};
use crate::support::guarded::{Guarded, member};
use crate::support::objects::{multicluster, with, yaml};
use crate::support::plane::{Plane, several};
use crate::support::relay::Relay;
use crate::support::scouting::lasting_reader;
use crate::support::showing::Showing;
use crate::support::transcript::Transcript;
use crate::support::{TempDir, data};

/// What `istioctl create-remote-secret --name cluster-b` prints for a cluster that listens there.
fn printed(peer: &Plane, relay: &Relay, token: &str) -> String {
    let authority = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(peer.authority())
    };
    data("remote-secret.yaml")
        .replace("SERVER", &format!("https://{}", relay.address))
        .replace("AUTHORITY", &authority)
        .replace("TOKEN", token)
}

/// A cluster as kubeadm and istioctl leave it.
fn left(peer: &Showing, pods: &str, domain: &str) {
    peer.plane.admin().clear("/api/v1/namespaces/kube-system/pods");
    peer.plane.admin().clear("/api/v1/namespaces/istio-system/pods");
    peer.control_plane("kube-controller-manager", &format!("--cluster-cidr={pods}.0.0/16"));
    let services = format!("--service-cluster-ip-range={}", peer.plane.services);
    peer.control_plane("kube-apiserver", &services);
    peer.istiod(domain, "cluster-b");
}

#[test]
fn on_plain_istio_a_remote_secret_is_held_against_the_cluster_it_leads_to() {
    let ([own, other], _turns) = several();
    let peer = Showing::nothing(other);
    let token = lasting_reader(other);
    // It is as anywhere: reached by an address that is not this machine's own alone.
    let relay = Relay::at(outer_address());
    relay.lead_to(Some(other.api()));
    let directory = TempDir::with("b.yaml", &printed(other, &relay, &token));
    let file = directory.path().join("b.yaml");
    let secrets = "/api/v1/namespaces/istio-system/secrets";
    own.admin().clear(secrets);

    let mut told = Transcript::new("day-one-plain-istio");
    let mut apply = |note: &str, shown: &dyn Fn()| {
        shown();
        // What a cluster has shown counts for a minute, so each is met by an isthmus of its own.
        let cluster = Guarded::start_in(own, &["--reach=true"]);
        let kubeadm = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kubeadm-config, namespace: kube-system}\ndata:\n  ClusterConfiguration: |\n    apiVersion: kubeadm.k8s.io/v1beta4\n    kind: ClusterConfiguration\n    networking: {dnsDomain: cluster.local, podSubnet: 10.111.0.0/16, serviceSubnet: 10.0.0.0/24}\n";
        cluster.create(kubeadm).ok();
        cluster.wait_watched(1);
        told.note(note);
        let applied = cluster.kubectl(&["apply", "-f", file.to_str().unwrap()], "");
        let command = "$ kubectl apply -f istio-remote-secret-cluster-b.yaml";
        told.print(command, &format!("{}{}", applied.stdout, applied.stderr));
        let log = cluster.isthmus.all_logged();
        let metrics = cluster.isthmus.admin("/metrics").text();
        for text in [log, metrics, applied.stdout, applied.stderr] {
            assert!(!text.contains(&token), "{text}");
        }
        own.admin().clear(secrets);
        applied.succeeded
    };
    let left = |pods: &str, domain: &str, network: Option<&str>| {
        left(&peer, pods, domain);
        peer.network(network);
    };
    let note = "Its Pods' subnet is the local one.";
    assert!(!apply(note, &|| left("10.111", "cluster.local", None)));
    let note = "So it is, and its cluster domain is another one.";
    assert!(!apply(note, &|| left("10.111", "k8s-b.local", None)));
    let note = "It is on a network of its own.";
    assert!(apply(note, &|| left("10.111", "cluster.local", Some("vpc-b"))));
    let note = "It is sound.";
    assert!(apply(note, &|| left("10.112", "cluster.local", None)));
    let note = "It cannot be reached.";
    relay.lead_to(None);
    assert!(apply(note, &|| {}));
    told.check();
}

#[test]
fn on_deckhouse_an_endpoint_that_leads_home_or_to_a_member_is_told_by_the_uuid_there() {
    const OWN: &str = "0b9d1c80-8a46-11ee-b9d1-0242ac120002";
    const OTHER: &str = "1c9d1c80-8a46-11ee-b9d1-0242ac120002";
    let cluster = Guarded::start_by(crate::support::guarded::CRDS, "Fail", &["--reach=true"]);
    let uuid = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: d8-cluster-uuid, namespace: kube-system}}\ndata: {{cluster-uuid: {OWN}}}\n"
    );
    cluster.create(&uuid).ok();
    // Who has joined already, as Deckhouse has found it.
    cluster.create(&member("b", "https://istio.b.example.com/metadata/")).ok();
    let pinned = json!({"status": {"metadataCache": {"public": {"clusterUUID": OTHER}}}});
    let patch = ["patch", "istiomulticluster/b", "--subresource=status", "--type=merge", "-p"];
    cluster.kubectl(&[&patch[..], &[&pinned.to_string()]].concat(), "").ok();
    cluster.wait_watched(2);
    let publishing = |uuid: &str| {
        let public = json!({"clusterUUID": uuid, "authnKeyPub": "x", "rootCA": "x"}).to_string();
        Elsewhere::start(move |path| match path {
            "/metadata/public/public.json" => Reply::Answer(200, public.clone()),
            _ => Reply::Answer(404, String::new()),
        })
    };
    let mut told = Transcript::new("day-one-deckhouse");
    let mut create = |note: &str, peer: &Elsewhere| {
        let endpoint = format!("https://{}/metadata/", peer.address);
        let object = with(multicluster("c"), &["spec", "metadataEndpoint"], endpoint);
        let object = with(object, &["spec", "metadata"], json!({"ca": peer.authority}));
        told.note(note);
        let created = cluster.create(&yaml(&object));
        told.print(
            "$ kubectl create -f istiomulticluster-c.yaml",
            &format!("{}{}", created.stdout, created.stderr),
        );
        created.succeeded
    };
    assert!(!create("It is this cluster, by another name.", &publishing(OWN)));
    assert!(!create("It is a member already.", &publishing(OTHER)));
    assert!(create("It is another cluster.", &publishing("2c9d1c80-8a46-11ee-b9d1-0242ac120002")));
    told.check();
}
