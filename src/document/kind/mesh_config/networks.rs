//! `meshNetworks`: which endpoints are on which network, and by which gateways others reach it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::protobuf::Message;
use crate::document::toolkit::{Cursor, Notes, shortened};
use crate::mesh::{DEFAULT_CLUSTER_ID, EndpointSource, Fact, NetworkEndpoints};
use crate::syntax::{Key, Node, Value, yaml_integer};
use crate::value::{ClusterDomain, Invalid, Subnet, unusable_address};

/// Gateways of the networks before, by address and port.
type Gateways = HashMap<(String, u16), Arc<str>>;

pub(super) fn read(root: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    let entries = notes.entries(root, "a mapping with `networks:`");
    for (key, _) in entries.iter().filter(|entry| is_misplaced(entry)) {
        let at = root.key(&key.text).at(key.span.position());
        let problem = "a network outside of `networks:`, which Istio ignores";
        notes.fault(&at, "", Invalid::new(problem, "move it under `networks:`"));
    }
    let entries = entries.iter().filter(|entry| !is_misplaced(entry));
    let fields = Message::of(root, entries, &["networks"], notes);
    let Some(all) = fields.field("networks") else {
        return notes.claim(root, Fact::MeshNetworks(false));
    };
    read_networks(&all, notes);
}

/// Reads the networks by their names.
pub(in crate::document::kind) fn read_networks(all: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    let networks = notes.entries(all, "a mapping of names to networks");
    notes.claim(all, Fact::MeshNetworks(!networks.is_empty()));
    let mut gateways = Gateways::new();
    for (name, node) in networks {
        let at = all.entry(&name.text, &name.text, node).at(name.span.position());
        read_network(&at, &name.text, &mut gateways, notes);
    }
}

/// Whether this is a network where Helm's `global.meshNetworks` has them.
fn is_misplaced((key, node): &(Key<'_>, Node<'_>)) -> bool {
    let has = |part| node.get(part).is_some();
    key.text != "networks" && (has("endpoints") || has("gateways"))
}

fn read_network(at: &Cursor<'_, '_>, name: &str, gateways: &mut Gateways, notes: &mut Notes<'_>) {
    if name.is_empty() {
        let problem = "the network has an empty name, which Istio treats as no network";
        return notes.fault(at, "", Invalid::new(problem, "give it one"));
    }
    if at.node.is_none() {
        let problem =
            format!("network {:?} is null, so it has no endpoints or gateways", shortened(name));
        let remedy = "write its endpoints and gateways, or remove it";
        return notes.doubt(at, "", Invalid::new(problem, remedy));
    }
    let name: Arc<str> = name.into();
    let wanted = "a mapping with `endpoints:` and `gateways:`";
    let fields = Message::read(at, &["endpoints", "gateways"], wanted, notes);
    if let Some(list) = fields.field("endpoints") {
        for (index, endpoint) in notes.items(&list).iter().enumerate() {
            read_endpoint(&list.item(index, endpoint), &name, notes);
        }
    }
    if let Some(list) = fields.field("gateways") {
        for (index, gateway) in notes.items(&list).iter().enumerate() {
            read_gateway(&list.item(index, gateway), &name, gateways, notes);
        }
    }
}

fn read_endpoint(at: &Cursor<'_, '_>, network: &Arc<str>, notes: &mut Notes<'_>) {
    let alternatives = ["fromCidr", "fromRegistry"];
    let wanted = "a mapping with fromCidr or fromRegistry";
    let Some(fields) = item(at, &alternatives, wanted, notes) else { return };
    one_of(at, &fields, "endpoint", alternatives, notes);
    if let Some(at) = fields.field("fromCidr")
        && let Some(text) = notes.text(&at)
    {
        match Subnet::parse_range(text) {
            Ok((range, doubt)) => {
                claim_endpoints(&at, network, EndpointSource::Cidr(range), notes);
                if let Some(why) = doubt {
                    notes.doubt(&at, text, why);
                }
            }
            Err(why) => notes.fault(&at, text, why),
        }
    }
    if let Some(at) = fields.field("fromRegistry")
        && let Some(text) = notes.text(&at)
    {
        read_registry(&at, network, text, notes);
    }
}

