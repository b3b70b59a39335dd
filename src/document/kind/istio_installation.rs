//! How Istio is installed: `Istio` of the Sail operator, `IstioOperator`, and the values of the chart
//! `istiod`. What an operator or Helm renders of it is ConfigMap `istio`.

use super::mesh_config::{read_mesh, read_networks};
use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select, local};
use crate::document::toolkit::{
    Cursor, Notes, PROTOBUF, common_annotations, domain, fields, rendered,
};
use crate::mesh::{Fact, MemberName, Network, Reading};
use crate::settings::Settings;
use crate::syntax::{Node, Object, Value};
use crate::value::Invalid;

/// The kind that a file of values of the chart `istiod` is known by; no manifest has it.
pub const ISTIOD_VALUES_KIND: &str = "istiod values";
const SAYS: &str = "Istio's networks and mesh config before they are rendered, and the local member's cluster domain, network and cluster ID, as Istio is told them";

pub(crate) const ISTIO: Document = Document {
    name: "Istio",
    kind: "Istio",
    group: "sailoperator.io",
    versions: &["v1", "v1alpha1"],
    resource: "istios",
    select: Select::all(Scope::Cluster),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: SAYS,
    read: |object, settings, reading| {
        read(object, settings, reading, &["spec", "values"], &["spec", "values", "meshConfig"]);
    },
    canonical: &[],
};

pub(crate) const ISTIO_OPERATOR: Document = Document {
    name: "IstioOperator",
    kind: "IstioOperator",
    group: "install.istio.io",
    versions: &["v1alpha1"],
    resource: "",
    select: Select::all(Scope::AllNamespaces),
    webhook: None,
    read: |object, settings, reading| {
        read(object, settings, reading, &["spec", "values"], &["spec", "meshConfig"]);
    },
    ..ISTIO
};

/// The same without metadata, as istioctl takes it.
pub(crate) const BARE_ISTIO_OPERATOR: Document =
    Document { name: "bare IstioOperator", select: Select::all(Scope::BareFile), ..ISTIO_OPERATOR };

pub(crate) const ISTIOD_VALUES: Document = Document {
    name: "istiod values file",
    kind: ISTIOD_VALUES_KIND,
    group: "",
    versions: &["v1"],
    resource: "",
    select: Select::all(Scope::BareFile),
    webhook: None,
    read: |object, settings, reading| read(object, settings, reading, &[], &["meshConfig"]),
    ..ISTIO
};

/// The fields of the values that tell of the cluster.
const NETWORKS: &[&str] = &["global", "meshNetworks"];
const NETWORK: &[&str] = &["global", "network"];
const CLUSTER: &[&str] = &["global", "multiCluster", "clusterName"];
const DOMAIN: &[&str] = &["global", "proxy", "clusterDomain"];

fn read(
    object: &Object<'_>,
    settings: &Settings,
    reading: &mut Reading,
    values: &'static [&'static str],
    mesh_config: &'static [&'static str],
) {
    let mut notes = Notes::new(reading, local(settings));
    common_annotations(object, &mut notes);
    rendered(object, &mut notes);
    let root = fields(object, ["spec", "global", "meshConfig"], &mut notes);
    let top = root.top();
    let values = notes.get(&top, values);
    let at = notes.get(&values, DOMAIN);
    if let Some(text) = stated(&at, &mut notes) {
        domain(&mut notes, at.path(), &text);
    }
    let at = notes.get(&values, NETWORK);
    if let Some(name) = stated(&at, &mut notes) {
        notes.claim(&at, Fact::Network(Network::Named(name)));
    }
    let at = notes.get(&values, CLUSTER);
    if let Some(id) = stated(&at, &mut notes) {
        notes.claim(&at, Fact::ClusterId(id));
    }
    let notes = &mut notes.in_dialect(&PROTOBUF);
    let networks = notes.get(&values, NETWORKS);
    let nested = networks.node.and_then(|all| all.entry("networks"));
    if let Some((key, _)) = nested.filter(|(_, nested)| is_network_of_networks(nested)) {
        let at = networks.key(&key.text).at(key.span.position());
        let problem = "is read as a network of this name: the chart adds `networks:` itself";
        notes.fault(
            &at,
            "",
            Invalid::new(problem, "write the networks directly below meshNetworks"),
        );
    } else if !networks.is_absent() {
        read_networks(&networks, notes);
    }
    let mesh = notes.get(&top, mesh_config);
    if !mesh.is_absent() {
        read_mesh(&mesh, notes);
    }
}

/// Whether a value has networks by their names, as ConfigMap `istio` has them.
fn is_network_of_networks(node: &Node<'_>) -> bool {
    let is_network = |(_, node): &(_, Node<'_>)| {
        node.get("endpoints").is_some() || node.get("gateways").is_some()
    };
    matches!(&node.value, Value::Map(entries) if entries.iter().any(is_network))
}

/// A text; the charts' own values leave it empty.
fn stated(at: &Cursor<'_, '_>, notes: &mut Notes<'_>) -> Option<MemberName> {
    notes.text(at).filter(|text| !text.is_empty()).map(Into::into)
}
