//! The `spec` of a descriptor, as the cluster registry's type has it. Pilot reads nothing of it, but
//! does not start where it cannot be decoded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use crate::document::toolkit::{Cursor, EXITS, Notes};
use crate::value::{Invalid, check_host, similar};

const SPEC: &[&str] = &["kubernetesApiEndpoints", "authInfo", "cloudProvider"];
const ENDPOINTS: &[&str] = &["serverEndpoints", "caBundle"];
const ENDPOINT: &[&str] = &["clientCIDR", "serverAddress"];

/// Notes what is wrong with a `spec`.
pub(super) fn read(spec: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    if !notes.is_mapping(spec) {
        return;
    }
    unknown_fields(spec, SPEC, notes);
    for keys in [&["authInfo"], &["cloudProvider"]] {
        let at = notes.get(spec, keys);
        notes.is_mapping(&at);
    }
    let endpoints = notes.get(spec, &["kubernetesApiEndpoints"]);
    if !notes.is_mapping(&endpoints) {
        return;
    }
    unknown_fields(&endpoints, ENDPOINTS, notes);
    let bundle = notes.get(&endpoints, &["caBundle"]);
    ca_bundle(&bundle, notes);
    let list = notes.get(&endpoints, &["serverEndpoints"]);
    for (index, node) in notes.items(&list).iter().enumerate() {
        endpoint(&list.item(index, node), notes);
    }
}

fn endpoint(endpoint: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    if !notes.is_mapping(endpoint) {
        return;
    }
    unknown_fields(endpoint, ENDPOINT, notes);
    let cidr = notes.get(endpoint, &["clientCIDR"]);
    if let Some(text) = notes.text(&cidr).filter(|text| !text.is_empty())
        && text.parse::<IpNet>().is_err()
    {
        let problem = format!("{text:?} is not a CIDR (the address range of API clients)");
        notes.fault(&cidr, "", Invalid::new(problem, "write one such as 0.0.0.0/0"));
    }
    let address = notes.get(endpoint, &["serverAddress"]);
    if let Some(text) = notes.text(&address).filter(|text| !text.is_empty())
        && let Err(why) = check_host(text)
    {
        // Pilot does not use it, and tools of its time wrote URLs.
        if text.starts_with("https://") {
            notes.doubt(&address, "", why);
        } else {
            notes.fault(&address, "", why);
        }
    }
}

fn ca_bundle(bundle: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    let Some(text) = notes.text(bundle) else { return };
    if STANDARD.decode(text.replace(['\n', '\r'], "")).is_err() {
        let problem = format!("is not base64, and {EXITS}");
        let remedy = "encode the certificates with `base64 -w0`";
        notes.fault(bundle, "", Invalid::new(problem, remedy));
    }
}

/// Notes fields that are none of those known.
pub(super) fn unknown_fields(at: &Cursor<'_, '_>, known: &[&str], notes: &mut Notes<'_>) {
    for (key, _) in notes.entries(at, "a mapping") {
        if known.contains(&key.text.as_ref()) {
            continue;
        }
        let at = at.key(&key.text).at(key.span.position());
        let problem =
            format!("{:?} is not a field of a descriptor, and Pilot ignores it", key.text);
        let meant = similar(&key.text, known);
        // Go reads a field in whatever case it is written.
        let is_read = meant.is_none_or(|meant| meant.eq_ignore_ascii_case(&key.text));
        let remedy = meant.map_or("remove it".to_owned(), |meant| format!("did you mean {meant}?"));
        let why = Invalid { problem, remedy };
        if is_read { notes.doubt(&at, "", why) } else { notes.fault(&at, "", why) }
    }
}
