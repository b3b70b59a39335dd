//! Descriptors of Istio 0.8: what kubectl prints of ConfigMap `multicluster` and of the cluster
//! registry's objects.

use std::path::Path;

use crate::support::data;
use crate::support::guarded::{CRDS, Guarded, described, local};
use crate::support::transcript::Transcript;

const CREATE: &[&str] = &["create", "-f", "-"];
const DRY_RUN: &[&str] = &["create", "--dry-run=server", "-f", "-"];
const REPLACE: &[&str] = &["replace", "-f", "-"];
const DELETE: &[&str] = &["delete", "configmap", "multicluster", "-n=istio-system"];
/// The directory of Istio's own page, and the one that is right.
const DOCUMENTED: &str = "--from-file=tests/data/multicluster";
const CORRECTED: &str = "--from-file=manifests/examples/multicluster";

/// Creates ConfigMap `multicluster` of a directory's files.
fn of_directory(files: &str) -> Vec<&str> {
    vec!["create", "configmap", "multicluster", "-n=istio-system", files]
}

/// The manifest that kubectl makes of them.
fn manifest(cluster: &Guarded, files: &str) -> String {
    let args = [&of_directory(files)[..], &["--dry-run=client", "-o=yaml"]].concat();
    cluster.kubectl(&args, "").ok()
}

#[test]
fn the_documented_directory_is_admitted_with_its_correction() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("descriptors");
    told.note("The directory of the documentation.");
    told.kubectl(&cluster, &of_directory(DOCUMENTED), "");
    cluster.wait_watched(1);
    told.kubectl(&cluster, DELETE, "");
    cluster.wait_watched(0);
    told.note("The corrected one, with a second cluster.");
    told.kubectl(&cluster, &of_directory(CORRECTED), "");
    cluster.wait_watched(1);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples/multicluster");
    told.isthmus(&cluster, &directory, &["check", "--strict", "."]);

    let sound = manifest(&cluster, CORRECTED);
    for (note, bad) in [
        ("ControlPlaneCount, two", sound.replace(": \"false\"", ": \"true\"")),
        ("ControlPlaneCount, none", sound.replace(": \"true\"", ": \"false\"")),
        ("InvalidDescriptor, whatever is wrong", {
            sound
                .replace("platform: \"Kubernetes\"", "platform: \"kubernetes\"")
                .replacen("\"192.168.1.1:9080\"", "192.168.1.1", 1)
                .replace("clientCIDR: \"10.23.230.0/28\"", "clientCIDR: 10.23.230.0")
        }),
        ("InvalidDescriptor, not YAML", sound.replace("kind: Cluster\n", "kind: Cluster: x\n")),
        ("InvalidDescriptor, a key that Pilot ignores", {
            sound.replace("falkor08.yaml:", "falkor08.json:")
        }),
        ("MissingAccessConfig", {
            let outside =
                sound.replace("File: \"falkor07.kube.conf", "File: \"../falkor07.kube.conf");
            outside.replace("https://10.23.230.12", "https://127.0.0.1")
        }),
        ("SubnetOverlap and ClusterDomainMismatch with the local member", {
            sound.replace("accessConfigFile: \"falkor07.kube.conf\"\n", "accessConfigFile: \"falkor07.kube.conf\"\n        isthmus.dev/cluster-domain: other.local\n        isthmus.dev/pod-subnet-cidr: 10.112.128.0/17\n        isthmus.dev/service-subnet-cidr: 10.222.0.0/16\n")
        }),
    ] {
        assert_ne!(bad, sound, "{note}");
        told.note(note);
        let dry_run = [REPLACE, &["--dry-run=server"]].concat();
        let refused = cluster.kubectl(&dry_run, &bad);
        told.print("$ kubectl replace --dry-run=server -f -", &refused.stderr);
        assert!(!refused.succeeded);
    }
    told.note("A key goes away that a descriptor names, and a label comes.");
    let target = ["patch", "configmap", "multicluster", "-n=istio-system", "--type=merge", "-p"];
    let patch = r#"{"data":{"falkor08.kube.conf":null}}"#;
    told.kubectl(&cluster, &[&target[..], &[patch]].concat(), "");
    let label = ["label", "configmap", "multicluster", "-n=istio-system", "team=mesh"];
    told.kubectl(&cluster, &label, "");
    told.note("A cluster leaves the mesh.");
    let patch = r#"{"data":{"falkor08.kube.conf":null,"falkor08.yaml":null}}"#;
    told.kubectl(&cluster, &[&target[..], &[patch]].concat(), "");
    told.check();
}

