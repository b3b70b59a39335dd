//! Values of the chart `istio-remote`, by which a cluster finds its control plane in another one:
//! a ConfigMap that holds them, or the values file itself.

use super::carrier::{self, unreadable};
use crate::document::entry::{Document, Label, Select, local};
use crate::document::toolkit::{Fields, common_annotations};
use crate::mesh::{About, Fact, Position, Reading};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::syntax::Value;
use crate::syntax::yaml_document;
use crate::value::{Invalid, RemoteAddress};

/// The kind that a file of values is known by; no manifest has it.
pub const VALUES_KIND: &str = "istio-remote values";
/// The key that holds the values.
const KEY: &str = "values.yaml";

pub(in crate::document) const CONFIG_MAP: Document = Document {
    name: "istio-remote values",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::Label(Label {
        key: "isthmus.dev/helm-values",
        value: Some("istio-remote"),
        in_istio: true,
    }),
    keys: &[],
    says: "the addresses of the control plane in another cluster that the local member uses",
    read: read_config_map,
    canonical: None,
};

pub(in crate::document) const FILE: Document = Document {
    name: "istio-remote values file",
    kind: VALUES_KIND,
    resource: "",
    select: Select::BareFile,
    says: "the addresses of the control plane in another cluster that the local member uses, as given to Helm",
    read: read_file,
    ..CONFIG_MAP
};

/// A value that holds an address, in one of the spellings that the chart has had.
struct Address {
    /// Its name below `global`.
    name: &'static str,
    path: &'static str,
    part: Part,
    /// Whether the chart makes a Service of it that a host name will do for.
    may_be_host: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Pilot,
    Mixer,
}

macro_rules! address {
    ($name:literal, $part:ident, $may_be_host:literal) => {
        Address {
            name: $name,
            path: concat!("global.", $name),
            part: Part::$part,
            may_be_host: $may_be_host,
        }
    };
}

const ADDRESSES: &[Address] = &[
    address!("pilotEndpoint", Pilot, false),
    address!("remotePilotAddress", Pilot, true),
    address!("mixerEndpoint", Mixer, false),
    address!("policyEndpoint", Mixer, true),
    address!("remotePolicyAddress", Mixer, true),
    address!("remoteTelemetryAddress", Mixer, true),
];
/// What makes the chart render Endpoints in place of a Service that names a host: for all, and for
/// Pilot alone.
const CREATE_ENDPOINTS: &str = "global.createRemoteSvcEndpoints";
const CREATE_PILOT_ENDPOINT: &str = "global.remotePilotCreateSvcEndpoint";

fn read_config_map(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let member = local(settings);
    common_annotations(object, reading, &member);
    let data = match object.field("data") {
        Ok(data) => data,
        Err(error) => return unreadable(reading, &member, "data", &error),
    };
    let path = format!("data[{KEY}]");
    let mut refuse = |position, problem: String, remedy: &str| {
        let why = Invalid { problem, remedy: remedy.to_owned() };
        reading.fault(&member, path.clone(), position, About::Document, "", why);
    };
    let Some(node) = data.as_ref().and_then(|data| data.get(KEY)) else {
        let remedy =
            "write the chart's values under this key, or remove the label isthmus.dev/helm-values";
        return refuse(Position::NONE, "is missing".to_owned(), remedy);
    };
    let Some(text) = node.text() else {
        let problem = format!("must be a string, not {}", node.kind());
        return refuse(Position::NONE, problem, "write a string");
    };
    match yaml_document(text, &object.budget) {
        Ok(root) => {
            read_values(&mut Fields { reading, member: &member, root: &root, prefix: &path });
        }
        Err(error) => {
            refuse(error.span.position(), error.what, "write the values as one YAML document");
        }
    }
}

fn read_file(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let member = local(settings);
    let misplaced = ADDRESSES.iter().flat_map(|address| [address.path, address.name]);
    let root = carrier::fields(object, misplaced.chain(["global"]), &member, reading);
    read_values(&mut Fields { reading, member: &member, root: &root, prefix: "" });
}

