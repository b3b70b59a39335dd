//! ConfigMap `d8-cluster-uuid`: who the local member is.

use super::carrier::unreadable;
use crate::document::entry::{Document, Select, local};
use crate::document::toolkit::common_annotations;
use crate::mesh::{About, Basis, Configuration, Fact, Position};
use crate::value::{ClusterUuid, Invalid};

const PATH: &str = "data[cluster-uuid]";

pub(in crate::document) const DOCUMENT: Document = Document {
    name: "d8-cluster-uuid",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::Namespaced("kube-system", "d8-cluster-uuid"),
    keys: &[],
    says: "the local member's identity",
    read: |object, settings, reading| {
        let member = local(settings);
        reading.basis = Basis::Own(Configuration::Deckhouse);
        common_annotations(object, reading, &member);
        let data = match object.field("data") {
            Ok(data) => data,
            Err(error) => return unreadable(reading, &member, "data", &error),
        };
        let text = data.as_ref().and_then(|data| data.get("cluster-uuid")?.text());
        match text.map(|text| (text, ClusterUuid::try_parse(text.trim()))) {
            Some((_, Ok(uuid))) => reading.claim(&member, PATH, Position::NONE, Fact::Uuid(uuid)),
            other => {
                let problem = other.map_or_else(
                    || "the cluster UUID is missing".to_owned(),
                    |(text, _)| format!("{text:?} is not a UUID"),
                );
                let remedy = "write one such as 0b9d1c80-8a46-11ee-b9d1-0242ac120002".to_owned();
                reading.fault(
                    &member,
                    PATH,
                    Position::NONE,
                    About::Document,
                    "",
                    Invalid { problem, remedy },
                );
            }
        }
    },
    canonical: None,
};
