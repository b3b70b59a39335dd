//! `ClusterConfiguration` in both dialects: Deckhouse's and kubeadm's.

use serde_json::Value as Json;

use crate::document::entry::{Document, Select};
use crate::document::toolkit::{
    Beside, Canonical, Cursor, Notes, Written, advise, common_annotations, domain, fields,
    node_prefix, subnets,
};
use crate::mesh::{Basis, Configuration, Fact, MemberName, Reading, Role};
use crate::settings::Settings;
use crate::syntax::{Object, Path};
use crate::value::{ClusterDomain, Subnet};

pub(crate) const DOCUMENT: Document = Document {
    name: "ClusterConfiguration",
    kind: "ClusterConfiguration",
    group: "deckhouse.io",
    versions: &["v1", "v1alpha1"],
    resource: "clusterconfigurations",
    select: Select::All,
    keys: &[],
    says: "the member named `metadata.name`: its cluster domain and subnets",
    read,
    canonical: DECKHOUSE,
};

/// The cluster domain of a cluster whose configuration states none, in both dialects.
const DEFAULT_DOMAIN: &str = "cluster.local";
/// The service subnet of a cluster that kubeadm is told none for.
const KUBEADM_SERVICE_SUBNET: &str = "10.96.0.0/12";
/// What each node gets of an IPv4 pod subnet unless the configuration states it.
const DEFAULT_NODE_PREFIX: u8 = 24;

const NODE_PREFIX: &[&str] = &["podSubnetNodeCIDRPrefix"];

/// The fields of Deckhouse that have a canonical form or a default.
const DECKHOUSE: &[Canonical] = &[
    Canonical { keys: &["clusterDomain"], form: canonical_domain },
    Canonical { keys: NODE_PREFIX, form: canonical_node_prefix },
];
/// Those of kubeadm.
const KUBEADM: &[Canonical] =
    &[Canonical { keys: &["networking", "dnsDomain"], form: canonical_domain }];

/// Who wrote the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Deckhouse,
    Kubeadm,
}

impl Dialect {
    /// The dialect of an API group.
    pub(super) fn of(group: &str) -> Option<Self> {
        match group {
            "deckhouse.io" => Some(Self::Deckhouse),
            "kubeadm.k8s.io" => Some(Self::Kubeadm),
            _ => None,
        }
    }
}

fn read(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let member = MemberName::clone(&reading.object.name);
    if *member == *settings.local_member {
        reading.basis = Basis::Own(Configuration::Resource);
    }
    let mut notes = Notes::new(reading, member);
    notes.claim_at(Path::NAME, Fact::Configured);
    read_object(object, Dialect::Deckhouse, &mut notes);
    common_annotations(object, &mut notes);
}

/// Reads a configuration that is an object itself.
pub(super) fn read_object(object: &Object<'_>, dialect: Dialect, notes: &mut Notes<'_>) {
    let wanted: &[&'static str] = match dialect {
        Dialect::Deckhouse => {
            &["clusterDomain", "podSubnetCIDR", "podSubnetNodeCIDRPrefix", "serviceSubnetCIDR"]
        }
        Dialect::Kubeadm => &["networking"],
    };
    let root = fields(object, wanted.iter().copied(), notes);
    read_fields(&root.top(), dialect, notes);
}

/// Reads the fields of a configuration, wherever it is carried.
pub(super) fn read_fields(root: &Cursor<'_, '_>, dialect: Dialect, notes: &mut Notes<'_>) {
    match dialect {
        Dialect::Deckhouse => {
            read_domain(root, &["clusterDomain"], notes);
            let pods = read_subnets(root, &["podSubnetCIDR"], Role::Pod, notes);
            let prefix = notes.get(root, NODE_PREFIX);
            if prefix.is_absent() && pods.and_then(Subnet::meant).is_some_and(Subnet::is_ipv4) {
                notes.claim_default(&prefix, Fact::NodePrefix(DEFAULT_NODE_PREFIX));
            }
            node_prefix(notes, &prefix);
            read_subnets(root, &["serviceSubnetCIDR"], Role::Service, notes);
            advise(notes, root, DECKHOUSE);
        }
        Dialect::Kubeadm => {
            read_domain(root, &["networking", "dnsDomain"], notes);
            read_subnets(root, &["networking", "podSubnet"], Role::Pod, notes);
            let services = &["networking", "serviceSubnet"];
            read_subnets(root, services, Role::Service, notes);
            let services = notes.get(root, services);
            if services.is_absent()
                && let Ok(subnet) = Subnet::parse(KUBEADM_SERVICE_SUBNET)
            {
                notes.claim_default(&services, Fact::Subnet(Role::Service, subnet));
            }
            advise(notes, root, KUBEADM);
        }
    }
}

/// Reads subnets; gives back their text. kubeadm splits at commas, and forgives no blanks.
fn read_subnets<'n>(
    root: &Cursor<'_, 'n>,
    keys: &'static [&'static str],
    role: Role,
    notes: &mut Notes<'_>,
) -> Option<&'n str> {
    let at = notes.get(root, keys);
    let text = notes.text(&at)?;
    // Deckhouse takes one subnet for each role.
    let is_list = keys.len() > 1;
    subnets(notes, &at.path(), role, text.split(|c| is_list && c == ','));
    Some(text)
}

fn read_domain(root: &Cursor<'_, '_>, keys: &'static [&'static str], notes: &mut Notes<'_>) {
    let at = notes.get(root, keys);
    match notes.text(&at) {
        Some(text) => domain(notes, at.path(), text),
        None if at.is_absent() => domain(notes, at.path().by_default(), DEFAULT_DOMAIN),
        None => {}
    }
}

fn canonical_domain(written: Written<'_>, _: Beside<'_>) -> Option<Json> {
    match written {
        Written::Absent => Some(DEFAULT_DOMAIN.into()),
        Written::Text(text) => Some(ClusterDomain::parse(text).ok()?.as_str().into()),
        Written::Other => None,
    }
}

/// Where no node of the default size fits in, it is nothing to write.
fn canonical_node_prefix(written: Written<'_>, beside: Beside<'_>) -> Option<Json> {
    let Written::Absent = written else { return None };
    let pods = Subnet::meant(&beside("podSubnetCIDR")?)?;
    let fits = pods.is_ipv4() && pods.prefix_len() <= DEFAULT_NODE_PREFIX;
    fits.then(|| DEFAULT_NODE_PREFIX.to_string().into())
}
