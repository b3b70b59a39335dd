//! `ClusterConfiguration` in both dialects: Deckhouse's and kubeadm's.

use serde_json::Value as Json;

use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select};
use crate::document::toolkit::{
    Beside, Canonical, Cursor, Notes, Written, advise, common_annotations, domain, fields,
    near_misses, node_prefix, subnets,
};
use crate::mesh::{Basis, Configuration, Fact, MemberName, Reading, Role};
use crate::settings::Settings;
use crate::syntax::{Node, Object, Path, Value};
use crate::value::{ClusterDomain, Subnet};

pub(crate) const DOCUMENT: Document = Document {
    name: "ClusterConfiguration",
    kind: "ClusterConfiguration",
    group: "deckhouse.io",
    versions: &["v1", "v1alpha1"],
    resource: "clusterconfigurations",
    select: Select::all(Scope::Cluster),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: "the member named `metadata.name`: its cluster domain and subnets",
    read,
    canonical: DECKHOUSE,
};

/// The cluster domain of a cluster whose configuration states none, in both dialects.
const DEFAULT_DOMAIN: &str = "cluster.local";
/// kubeadm's default service subnet.
const KUBEADM_SERVICE_SUBNET: &str = "10.96.0.0/12";
/// What each node gets of an IPv4 pod subnet unless the configuration states it.
pub(super) const DEFAULT_NODE_PREFIX: u8 = 24;

const DECKHOUSE_FIELDS: &[&str] =
    &["clusterDomain", "podSubnetCIDR", "podSubnetNodeCIDRPrefix", "serviceSubnetCIDR"];
const KUBEADM_FIELDS: &[&str] = &["dnsDomain", "podSubnet", "serviceSubnet"];
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
        Dialect::Deckhouse => DECKHOUSE_FIELDS,
        Dialect::Kubeadm => &["networking", "apiServer", "controllerManager"],
    };
    let root = fields(object, wanted.iter().copied(), notes);
    read_fields(&root.top(), dialect, notes);
}

/// Reads the fields of a configuration, wherever it is carried.
pub(super) fn read_fields(root: &Cursor<'_, '_>, dialect: Dialect, notes: &mut Notes<'_>) {
    match dialect {
        Dialect::Deckhouse => {
            near_misses(root, DECKHOUSE_FIELDS, notes);
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
        Dialect::Kubeadm => read_kubeadm(root, notes),
    }
}

/// A mapping or list of flags, and one of them.
type Flag = (&'static [&'static str], &'static str);

/// The subnets of kubeadm: flags of the control plane override `networking`.
const KUBEADM_SUBNETS: [(Role, &[&str], &[Flag]); 2] = [
    (Role::Pod, &["networking", "podSubnet"], &[(CONTROLLER_ARGS, "cluster-cidr")]),
    (
        Role::Service,
        &["networking", "serviceSubnet"],
        &[(SERVER_ARGS, SERVICE_RANGE), (CONTROLLER_ARGS, SERVICE_RANGE)],
    ),
];
const SERVER_ARGS: &[&str] = &["apiServer", "extraArgs"];
const CONTROLLER_ARGS: &[&str] = &["controllerManager", "extraArgs"];
const SERVICE_RANGE: &str = "service-cluster-ip-range";

fn read_kubeadm(root: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    near_misses(&notes.get(root, &["networking"]), KUBEADM_FIELDS, notes);
    read_domain(root, &["networking", "dnsDomain"], notes);
    for (role, keys, flags) in KUBEADM_SUBNETS {
        let mut is_overridden = false;
        for (args, flag) in flags {
            let args = notes.get(root, args);
            // Of two flags that say the same the first counts.
            is_overridden = is_overridden || read_flag(&args, flag, role, notes);
        }
        let at = notes.get(root, keys);
        match notes.text(&at).filter(|text| !text.is_empty()) {
            _ if is_overridden => {}
            Some(text) => subnets(notes, &at.path(), role, text.split(',')),
            None if role == Role::Service && (at.is_absent() || at.text() == Some("")) => {
                if let Ok(subnet) = Subnet::parse(KUBEADM_SERVICE_SUBNET) {
                    notes.claim_default(&at, Fact::Subnet(role, subnet));
                }
            }
            None => {}
        }
    }
    advise(notes, root, KUBEADM);
}

/// Reads a flag of the control plane, in a mapping (v1beta3) or in a list of names and values
/// (v1beta4), of which the last one counts; returns whether it is there.
fn read_flag(args: &Cursor<'_, '_>, flag: &str, role: Role, notes: &mut Notes<'_>) -> bool {
    let mut read = |at: &Cursor<'_, '_>| {
        if let Some(text) = notes.text(at) {
            subnets(notes, &at.path(), role, text.split(','));
        }
    };
    match args.node.map(|node| &node.value) {
        Some(Value::Map(entries)) => {
            let found = entries.iter().find(|(key, _)| key.text == flag);
            if let Some((key, node)) = found {
                read(&args.entry(&key.text, &key.text, node));
            }
            found.is_some()
        }
        Some(Value::List(items)) => {
            let is_flag = |item: &Node<'_>| item.get("name").and_then(Node::text) == Some(flag);
            let found = items.iter().enumerate().rev().find(|(_, item)| is_flag(item));
            if let Some((index, node)) = found
                && let Some((key, value)) = node.entry("value")
            {
                let item = args.item(index, node);
                read(&item.entry(&key.text, &key.text, value));
            }
            found.is_some()
        }
        _ => false,
    }
}

/// Reads the one subnet that Deckhouse takes for each role; returns its text.
fn read_subnets<'n>(
    root: &Cursor<'_, 'n>,
    keys: &'static [&'static str],
    role: Role,
    notes: &mut Notes<'_>,
) -> Option<&'n str> {
    let at = notes.get(root, keys);
    let text = notes.text(&at)?;
    subnets(notes, &at.path(), role, std::iter::once(text));
    Some(text)
}

fn read_domain(root: &Cursor<'_, '_>, keys: &'static [&'static str], notes: &mut Notes<'_>) {
    let at = notes.get(root, keys);
    match notes.text(&at).filter(|text| !(text.is_empty() && keys.len() > 1)) {
        Some(text) => domain(notes, at.path(), text),
        // To kubeadm, unlike to Deckhouse, what is empty is unset.
        None if at.is_absent() || at.text() == Some("") => {
            domain(notes, at.path().by_default(), DEFAULT_DOMAIN);
        }
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
