//! ClusterConfigurations that a Secret, a ConfigMap or a bare file carries.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cluster_configuration::{Dialect, read_fields, read_object};
use crate::document::entry::{Document, Label, Select, local};
use crate::document::toolkit::{Fields, allow_unsafe, common_annotations};
use crate::mesh::{About, Basis, Configuration, MemberName, ObjectRef, Position, Reading};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::syntax::yaml_document;
use crate::syntax::{Key, Node, Span, Value};
use crate::value::Invalid;

/// The label that makes a ConfigMap speak for a member.
const MEMBER_LABEL: &str = "isthmus.dev/member";
/// The key under which Deckhouse keeps the configuration.
const DECKHOUSE_KEY: &str = "cluster-configuration.yaml";
/// The key under which kubeadm keeps it.
const KUBEADM_KEY: &str = "ClusterConfiguration";

pub(in crate::document) const DECKHOUSE_SECRET: Document = Document {
    name: "d8-cluster-configuration",
    kind: "Secret",
    group: "",
    versions: &["v1"],
    resource: "secrets",
    select: Select::Namespaced("kube-system", "d8-cluster-configuration"),
    keys: &[],
    says: "the local member: its cluster domain and subnets, where Deckhouse stores them",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::Deckhouse);
        read_carrier(object, &local(settings), &[DECKHOUSE_KEY], reading);
        allow_unsafe(object, reading, &local(settings));
    },
    canonical: None,
};

pub(in crate::document) const KUBEADM_CONFIG: Document = Document {
    name: "kubeadm-config",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::Namespaced("kube-system", "kubeadm-config"),
    keys: &[],
    says: "the local member: its cluster domain and subnets, where kubeadm stores them",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::Kubeadm);
        read_carrier(object, &local(settings), &[KUBEADM_KEY], reading);
    },
    canonical: None,
};

pub(in crate::document) const LABELLED: Document = Document {
    name: "member ConfigMap",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::Label(Label { key: MEMBER_LABEL, value: None, in_istio: false }),
    keys: &[],
    says: "the member named by the label `isthmus.dev/member`: its cluster domain and subnets, as Deckhouse or kubeadm writes them",
    read: read_labelled,
    canonical: None,
};

pub(in crate::document) const BARE_DECKHOUSE: Document = Document {
    name: "bare Deckhouse ClusterConfiguration",
    kind: "ClusterConfiguration",
    group: "deckhouse.io",
    versions: &["v1", "v1alpha1"],
    resource: "",
    select: Select::BareFile,
    keys: &[],
    says: "the local member, as configured in the file given to dhctl",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::File);
        read_object(object, &local(settings), Dialect::Deckhouse, reading);
    },
    canonical: None,
};

pub(in crate::document) const BARE_KUBEADM: Document = Document {
    name: "bare kubeadm ClusterConfiguration",
    kind: "ClusterConfiguration",
    group: "kubeadm.k8s.io",
    versions: &["v1beta4", "v1beta3"],
    resource: "",
    select: Select::BareFile,
    keys: &[],
    says: "the local member, as configured in the file given to kubeadm",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::File);
        read_object(object, &local(settings), Dialect::Kubeadm, reading);
    },
    canonical: None,
};

/// The object, and its field, in which a cluster keeps what a bare file says, if this is one.
pub(in crate::document) fn kept_in(document: &Document) -> Option<(ObjectRef, String)> {
    let kept = [
        (BARE_DECKHOUSE, DECKHOUSE_SECRET, DECKHOUSE_KEY),
        (BARE_KUBEADM, KUBEADM_CONFIG, KUBEADM_KEY),
    ];
    let (_, carrier, key) = kept.into_iter().find(|(bare, ..)| bare.name == document.name)?;
    let Select::Namespaced(namespace, name) = carrier.select else { return None };
    let object = ObjectRef::new(carrier.kind, Some(namespace), name);
    Some((object, format!("data[{key}]")))
}

fn read_labelled(object: &Object<'_>, _: &Settings, reading: &mut Reading) {
    let member = object.label(MEMBER_LABEL).unwrap_or_default();
    if member.is_empty() {
        let why = Invalid {
            problem: "the label does not name a member".to_owned(),
            remedy: "write the member's name, or remove the label".to_owned(),
        };
        let name: MemberName = object.name().into();
        reading.fault(
            &name,
            "metadata.labels[isthmus.dev/member]",
            Position::NONE,
            About::Document,
            "",
            why,
        );
        return;
    }
    read_carrier(object, &member.into(), &[DECKHOUSE_KEY, KUBEADM_KEY], reading);
}

