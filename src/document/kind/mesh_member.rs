//! `MeshMember`: our own document for the facts of a member.

use std::sync::Arc;

use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select};
use crate::document::toolkit::{
    Canonical, Cursor, Notes, Shown, Written, common_annotations, domain, fields, near_misses,
    sights, subnets,
};
use crate::mesh::{
    About, Basis, Configuration, Fact, MemberName, Network, Reading, Role, SecretKey, by_cluster_id,
};
use crate::meshmember::{GROUP, Joined, KIND, RESOURCE, Spec, Status, VERSION, object_name};
use crate::settings::Settings;
use crate::syntax::{Object, Path, Position, Segment};
use crate::value::{ClusterDomain, Invalid};

pub(crate) const DOCUMENT: Document = Document {
    name: "MeshMember",
    kind: KIND,
    group: GROUP,
    versions: &[VERSION],
    resource: RESOURCE,
    select: Select::all(Scope::Cluster),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: "the member named `metadata.name`: its cluster domain, subnets, network, trust domain and cluster ID, as people state them; and what was observed of it",
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

fn read(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let name = MemberName::clone(&reading.object.name);
    let status: Option<Status> =
        object.raw_field("status").map(|raw| serde_json::from_str(raw).unwrap_or_default());
    let id = || known_by_id(object, status.as_ref()?).map(str::to_owned);
    let id = if settings.is_local(&name) {
        reading.basis = Basis::Own(Configuration::MeshMember);
        None
    } else {
        id()
    };
    let member = id.as_deref().map_or_else(|| MemberName::clone(&name), by_cluster_id);
    let mut notes = Notes::new(reading, member);
    spec(object, &mut notes);
    common_annotations(object, &mut notes);
    if id.is_some_and(|id| *id != *name) {
        notes.claim_at(Path::NAME, Fact::Alias(name));
    }
    if let Some(status) = status {
        observed(status, settings, &mut notes);
    }
}

/// The cluster ID that the object has its name of, if nobody states anything in it: the scout has
/// made it of a remote Secret, and it is part of whichever member states that ID.
fn known_by_id<'s>(object: &Object<'_>, status: &'s Status) -> Option<&'s str> {
    let spec = object.raw_field("spec").map(serde_json::from_str::<Spec>);
    if spec.is_some_and(|spec| spec.ok() != Some(Spec::default())) {
        return None;
    }
    let secrets = status.joined_by.iter().filter(|joined| joined.kind == "Secret");
    let mut ids = secrets.filter_map(|joined| joined.key.as_deref());
    ids.find(|id| object_name(id) == object.name())
}

/// What isthmus has observed. The API server keeps people from writing it, so what cannot be read is
/// left to its author.
fn observed(status: Status, settings: &Settings, notes: &mut Notes<'_>) {
    notes.reading.basis = Basis::Discovered;
    let joined = status.joined_by.iter().take(MOST_JOINED);
    for Joined { kind, namespace, name, key } in joined {
        if let ("Secret", Some(namespace), Some(key)) = (&**kind, namespace, key) {
            let secret = SecretKey {
                namespace: namespace.as_str().into(),
                name: name.as_str().into(),
                key: key.as_str().into(),
            };
            notes.claim_at(&["status", "joinedBy"], Fact::RemoteSecret(Arc::new(secret)));
        }
    }
    let Some(observed) = status.observed else { return };
    if settings.is_local(&notes.member) {
        // Of the guarded cluster itself it is never a mere trace.
        notes.claim_at(&["status", "observed"], Fact::Configured);
    }
    for Shown { field, basis, from, fact } in sights(&observed) {
        notes.reading.basis = basis;
        let keys = ["status", "observed", field].map(|key| Segment::Key(key.into()));
        notes.claim_at(Path::new(keys.into(), Position::NONE).shown_by(from), fact);
    }
}

/// How many Secrets of one member are read.
const MOST_JOINED: usize = 16;

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