#[test]
fn strict_descriptors_deny_the_documented_directory() {
    let cluster = Guarded::start_by(CRDS, "Fail", &["--strict-descriptors"]);
    let mut told = Transcript::new("descriptors-strict");
    told.kubectl(&cluster, &of_directory(DOCUMENTED), "");
    told.kubectl(&cluster, &of_directory(CORRECTED), "");
    let before = cluster.isthmus.reviews();
    told.note("Of other ConfigMaps isthmus is not asked.");
    for (name, namespace) in [("multicluster", "default"), ("multicluster-old", "istio-system")] {
        let namespace = format!("-n={namespace}");
        told.kubectl(&cluster, &["create", "configmap", name, &namespace, DOCUMENTED], "");
        told.kubectl(&cluster, &["delete", "configmap", name, &namespace], "");
    }
    assert!((cluster.isthmus.reviews() - before).abs() < f64::EPSILON);
    let logged = cluster.isthmus.logged();
    assert!(logged.contains("istio-system/multicluster") && !logged.contains("token"), "{logged}");
    told.check();
}

#[test]
fn an_edit_is_refused_and_descriptors_take_part_in_the_mesh() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("descriptors-members");
    // Without credentials, so that the editor shows none.
    let user = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token}}";
    let sound = manifest(&cluster, CORRECTED).replace("{token: example}", user);
    cluster.create(&sound).ok();
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(2);
    let edit = ["edit", "configmap", "multicluster", "-n=istio-system"];
    told.edit(
        &cluster,
        "s/\"192.168.1.1:9080\"/pilot:9080/;s/falkor08.kube.conf:/falkor08.conf:/",
        &edit,
    );
    told.note("The local member, and a flat one, take the pods of a descriptor.");
    told.kubectl(&cluster, REPLACE, &local("10.112.0.0/16"));
    let flat = [
        ("cluster-domain", "cluster.local"),
        ("pod-subnet-cidr", "10.112.64.0/18"),
        ("service-subnet-cidr", "10.224.0.0/16"),
    ];
    told.kubectl(&cluster, DRY_RUN, &described("flat", false, &flat));
    told.note("Once the descriptor is gone, they may.");
    let target = ["patch", "configmap", "multicluster", "-n=istio-system", "--type=merge", "-p"];
    let gone = r#"{"data":{"falkor08.kube.conf":null,"falkor08.yaml":null}}"#;
    told.kubectl(&cluster, &[&target[..], &[gone]].concat(), "");
    cluster.isthmus.wait_metric("isthmus_held_writes", 0.0);
    told.kubectl(&cluster, DRY_RUN, &described("flat", false, &flat));
    told.check();
}

#[test]
fn objects_of_the_cluster_registry_are_descriptors_too() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("descriptors-objects");
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    let object = |namespace: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples/multicluster");
        let text = std::fs::read_to_string(file.join("falkor08.yaml")).unwrap();
        text.replace("  name: falkor08\n", &format!("  name: falkor08\n  namespace: {namespace}\n"))
    };
    told.kubectl(&cluster, CREATE, &object("istio-system"));
    cluster.wait_watched(2);
    told.note("What is wrong with it, and with whom it clashes.");
    let bad = object("istio-system").replace("platform: \"K", "platform: \"k");
    told.kubectl(&cluster, REPLACE, &bad.replace("10.112.0.0", "10.111.0.0"));
    told.note("In a tenant's namespace it means nothing.");
    told.kubectl(&cluster, CREATE, &object("default").replace("10.112.0.0/16", "none"));
    told.note("The sample as an object: the API server lets no bare boolean through.");
    let sample = data("multicluster/falkor07.yaml");
    let named = sample.replace("name: \"falkor07\"", "name: falkor07\n  namespace: istio-system");
    told.kubectl(&cluster, CREATE, &named);
    told.check();
}
