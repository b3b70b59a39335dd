//! Members that have joined, as the webhook and the scout judge them together.

use serde_json::{Value as Json, json};

use super::scout::{MEMBERS, condition, member};
use crate::support::elsewhere::{kubeconfig, outer_address, remote_secret};
use crate::support::guarded::Guarded;
use crate::support::objects::{multicluster, with, yaml};
use crate::support::plane::{Output, Plane, several};
use crate::support::relay::Relay;
use crate::support::scouting::{Scout, lasting_reader, provide};
use crate::support::showing::Showing;
use crate::support::wait_for;

const SECRETS: &str = "/api/v1/namespaces/istio-system/secrets";
const OVERLAP: &str = "[SubnetOverlap]";

/// A cluster guarded by a webhook that reads others, and by a scout; its Pods are 10.111.0.0/16.
fn guarded(own: &'static Plane, scout: &[&str]) -> (Guarded, Scout) {
    own.admin().clear("/api/v1/namespaces/default/events");
    let cluster = Guarded::start_in(own, &["--reach=true", "--hold=1s"]);
    provide(own, &["--remote-secrets"]);
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {dnsDomain: cluster.local, podSubnet: 10.111.0.0/16, serviceSubnet: 10.0.0.0/24}\n";
    let kubeadm = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
        "data": {"ClusterConfiguration": text},
    });
    cluster.create(&kubeadm.to_string()).ok();
    let scout = Scout::start(own, &[&["--remote-secrets", "--interval=1s"], scout].concat());
    member(own, "local", |it| condition(it, "Sound").0 == "True");
    (cluster, scout)
}

/// Another cluster, reached as from elsewhere.
struct Peer {
    showing: Showing,
    relay: Relay,
    /// What its istiod calls it, and the key of its Secret.
    id: &'static str,
}

impl Peer {
    fn new(plane: &'static Plane, id: &'static str) -> Self {
        let relay = Relay::at(outer_address());
        relay.lead_to(Some(plane.api()));
        Self { showing: Showing::nothing(plane), relay, id }
    }

    /// It shows that its Pods are these, of the whole cluster.
    fn shows(&self, pods: &str) {
        let showing = self.shows_nothing();
        showing.control_plane("kube-controller-manager", &format!("--cluster-cidr={pods}"));
        let services = format!("--service-cluster-ip-range={}", showing.plane.services);
        showing.control_plane("kube-apiserver", &services);
    }

    /// It shows a Node that claims these Pods, and a Pod that claims an address.
    fn claims(&self, pods: &str, address: &str) {
        self.shows_nothing().node("n1", pods).running("tenant", "p", address);
    }

    fn shows_nothing(&self) -> &Showing {
        let mut api = self.showing.plane.admin();
        for path in [
            "/api/v1/nodes",
            "/api/v1/namespaces/kube-system/pods",
            "/api/v1/namespaces/istio-system/pods",
            "/api/v1/namespaces/tenant/pods",
        ] {
            api.clear(path);
        }
        self.showing.istiod("cluster.local", self.id)
    }

    /// A remote Secret that leads there, with another token each time.
    fn secret(&self) -> Json {
        let (plane, id) = (self.showing.plane, self.id);
        let server = format!("https://{}", self.relay.address);
        let token = lasting_reader(plane);
        remote_secret(id, &kubeconfig(id, &server, &plane.authority(), &token))
    }
}

fn applied(cluster: &Guarded, object: &Json, args: &[&str]) -> Output {
    cluster.kubectl(&[&["apply", "-f", "-"], args].concat(), &object.to_string())
}

