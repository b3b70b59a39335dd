//! `ClusterConfiguration` in both dialects: Deckhouse's and kubeadm's.

use serde_json::Value as Json;

use super::carrier;
use crate::document::entry::{Document, Select};
use crate::document::toolkit::{Fields, common_annotations};
use crate::mesh::{Basis, Configuration, Fact, MemberName, Position, Reading, Role};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::value::{ClusterDomain, Subnet};

pub(in crate::document) const DOCUMENT: Document = Document {
    name: "ClusterConfiguration",
    kind: "ClusterConfiguration",
    group: "deckhouse.io",
    versions: &["v1", "v1alpha1"],
    resource: "clusterconfigurations",
    select: Select::All,
    keys: &[],
    says: "the member named `metadata.name`: its cluster domain and subnets",
    read,
    canonical: Some(canonical),
};

/// The cluster domain of a cluster whose configuration states none, in both dialects.
const DEFAULT_DOMAIN: &str = "cluster.local";
/// The service subnet of a cluster that kubeadm is told none for.
const KUBEADM_SERVICE_SUBNET: &str = "10.96.0.0/12";
/// What each node gets of an IPv4 pod subnet unless the configuration states it.
const DEFAULT_NODE_PREFIX: &str = "24";

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
    read_object(object, &member, Dialect::Deckhouse, reading);
    common_annotations(object, reading, &member);
}

/// Reads a configuration that is an object itself.
pub(super) fn read_object(
    object: &Object<'_>,
    member: &MemberName,
    dialect: Dialect,
    reading: &mut Reading,
) {
    let wanted: &[&str] = match dialect {
        Dialect::Deckhouse => {
            &["clusterDomain", "podSubnetCIDR", "podSubnetNodeCIDRPrefix", "serviceSubnetCIDR"]
        }
        Dialect::Kubeadm => &["networking"],
    };
    let root = carrier::fields(object, wanted.iter().copied(), member, reading);
    let mut fields = Fields { reading, member, root: &root, prefix: "" };
    read_fields(&mut fields, dialect);
}

/// Reads the fields of a configuration, wherever it is carried.
pub(super) fn read_fields(fields: &mut Fields<'_, '_>, dialect: Dialect) {
    match dialect {
        Dialect::Deckhouse => {
            read_domain(fields, "clusterDomain");
            let pods = fields.subnets("podSubnetCIDR", Role::Pod, None);
            fields.node_prefix("podSubnetNodeCIDRPrefix");
            fields.subnets("serviceSubnetCIDR", Role::Service, None);
            let pods = pods.and_then(Subnet::meant);
            // Where nodes of the default size do not fit in, it is no advice.
            let fits = pods.is_some_and(|pods| pods.is_ipv4() && pods.prefix_len() <= 24);
            if fits && fields.node("podSubnetNodeCIDRPrefix").is_none() {
                let path = "podSubnetNodeCIDRPrefix";
                fields.advise(path, format!("not set; write {path}: \"{DEFAULT_NODE_PREFIX}\""));
            }
        }
        Dialect::Kubeadm => {
            read_domain(fields, "networking.dnsDomain");
            // kubeadm splits at commas and forgives no blanks.
            fields.subnets("networking.podSubnet", Role::Pod, Some(','));
            let path = "networking.serviceSubnet";
            if fields.subnets(path, Role::Service, Some(',')).is_none()
                && fields.node(path).is_none()
                && let Ok(subnet) = Subnet::parse(KUBEADM_SERVICE_SUBNET)
            {
                fields.claim(path, Position::NONE, Fact::Subnet(Role::Service, subnet));
            }
        }
    }
}

fn read_domain(fields: &mut Fields<'_, '_>, path: &'static str) {
    if let Some(text) = fields.domain(path) {
        if let Ok(domain) = ClusterDomain::parse(text)
            && domain.as_str() != text
        {
            fields.advise(path, format!("{text:?} is read as {domain}; write {domain}"));
        }
        return;
    }
    if fields.node(path).is_none()
        && let Ok(domain) = ClusterDomain::parse(DEFAULT_DOMAIN)
    {
        let key = path.rsplit('.').next().unwrap_or(path);
        fields.advise(
            path,
            format!("not set, so the default {domain} applies; write {key}: {domain}"),
        );
        fields.claim(path, Position::NONE, Fact::ClusterDomain(domain));
    }
}

fn canonical(object: &mut Json) {
    let Some(fields) = object.as_object_mut() else { return };
    match fields.get("clusterDomain") {
        None | Some(Json::Null) => {
            fields.insert("clusterDomain".to_owned(), DEFAULT_DOMAIN.into());
        }
        Some(Json::String(text)) => {
            if let Ok(domain) = ClusterDomain::parse(text) {
                fields.insert("clusterDomain".to_owned(), domain.as_str().into());
            }
        }
        Some(_) => {}
    }
    let pods = fields.get("podSubnetCIDR").and_then(Json::as_str).and_then(Subnet::meant);
    let prefix = fields.get("podSubnetNodeCIDRPrefix");
    if prefix.is_none_or(Json::is_null) && pods.is_some_and(Subnet::is_ipv4) {
        fields.insert("podSubnetNodeCIDRPrefix".to_owned(), DEFAULT_NODE_PREFIX.into());
    }
}
