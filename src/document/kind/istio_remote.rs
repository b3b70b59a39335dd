//! Values of the chart `istio-remote`, by which a cluster finds its control plane in another one:
//! a ConfigMap that holds them, or the values file itself.

use crate::document::entry::{CONFIG_MAPS, Document, Label, Scope, Select, local};
use crate::document::toolkit::{Cursor, Notes, common_annotations, fields, text_of, tree_of};
use crate::mesh::{About, Fact, Reading};
use crate::settings::Settings;
use crate::syntax::{Object, Path};
use crate::value::{Invalid, RemoteAddress};

/// The kind that a file of values is known by; no manifest has it.
pub const VALUES_KIND: &str = "istio-remote values";
/// Where the values are.
const KEY: &[&str] = &["data", "values.yaml"];

pub(crate) const CONFIG_MAP: Document = Document {
    name: "istio-remote values",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::labelled(
        Scope::IstioAndMembers,
        Label { key: "isthmus.dev/helm-values", value: Some("istio-remote") },
    ),
    keys: &[],
    webhook: Some(CONFIG_MAPS),
    says: "the addresses of the control plane in another cluster that the local member uses",
    read: read_config_map,
    canonical: &[],
};

pub(crate) const FILE: Document = Document {
    name: "istio-remote values file",
    kind: VALUES_KIND,
    resource: "",
    select: Select::all(Scope::BareFile),
    webhook: None,
    says: "the addresses of the control plane in another cluster that the local member uses, as given to Helm",
    read: read_file,
    ..CONFIG_MAP
};

/// A value that holds an address, in one of the spellings that the chart has had.
struct Address {
    /// Where it is.
    keys: [&'static str; 2],
    /// The same as people write it.
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
            keys: ["global", $name],
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
const CREATE_ENDPOINTS: &[&str] = &["global", "createRemoteSvcEndpoints"];
const CREATE_PILOT_ENDPOINT: &[&str] = &["global", "remotePilotCreateSvcEndpoint"];

fn read_config_map(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let mut notes = Notes::new(reading, local(settings));
    common_annotations(object, &mut notes);
    let root = fields(object, ["data"], &mut notes);
    let top = root.top();
    let at = notes.get(&top, KEY);
    if at.is_absent() {
        let remedy =
            "write the chart's values under this key, or remove the label isthmus.dev/helm-values";
        return notes.fault(&at, "", Invalid::new("is missing", remedy));
    }
    let Some(text) = text_of(object, &at, &mut notes) else { return };
    let path = Path::fixed(KEY);
    let remedy = "write the values as one YAML document";
    if let Some(root) = tree_of(object, &text, &path, remedy, &mut notes) {
        read_values(&Cursor::within(&path, &root), &mut notes);
    }
}

fn read_file(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let mut notes = Notes::new(reading, local(settings));
    let misplaced = ADDRESSES.iter().flat_map(|address| [address.path, address.keys[1]]);
    let root = fields(object, misplaced.chain(["global"]), &mut notes);
    read_values(&root.top(), &mut notes);
}

fn read_values(root: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    let global = notes.get(root, &["global"]);
    if !(root.is_absent() || notes.is_mapping(root))
        || !(global.is_absent() || notes.is_mapping(&global))
    {
        // That is noted, and nothing below it is missing.
        return;
    }
    let misplaced: Vec<Part> =
        ADDRESSES.iter().filter_map(|address| misplaced(root, address, notes)).collect();
    let mut wants = |keys| {
        let at = notes.get(root, keys);
        notes.boolean(&at).unwrap_or(false)
    };
    let (of_all, of_pilot) = (wants(CREATE_ENDPOINTS), wants(CREATE_PILOT_ENDPOINT));
    let wants_endpoints = |part| of_all || of_pilot && part == Part::Pilot;
    let given = ADDRESSES.iter();
    let given: Vec<_> = given
        .filter(|address| read_address(root, address, wants_endpoints(address.part), notes))
        .collect();
    let lacks =
        |part| !misplaced.contains(&part) && !given.iter().any(|address| address.part == part);
    if lacks(Part::Pilot) {
        missing(root, &["global", "pilotEndpoint"], "Pilot", notes);
    }
    // With the later spellings of the chart a mesh may do without Mixer.
    let is_later = given.iter().any(|address| address.part == Part::Pilot && address.may_be_host);
    if lacks(Part::Mixer) && !is_later {
        missing(root, &["global", "mixerEndpoint"], "Mixer", notes);
    }
}

/// Reads one address; returns whether there is one, valid or not.
fn read_address(
    root: &Cursor<'_, '_>,
    address: &'static Address,
    wants_endpoints: bool,
    notes: &mut Notes<'_>,
) -> bool {
    let at = notes.get(root, &address.keys);
    let Some(node) = at.node else { return false };
    let Some(text) = node.text() else {
        notes.wrong_kind(&at, "an IP address as a string");
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
        Ok(Some(found)) => notes.claim(&at, Fact::RemoteAddress(found)),
        Ok(None) => {}
        Err(why) => notes.fault_of(About::RemoteEndpoint, &at, text, why),
    }
    true
}

fn missing(root: &Cursor<'_, '_>, keys: &'static [&'static str], of: &str, notes: &mut Notes<'_>) {
    let problem = format!(
        "the address of {of} is missing, so the chart renders Endpoints without one and proxies find no {of}"
    );
    let remedy = format!("write the IP address at which this cluster reaches {of}");
    let position = root.node.map(|root| root.span.position()).unwrap_or_default();
    let at = notes.get(root, keys).at(position);
    notes.fault_of(About::RemoteEndpoint, &at, "", Invalid::new(problem, remedy));
}

/// Notes an address where Helm, in silence, never reads it.
fn misplaced(
    root: &Cursor<'_, '_>,
    address: &'static Address,
    notes: &mut Notes<'_>,
) -> Option<Part> {
    let mut found = None;
    let [_, name] = address.keys;
    for key in [name, address.path] {
        let Some((written, _)) = root.node.and_then(|root| root.entry(key)) else { continue };
        let problem =
            format!("the chart does not read a value {key:?} here, and Helm silently ignores it");
        let remedy = format!("did you mean key {name} under global?");
        let at = root.key(key).at(written.span.position());
        notes.fault_of(About::RemoteEndpoint, &at, "", Invalid::new(problem, remedy));
        found = Some(address.part);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::syntax::yaml_document;

    fn read(values: &str) -> Vec<String> {
        let root = yaml_document(values, &Budget::of(1000)).unwrap();
        let mut reading = Reading::new(crate::document::reference(&Object::default()));
        read_values(&Cursor::top(&root, &[]), &mut Notes::new(&mut reading, "local".into()));
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
    fn a_misplaced_address_is_not_reported_as_missing() {
        assert_eq!(read("pilotEndpoint: 10.0.0.1\nmixerEndpoint: 10.0.0.2\n").len(), 2);
        assert_eq!(
            read("global.pilotEndpoint: 10.0.0.1\nglobal: {mixerEndpoint: 10.0.0.2}").len(),
            2
        );
    }
}
