//! `ModuleConfig`: the settings of Deckhouse's modules that say something of the local member.

use super::cluster_configuration::DEFAULT_NODE_PREFIX;
use crate::document::entry::{CUSTOM_RESOURCES, Document, Scope, Select, local};
use crate::document::toolkit::{
    Cursor, Notes, allow_unsafe, common_annotations, fields, node_prefix, subnets,
};
use crate::mesh::{Basis, Configuration, Fact, Reading, Role};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::value::{Invalid, PublicDomainTemplate, Subnet};

pub(crate) const CONTROL_PLANE_MANAGER: Document = Document {
    name: "ModuleConfig control-plane-manager",
    select: Select::named(Scope::Cluster, &["control-plane-manager"]),
    says: "the local member: its subnets, overriding those of its ClusterConfiguration",
    read: |object, settings, reading| {
        read(object, settings, reading, |top, notes| {
            let mut pods = None;
            // An empty value is unset: the ClusterConfiguration's is in force.
            for (keys, role) in [
                (&["spec", "settings", "network", "podSubnetCIDR"], Role::Pod),
                (&["spec", "settings", "network", "serviceSubnetCIDR"], Role::Service),
            ] {
                let at = notes.get(top, keys);
                if let Some(text) = notes.text(&at).filter(|text| !text.is_empty()) {
                    subnets(notes, &at.path(), role, std::iter::once(text));
                    pods = pods.or_else(|| Subnet::meant(text).filter(|_| role == Role::Pod));
                }
            }
            let prefix = &["spec", "settings", "network", "podSubnetNodeCIDRPrefix"];
            let prefix = notes.get(top, prefix);
            if !prefix.is_absent() && prefix.text() != Some("") {
                node_prefix(notes, &prefix);
            } else if pods.is_some_and(Subnet::is_ipv4) {
                // Any ClusterConfiguration states one, if only by default.
                notes.reading.basis = Basis::Own(Configuration::WEAKEST);
                notes.claim_default(&prefix, Fact::NodePrefix(DEFAULT_NODE_PREFIX));
                notes.reading.basis = Basis::Own(Configuration::ModuleConfig);
            }
        });
    },
    ..MODULE_CONFIG
};

pub(crate) const ISTIO: Document = Document {
    name: "ModuleConfig istio",
    select: Select::named(Scope::Cluster, &["istio"]),
    says: "whether the local member may have remote members at all",
    read: |object, settings, reading| {
        read(object, settings, reading, |top, notes| {
            let module = notes.get(top, &["spec", "enabled"]);
            let enabled = notes.get(top, &["spec", "settings", "multicluster", "enabled"]);
            let is_on = notes.boolean(&enabled).unwrap_or(false);
            // A module that is off does nothing, whatever its settings say.
            let is_off = notes.boolean(&module) == Some(false);
            let at = if is_off { &module } else { &enabled };
            notes.claim(at, Fact::Multicluster(is_on && !is_off));
        });
    },
    ..MODULE_CONFIG
};

pub(crate) const GLOBAL: Document = Document {
    name: "ModuleConfig global",
    select: Select::named(Scope::Cluster, &["global"]),
    says: "the host names under which the local member serves its own metadata",
    read: |object, settings, reading| {
        read(object, settings, reading, |top, notes| {
            let at = notes.get(top, &["spec", "settings", "modules", "publicDomainTemplate"]);
            let Some(text) = notes.text(&at).filter(|text| !text.is_empty()) else { return };
            match PublicDomainTemplate::parse(text) {
                Some(template) => notes.claim(&at, Fact::PublicDomain(template)),
                None => {
                    let problem = format!("{text:?} does not contain %s exactly once");
                    let why = Invalid::new(problem, "write one such as %s.example.com");
                    notes.fault(&at, text, why);
                }
            }
        });
    },
    ..MODULE_CONFIG
};

const MODULE_CONFIG: Document = Document {
    name: "",
    kind: "ModuleConfig",
    group: "deckhouse.io",
    versions: &["v1alpha1"],
    resource: "moduleconfigs",
    select: Select::all(Scope::Cluster),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: "",
    read: |_, _, _| {},
    canonical: &[],
};

fn read(
    object: &Object<'_>,
    settings: &Settings,
    reading: &mut Reading,
    spec: impl FnOnce(&Cursor<'_, '_>, &mut Notes<'_>),
) {
    reading.basis = Basis::Own(Configuration::ModuleConfig);
    let mut notes = Notes::new(reading, local(settings));
    let root = fields(object, ["spec"], &mut notes);
    spec(&root.top(), &mut notes);
    common_annotations(object, &mut notes);
    allow_unsafe(object, &mut notes);
}