fn read_registry(at: &Cursor<'_, '_>, network: &Arc<str>, text: &str, notes: &mut Notes<'_>) {
    let remedy = "write the name under which Istio knows the cluster";
    if text.is_empty() {
        return notes.fault(at, "", Invalid::new("the registry name is empty", remedy));
    }
    let told = shortened(text);
    let is_label = !text.contains('.') && ClusterDomain::parse(text).is_ok();
    if text != DEFAULT_CLUSTER_ID && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let problem =
            format!("registry {told:?} has upper-case letters, and the name is case-sensitive");
        let remedy = "check that Istio knows the cluster by exactly this name";
        notes.doubt(at, text, Invalid::new(problem, remedy));
    } else if !is_label {
        let problem = format!(
            "registry {told:?} is not a DNS label, so Istio 1.6 and later drop all networks"
        );
        notes.doubt(at, text, Invalid::new(problem, remedy));
    }
    let from = EndpointSource::Registry(text.into());
    claim_endpoints(&at.known_by(text), network, from, notes);
}

fn claim_endpoints(
    at: &Cursor<'_, '_>,
    network: &Arc<str>,
    from: EndpointSource,
    notes: &mut Notes<'_>,
) {
    let endpoints = NetworkEndpoints { network: Arc::clone(network), from };
    notes.claim(at, Fact::NetworkEndpoints(Arc::new(endpoints)));
}

fn read_gateway(
    at: &Cursor<'_, '_>,
    network: &Arc<str>,
    gateways: &mut Gateways,
    notes: &mut Notes<'_>,
) {
    let alternatives = ["address", "registryServiceName"];
    let known = ["address", "registryServiceName", "port", "locality"];
    let wanted = "a mapping with address or registryServiceName, and port";
    let Some(fields) = item(at, &known, wanted, notes) else { return };
    one_of(at, &fields, "gateway", alternatives, notes);
    if let Some(at) = fields.field("registryServiceName")
        && let Some(text) = notes.text(&at)
        && let Err(why) = check_service(text)
    {
        notes.fault(&at, text, why);
    }
    if let Some(at) = fields.field("locality") {
        notes.text(&at);
    }
    let port = read_port(at, &fields, notes);
    let Some(at) = fields.field("address") else { return };
    let Some(text) = notes.text(&at) else { return };
    if text.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        // As Istio's own pages have it, until the other cluster's gateway has an address.
        let problem = format!("{text} is a placeholder, not the address of a gateway");
        let remedy = "write the gateway's address once it has one";
        return notes.doubt(&at, text, Invalid::new(problem, remedy));
    }
    let address = match read_address(text) {
        Ok(address) => address,
        Err(why) => return notes.fault(&at, text, why),
    };
    let Some(port) = port else { return };
    let place = if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    };
    claim_endpoints(&at, network, EndpointSource::Gateway(place.into()), notes);
    let first = gateways.entry((address, port)).or_insert_with(|| Arc::clone(network));
    if first != network {
        let problem = format!("{text} port {port} is also a gateway of network {:?}", &**first);
        let remedy = "write a gateway that belongs to this network only";
        notes.doubt(&at, &format!("{text} {port}"), Invalid::new(problem, remedy));
    }
}

/// The integer that a number with a point or an exponent is all the same.
fn whole(number: &str) -> Option<i64> {
    let number: f64 = number.parse().ok()?;
    let is_port = number.fract() == 0.0 && (0.0..=65535.0).contains(&number);
    is_port.then(|| format!("{number:.0}").parse().ok()).flatten()
}