fn read_values(fields: &mut Fields<'_, '_>) {
    if !matches!(fields.root.value, Value::Map(_) | Value::Null) {
        return fields.wrong_kind("", fields.root, "a mapping");
    }
    let global = fields.root.get("global").map_or(&Value::Null, |global| &global.value);
    if !matches!(global, Value::Map(_) | Value::Null) {
        // That says so, and nothing below it is missing.
        fields.node(CREATE_ENDPOINTS);
        return;
    }
    let misplaced: Vec<Part> =
        ADDRESSES.iter().filter_map(|address| misplaced(fields, address)).collect();
    let mut wants = |path| fields.boolean(path).is_some_and(|(wanted, _)| wanted);
    let (of_all, of_pilot) = (wants(CREATE_ENDPOINTS), wants(CREATE_PILOT_ENDPOINT));
    let wants_endpoints = |part| of_all || of_pilot && part == Part::Pilot;
    let given = ADDRESSES.iter();
    let given: Vec<_> = given
        .filter(|address| read_address(fields, address, wants_endpoints(address.part)))
        .collect();
    let lacks =
        |part| !misplaced.contains(&part) && !given.iter().any(|address| address.part == part);
    if lacks(Part::Pilot) {
        missing(fields, "global.pilotEndpoint", "Pilot");
    }
    // With the later spellings of the chart a mesh may do without Mixer.
    let is_later = given.iter().any(|address| address.part == Part::Pilot && address.may_be_host);
    if lacks(Part::Mixer) && !is_later {
        missing(fields, "global.mixerEndpoint", "Mixer");
    }
}

/// Reads one address; gives back whether there is one, however bad.
fn read_address(fields: &mut Fields<'_, '_>, address: &Address, wants_endpoints: bool) -> bool {
    let Some(node) = fields.node(address.path) else { return false };
    let position = node.span.position();
    let Some(text) = node.text() else {
        fields.wrong_kind(address.path, node, "an IP address as a string");
        return true;
    };
    if text.is_empty() {
        // So it stands in the chart's own values.
        return false;
    }
    let read = if address.may_be_host && !wants_endpoints {
        RemoteAddress::parse_or_host(text)
    } else {
        RemoteAddress::parse(text).map(Some)
    };
    match read {
        Ok(Some(found)) => fields.claim(address.path, position, Fact::RemoteAddress(found)),
        Ok(None) => {}
        Err(why) => fields.fault(address.path, position, About::RemoteEndpoint, text, why),
    }
    true
}

fn missing(fields: &mut Fields<'_, '_>, path: &'static str, of: &str) {
    let why = Invalid {
        problem: format!(
            "the address of {of} is missing, so the chart renders Endpoints without one and proxies find no {of}"
        ),
        remedy: format!("write the IP address at which this cluster reaches {of}"),
    };
    let position = fields.root.span.position();
    fields.fault(path, position, About::RemoteEndpoint, "", why);
}

/// Notes an address where Helm, in silence, never reads it.
fn misplaced(fields: &mut Fields<'_, '_>, address: &Address) -> Option<Part> {
    let mut found = None;
    for (key, path) in
        [(address.name, address.name.to_owned()), (address.path, format!("[{}]", address.path))]
    {
        let Some((at, _)) = fields.root.entry(key) else { continue };
        let why = Invalid {
            problem: format!(
                "the chart does not read a value {key:?} here, and Helm silently ignores it"
            ),
            remedy: format!("did you mean key {} under global?", address.name),
        };
        let position = at.span.position();
        fields.fault(&path, position, About::RemoteEndpoint, "", why);
        found = Some(address.part);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::mesh::MemberName;

    fn read(values: &str) -> Vec<String> {
        let root = yaml_document(values, &Budget::of(1000)).unwrap();
        let member: MemberName = "local".into();
        let mut reading = Reading::new(crate::document::reference(&Object::default()));
        read_values(&mut Fields {
            reading: &mut reading,
            member: &member,
            root: &root,
            prefix: "",
        });
        let told = |claim: &crate::mesh::Claim| match &claim.fact {
            Fact::Fault(fault) => format!("{}: {}", claim.place.path(), fault.problem),
            fact => format!("{}: {fact:?}", claim.place.path()),
        };
        reading.claims_of("local").iter().map(told).collect()
    }

    #[test]
    fn later_spellings_take_host_names_unless_endpoints_are_wanted() {
        let host = "global: {remotePilotAddress: pilot.example.com}";
        assert!(read(host).is_empty());
        let wanted =
            "global: {remotePilotAddress: pilot.example.com, createRemoteSvcEndpoints: true}";
        assert_eq!(read(wanted).len(), 1);
    }

    #[test]
    fn a_misplaced_address_is_not_missing_too() {
        assert_eq!(read("pilotEndpoint: 10.0.0.1\nmixerEndpoint: 10.0.0.2\n").len(), 2);
        assert_eq!(
            read("global.pilotEndpoint: 10.0.0.1\nglobal: {mixerEndpoint: 10.0.0.2}").len(),
            2
        );
    }
}
