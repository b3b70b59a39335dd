//! The scout on Deckhouse: an IstioMulticluster tells neither domain nor subnets, and the remote
//! Secret that Deckhouse renders of it leads to both.

use serde_json::{Value as Json, json};

use super::scout::{MEMBERS, an_overlap_is_told, condition, member};
use crate::support::objects::{multicluster, secret_of_deckhouse, with};
use crate::support::plane::{Plane, several};
use crate::support::scouting::{Scout, home, reader, remote_secret};
use crate::support::showing::Showing;
use crate::support::wait_for;

const SECRETS: &str = "/api/v1/namespaces/d8-istio/secrets";
const MULTICLUSTERS: &str = "/apis/deckhouse.io/v1alpha1/istiomulticlusters";
const UUID: &str = "1c9d1c80-8a46-11ee-b9d1-0242ac120002";

/// The remote Secret that Deckhouse renders of IstioMulticluster `b`.
fn rendered(peer: &Plane, token: &str) -> Json {
    let secret = remote_secret("istio-cluster-b", peer, token);
    let labels = json!({"istio/multiCluster": "true", "heritage": "deckhouse", "module": "istio"});
    let metadata =
        json!({"name": "istio-remote-secret-b", "namespace": "d8-istio", "labels": labels});
    with(secret, &["metadata"], metadata)
}

#[test]
fn a_rendered_secret_leads_to_domain_and_subnets_and_an_overlap_is_told() {
    let ([own, other], _turns) = several();
    Showing::nothing(own).deckhouse();
    let local = home(own, &["--remote-secrets"]);
    own.admin().clear(SECRETS);
    local.create(
        "/api/v1/namespaces/kube-system/secrets",
        &secret_of_deckhouse("10.111.0.0/16", "10.222.0.0/16"),
    );
    let peer = Showing::nothing(other);
    peer.deckhouse().api_proxy("cluster.local", UUID);
    peer.control_plane("kube-controller-manager", "--cluster-cidr=10.111.0.0/16");
    peer.control_plane("kube-apiserver", "--service-cluster-ip-range=10.223.0.0/16");
    let token = reader(other);
    // Every ten minutes: nothing but the changes themselves leads to what is shown here.
    let scout = Scout::start(own, &["--remote-secrets", "--keep=0s"]);

    // It is declared: nothing leads there yet.
    let flat = with(multicluster("b"), &["spec", "enableIngressGateway"], false);
    local.create(MULTICLUSTERS, &flat);
    let seen = member(own, "b", |it| condition(it, "Sound").0 == "True");
    assert_eq!(condition(&seen, "Reachable"), ("Unknown", "NoRemoteSecret"));
    assert_eq!(condition(&seen, "Known"), ("False", "UnknownFacts"));

    // Deckhouse renders the Secret.
    local.create(SECRETS, &rendered(other, &token));
    let seen = member(own, "b", |it| {
        condition(it, "Known").0 == "True" && condition(it, "Sound").0 == "False"
    });
    assert_eq!(condition(&seen, "Sound"), ("False", "SubnetOverlap"));
    assert_eq!(seen["status"]["observed"]["clusterUUID"]["value"], UUID);
    let joined = json!([
        {"kind": "IstioMulticluster", "name": "b"},
        {
            "kind": "Secret", "namespace": "d8-istio", "name": "istio-remote-secret-b",
            "key": "istio-cluster-b",
        },
    ]);
    assert_eq!(seen["status"]["joinedBy"], joined);
    let columns = own.kubectl(&["get", "meshmembers"], "").ok();
    let row = columns.lines().find(|line| line.starts_with("b ")).unwrap();
    let words: Vec<_> = row.split_whitespace().take(7).collect();
    let expected = [
        "b",
        "cluster.local",
        "10.111.0.0/16",
        "10.223.0.0/16",
        "IstioMulticluster,Secret",
        "True",
        "False",
    ];
    assert_eq!(words, expected, "{columns}");
    let about = "10.111.0.0/16 overlaps pod subnet 10.111.0.0/16 of member \"local\" (Secret kube-system/d8-cluster-configuration) on the same network";
    an_overlap_is_told(own, &scout, "b", about);

    // The Secret goes: what was seen stands.
    own.admin().delete(&format!("{SECRETS}/istio-remote-secret-b"));
    let seen = member(own, "b", |it| condition(it, "Reachable").0 == "Unknown");
    assert_eq!(condition(&seen, "Reachable"), ("Unknown", "NoRemoteSecret"));
    assert_eq!(seen["status"]["summary"]["pods"], "10.111.0.0/16");
    assert_eq!(condition(&seen, "Sound"), ("False", "SubnetOverlap"));
    // The IstioMulticluster goes as well, and nobody is left.
    own.admin().delete(&format!("{MULTICLUSTERS}/b"));
    wait_for("the MeshMember to be gone", || {
        (own.admin().get(&format!("{MEMBERS}/b"))["code"] == 404).then_some(())
    });
}
