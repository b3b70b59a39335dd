//! Endpoints of a remote control plane, as the chart `istio-remote` renders them and as operators
//! write them: `Endpoints` and `EndpointSlice` of Istio's own Services.

use super::carrier::unreadable;
use crate::document::entry::{Document, Select, local};
use crate::document::toolkit::common_annotations;
use crate::mesh::{About, Fact, MemberName, Position, Reading};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::syntax::{Node, Value};
use crate::value::{Invalid, RemoteAddress};

pub(in crate::document) const ENDPOINTS: Document = Document {
    name: "Endpoints",
    kind: "Endpoints",
    group: "",
    versions: &["v1"],
    resource: "endpoints",
    select: Select::Istio(&[
        "istio-pilot",
        "istio-policy",
        "istio-telemetry",
        "istio-mixer",
        "istiod*",
    ]),
    keys: &[],
    says: "the addresses at which the local member's proxies find the control plane of another cluster",
    read: |object, settings, reading| {
        read(object, settings, reading, "subsets", |lists, subset, path| {
            for key in ["addresses", "notReadyAddresses"] {
                for (index, address) in items(subset.get(key)) {
                    let path = format!("{path}.{key}[{index}].ip");
                    lists.address(&path, address.get("ip"), is_of_pod(address));
                }
            }
        });
    },
    canonical: None,
};

pub(in crate::document) const ENDPOINT_SLICE: Document = Document {
    name: "EndpointSlice",
    kind: "EndpointSlice",
    group: "discovery.k8s.io",
    versions: &["v1"],
    resource: "endpointslices",
    // Those of a controller end in letters of its own.
    select: Select::Istio(&[
        "istio-pilot",
        "istio-pilot-*",
        "istio-policy",
        "istio-policy-*",
        "istio-telemetry",
        "istio-telemetry-*",
        "istio-mixer",
        "istio-mixer-*",
        "istiod*",
    ]),
    read: |object, settings, reading| {
        read(object, settings, reading, "endpoints", |lists, endpoint, path| {
            for (index, address) in items(endpoint.get("addresses")) {
                let path = format!("{path}.addresses[{index}]");
                lists.address(&path, Some(address), is_of_pod(endpoint));
            }
        });
    },
    ..ENDPOINTS
};

struct Lists<'r> {
    reading: &'r mut Reading,
    member: MemberName,
}

impl Lists<'_> {
    /// Reads one address. That of a pod is not remote, and told by a controller.
    fn address(&mut self, path: &str, node: Option<&Node<'_>>, is_of_pod: bool) {
        let text = node.and_then(Node::text).unwrap_or_default();
        match RemoteAddress::parse(text) {
            Ok(_) if is_of_pod => {}
            Ok(address) => {
                let fact = Fact::RemoteAddress(address);
                self.reading.claim(&self.member, path.to_owned(), Position::NONE, fact);
            }
            Err(why) => self.fault(path, text, why),
        }
    }

    fn fault(&mut self, path: &str, text: &str, why: Invalid) {
        let about = About::RemoteEndpoint;
        self.reading.fault(&self.member, path.to_owned(), Position::NONE, about, text, why);
    }
}

fn read(
    object: &Object<'_>,
    settings: &Settings,
    reading: &mut Reading,
    field: &'static str,
    each: impl Fn(&mut Lists<'_>, &Node<'_>, &str),
) {
    let member = local(settings);
    common_annotations(object, reading, &member);
    let root = match object.field(field) {
        Ok(root) => root,
        Err(error) => return unreadable(reading, &member, field, &error),
    };
    let mut lists = Lists { reading, member };
    for (index, item) in items(root.as_ref()) {
        each(&mut lists, item, &format!("{field}[{index}]"));
    }
}

/// The items of a list; the API server has none that is not one.
fn items<'n, 'a>(node: Option<&'n Node<'a>>) -> impl Iterator<Item = (usize, &'n Node<'a>)> {
    let items = match node.map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().enumerate()
}

fn is_of_pod(address: &Node<'_>) -> bool {
    let target = address.get("targetRef").and_then(|target| target.get("kind"));
    target.and_then(Node::text) == Some("Pod")
}
