//! Reviews that a real API server sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::support::process::Server;
use crate::support::{TempDir, data};

/// A recorded review, and what is answered to it by a server that knows nothing.
struct Case {
    file: &'static str,
    /// The rules that warn.
    rules: &'static str,
    /// The warnings; `NAME` stands for the member's name.
    warnings: &'static [&'static str],
}

const UNKNOWN: &str = "metadata.name: its cluster domain and subnets are unknown, so not checked; kubectl annotate istiomulticluster NAME isthmus.dev/cluster-domain=DOMAIN isthmus.dev/pod-subnet-cidr=CIDR isthmus.dev/service-subnet-cidr=CIDR [UnknownFacts]";
const STILL_UNKNOWN: &str = "metadata.name: its cluster domain and subnets are unknown, so not checked; kubectl annotate istiomulticluster NAME isthmus.dev/cluster-domain=DOMAIN isthmus.dev/pod-subnet-cidr=CIDR isthmus.dev/service-subnet-cidr=CIDR [UnknownFacts, existed before]";
const DOMAIN_UNKNOWN: &str = "metadata.name: its cluster domain is unknown, so not checked; state this in a ConfigMap labelled isthmus.dev/member: local [UnknownFacts]";
const LOST_SPEC: &str = "data[falkor07.yaml][falkor07].metadata.spec: line 10, column 3: spec under metadata is ignored; write at the top level: spec: {kubernetesApiEndpoints: {serverEndpoints: [{clientCIDR: 10.23.230.0/28, serverAddress: 10.23.230.11}]}} [InvalidDescriptor]";
const CREDENTIALS: &str = "data[falkor07.kube.conf]: contains credentials (token), visible to everyone who may read ConfigMaps; move them to a Secret, where Istio 1.0 and later keep them; until then, restrict access to this ConfigMap [MissingAccessConfig]";

const fn silent(file: &'static str) -> Case {
    Case { file, rules: "", warnings: &[] }
}

const fn warned(file: &'static str, warnings: &'static [&'static str]) -> Case {
    Case { file, rules: "UnknownFacts", warnings }
}

const CASES: &[Case] = &[
    warned("001-create-istiomulticluster-cluster-a-dryrun", &[UNKNOWN]),
    warned("003-create-istiomulticluster-cluster-a", &[UNKNOWN]),
    silent("005-create-clusterconfiguration-cluster-b"),
    silent("006-create-secret-d8-cluster-configuration"),
    silent("007-update-secret-d8-cluster-configuration"),
    silent("008-create-configmap-kubeadm-config"),
    silent("009-create-moduleconfig-istio"),
    warned("010-create-moduleconfig-control-plane-manager", &[DOMAIN_UNKNOWN]),
    Case {
        file: "011-create-configmap-multicluster",
        rules: "InvalidDescriptor,MissingAccessConfig",
        warnings: &[LOST_SPEC, CREDENTIALS],
    },
    warned("012-update-istiomulticluster-cluster-b", &[STILL_UNKNOWN]),
    silent("013-update-istiomulticluster-cluster-b"),
    warned("014-update-istiomulticluster-cluster-a", &[STILL_UNKNOWN]),
    silent("022-delete-istiomulticluster-cluster-a"),
    warned("023-create-istiomulticluster-peer-5lsdf", &[UNKNOWN]),
    silent("024-create-configmap-d8-cluster-uuid"),
];

/// The one object that is not written as it should be, and what becomes of it.
const PATCHED: &str = "023-create-istiomulticluster-peer-5lsdf";

fn recorded(file: &str) -> (String, Json) {
    let text = data(&format!("admission-reviews/{file}.json"));
    let review = serde_json::from_str(&text).unwrap();
    (text, review)
}

#[test]
fn each_is_allowed_in_an_unknown_mesh() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &[]);
    let mut client = server.client();
    for Case { file, rules, warnings } in CASES {
        let (body, review) = recorded(file);
        let request = &review["request"];
        let mut expected = json!({"uid": request["uid"], "allowed": true});
        if !warnings.is_empty() {
            let name = request["name"].as_str().unwrap();
            let named = warnings.iter().map(|warning| warning.replace("NAME", name));
            expected["warnings"] = named.collect();
            expected["auditAnnotations"] = json!({"rules": rules});
        }
        assert_eq!(client.post("/validate?timeout=10s", &body).response(), expected, "{file}");

        let mut mutated = client.post("/mutate?timeout=10s", &body).response();
        if *file == PATCHED {
            let patch = mutated.as_object_mut().unwrap().remove("patch").unwrap();
            let patch = STANDARD.decode(patch.as_str().unwrap()).unwrap();
            assert_eq!(
                serde_json::from_slice::<Json>(&patch).unwrap(),
                json!([{
                    "op": "replace",
                    "path": "/spec/metadataEndpoint",
                    "value": "https://istio.k8s-c.example.com/metadata/",
                }])
            );
            assert_eq!(mutated["patchType"], "JSONPatch");
            mutated.as_object_mut().unwrap().remove("patchType");
        }
        assert_eq!(mutated, json!({"uid": request["uid"], "allowed": true}), "{file}");
    }
    let recordings = std::fs::read_dir("tests/data/admission-reviews").unwrap().count();
    assert_eq!(recordings, CASES.len(), "every recording is a case");
}

