//! ConfigMap `d8-cluster-uuid`: who the local member is.

use crate::document::entry::{Document, KUBE_SYSTEM, Scope, Select, local};
use crate::document::toolkit::{Notes, common_annotations, fields};
use crate::mesh::{Basis, Configuration, Fact};
use crate::syntax::Node;
use crate::value::{ClusterUuid, Invalid};

pub(crate) const DOCUMENT: Document = Document {
    name: "d8-cluster-uuid",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::named(Scope::Namespace("kube-system"), &["d8-cluster-uuid"]),
    keys: &[],
    webhook: Some(KUBE_SYSTEM),
    says: "the local member's identity",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::Deckhouse);
        let mut notes = Notes::new(reading, local(settings));
        common_annotations(object, &mut notes);
        let root = fields(object, ["data"], &mut notes);
        let top = root.top();
        let at = notes.get(&top, &["data", "cluster-uuid"]);
        let text = at.node.and_then(Node::text);
        match text.map(|text| (text, ClusterUuid::try_parse(text.trim()))) {
            Some((_, Ok(uuid))) => notes.claim(&at, Fact::Uuid(uuid)),
            None if at.node.is_none() && !at.is_absent() => {}
            other => {
                let problem = other.map_or_else(
                    || "the cluster UUID is missing".to_owned(),
                    |(text, _)| format!("{text:?} is not a UUID"),
                );
                let remedy = "write one such as 0b9d1c80-8a46-11ee-b9d1-0242ac120002";
                notes.fault(&at, "", Invalid::new(problem, remedy));
            }
        }
    },
    canonical: &[],
};
