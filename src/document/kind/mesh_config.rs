//! ConfigMap `istio`, or `istio-REVISION`: Istio's mesh networks and its mesh config.
//!
//! Istio reads both as protobuf's JSON. What it cannot read it drops as a whole, with a line in its
//! log: it keeps its previous state, and has none after a restart.

mod mesh;
mod networks;
mod protobuf;

use crate::document::entry::{CONFIG_MAPS, Document, Scope, Select, local};
use crate::document::toolkit::{
    Cursor, Notes, PROTOBUF, common_annotations, fields, rendered, text_of, tree_of,
};
use crate::mesh::{Fact, Reading};
use crate::settings::Settings;
use crate::syntax::{Object, Path};

/// Where the networks are.
const NETWORKS: &[&str] = &["data", "meshNetworks"];
/// Where the mesh config is.
const MESH: &[&str] = &["data", "mesh"];

pub(crate) const DOCUMENT: Document = Document {
    name: "Istio mesh config",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::named(Scope::Istio, &["istio", "istio-*"]),
    keys: &["mesh", "meshNetworks"],
    webhook: Some(CONFIG_MAPS),
    says: "Istio's networks with their endpoints and gateways, and the trust domain; both are compared with the members",
    read,
    canonical: &[],
};

/// Istio's mesh config, and its networks as Helm's values have them.
pub(super) use mesh::read as read_mesh;
pub(super) use networks::read_networks;

fn read(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let mut notes = Notes::new(reading, local(settings));
    common_annotations(object, &mut notes);
    rendered(object, &mut notes);
    let root = fields(object, ["data"], &mut notes);
    let top = root.top();
    let notes = &mut notes.in_dialect(&PROTOBUF);
    let networks = notes.get(&top, NETWORKS);
    if networks.is_absent() {
        notes.claim(&networks, Fact::MeshNetworks(false));
    }
    read_text(&networks, object, NETWORKS, networks::read, notes);
    read_text(&notes.get(&top, MESH), object, MESH, mesh::read, notes);
}

/// Reads the text of one key.
fn read_text(
    at: &Cursor<'_, '_>,
    object: &Object<'_>,
    path: &'static [&'static str],
    read: fn(&Cursor<'_, '_>, &mut Notes<'_>),
    notes: &mut Notes<'_>,
) {
    let Some(text) = text_of(object, at, notes) else { return };
    let path = Path::fixed(path);
    let remedy = "write one YAML mapping with unique keys";
    if let Some(root) = tree_of(object, &text, &path, remedy, notes) {
        read(&Cursor::within(&path, &root), notes);
    }
}
