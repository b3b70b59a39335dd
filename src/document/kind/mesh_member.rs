//! `MeshMember`: our own document for the facts of a member.

use std::sync::Arc;

use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select};
use crate::document::toolkit::{
    Canonical, Cursor, Notes, Written, common_annotations, domain, fields, near_misses, subnets,
};
use crate::mesh::{
    About, Basis, Configuration, Fact, MemberName, Network, Observation, Reading, Role, SecretKey,
};
use crate::meshmember::{self, GROUP, Joined, KIND, Observed, RESOURCE, Status, VERSION};
use crate::settings::Settings;
use crate::syntax::{Object, Path, Position, Segment};
use crate::value::{ClusterDomain, ClusterUuid, Invalid, Subnet};

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
    let member = MemberName::clone(&reading.object.name);
    if settings.is_local(&member) {
        reading.basis = Basis::Own(Configuration::MeshMember);
    }
    let mut notes = Notes::new(reading, member);
    spec(object, &mut notes);
    common_annotations(object, &mut notes);
    status(object, settings, &mut notes);
}

/// What isthmus has observed. The API server keeps people from writing it, so what cannot be read is
/// left to its author.
fn status(object: &Object<'_>, settings: &Settings, notes: &mut Notes<'_>) {
    let Some(raw) = object.raw_field("status") else { return };
    let status: Status = serde_json::from_str(raw).unwrap_or_default();
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
    let Observed { uid, cluster_domain, pod_subnets, service_subnets, network, .. } = observed;
    let of_uid = |uid: &String| ClusterUuid::try_parse(uid).ok();
    sight(notes, "uid", Some(&uid), |uid| of_uid(uid).map(Fact::Uid));
    let uuid = observed.cluster_uuid.as_ref();
    sight(notes, "clusterUUID", uuid, |uuid| of_uid(uuid).map(Fact::Uuid));
    sight(notes, "clusterDomain", cluster_domain.as_ref(), |domain| {
        ClusterDomain::parse(domain).ok().map(Fact::ClusterDomain)
    });
    sight(notes, "trustDomain", observed.trust_domain.as_ref(), |domain| {
        ClusterDomain::parse(domain).ok().map(Fact::TrustDomain)
    });
    sight(notes, "clusterID", observed.cluster_id.as_ref(), |id| {
        (!id.is_empty()).then(|| Fact::ClusterId(id.as_str().into()))
    });
    sight(notes, "network", network.as_ref(), |name| {
        (!name.is_empty()).then(|| Fact::Network(Network::Named(name.as_str().into())))
    });
    for (name, role, observed) in
        [("podSubnets", Role::Pod, pod_subnets), ("serviceSubnets", Role::Service, service_subnets)]
    {
        let subnets = observed.iter().flat_map(|fact| &fact.value).take(MOST_SUBNETS);
        for subnet in subnets.filter_map(|text| Subnet::parse(text).ok()) {
            sight(notes, name, observed.as_ref(), |_| Some(Fact::Subnet(role, subnet)));
        }
    }
}

/// How many Secrets of one member are read, and how many subnets: each is held against all others.
const MOST_JOINED: usize = 16;
const MOST_SUBNETS: usize = 64;

/// Notes a fact that was observed.
fn sight<T>(
    notes: &mut Notes<'_>,
    name: &'static str,
    observed: Option<&meshmember::Fact<T>>,
    fact: impl FnOnce(&T) -> Option<Fact>,
) {
    let Some(observed) = observed else { return };
    if let Some(fact) = fact(&observed.value) {
        let observation = Observation { at: observed.at.into(), is_exact: observed.exact };
        notes.reading.basis = Basis::Observed(observation);
        let keys = ["status", "observed", name].map(|key| Segment::Key(key.into()));
        notes.claim_at(Path::new(keys.into(), Position::NONE), fact);
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
