//! `meshNetworks`: which endpoints are on which network, and by which gateways others reach it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::protobuf::{Carried, Message, Spot, shortened};
use crate::mesh::{EndpointSource, Fact, NetworkEndpoints};
use crate::syntax::{Key, Node, Value};
use crate::value::{ClusterDomain, Invalid, Subnet, unusable_address};

/// Gateways of the networks before, by address and port.
type Gateways = HashMap<(String, u16), Arc<str>>;

/// What Istio calls the cluster that it runs in, unless it is told a name.
const DEFAULT_REGISTRY: &str = "Kubernetes";

pub(super) fn read(carried: &mut Carried<'_>, spot: &Spot, root: &Node<'_>) {
    let remedy = "write `networks:` and under it a mapping of names to networks";
    let root = without_misplaced(carried, spot, root);
    let fields = carried.message(spot, &root, &["networks"], remedy);
    let Some((spot, networks)) = fields.field("networks") else {
        return carried.claim(spot, Fact::MeshNetworks(false));
    };
    let networks = carried.mapping(&spot, networks, "write a mapping of names to networks");
    carried.claim(&spot, Fact::MeshNetworks(!networks.is_empty()));
    let mut gateways = Gateways::new();
    for (name, network) in networks {
        let spot = spot.field(&name.text, &name.text).at(name.span.position());
        read_network(carried, &spot, &name.text, network, &mut gateways);
    }
}

/// Notes networks that stand where Helm's `global.meshNetworks` has them, and gives back the rest.
fn without_misplaced<'r, 'n>(
    carried: &mut Carried<'_>,
    spot: &Spot,
    root: &'r Node<'n>,
) -> Cow<'r, Node<'n>> {
    let mut rest = Cow::Borrowed(root);
    let Value::Map(entries) = &root.value else { return rest };
    for (key, _) in entries.iter().filter(|entry| is_misplaced(entry)) {
        let at = spot.field(&key.text, &key.text).at(key.span.position());
        let problem = "a network outside of `networks:`, which Istio ignores";
        carried.fault(&at, "", Invalid::new(problem, "move it under `networks:`"));
    }
    if entries.iter().any(is_misplaced)
        && let Value::Map(entries) = &mut rest.to_mut().value
    {
        entries.retain(|entry| !is_misplaced(entry));
    }
    rest
}

fn is_misplaced((key, node): &(Key<'_>, Node<'_>)) -> bool {
    let has = |part| node.get(part).is_some();
    key.text != "networks" && (has("endpoints") || has("gateways"))
}

fn read_network(
    carried: &mut Carried<'_>,
    spot: &Spot,
    name: &str,
    network: &Node<'_>,
    gateways: &mut Gateways,
) {
    if name.is_empty() {
        let problem = "the network has an empty name, which Istio treats as no network";
        return carried.fault(spot, "", Invalid::new(problem, "give it one"));
    }
    if network.value == Value::Null {
        let problem =
            format!("network {:?} is null, so it has no endpoints or gateways", shortened(name));
        let remedy = "write its endpoints and gateways, or remove it";
        return carried.doubt(spot, "", Invalid::new(problem, remedy));
    }
    let name: Arc<str> = name.into();
    let remedy = "write `endpoints:` and `gateways:`";
    let fields = carried.message(spot, network, &["endpoints", "gateways"], remedy);
    if let Some((spot, endpoints)) = fields.field("endpoints") {
        for (index, endpoint) in carried.list(&spot, endpoints).iter().enumerate() {
            let spot = spot.item(index, endpoint.span.position());
            read_endpoint(carried, &spot, &name, endpoint);
        }
    }
    if let Some((spot, list)) = fields.field("gateways") {
        for (index, gateway) in carried.list(&spot, list).iter().enumerate() {
            let spot = spot.item(index, gateway.span.position());
            read_gateway(carried, &spot, &name, gateway, gateways);
        }
    }
}

fn read_endpoint(carried: &mut Carried<'_>, spot: &Spot, network: &Arc<str>, node: &Node<'_>) {
    let alternatives = ["fromCidr", "fromRegistry"];
    let remedy = "write fromCidr or fromRegistry";
    if !is_mapping_or_null(carried, spot, node, remedy) {
        return;
    }
    let fields = carried.message(spot, node, &alternatives, remedy);
    one_of(carried, spot, &fields, "endpoint", alternatives);
    if let Some((spot, node)) = fields.field("fromCidr")
        && let Some(text) = carried.text(&spot, node)
    {
        read_cidr(carried, &spot, network, text);
    }
    if let Some((spot, node)) = fields.field("fromRegistry")
        && let Some(text) = carried.text(&spot, node)
    {
        read_registry(carried, spot, network, text);
    }
}

fn read_cidr(carried: &mut Carried<'_>, spot: &Spot, network: &Arc<str>, text: &str) {
    match Subnet::parse_range(text) {
        Ok((range, doubt)) => {
            let from = EndpointSource::Cidr(range);
            claim_endpoints(carried, spot, network, from);
            if let Some(why) = doubt {
                carried.doubt(spot, text, why);
            }
        }
        Err(why) => carried.fault(spot, text, why),
    }
}