/// Reads the configuration that stands under one of these keys.
fn read_carrier(object: &Object<'_>, member: &MemberName, keys: &[&str], reading: &mut Reading) {
    common_annotations(object, reading, member);
    let data = match object.field("data") {
        Ok(data) => data,
        Err(error) => return unreadable(reading, member, "data", &error),
    };
    let mut stand = keys.iter().filter_map(|key| Some((*key, data.as_ref()?.get(key)?)));
    let found = stand.next();
    if let Some((second, _)) = stand.next() {
        let why = Invalid {
            problem: "a second ClusterConfiguration, which is ignored".to_owned(),
            remedy: "remove one of the two keys".to_owned(),
        };
        let path = format!("data[{second}]");
        return reading.fault(member, path, Position::NONE, About::Document, "", why);
    }
    let Some((key, node)) = found else {
        let keys = keys.join(" or ");
        let why = Invalid {
            problem: format!("key {keys} is missing"),
            remedy: "write the ClusterConfiguration under this key".to_owned(),
        };
        return reading.fault(member, "data", Position::NONE, About::Document, "", why);
    };
    let path = format!("data[{key}]");
    let mut refuse = |position, problem: String, remedy: &str| {
        let why = Invalid { problem, remedy: remedy.to_owned() };
        reading.fault(member, path.clone(), position, About::Document, "", why);
    };
    let Some(text) = node.text() else {
        return refuse(
            Position::NONE,
            format!("must be a string, not {}", node.kind()),
            "write a string",
        );
    };
    let decoded;
    let text = if object.kind == "Secret" {
        match STANDARD.decode(text).map(String::from_utf8) {
            Ok(Ok(text)) => {
                decoded = text;
                &decoded
            }
            Ok(Err(_)) => {
                return refuse(
                    Position::NONE,
                    "is not UTF-8 text".to_owned(),
                    "write it as YAML in UTF-8",
                );
            }
            Err(error) => {
                let remedy = "encode it with `base64 -w0`, or use stringData";
                return refuse(Position::NONE, format!("is not base64: {error}"), remedy);
            }
        }
    } else {
        text
    };
    let root = match yaml_document(text, &object.budget) {
        Ok(root) => root,
        Err(error) => {
            return refuse(
                error.span.position(),
                error.what,
                "write one ClusterConfiguration as YAML",
            );
        }
    };
    let api_version = root.get("apiVersion").and_then(|node| node.text()).unwrap_or_default();
    let kind = root.get("kind").and_then(|node| node.text()).unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let dialect = Dialect::of(group).filter(|_| kind == "ClusterConfiguration");
    let (Value::Map(_), Some(dialect)) = (&root.value, dialect) else {
        let problem = format!(
            "holds kind {kind:?} of apiVersion {api_version:?}, not a ClusterConfiguration"
        );
        let remedy = "write apiVersion deckhouse.io/v1 or kubeadm.k8s.io/v1beta4 and kind ClusterConfiguration";
        return refuse(root.span.position(), problem, remedy);
    };
    let mut fields = Fields { reading, member, root: &root, prefix: &path };
    read_fields(&mut fields, dialect);
}

/// The fields of these names as one mapping, as if a text had carried them.
pub(super) fn fields<'a>(
    object: &Object<'a>,
    names: impl Iterator<Item = &'a str>,
    member: &MemberName,
    reading: &mut Reading,
) -> Node<'a> {
    let mut entries = Vec::new();
    for name in names {
        match object.field(name) {
            Ok(Some(node)) => {
                entries.push((Key { text: name.into(), span: Span::default() }, node));
            }
            Ok(None) => {}
            Err(error) => unreadable(reading, member, name, &error),
        }
    }
    Node { value: Value::Map(entries), span: Span::default() }
}

/// Notes that a field cannot be read at all.
pub(super) fn unreadable(
    reading: &mut Reading,
    member: &MemberName,
    field: &str,
    error: &dyn fmt::Display,
) {
    let why = Invalid {
        problem: format!("cannot be read: {error}"),
        remedy: "write it as its kind requires".to_owned(),
    };
    reading.fault(member, field.to_owned(), Position::NONE, About::Document, "", why);
}
