//! `MeshMember`: our own document for the facts of a member.

use std::sync::Arc;

use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select};
use crate::document::toolkit::{
    Canonical, Cursor, Notes, Written, common_annotations, domain, fields, near_misses, subnets,
};
use crate::mesh::{
    About, Basis, Configuration, Fact, MemberName, Network, Reading, Role, SecretKey, by_cluster_id,
};
use crate::meshmember::{
    DEFAULT_CLUSTER_ID, Fact as Observed, GROUP, Joined, KIND, RESOURCE, Status, VERSION,
};
use crate::settings::Settings;
use crate::syntax::{Object, Path};
use crate::value::{ClusterDomain, ClusterUuid, Invalid, Moment, Subnet};

pub(crate) const DOCUMENT: Document = Document {
    name: "MeshMember",
    kind: KIND,
    group: GROUP,
    versions: &[VERSION],
    resource: RESOURCE,
    select: Select::all(Scope::Cluster),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: "the member named `metadata.name`: its cluster domain, subnets, network, trust domain and cluster ID, as people state them",
    read,
    canonical: &[
        Canonical { keys: CLUSTER_DOMAIN, form: canonical_domain },
        Canonical { keys: TRUST_DOMAIN, form: canonical_domain },
    ],
};

const FIELDS: &[&str] =
    &["clusterDomain", "podSubnets", "serviceSubnets", "network", "trustDomain", "clusterID"];
const CLUSTER_DOMAIN: &[&str] = &["spec", "clusterDomain"];
const TRUST_DOMAIN: &[&str] = &["spec", "trustDomain"];
const SUBNETS: [(Role, &[&str]); 2] =
    [(Role::Pod, &["spec", "podSubnets"]), (Role::Service, &["spec", "serviceSubnets"])];

fn canonical_domain(
    written: Written<'_>,
    _: &dyn Fn(&str) -> Option<String>,
) -> Option<serde_json::Value> {
    match written {
        Written::Text(text) => Some(ClusterDomain::parse(text).ok()?.as_str().into()),
        Written::Absent | Written::Other => None,
    }
}

/// How many observed subnets of one role are read: more than isthmus writes.
const MOST_OBSERVED: usize = 64;

fn read(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let member = MemberName::clone(&reading.object.name);
    if settings.is_local(&member) {
        reading.basis = Basis::Own(Configuration::MeshMember);
    }
    let mut notes = Notes::new(reading, member);
    spec(object, &mut notes);
    common_annotations(object, &mut notes);
    status(object, reading);
}

/// Reads what was observed. Nobody but isthmus writes it, so what cannot be read is not there.
fn status(object: &Object<'_>, reading: &mut Reading) {
    let status = object.raw_field("status").map(serde_json::from_str::<Status>);
    let Some(Ok(Status { observed, joined_by, .. })) = status else { return };
    let member = MemberName::clone(&reading.object.name);
    joined(&joined_by, &member, reading);
    let Some(observed) = observed else { return };
    let mut claim = |field: &'static [&'static str], exact: bool, fact: Option<Fact>| {
        let Some(fact) = fact else { return };
        reading.basis = if exact { Basis::Observed } else { Basis::ObservedInPart };
        let path = match &fact {
            Fact::Subnet(_, subnet) => Path::fixed(field).known_by(subnet.to_string()),
            _ => Path::fixed(field),
        };
        reading.claim(&member, path, fact);
    };
    let uid = ClusterUuid::try_parse(&observed.uid.value).ok();
    claim(&["status", "observed", "uid"], true, uid.map(Fact::Uid));
    let at = Moment::from(observed.uid.at);
    claim(&["status", "observed", "uid"], true, Some(Fact::ObservedAt(at)));
    if let Some(Observed { value, exact, .. }) = &observed.cluster_uuid {
        let uuid = ClusterUuid::try_parse(value).ok();
        claim(&["status", "observed", "clusterUUID"], *exact, uuid.map(Fact::Uuid));
    }
    if let Some(Observed { value, exact, .. }) = &observed.cluster_domain {
        let domain = ClusterDomain::parse(value).ok();
        let fact = domain.map(Fact::ClusterDomain);
        claim(&["status", "observed", "clusterDomain"], *exact, fact);
    }
    if let Some(Observed { value, exact, .. }) = &observed.trust_domain {
        let domain = ClusterDomain::parse(value).ok();
        claim(&["status", "observed", "trustDomain"], *exact, domain.map(Fact::TrustDomain));
    }
    if let Some(Observed { value, exact, .. }) = &observed.network {
        let name = Some(value.as_str()).filter(|name| !name.is_empty());
        let fact = name.map(|name| Fact::Network(Network::Named(name.into())));
        claim(&["status", "observed", "network"], *exact, fact);
    }
    if let Some(Observed { value, exact, .. }) = &observed.cluster_id {
        let id = Some(value.as_str()).filter(|id| !id.is_empty() && *id != DEFAULT_CLUSTER_ID);
        let fact = id.map(|id| Fact::ClusterId(id.into()));
        claim(&["status", "observed", "clusterID"], *exact, fact);
    }
    let subnets: [(Role, &'static [&'static str], _); 2] = [
        (Role::Pod, &["status", "observed", "podSubnets"], &observed.pod_subnets),
        (Role::Service, &["status", "observed", "serviceSubnets"], &observed.service_subnets),
    ];
    for (role, field, fact) in subnets {
        for text in fact.iter().flat_map(|fact| &fact.value).take(MOST_OBSERVED) {
            let exact = fact.as_ref().is_some_and(|fact| fact.exact);
            let subnet = Subnet::parse(text).ok();
            claim(field, exact, subnet.map(|subnet| Fact::Subnet(role, subnet)));
        }
    }
}

