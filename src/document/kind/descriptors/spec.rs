//! The `spec` of a descriptor, as the cluster registry's type has it. Pilot reads nothing of it, but
//! does not start where it cannot be decoded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use super::writer::{EXITS, Writer};
use crate::syntax::{Node, Value};
use crate::value::{Invalid, check_host};

const SPEC: &[&str] = &["kubernetesApiEndpoints", "authInfo", "cloudProvider"];
const ENDPOINTS: &[&str] = &["serverEndpoints", "caBundle"];
const ENDPOINT: &[&str] = &["clientCIDR", "serverAddress"];

/// Notes what is wrong with a `spec`.
pub(super) fn read(spec: &Node<'_>, path: &str, writer: &mut Writer<'_>) {
    if !writer.mapping(spec, path) {
        return;
    }
    writer.unknown_fields(spec, path, SPEC);
    for field in ["authInfo", "cloudProvider"] {
        if let Some(node) = spec.get(field) {
            writer.mapping(node, &format!("{path}.{field}"));
        }
    }
    let path = format!("{path}.kubernetesApiEndpoints");
    let Some(endpoints) = spec.get("kubernetesApiEndpoints") else { return };
    if !writer.mapping(endpoints, &path) {
        return;
    }
    writer.unknown_fields(endpoints, &path, ENDPOINTS);
    if let Some(bundle) = endpoints.get("caBundle") {
        ca_bundle(bundle, &format!("{path}.caBundle"), writer);
    }
    let path = format!("{path}.serverEndpoints");
    match endpoints.get("serverEndpoints").map(|node| (node, &node.value)) {
        Some((_, Value::List(items))) => {
            for (index, item) in items.iter().enumerate() {
                endpoint(item, &format!("{path}[{index}]"), writer);
            }
        }
        None | Some((_, Value::Null)) => {}
        Some((node, _)) => writer.wrong_kind(node, &path, "a list"),
    }
}

fn endpoint(endpoint: &Node<'_>, path: &str, writer: &mut Writer<'_>) {
    if !writer.mapping(endpoint, path) {
        return;
    }
    writer.unknown_fields(endpoint, path, ENDPOINT);
    let cidr = format!("{path}.clientCIDR");
    if let Some(text) = endpoint.get("clientCIDR").and_then(|node| writer.string(node, &cidr))
        && text.parse::<IpNet>().is_err()
    {
        let problem = format!("{text:?} is not a CIDR (the address range of API clients)");
        let remedy = "write one such as 0.0.0.0/0".to_owned();
        writer.fault(&cidr, endpoint.get("clientCIDR"), Invalid { problem, remedy });
    }
    let address = format!("{path}.serverAddress");
    if let Some(text) = endpoint.get("serverAddress").and_then(|node| writer.string(node, &address))
        && let Err(why) = check_host(text)
    {
        let node = endpoint.get("serverAddress");
        // Pilot does not use it, and tools of its time wrote URLs.
        if text.starts_with("https://") {
            writer.warn(&address, node, why);
        } else {
            writer.fault(&address, node, why);
        }
    }
}

fn ca_bundle(bundle: &Node<'_>, path: &str, writer: &mut Writer<'_>) {
    let Some(text) = writer.string(bundle, path) else { return };
    if STANDARD.decode(text.replace(['\n', '\r'], "")).is_err() {
        let problem = format!("is not base64, and {EXITS}");
        let remedy = "encode the certificates with `base64 -w0`".to_owned();
        writer.fault(path, Some(bundle), Invalid { problem, remedy });
    }
}
