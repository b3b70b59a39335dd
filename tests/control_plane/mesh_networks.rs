//! Istio's own ConfigMaps: those that hold its networks, and those that isthmus is never asked about.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::TempDir;
use crate::support::guarded::{Guarded, described, local};
use crate::support::objects::{self, yaml};
use crate::support::transcript::Transcript;

const CREATE: &[&str] = &["create", "-f", "-"];
const APPLY: &[&str] = &["apply", "-f", "-"];
const SERVER_SIDE: &[&str] = &["apply", "--server-side", "-f", "-"];

/// A ConfigMap of Istio with these networks.
fn config_map(name: &str, networks: &str) -> String {
    let data = json!({"mesh": "trustDomain: cluster.local\n", "meshNetworks": networks});
    yaml(&objects::config_map("istio-system", name, data))
}

/// Two networks, one of this range.
fn networks(range: &str) -> String {
    format!(
        "networks:\n  edge:\n    endpoints:\n    - fromRegistry: cluster-b\n    gateways:\n    - address: 192.0.2.1\n      port: 15443\n  vms:\n    endpoints:\n    - fromCidr: {range}\n"
    )
}

/// An editor that keeps what it is shown, and the first time changes it as sed is told. The second
/// time kubectl shows it why that was refused, and gives up where nothing is changed.
fn editor(directory: &TempDir, change: &str) -> String {
    let script = directory.path().join("editor");
    let seen = directory.path().join("seen");
    let text = format!(
        "#!/bin/sh\n[ -e {seen} ] || sed -i '{change}' \"$1\"\ncat \"$1\" >>{seen}\n",
        seen = seen.display()
    );
    directory.write("editor", text);
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    script.display().to_string()
}

/// Edits ConfigMap `istio`; gives what kubectl printed and what the editor was shown.
fn edit(cluster: &Guarded, change: &str) -> (String, String) {
    let directory = TempDir::new();
    let editor = editor(&directory, change);
    let args = ["edit", "configmap", "istio", "-n=istio-system"];
    let output = cluster.plane.kubectl_editing(&editor, &args, "");
    let seen = fs::read_to_string(directory.path().join("seen")).unwrap();
    let printed = output.stdout + &output.stderr;
    // The copy that kubectl keeps has another name each time.
    let lines = printed.lines().map(|line| match line.split_once("kubectl-edit-") {
        Some(_) => "(A copy of the changes is kept.)",
        None => line,
    });
    (lines.collect::<Vec<_>>().join("\n"), seen)
}

