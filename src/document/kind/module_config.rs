//! `ModuleConfig`: the settings of Deckhouse's modules that say something of the local member.

use super::carrier::unreadable;
use crate::document::entry::{Document, Select, local};
use crate::document::toolkit::{Fields, allow_unsafe, common_annotations};
use crate::mesh::{About, Basis, Configuration, Fact, Position, Reading, Role};
use crate::settings::Settings;
use crate::syntax::{Node, Object, Span, Value};
use crate::value::{Invalid, PublicDomainTemplate};

pub(in crate::document) const CONTROL_PLANE_MANAGER: Document = Document {
    name: "ModuleConfig control-plane-manager",
    select: Select::Name("control-plane-manager"),
    says: "the local member: its subnets, overriding those of its ClusterConfiguration",
    read: |object, settings, reading| {
        read(object, settings, reading, |fields| {
            // An empty value is unset: the ClusterConfiguration's is in force.
            for (path, role) in [
                ("settings.network.podSubnetCIDR", Role::Pod),
                ("settings.network.serviceSubnetCIDR", Role::Service),
            ] {
                if fields.text(path).is_some_and(|(text, _)| !text.is_empty()) {
                    fields.subnets(path, role, None);
                }
            }
            let prefix = "settings.network.podSubnetNodeCIDRPrefix";
            if fields.node(prefix).is_some_and(|node| node.text() != Some("")) {
                fields.node_prefix(prefix);
            }
        });
    },
    ..MODULE_CONFIG
};

pub(in crate::document) const ISTIO: Document = Document {
    name: "ModuleConfig istio",
    select: Select::Name("istio"),
    says: "whether the local member may have remote members at all",
    read: |object, settings, reading| {
        read(object, settings, reading, |fields| {
            let path = "settings.multicluster.enabled";
            let enabled = fields.boolean(path).is_some_and(|(enabled, _)| enabled);
            fields.claim(path, Position::NONE, Fact::Multicluster(enabled));
        });
    },
    ..MODULE_CONFIG
};

pub(in crate::document) const GLOBAL: Document = Document {
    name: "ModuleConfig global",
    select: Select::Name("global"),
    says: "the host names under which the local member serves its own metadata",
    read: |object, settings, reading| {
        read(object, settings, reading, |fields| {
            let path = "settings.modules.publicDomainTemplate";
            let Some((text, _)) = fields.text(path).filter(|(text, _)| !text.is_empty()) else {
                return;
            };
            if let Some(template) = PublicDomainTemplate::parse(text) {
                fields.claim(path, Position::NONE, Fact::PublicDomain(template));
                return;
            }
            let why = Invalid {
                problem: format!("{text:?} does not contain %s exactly once"),
                remedy: "write one such as %s.example.com".to_owned(),
            };
            fields.reading.fault(
                fields.member,
                format!("spec.{path}"),
                Position::NONE,
                About::Document,
                text,
                why,
            );
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
    select: Select::All,
    keys: &[],
    says: "",
    read: |_, _, _| {},
    canonical: None,
};

fn read(
    object: &Object<'_>,
    settings: &Settings,
    reading: &mut Reading,
    spec: impl FnOnce(&mut Fields<'_, '_>),
) {
    let member = local(settings);
    reading.basis = Basis::Own(Configuration::ModuleConfig);
    match object.field("spec") {
        Ok(node) => {
            let root = node.unwrap_or(Node { value: Value::Null, span: Span::default() });
            spec(&mut Fields { reading, member: &member, root: &root, prefix: "spec" });
        }
        Err(error) => unreadable(reading, &member, "spec", &error),
    }
    common_annotations(object, reading, &member);
    allow_unsafe(object, reading, &member);
}
