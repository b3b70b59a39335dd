//! `IstioMulticluster`: Deckhouse's declaration of a peer.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::document::entry::{Document, Select};
use crate::document::toolkit::{Annotations, Fields, common_annotations, completing_annotations};
use crate::mesh::{About, Basis, Fact, MemberName, Network, Position, Reading};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::value::{ClusterUuid, Invalid, MetadataEndpoint, NetworkName};

pub(in crate::document) const DOCUMENT: Document = Document {
    name: "IstioMulticluster",
    kind: "IstioMulticluster",
    group: "deckhouse.io",
    versions: &["v1alpha1"],
    resource: "istiomulticlusters",
    select: Select::All,
    keys: &[],
    says: "the remote member named `metadata.name`: its metadata endpoint, its network, and in annotations its cluster domain and subnets",
    read,
    canonical: Some(canonical),
};

const ENDPOINT: &str = "spec.metadataEndpoint";
const GATEWAY: &str = "spec.enableIngressGateway";

fn read(object: &Object<'_>, _: &Settings, reading: &mut Reading) {
    let member = MemberName::clone(&reading.object.name);
    reading.claim(&member, "metadata.name", Position::NONE, Fact::Peer);
    spec(object, reading, &member);
    completing_annotations(&Annotations::Object(object), reading, &member);
    common_annotations(object, reading, &member);
    status(object, reading, &member);
}

fn spec(object: &Object<'_>, reading: &mut Reading, member: &MemberName) {
    let node = match object.field("spec") {
        Ok(node) => node,
        Err(error) => return super::carrier::unreadable(reading, member, "spec", &error),
    };
    let missing = |reading: &mut Reading| {
        let why = Invalid {
            problem: "the metadata endpoint is missing".to_owned(),
            remedy: "write one such as https://istio.k8s-a.example.com/metadata/".to_owned(),
        };
        reading.fault(member, ENDPOINT, Position::NONE, About::Endpoint, "", why);
    };
    let Some(node) = node else { return missing(reading) };
    let mut fields = Fields { reading, member, root: &node, prefix: "spec" };
    let faults = fields.reading.claims_of(member).len();
    let gateway = fields.boolean("enableIngressGateway");
    let endpoint = fields.text("metadataEndpoint").map(|(text, _)| text);
    let sound = fields.reading.claims_of(member).len() == faults;
    let network = if gateway.is_none_or(|(on, _)| on) { Network::Own } else { Network::Local };
    reading.claim(member, GATEWAY, Position::NONE, Fact::Network(network));
    match endpoint.map(MetadataEndpoint::parse) {
        Some(Ok(endpoint)) => {
            reading.claim(member, ENDPOINT, Position::NONE, Fact::Endpoint(endpoint));
        }
        Some(Err(why)) => {
            reading.fault(
                member,
                ENDPOINT,
                Position::NONE,
                About::Endpoint,
                endpoint.unwrap_or_default(),
                why,
            );
        }
        None if sound => missing(reading),
        None => {}
    }
}

/// What discovery has pinned. The API server keeps people from writing it, so what cannot be read
/// is left to its author.
fn status(object: &Object<'_>, reading: &mut Reading, member: &MemberName) {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Status {
        metadata_cache: Option<Cache>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Cache {
        private: Option<Private>,
        public: Option<Public>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Private {
        network_name: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Public {
        #[serde(rename = "clusterUUID")]
        cluster_uuid: Option<String>,
    }
    let Some(raw) = object.raw_field("status") else { return };
    reading.basis = Basis::Discovered;
    let status: Status = serde_json::from_str(raw).unwrap_or_default();
    let cache = status.metadata_cache.unwrap_or_default();
    let network = cache.private.and_then(|private| private.network_name);
    if let Some(name) = network.as_deref().and_then(NetworkName::parse) {
        let path = "status.metadataCache.private.networkName";
        reading.claim(member, path, Position::NONE, Fact::NetworkName(name));
    }
    let uuid = cache.public.and_then(|public| public.cluster_uuid);
    if let Some(uuid) = uuid.as_deref().and_then(|text| ClusterUuid::try_parse(text).ok()) {
        let path = "status.metadataCache.public.clusterUUID";
        reading.claim(member, path, Position::NONE, Fact::Uuid(uuid));
    }
}

fn canonical(object: &mut Json) {
    let Some(spec) = object.get_mut("spec").and_then(Json::as_object_mut) else { return };
    let endpoint = spec.get("metadataEndpoint").and_then(Json::as_str).map(MetadataEndpoint::parse);
    if let Some(Ok(endpoint)) = endpoint {
        spec.insert("metadataEndpoint".to_owned(), endpoint.as_str().into());
    }
    if spec.get("enableIngressGateway").is_none_or(Json::is_null) {
        spec.insert("enableIngressGateway".to_owned(), true.into());
    }
}