fn read_registry(carried: &mut Carried<'_>, spot: Spot, network: &Arc<str>, text: &str) {
    let remedy = "write the name under which Istio knows the cluster";
    if text.is_empty() {
        return carried.fault(&spot, "", Invalid::new("the registry name is empty", remedy));
    }
    let told = shortened(text);
    let is_label = !text.contains('.') && ClusterDomain::parse(text).is_ok();
    if text != DEFAULT_REGISTRY && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let problem =
            format!("registry {told:?} has upper-case letters, and the name is case-sensitive");
        let remedy = "check that Istio knows the cluster by exactly this name";
        carried.doubt(&spot, text, Invalid::new(problem, remedy));
    } else if !is_label {
        let problem = format!(
            "registry {told:?} is not a DNS label, so Istio 1.6 and later drop all networks"
        );
        carried.doubt(&spot, text, Invalid::new(problem, remedy));
    }
    let from = EndpointSource::Registry(text.into());
    claim_endpoints(carried, &spot.known_by(text), network, from);
}

fn claim_endpoints(
    carried: &mut Carried<'_>,
    spot: &Spot,
    network: &Arc<str>,
    from: EndpointSource,
) {
    let endpoints = NetworkEndpoints { network: Arc::clone(network), from };
    carried.claim(spot, Fact::NetworkEndpoints(Arc::new(endpoints)));
}

fn read_gateway(
    carried: &mut Carried<'_>,
    spot: &Spot,
    network: &Arc<str>,
    node: &Node<'_>,
    gateways: &mut Gateways,
) {
    let alternatives = ["address", "registryServiceName"];
    let remedy = "write address or registryServiceName, and port";
    if !is_mapping_or_null(carried, spot, node, remedy) {
        return;
    }
    let known = ["address", "registryServiceName", "port", "locality"];
    let fields = carried.message(spot, node, &known, remedy);
    one_of(carried, spot, &fields, "gateway", alternatives);
    if let Some((spot, node)) = fields.field("registryServiceName")
        && let Some(text) = carried.text(&spot, node)
        && let Err(why) = check_service(text)
    {
        carried.fault(&spot, text, why);
    }
    if let Some((spot, node)) = fields.field("locality") {
        carried.text(&spot, node);
    }
    let port = read_port(carried, spot, &fields);
    let Some((spot, node)) = fields.field("address") else { return };
    let Some(text) = carried.text(&spot, node) else { return };
    if text.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        // As Istio's own pages have it, until the other cluster's gateway has an address.
        let problem = format!("{text} is a placeholder, not the address of a gateway");
        let remedy = "write the gateway's address once it has one";
        return carried.doubt(&spot, text, Invalid::new(problem, remedy));
    }
    let address = match read_address(text) {
        Ok(address) => address,
        Err(why) => return carried.fault(&spot, text, why),
    };
    let Some(port) = port else { return };
    let first = gateways.entry((address, port)).or_insert_with(|| Arc::clone(network));
    if first != network {
        let problem = format!("{text} port {port} is also a gateway of network {:?}", &**first);
        let remedy = "write a gateway that belongs to this network only";
        carried.doubt(&spot, &format!("{text} {port}"), Invalid::new(problem, remedy));
    }
}

/// The port of a gateway, which protobuf's JSON takes as a string too.
fn read_port(carried: &mut Carried<'_>, spot: &Spot, fields: &Message<'_>) -> Option<u16> {
    let remedy = "write one from 1 to 65535, such as 15443";
    let Some((spot, node)) = fields.field("port") else {
        if !fields.meant.contains(&"port") {
            let spot = spot.field("port", "port");
            carried.fault(&spot, "", Invalid::new("the gateway has no port", remedy));
        }
        return None;
    };
    let (Value::Text(text) | Value::Number(text)) = &node.value else {
        let problem = format!("must be a number, not {}", node.kind());
        carried.fault(&spot, "", Invalid::new(problem, remedy));
        return None;
    };
    // YAML takes what begins with 0 for octal, JSON for nothing.
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(port @ 1..) if is_decimal => return Some(port),
        _ => {
            let told = shortened(text);
            let told =
                if matches!(node.value, Value::Text(_)) { format!("{told:?}") } else { told };
            carried.fault(&spot, text, Invalid::new(format!("{told} is not a port"), remedy));
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

/// Whether an item can have fields; null has none of them.
fn is_mapping_or_null(
    carried: &mut Carried<'_>,
    spot: &Spot,
    node: &Node<'_>,
    remedy: &str,
) -> bool {
    let is_one = matches!(node.value, Value::Map(_) | Value::Null);
    if !is_one {
        carried.mapping(spot, node, remedy);
    }
    is_one
}

/// Notes an item that has none or both of its alternatives.
fn one_of(
    carried: &mut Carried<'_>,
    spot: &Spot,
    fields: &Message<'_>,
    item: &str,
    alternatives: [&'static str; 2],
) {
    let [a, b] = alternatives;
    match alternatives.map(|name| fields.field(name).is_some()) {
        [true, true] => {
            let problem = format!("has both {a} and {b}, but only one of them is allowed");
            let remedy = format!("write two {item}s, each with one of them");
            carried.fault(spot, "both", Invalid::new(problem, remedy));
        }
        [false, false] if !alternatives.iter().any(|name| fields.meant.contains(name)) => {
            let problem = format!("has neither {a} nor {b}");
            carried.fault(spot, "neither", Invalid::new(problem, "write one of them"));
        }
        _ => {}
    }
}
