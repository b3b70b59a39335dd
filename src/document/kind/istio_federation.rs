//! `IstioFederation`: Deckhouse's declaration of a peer in another mesh.

use std::sync::Arc;

use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select, local};
use crate::document::toolkit::{Notes, common_annotations, fields};
use crate::mesh::{About, Fact, Federation};
use crate::value::{ClusterDomain, MetadataEndpoint};

pub(crate) const DOCUMENT: Document = Document {
    name: "IstioFederation",
    kind: "IstioFederation",
    group: "deckhouse.io",
    versions: &["v1alpha1"],
    resource: "istiofederations",
    select: Select::all(Scope::Cluster),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: "a federated peer, which is a member of no mesh: its metadata endpoint and trust domain",
    read: |object, settings, reading| {
        let mut notes = Notes::new(reading, local(settings));
        common_annotations(object, &mut notes);
        let root = fields(object, ["spec"], &mut notes);
        let top = root.top();
        let trust = notes.get(&top, &["spec", "trustDomain"]);
        // Deckhouse uses it only for this comparison so far.
        if let Some(Ok(domain)) = notes.text(&trust).map(ClusterDomain::parse) {
            notes.claim(&trust, Fact::Federation(Arc::new(Federation::TrustDomain(domain))));
        }
        let endpoint = notes.get(&top, &["spec", "metadataEndpoint"]);
        match notes.text(&endpoint).map(|text| (text, MetadataEndpoint::parse(text))) {
            Some((_, Ok(found))) => {
                let fact = Fact::Federation(Arc::new(Federation::Endpoint(found)));
                notes.claim(&endpoint, fact);
            }
            Some((text, Err(why))) => notes.fault_of(About::Endpoint, &endpoint, text, why),
            None => {}
        }
    },
    canonical: &[],
};