/// The port of a gateway, which protobuf's JSON takes as a string too.
fn read_port(
    gateway: &Cursor<'_, '_>,
    fields: &Message<'_, '_>,
    notes: &mut Notes<'_>,
) -> Option<u16> {
    let remedy = "write one from 1 to 65535, such as 15443";
    let Some(at) = fields.field("port") else {
        if !fields.meant.contains(&"port") {
            let at = gateway.key("port").at(gateway.position());
            notes.fault(&at, "", Invalid::new("the gateway has no port", remedy));
        }
        return None;
    };
    let (Value::Text(text) | Value::Number(text)) = &at.node?.value else {
        notes.wrong_kind(&at, "a number");
        return None;
    };
    // A number may be written in any way that YAML writes them, a string in one.
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let number = match &at.node?.value {
        Value::Number(number) => yaml_integer(number).or_else(|| whole(number)),
        _ => text.parse().ok().filter(|_| is_decimal),
    };
    match number.and_then(|number| u16::try_from(number).ok()) {
        Some(port @ 1..) => {
            if text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
                let problem = format!("{} is octal, and read as port {port}", shortened(text));
                notes.doubt(&at, text, Invalid::new(problem, "write the port in decimal"));
            }
            return Some(port);
        }
        _ => {
            let told = shortened(text);
            let told = if at.text().is_some() { format!("{told:?}") } else { told };
            notes.fault(&at, text, Invalid::new(format!("{told} is not a port"), remedy));
        }
    }
    None
}

/// A gateway's address as far as it is the same for Istio.
fn read_address(text: &str) -> Result<String, Invalid> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return match unusable_address(address) {
            None => Ok(address.to_canonical().to_string()),
            Some(class) => {
                let problem =
                    format!("{text} is {class}, at which other networks cannot reach a gateway");
                Err(Invalid::new(problem, "write the address at which other networks reach it"))
            }
        };
    }
    if let Some(host) = host(text) {
        return Ok(host.as_str().to_owned());
    }
    let meant = bare(text);
    let is_meant = host(meant).is_some() || meant.parse::<IpAddr>().is_ok();
    let remedy = match meant {
        meant if is_meant => format!("write {meant} here, and the port as `port`"),
        _ => "write an IP address or a host name, and the port as `port`".to_owned(),
    };
    let problem = match text {
        "" => "the address is empty".to_owned(),
        _ => format!("{:?} is neither an IP address nor a host name", shortened(text)),
    };
    Err(Invalid::new(problem, remedy))
}

/// What is left of an address without a scheme, a path, a port and brackets.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split('/').next().unwrap_or(text);
    match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, _)) => host,
        None => text.split_once(':').map_or(text, |(host, _)| host),
    }
}

fn check_service(text: &str) -> Result<(), Invalid> {
    let remedy = "write one such as istio-eastwestgateway.istio-system.svc.cluster.local";
    if text.parse::<IpAddr>().is_ok() {
        return Err(Invalid::new(format!("{text} is an address"), "write it as `address`"));
    }
    match host(text) {
        Some(_) => Ok(()),
        None => {
            let problem = format!("{:?} is not the DNS name of a service", shortened(text));
            Err(Invalid::new(problem, remedy))
        }
    }
}

/// A DNS name that cannot be taken for an address.
fn host(text: &str) -> Option<ClusterDomain> {
    let host = ClusterDomain::parse(text).ok()?;
    let last = host.as_str().rsplit('.').next().unwrap_or_default();
    (!last.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

/// The fields of an item of a list, if it can have fields; null has none of them.
fn item<'c, 'n: 'c>(
    at: &'c Cursor<'c, 'n>,
    known: &[&'static str],
    wanted: &str,
    notes: &mut Notes<'_>,
) -> Option<Message<'c, 'n>> {
    let can_have = matches!(at.node.map(|node| &node.value), None | Some(Value::Map(_)));
    let fields = Message::read(at, known, wanted, notes);
    can_have.then_some(fields)
}

/// Notes an item that has none or both of its alternatives.
fn one_of(
    at: &Cursor<'_, '_>,
    fields: &Message<'_, '_>,
    item: &str,
    alternatives: [&'static str; 2],
    notes: &mut Notes<'_>,
) {
    let [a, b] = alternatives;
    match alternatives.map(|name| fields.field(name).is_some()) {
        [true, true] => {
            let problem = format!("has both {a} and {b}, but only one of them is allowed");
            let remedy = format!("write two {item}s, each with one of them");
            notes.fault(at, "both", Invalid::new(problem, remedy));
        }
        [false, false] if !alternatives.iter().any(|name| fields.meant.contains(name)) => {
            let problem = format!("has neither {a} nor {b}");
            notes.fault(at, "neither", Invalid::new(problem, "write one of them"));
        }
        _ => {}
    }
}