#[test]
fn mesh_networks_are_judged() {
    let cluster = Guarded::start();
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    let mut told = Transcript::new("mesh-networks");
    told.note("What Istio would drop");
    let address = networks("10.2.0.5").replace("15443", "0");
    told.kubectl(&cluster, CREATE, &config_map("istio", &address));
    told.note("What Istio reads");
    told.kubectl(&cluster, CREATE, &config_map("istio", &networks("10.2.0.0/16")));
    cluster.wait_watched(2);

    told.note("Edited so that two networks have the same addresses");
    let overlap = "s|fromRegistry: cluster-b|fromCidr: 10.2.3.0/24|";
    let (printed, seen) = edit(&cluster, overlap);
    let refusals: Vec<_> =
        seen.lines().filter(|line| line.contains("[NetworkSubnetOverlap]")).collect();
    assert_eq!(refusals.len(), 1, "{seen}");
    told.print("$ kubectl edit configmap istio -n=istio-system", &printed);
    told.print("in the editor:", refusals[0]);

    told.note("Edited to a second YAML document");
    let (printed, seen) = edit(&cluster, "s|^  meshNetworks: .*|&\\n    {}\\n    ---|");
    let refusals: Vec<_> =
        seen.lines().filter(|line| line.contains("[InvalidMeshConfig]")).collect();
    assert_eq!(refusals.len(), 1, "{seen}");
    told.print("$ kubectl edit configmap istio -n=istio-system", &printed);
    told.print("in the editor:", refusals[0]);

    told.note("A revision has a ConfigMap of its own.");
    for args in [APPLY, SERVER_SIDE] {
        let list = "networks:\n- vms\n";
        told.kubectl(&cluster, args, &config_map("istio-1-20", list));
    }
    told.kubectl(&cluster, APPLY, &config_map("istio-1-20", "networks: {}\n"));
    told.kubectl(&cluster, APPLY, &config_map("istio-1-20", &networks("10.2.0.0/16")));
    let patch = r#"{"data":{"mesh":"trustDomain: my_mesh"}}"#;
    let target = ["patch", "configmap", "istio-1-20", "-n=istio-system", "--type=merge", "-p"];
    told.kubectl(&cluster, &[&target[..], &[patch]].concat(), "");
    told.kubectl(&cluster, &["delete", "configmap", "istio-1-20", "-n=istio-system"], "");
    cluster.wait_watched(2);

    told.note("A member says that it is on another network than the one that has its addresses.");
    let annotations = [
        ("cluster-domain", "cluster.local"),
        ("network", "edge"),
        ("pod-subnet-cidr", "10.2.3.0/24"),
        ("service-subnet-cidr", "10.3.0.0/24"),
    ];
    told.kubectl(&cluster, CREATE, &described("cluster-b", true, &annotations));

    cluster.wait_watched(3);
    told.note("Edited with host bits set, which Istio clears");
    let (printed, _) = edit(&cluster, "s|10.2.0.0/16|10.2.3.4/16|");
    told.print("$ kubectl edit configmap istio -n=istio-system", &printed);
    told.check();
}

#[test]
fn a_config_map_that_loses_its_keys_is_asked_about_and_forgotten() {
    let cluster = Guarded::start();
    let istio = config_map("istio", &networks("10.2.0.0/16"));
    cluster.create(&istio).ok();
    cluster.wait_watched(1);
    let keyless = istio.replace("  mesh: |", "  a: |").replace("  meshNetworks: |", "  b: |");
    let before = cluster.isthmus.reviews();
    cluster.plane.kubectl(&["replace", "-f", "-"], &keyless).ok();
    assert!((cluster.isthmus.reviews() - before - 1.0).abs() < f64::EPSILON);
    cluster.wait_watched(0);
}

#[test]
fn other_config_maps_of_istio_are_not_asked_about() {
    let cluster = Guarded::start();
    let config_map = |namespace: &str, name: &str, key: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata: {{{key}: '['}}\n"
        )
    };
    let others = [
        ("istio-system", "istio-sidecar-injector", "config"),
        ("istio-system", "istio-ca-root-cert", "root-cert.pem"),
        ("istio-system", "istio", "other"),
        ("istio-system", "istiod", "mesh"),
        ("istio-system", "reviews", "meshNetworks"),
        ("default", "istio", "meshNetworks"),
        ("isthmus", "istio-1-20", "mesh"),
    ]
    .map(|(namespace, name, key)| config_map(namespace, name, key))
    .concat();
    let before = cluster.isthmus.reviews();
    assert!(before > 0.0, "the probes of the start are counted");
    cluster.kubectl(APPLY, &others).ok();
    cluster.kubectl(APPLY, &others.replace("'['", "'{'")).ok();
    cluster.kubectl(&[SERVER_SIDE, &["--force-conflicts"]].concat(), &others).ok();
    cluster.kubectl(&["label", "configmaps", "--all", "a=b", "-n=istio-system"], "").ok();
    cluster.kubectl(&["delete", "-f", "-"], &others).ok();
    assert!((cluster.isthmus.reviews() - before).abs() < f64::EPSILON);

    let asked = cluster.create(&config_map("istio-system", "istio", "meshNetworks"));
    assert!(asked.stderr.contains("[InvalidMeshConfig]"), "{asked:?}");
    assert!((cluster.isthmus.reviews() - before - 1.0).abs() < f64::EPSILON);
}