/// What each review of the history comes to: the verdict and the rules. What a member is told of
/// changes as others join.
const HISTORY: &[(&str, bool, &str)] = &[
    ("001-create-istiomulticluster-cluster-a-dryrun", true, "UnknownFacts"),
    ("003-create-istiomulticluster-cluster-a", true, "UnknownFacts"),
    ("005-create-clusterconfiguration-cluster-b", true, ""),
    ("006-create-secret-d8-cluster-configuration", true, "SubnetOverlap"),
    ("007-update-secret-d8-cluster-configuration", true, "SubnetOverlap"),
    ("008-create-configmap-kubeadm-config", true, "ConflictingClaims,SubnetOverlap"),
    ("009-create-moduleconfig-istio", true, "ConflictingClaims,SubnetOverlap"),
    ("010-create-moduleconfig-control-plane-manager", true, "SubnetOverlap"),
    (
        "011-create-configmap-multicluster",
        true,
        "InvalidDescriptor,MissingAccessConfig,SubnetOverlap",
    ),
    ("012-update-istiomulticluster-cluster-b", false, "SubnetOverlap"),
    ("013-update-istiomulticluster-cluster-b", true, ""),
    ("014-update-istiomulticluster-cluster-a", true, "UnknownFacts"),
    ("022-delete-istiomulticluster-cluster-a", true, ""),
    ("023-create-istiomulticluster-peer-5lsdf", true, "UnknownFacts"),
    (
        "024-create-configmap-d8-cluster-uuid",
        true,
        "InvalidDescriptor,MissingAccessConfig,SubnetOverlap",
    ),
];

#[test]
fn in_sequence_all_are_allowed_except_the_one_that_breaks_the_mesh() {
    // The recording begins after the creation of cluster-b.
    let inventory = TempDir::with("seed.yaml", &data("seed/istiomulticlusters.yaml"));
    let server = Server::start(inventory.path(), &[]);
    let mut client = server.client();
    for (file, allowed, rules) in HISTORY {
        let (body, review) = recorded(file);
        let response = client.post("/validate", &body).response();
        assert_eq!(response["allowed"], *allowed, "{file}: {response}");
        let fired = response["auditAnnotations"]["rules"].as_str().unwrap_or_default();
        assert_eq!(fired, *rules, "{file}: {response}");
        if *allowed {
            write(&inventory, &review["request"]);
            server.wait_inventory();
        } else {
            assert_eq!(response["status"], denial(), "{file}");
            assert_eq!(response["uid"], review["request"]["uid"]);
        }
    }
}

/// What is said of the write that breaks the mesh.
fn denial() -> Json {
    let causes = [("pod", "10.111", "10.112"), ("service", "10.222", "10.223")].map(|(of, subnet, free)| {
        format!("{of}SubnetCIDR of ClusterConfiguration cluster-b: {subnet}.0.0/16 overlaps {of} subnet {subnet}.0.0/16 of member \"local\" (ModuleConfig control-plane-manager) on the same network; next free /16: {free}.0.0/16; or keep the member behind a gateway (spec.enableIngressGateway: true) [SubnetOverlap]")
    });
    let field = "spec.enableIngressGateway";
    let [pods, services] = &causes;
    json!({
        "code": 422,
        "reason": "Invalid",
        "message": format!("IstioMulticluster.deckhouse.io \"cluster-b\" is invalid: [{field}: {pods}, {field}: {services}]"),
        "details": {
            "group": "deckhouse.io",
            "kind": "IstioMulticluster",
            "name": "cluster-b",
            "causes": causes
                .each_ref()
                .map(|message| json!({"field": field, "reason": "SubnetOverlap", "message": message})),
        },
    })
}

/// Does to the inventory what the API server did to its store.
fn write(inventory: &TempDir, request: &Json) {
    if request["dryRun"] == true || request["subResource"].is_string() {
        return;
    }
    let object = if request["operation"] == "DELETE" { "oldObject" } else { "object" };
    let metadata = &request[object]["metadata"];
    let file = format!("{}-{}.json", request["kind"]["kind"], metadata["name"]).replace('"', "");
    match request["operation"].as_str() {
        Some("DELETE") => inventory.remove(&file),
        _ => inventory.write(&file, request[object].to_string()),
    }
}
