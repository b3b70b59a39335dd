//! ClusterConfigurations that a Secret, a ConfigMap or a bare file carries.

use super::cluster_configuration::{self, Dialect, read_fields, read_object};
use crate::document::entry::{CONFIG_MAPS, Document, KUBE_SYSTEM, Label, Scope, Select, local};
use crate::document::toolkit::{
    Cursor, Notes, allow_unsafe, common_annotations, fields, text_of, tree_of,
};
use crate::mesh::{About, Basis, Configuration, ObjectRef, Reading};
use crate::settings::Settings;
use crate::syntax::{Node, Object, Path, Value};
use crate::value::Invalid;

/// The label that makes a ConfigMap speak for a member.
const MEMBER_LABEL: &str = "isthmus.dev/member";
/// Where Deckhouse and kubeadm keep the configuration.
const NAMESPACE: &str = "kube-system";
/// Where Deckhouse keeps the configuration.
const DECKHOUSE_KEY: &[&str] = &["data", "cluster-configuration.yaml"];
/// Where kubeadm keeps it.
const KUBEADM_KEY: &[&str] = &["data", "ClusterConfiguration"];

pub(crate) const DECKHOUSE_SECRET: Document = Document {
    name: "d8-cluster-configuration",
    kind: "Secret",
    group: "",
    versions: &["v1"],
    resource: "secrets",
    select: Select::named(Scope::Namespace(NAMESPACE), &["d8-cluster-configuration"]),
    keys: &[],
    webhook: Some(KUBE_SYSTEM),
    says: "the local member: its cluster domain and subnets, where Deckhouse stores them",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::Deckhouse);
        let mut notes = Notes::new(reading, local(settings));
        read_carrier(object, &[DECKHOUSE_KEY], &mut notes);
        allow_unsafe(object, &mut notes);
    },
    canonical: &[],
};

pub(crate) const KUBEADM_CONFIG: Document = Document {
    name: "kubeadm-config",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::named(Scope::Namespace(NAMESPACE), &["kubeadm-config"]),
    keys: &[],
    webhook: Some(KUBE_SYSTEM),
    says: "the local member: its cluster domain and subnets, where kubeadm stores them",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::Kubeadm);
        read_carrier(object, &[KUBEADM_KEY], &mut Notes::new(reading, local(settings)));
    },
    canonical: &[],
};

pub(crate) const LABELLED: Document = Document {
    name: "member ConfigMap",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::labelled(Scope::Members, Label { key: MEMBER_LABEL, value: None }),
    keys: &[],
    webhook: Some(CONFIG_MAPS),
    says: "the member named by the label `isthmus.dev/member`: its cluster domain and subnets, as Deckhouse or kubeadm writes them",
    read: read_labelled,
    canonical: &[],
};

pub(crate) const BARE_DECKHOUSE: Document = Document {
    name: "bare Deckhouse ClusterConfiguration",
    resource: "",
    select: Select::all(Scope::BareFile),
    webhook: None,
    says: "the local member, as configured in the file given to dhctl",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::File);
        let mut notes = Notes::new(reading, local(settings));
        read_object(object, Dialect::Deckhouse, &mut notes);
    },
    canonical: &[],
    ..cluster_configuration::DOCUMENT
};

pub(crate) const BARE_KUBEADM: Document = Document {
    name: "bare kubeadm ClusterConfiguration",
    group: "kubeadm.k8s.io",
    versions: &["v1beta4", "v1beta3"],
    says: "the local member, as configured in the file given to kubeadm",
    read: |object, settings, reading| {
        reading.basis = Basis::Own(Configuration::File);
        let mut notes = Notes::new(reading, local(settings));
        read_object(object, Dialect::Kubeadm, &mut notes);
    },
    ..BARE_DECKHOUSE
};

/// The object, and its field, in which a cluster keeps what a bare file says, if this is one.
pub(crate) fn kept_in(document: &Document) -> Option<(ObjectRef, Path)> {
    let kept = [
        (BARE_DECKHOUSE, DECKHOUSE_SECRET, DECKHOUSE_KEY),
        (BARE_KUBEADM, KUBEADM_CONFIG, KUBEADM_KEY),
    ];
    let (_, carrier, path) = kept.into_iter().find(|(bare, ..)| bare.name == document.name)?;
    let object = ObjectRef::new(carrier.kind, Some(NAMESPACE), carrier.name);
    Some((object, Path::fixed(path)))
}

fn read_labelled(object: &Object<'_>, _: &Settings, reading: &mut Reading) {
    let member = object.label(MEMBER_LABEL).unwrap_or_default();
    if member.is_empty() {
        let mut notes = Notes::new(reading, object.name().into());
        let remedy = "write the member's name, or remove the label";
        let why = Invalid::new("the label does not name a member", remedy);
        return notes.fault_at(About::Document, &["metadata", "labels", MEMBER_LABEL], "", why);
    }
    let mut notes = Notes::new(reading, member.into());
    read_carrier(object, &[DECKHOUSE_KEY, KUBEADM_KEY], &mut notes);
}

/// Reads the configuration that stands at one of these keys.
fn read_carrier(object: &Object<'_>, keys: &[&'static [&'static str]], notes: &mut Notes<'_>) {
    common_annotations(object, notes);
    let root = fields(object, ["data"], notes);
    let top = root.top();
    let data = notes.get(&top, &["data"]);
    let is_there = |keys: &&&'static [&'static str]| {
        let found = keys.last().and_then(|key| data.node?.get(key));
        found.is_some_and(|node| node.value != Value::Null)
    };
    let mut found = keys.iter().filter(is_there);
    let (first, second) = (found.next(), found.next());
    if let Some(second) = second {
        let problem = "a second ClusterConfiguration, which is ignored";
        let why = Invalid::new(problem, "remove one of the two keys");
        return notes.fault_at(About::Document, Path::fixed(second), "", why);
    }
    let Some(path) = first.copied() else {
        if data.is_absent() || notes.is_mapping(&data) {
            let keys: Vec<_> = keys.iter().filter_map(|keys| keys.last().copied()).collect();
            let problem = format!("key {} is missing", keys.join(" or "));
            let why = Invalid::new(problem, "write the ClusterConfiguration under this key");
            notes.fault(&data, "", why);
        }
        return;
    };
    let at = notes.get(&top, path);
    let path = Path::fixed(path);
    let Some(text) = text_of(object, &at, notes) else { return };
    let remedy = "write one ClusterConfiguration as YAML";
    let Some(root) = tree_of(object, &text, &path, remedy, notes) else { return };
    let text_of_key = |key| root.get(key).and_then(Node::text).unwrap_or_default();
    let (api_version, kind) = (text_of_key("apiVersion"), text_of_key("kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let dialect = Dialect::of(group).filter(|_| kind == "ClusterConfiguration");
    let top = Cursor::within(&path, &root);
    match (&root.value, dialect) {
        (Value::Map(_), Some(dialect)) => read_fields(&top, dialect, notes),
        _ => {
            let problem = format!(
                "holds kind {kind:?} of apiVersion {api_version:?}, not a ClusterConfiguration"
            );
            let remedy = "write apiVersion deckhouse.io/v1 or kubeadm.k8s.io/v1beta4 and kind ClusterConfiguration";
            notes.fault(&top, "", Invalid::new(problem, remedy));
        }
    }
}