/// Reads the remote Secrets that join the member, which isthmus does not watch. They speak of whom
/// they know by its cluster ID.
fn joined(joined_by: &[Joined], member: &MemberName, reading: &mut Reading) {
    reading.basis = Basis::Observed;
    let secrets = joined_by.iter().filter(|joined| joined.kind == "Secret").take(MOST_OBSERVED);
    for Joined { namespace, name, key, .. } in secrets {
        let Some(key) = key else { continue };
        let subject = by_cluster_id(key);
        let secret = SecretKey {
            namespace: namespace.as_deref().unwrap_or_default().into(),
            name: name.as_str().into(),
            key: key.as_str().into(),
        };
        let path = || Path::fixed(&["status", "joinedBy"]).known_by(key.clone());
        reading.claim(&subject, path(), Fact::RemoteSecret(Arc::new(secret)));
        reading.claim(&subject, path(), Fact::Alias(MemberName::clone(member)));
    }
}

fn spec(object: &Object<'_>, notes: &mut Notes<'_>) {
    let root = fields(object, ["spec"], notes);
    let top = root.top();
    near_misses(&notes.get(&top, &["spec"]), FIELDS, notes);
    let at = notes.get(&top, CLUSTER_DOMAIN);
    if let Some(text) = notes.text(&at) {
        domain(notes, at.path(), text);
    }
    for (role, keys) in SUBNETS {
        let at = notes.get(&top, keys);
        let items = notes.items(&at).iter().enumerate();
        let texts = items.map(|(index, item)| notes.text(&at.item(index, item)));
        let texts: Vec<_> = texts.collect();
        subnets(notes, &at.path(), role, texts.into_iter().flatten());
    }
    name(&notes.get(&top, &["spec", "network"]), notes, |name| Fact::Network(Network::Named(name)));
    name(&notes.get(&top, &["spec", "clusterID"]), notes, Fact::ClusterId);
    let at = notes.get(&top, TRUST_DOMAIN);
    match notes.text(&at).map(|text| (text, ClusterDomain::parse(text))) {
        Some((_, Ok(domain))) => notes.claim(&at, Fact::TrustDomain(domain)),
        Some((text, Err(why))) => notes.fault_of(About::ClusterDomain, &at, text, why),
        None => {}
    }
}

/// Reads a name of any form that is not empty.
fn name(at: &Cursor<'_, '_>, notes: &mut Notes<'_>, fact: fn(MemberName) -> Fact) {
    match notes.text(at) {
        None => {}
        Some("") => {
            notes.fault(at, "", Invalid::new("is empty", "write a name, or remove the field"));
        }
        Some(text) => notes.claim(at, fact(text.into())),
    }
}
