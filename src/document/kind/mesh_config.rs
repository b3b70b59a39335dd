//! ConfigMap `istio`, or `istio-REVISION`: Istio's mesh networks and its mesh config.
//!
//! Istio reads both as protobuf's JSON. What it cannot read it drops as a whole, with a line in its
//! log: it goes on with what it had, and after a restart with nothing.

mod mesh;
mod networks;
mod protobuf;

use super::carrier::unreadable;
use crate::document::entry::{Document, Select, local};
use crate::document::toolkit::common_annotations;
use crate::mesh::{Fact, Reading};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::syntax::yaml_document;
use crate::syntax::{Node, Value};
use crate::value::Invalid;
use protobuf::{Carried, Spot};

/// The key that holds the networks.
const NETWORKS: &str = "meshNetworks";
/// The key that holds the mesh config.
const MESH: &str = "mesh";

pub(in crate::document) const DOCUMENT: Document = Document {
    name: "Istio mesh config",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::Istio(&["istio", "istio-*"]),
    keys: &[MESH, NETWORKS],
    says: "Istio's networks with their endpoints and gateways, and the trust domain; both are compared with the members",
    read,
    canonical: None,
};

fn read(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let member = local(settings);
    common_annotations(object, reading, &member);
    let data = match object.field("data") {
        Ok(data) => data,
        Err(error) => return unreadable(reading, &member, "data", &error),
    };
    let given = |key| data.as_ref()?.get(key).filter(|node| node.value != Value::Null);
    let mut carried = Carried::new(reading, &member);
    match given(NETWORKS) {
        Some(node) => read_text(&mut carried, object, NETWORKS, node, networks::read),
        None => carried.claim(&Spot::of(NETWORKS), Fact::MeshNetworks(false)),
    }
    if let Some(node) = given(MESH) {
        read_text(&mut carried, object, MESH, node, mesh::read);
    }
}

/// Reads the text of one key.
fn read_text(
    carried: &mut Carried<'_>,
    object: &Object<'_>,
    key: &str,
    node: &Node<'_>,
    read: fn(&mut Carried<'_>, &Spot, &Node<'_>),
) {
    let spot = Spot::of(key);
    let Some(text) = carried.text(&spot, node) else { return };
    match yaml_document(text, &object.budget) {
        Ok(root) => read(carried, &spot.at(root.span.position()), &root),
        Err(error) => {
            let why = Invalid::new(error.what, "write one YAML mapping with unique keys");
            carried.fault(&spot.at(error.span.position()), "", why);
        }
    }
}
