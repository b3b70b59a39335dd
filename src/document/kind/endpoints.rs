//! Endpoints of a remote control plane, as the chart `istio-remote` renders them and as operators
//! write them: `Endpoints` and `EndpointSlice` of Istio's own Services.

use crate::document::entry::{Document, Registration, Scope, Select, local};
use crate::document::toolkit::{Cursor, Notes, common_annotations, fields};
use crate::mesh::{About, Fact, Reading};
use crate::settings::Settings;
use crate::syntax::{Node, Object};
use crate::value::RemoteAddress;

pub(crate) const ENDPOINTS: Document = Document {
    name: "Endpoints",
    kind: "Endpoints",
    group: "",
    versions: &["v1"],
    resource: "endpoints",
    select: Select::named(
        Scope::Istio,
        &["istio-pilot", "istio-policy", "istio-telemetry", "istio-mixer", "istiod*"],
    ),
    keys: &[],
    webhook: Some(Registration::of("endpoints", "Ignore")),
    says: "the addresses at which the local member's proxies find the control plane of another cluster",
    read: |object, settings, reading| {
        read(object, settings, reading, &["subsets"], |subset, notes| {
            for keys in [&["addresses"], &["notReadyAddresses"]] {
                let list = notes.get(subset, keys);
                for (index, node) in notes.items(&list).iter().enumerate() {
                    let item = list.item(index, node);
                    let ip = notes.get(&item, &["ip"]);
                    address(&ip, is_of_pod(node), notes);
                }
            }
        });
    },
    canonical: &[],
};

pub(crate) const ENDPOINT_SLICE: Document = Document {
    name: "EndpointSlice",
    kind: "EndpointSlice",
    group: "discovery.k8s.io",
    versions: &["v1"],
    resource: "endpointslices",
    // Those of a controller end in letters of its own.
    select: Select::named(
        Scope::Istio,
        &[
            "istio-pilot",
            "istio-pilot-*",
            "istio-policy",
            "istio-policy-*",
            "istio-telemetry",
            "istio-telemetry-*",
            "istio-mixer",
            "istio-mixer-*",
            "istiod*",
        ],
    ),
    read: |object, settings, reading| {
        read(object, settings, reading, &["endpoints"], |endpoint, notes| {
            let list = notes.get(endpoint, &["addresses"]);
            for (index, node) in notes.items(&list).iter().enumerate() {
                let is_of_pod = endpoint.node.is_some_and(is_of_pod);
                address(&list.item(index, node), is_of_pod, notes);
            }
        });
    },
    ..ENDPOINTS
};

fn read(
    object: &Object<'_>,
    settings: &Settings,
    reading: &mut Reading,
    field: &'static [&'static str; 1],
    each: impl Fn(&Cursor<'_, '_>, &mut Notes<'_>),
) {
    let mut notes = Notes::new(reading, local(settings));
    common_annotations(object, &mut notes);
    let root = fields(object, *field, &mut notes);
    let top = root.top();
    let list = notes.get(&top, field);
    for (index, node) in notes.items(&list).iter().enumerate() {
        each(&list.item(index, node), &mut notes);
    }
}

/// Reads one address. That of a pod is not remote, and comes from a controller.
fn address(at: &Cursor<'_, '_>, is_of_pod: bool, notes: &mut Notes<'_>) {
    let text = at.text().unwrap_or_default();
    match RemoteAddress::parse(text) {
        Ok(_) if is_of_pod => {}
        Ok(address) => notes.claim(at, Fact::RemoteAddress(address)),
        Err(why) => notes.fault_of(About::RemoteEndpoint, at, text, why),
    }
}

fn is_of_pod(address: &Node<'_>) -> bool {
    let target = address.get("targetRef").and_then(|target| target.get("kind"));
    target.and_then(Node::text) == Some("Pod")
}