#[test]
fn what_has_stood_is_not_denied_for_facts_and_neither_is_what_nobody_can_repair() {
    let ([own, first, second], _turns) = several();
    let (first, second) = (Peer::new(first, "cluster-b"), Peer::new(second, "cluster-b"));
    let (cluster, _scout) = guarded(own, &[]);
    // It joins when it is sound, and clashes later.
    first.shows("10.112.0.0/16");
    let joined = applied(&cluster, &first.secret(), &[]);
    assert!(joined.succeeded && joined.stderr.is_empty(), "{joined:?}");
    member(own, "cluster-b", |it| condition(it, "Known").0 == "True");
    first.shows("10.111.0.0/16");
    member(own, "cluster-b", |it| condition(it, "Sound") == ("False", "SubnetOverlap"));
    let existed = "[SubnetOverlap, existed before]";
    let rotated = applied(&cluster, &first.secret(), &[]);
    assert!(rotated.succeeded && rotated.stderr.contains(existed), "{rotated:?}");
    // As a backup is restored: deleted, and created.
    let lost = first.secret();
    own.admin().delete(&format!("{SECRETS}/istio-remote-secret-cluster-b"));
    member(own, "cluster-b", |it| condition(it, "Reachable").0 == "Unknown");
    let restored = cluster.kubectl(&["create", "--save-config", "-f", "-"], &lost.to_string());
    assert!(restored.succeeded && restored.stderr.contains(existed), "{restored:?}");
    member(own, "cluster-b", |it| condition(it, "Reachable").0 == "True");

    // It is rebuilt: another cluster, judged by what that shows.
    second.shows("10.111.0.0/16");
    let rebuilt = applied(&cluster, &second.secret(), &[]);
    assert!(!rebuilt.succeeded && rebuilt.stderr.contains(OVERLAP), "{rebuilt:?}");
    second.shows("10.113.0.0/16");
    let rebuilt = applied(&cluster, &second.secret(), &[]);
    assert!(rebuilt.succeeded && rebuilt.stderr.is_empty(), "{rebuilt:?}");
    let seen = member(own, "cluster-b", |it| condition(it, "Sound").0 == "True");
    assert_eq!(seen["status"]["observed"]["uid"]["value"], second.showing.uid());
    assert_eq!(seen["status"]["summary"]["pods"], "10.113.0.0/16");

    // What Nodes and Pods of a peer claim denies nobody.
    cluster.isthmus.wait_metric("isthmus_held_writes", 0.0);
    let first = Peer { id: "cluster-c", ..first };
    first.claims("10.0.0.0/8", "10.111.0.9");
    let hostile = applied(&cluster, &first.secret(), &["--dry-run=server"]);
    assert!(hostile.succeeded && hostile.stderr.contains(OVERLAP), "{hostile:?}");
    // What an operator renders, nobody could repair.
    first.shows("10.111.0.0/16");
    let written = applied(&cluster, &first.secret(), &["--dry-run=server"]);
    assert!(!written.succeeded && written.stderr.contains(OVERLAP), "{written:?}");
    let owner = json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]);
    let rendered = with(first.secret(), &["metadata", "ownerReferences"], owner);
    let rendered = applied(&cluster, &rendered, &[]);
    let by_operator = "[SubnetOverlap, rendered by an operator]";
    assert!(rendered.succeeded && rendered.stderr.contains(by_operator), "{rendered:?}");
    member(own, "cluster-c", |it| condition(it, "Sound") == ("False", "SubnetOverlap"));
    // An overlap in what is known in part is found, and denies nobody.
    first.claims("10.0.0.0/8", "10.111.0.9");
    let seen = member(own, "cluster-c", |it| {
        condition(it, "Known") == ("False", "UnknownFacts") && condition(it, "Sound").0 == "True"
    });
    let findings = seen["status"]["findings"].as_array().unwrap();
    let is_told = |rule: &str| {
        findings.iter().any(|finding| finding["rule"] == rule && finding["severity"] == "Warn")
    };
    assert!(is_told("SubnetOverlap") && is_told("UnknownFacts"), "{findings:?}");
    own.admin().clear(SECRETS);
}

#[test]
fn who_is_spoken_of_in_three_ways_is_one_member_whichever_comes_first() {
    let ([own, other], _turns) = several();
    let peer = Peer::new(other, "id-of-b");
    peer.shows("10.112.0.0/16");
    let (cluster, _scout) = guarded(own, &["--keep=0s"]);
    let spec = json!({
        "clusterDomain": "cluster.local", "podSubnets": ["10.112.0.0/16"],
        "serviceSubnets": [other.services], "clusterID": "id-of-b",
    });
    let stated = json!({
        "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshMember", "metadata": {"name": "b"},
        "spec": spec,
    });
    let flat = with(multicluster("b"), &["spec", "enableIngressGateway"], false);
    let objects = [flat, peer.secret(), stated];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for at in order {
            let mut told = applied(&cluster, &objects[at], &[]);
            // kubectl looks for an object before it creates it, and the scout may be in between.
            while told.stderr.contains("AlreadyExists") {
                told = applied(&cluster, &objects[at], &[]);
            }
            let context = format!("{order:?}, {}: {told:?}", objects[at]["kind"]);
            assert!(told.succeeded, "{context}");
            for rule in ["SubnetOverlap", "DuplicateMember", "ConflictingClaims"] {
                assert!(!told.stderr.contains(rule), "{context}");
            }
        }
        let seen = member(own, "b", |it| {
            let kinds = &it["status"]["summary"]["joinedBy"];
            kinds == "IstioMulticluster,Secret" && condition(it, "Reachable").0 == "True"
        });
        assert_eq!(condition(&seen, "Known").0, "True", "{order:?}");
        // It is one, and does not clash with itself.
        wait_for("one member", || {
            let listed = own.admin().get(MEMBERS);
            let listed = listed["items"].as_array()?;
            let names: Vec<_> = listed.iter().map(|it| &it["metadata"]["name"]).collect();
            let is_sound = listed.iter().all(|it| condition(it, "Sound").0 == "True");
            (names == ["b", "local"] && is_sound).then_some(())
        });
        let all = objects.iter().map(yaml).collect::<Vec<_>>().join("---\n");
        cluster.kubectl(&["delete", "-f", "-"], &all).ok();
        wait_for("nobody", || {
            let listed = own.admin().get(MEMBERS);
            (listed["items"].as_array()?.len() == 1).then_some(())
        });
    }
}
