//! Meshes of any size, as a large platform has them.

use std::sync::Arc;

use isthmus::manifest;
use isthmus::mesh::{Mesh, Reading};
use isthmus::settings::Settings;
use serde_json::{Value, json};

use objects::{configuration, stated, with};

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/support/objects.rs"]
mod objects;

/// How the members of a mesh are laid out.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// All on the local network, every subnet its own.
    Flat,
    /// All behind gateways, and all with Deckhouse's default subnets.
    Gateways,
}

/// The local member's documents.
pub fn local() -> Value {
    let object = configuration("local", "172.16.0.0/16", "172.17.0.0/16");
    with(object, &["clusterType"], "Static")
}

/// The IstioMulticluster of member `n`.
pub fn peer(n: usize, layout: Layout) -> Value {
    let (pods, services) = match layout {
        Layout::Flat => (subnet(2 * n), subnet(2 * n + 1)),
        Layout::Gateways => ("10.111.0.0/16".to_owned(), "10.222.0.0/16".to_owned()),
    };
    let gateway = matches!(layout, Layout::Gateways);
    let object = stated(&format!("cluster-{n:06}"), gateway, &pods, &services);
    let endpoint = format!("https://istio.k8s-{n:06}.example.com/metadata/");
    with(object, &["spec", "metadataEndpoint"], endpoint)
}

/// The MeshMember of a cluster that a remote Secret joins and that was read a moment ago.
pub fn observed(n: usize, layout: Layout) -> Value {
    let annotations = &peer(n, layout)["metadata"]["annotations"];
    let fact = |value: Value| json!({"value": value, "from": "x", "exact": true, "at": moment()});
    let id = format!("cluster-{n:06}");
    let network = if matches!(layout, Layout::Flat) { String::new() } else { id.clone() };
    json!({
        "apiVersion": "isthmus.dev/v1alpha1",
        "kind": "MeshMember",
        "metadata": {"name": id},
        "status": {
            "joinedBy": [{
                "kind": "Secret", "namespace": "istio-system", "name": format!("s-{n}"), "key": id,
            }],
            "observed": {
                "uid": fact(format!("{n:08x}-8a46-11ee-b9d1-0242ac120002").into()),
                "clusterDomain": fact("cluster.local".into()),
                "podSubnets": fact(json!([annotations["isthmus.dev/pod-subnet-cidr"]])),
                "serviceSubnets": fact(json!([annotations["isthmus.dev/service-subnet-cidr"]])),
                "network": fact(network.clone().into()),
                "gateways": fact(json!([network])),
                "clusterID": fact(id.clone().into()),
            },
        },
    })
}

fn moment() -> String {
    jiff::Timestamp::now().to_string()
}

/// The IstioMulticluster of a member that may join any of these meshes.
pub fn newcomer() -> Value {
    let mut joins = peer(300_000, Layout::Flat);
    joins["metadata"]["annotations"]["isthmus.dev/pod-subnet-cidr"] = "192.168.0.0/24".into();
    joins["metadata"]["annotations"]["isthmus.dev/service-subnet-cidr"] = "192.168.1.0/24".into();
    joins
}

/// A review as the API server sends it, managed fields included.
pub fn review(object: &Value) -> Vec<u8> {
    let recorded = include_str!(
        "../../tests/data/admission-reviews/003-create-istiomulticluster-cluster-a.json"
    );
    let mut review: Value = serde_json::from_str(recorded).expect("the recorded review is JSON");
    let metadata = &mut review["request"]["object"]["metadata"];
    metadata["name"] = object["metadata"]["name"].clone();
    for (key, value) in object["metadata"]["annotations"].as_object().expect("annotations") {
        metadata["annotations"][key] = value.clone();
    }
    review["request"]["name"] = object["metadata"]["name"].clone();
    review["request"]["object"]["spec"] = object["spec"].clone();
    serde_json::to_vec(&review).expect("JSON")
}

/// The n-th /28 of 10.0.0.0/8.
fn subnet(n: usize) -> String {
    let address = (10 << 24) + (u32::try_from(n).expect("a million subnets at most") << 4);
    format!("{}/28", std::net::Ipv4Addr::from(address))
}

/// What an object says.
pub fn reading(object: &Value, settings: &Settings) -> Reading {
    let text = object.to_string();
    let manifests = manifest::read(&text, "bench.json").expect("JSON");
    manifests[0].reading(settings).expect("an object")
}

/// A mesh of this many members beside the local one.
pub fn mesh(members: usize, layout: Layout) -> Mesh {
    mesh_of((0..members).map(|n| peer(n, layout)))
}

/// A mesh of what these objects describe, and the local member.
pub fn mesh_of(objects: impl Iterator<Item = Value>) -> Mesh {
    let settings = Arc::new(Settings::default());
    let objects = objects.chain([local()]);
    let readings = objects.map(|object| reading(&object, &settings));
    Mesh::of(Arc::clone(&settings), readings.collect::<Vec<_>>())
}
