//! `IstioMulticluster`: Deckhouse's declaration of a peer.

use serde::Deserialize;

use crate::document::elsewhere::{Destination, Way};
use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select};
use crate::document::toolkit::{
    Annotations, Canonical, Cursor, Notes, Written, common_annotations, completing_annotations,
    fields, near_misses,
};
use crate::mesh::{About, Basis, Fact, MemberName, Network, Reading};
use crate::settings::Settings;
use crate::syntax::{Object, Path};
use crate::value::{ClusterUuid, Invalid, MetadataEndpoint, NetworkName, check_certificates};

pub(crate) const DOCUMENT: Document = Document {
    name: "IstioMulticluster",
    kind: "IstioMulticluster",
    group: "deckhouse.io",
    versions: &["v1alpha1"],
    resource: "istiomulticlusters",
    select: Select::all(Scope::Cluster),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: "the remote member named `metadata.name`: its metadata endpoint, its network, and in annotations its cluster domain and subnets",
    read,
    canonical: &[
        Canonical {
            keys: ENDPOINT,
            form: |written, _| match written {
                Written::Text(text) => Some(MetadataEndpoint::parse(text).ok()?.as_str().into()),
                Written::Absent | Written::Other => None,
            },
        },
        Canonical {
            keys: GATEWAY,
            form: |written, _| matches!(written, Written::Absent).then(|| true.into()),
        },
    ],
};

const ENDPOINT: &[&str] = &["spec", "metadataEndpoint"];
const FIELDS: &[&str] = &["metadataEndpoint", "enableIngressGateway", "metadata"];
const METADATA_FIELDS: &[&str] = &["ca", "insecureSkipVerify"];
const GATEWAY: &[&str] = &["spec", "enableIngressGateway"];

fn read(object: &Object<'_>, _: &Settings, reading: &mut Reading) {
    let member = MemberName::clone(&reading.object.name);
    let mut notes = Notes::new(reading, member);
    notes.claim_at(Path::NAME, Fact::Peer);
    spec(object, &mut notes);
    completing_annotations(Annotations::Object(object), &mut notes);
    common_annotations(object, &mut notes);
    status(object, &mut notes);
}

fn spec(object: &Object<'_>, notes: &mut Notes<'_>) {
    let root = fields(object, ["spec"], notes);
    let top = root.top();
    let gateway = notes.get(&top, GATEWAY);
    let network = match notes.boolean(&gateway) {
        Some(false) => Network::Local,
        Some(true) | None => Network::Own,
    };
    notes.claim(&gateway, Fact::Network(network));
    near_misses(&notes.get(&top, &["spec"]), FIELDS, notes);
    metadata(&top, notes);
    let endpoint = notes.get(&top, ENDPOINT);
    match notes.text(&endpoint).map(|text| (text, MetadataEndpoint::parse(text))) {
        Some((_, Ok(parsed))) => notes.claim(&endpoint, Fact::Endpoint(parsed)),
        Some((text, Err(why))) => notes.fault_of(About::Endpoint, &endpoint, text, why),
        None if endpoint.is_absent() => {
            let remedy = "write one such as https://istio.k8s-a.example.com/metadata/";
            let why = Invalid::new("the metadata endpoint is missing", remedy);
            notes.fault_of(About::Endpoint, &endpoint, "", why);
        }
        None => {}
    }
}

/// Where its metadata is.
pub(crate) fn destination(object: &Object<'_>) -> Option<Destination> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Spec {
        metadata_endpoint: String,
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Metadata {
        ca: String,
        insecure_skip_verify: bool,
    }
    let Spec { metadata_endpoint, metadata } =
        serde_json::from_str(object.raw_field("spec")?).ok()?;
    let endpoint = MetadataEndpoint::parse(&metadata_endpoint).ok()?;
    Some(Destination {
        subject: object.name().into(),
        path: ENDPOINT.into(),
        way: Way::Metadata {
            endpoint: endpoint.as_str().into(),
            authority: metadata.ca.into(),
            is_insecure: metadata.insecure_skip_verify,
        },
        server: Some(endpoint.host_identity().into()),
    })
}

/// By what the metadata is fetched.
fn metadata(top: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    near_misses(&notes.get(top, &["spec", "metadata"]), METADATA_FIELDS, notes);
    let ca = notes.get(top, &["spec", "metadata", "ca"]);
    if let Some(text) = notes.text(&ca).filter(|text| !text.is_empty())
        && let Err(why) = check_certificates(text)
    {
        notes.fault_of(About::Endpoint, &ca, "", why);
    }
    let skip = notes.get(top, &["spec", "metadata", "insecureSkipVerify"]);
    if notes.boolean(&skip) == Some(true) {
        let problem = "anybody on the way can pose as this cluster and join the mesh in its place";
        let why = Invalid::new(problem, "write its certificate authority (CA) as spec.metadata.ca");
        notes.doubt_of(About::Endpoint, &skip, "", why);
    }
}

/// What discovery has pinned. The API server keeps people from writing it, so what cannot be read
/// is left to its author.
fn status(object: &Object<'_>, notes: &mut Notes<'_>) {
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
        #[serde(rename = "clusterID")]
        cluster_id: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Public {
        #[serde(rename = "clusterUUID")]
        cluster_uuid: Option<String>,
    }
    notes.reading.basis = Basis::Discovered;
    let Some(raw) = object.raw_field("status") else { return };
    let status: Status = serde_json::from_str(raw).unwrap_or_default();
    let cache = status.metadata_cache.unwrap_or_default();
    let private = cache.private.unwrap_or_default();
    if let Some(id) = private.cluster_id.filter(|id| !id.is_empty()) {
        let path = &["status", "metadataCache", "private", "clusterID"];
        notes.claim_at(path, Fact::ClusterId(id.into()));
    }
    let network = private.network_name;
    if let Some(name) = network.as_deref().and_then(NetworkName::parse) {
        let path = &["status", "metadataCache", "private", "networkName"];
        notes.claim_at(path, Fact::NetworkName(name));
    }
    let uuid = cache.public.and_then(|public| public.cluster_uuid);
    if let Some(uuid) = uuid.as_deref().and_then(|text| ClusterUuid::try_parse(text).ok()) {
        notes.claim_at(&["status", "metadataCache", "public", "clusterUUID"], Fact::Uuid(uuid));
    }
}
