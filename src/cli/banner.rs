//! What `isthmus serve` says when it starts: what it guards, and how to see it refuse something.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value as Json, json};

use crate::admission::{Hook, Outcome, answer};
use crate::mesh::{Member, Mesh, Network, StatedDomain};

/// If there are more members than this, only this many are listed.
const MOST_MEMBERS: usize = 10;
/// The member that the example is about.
const EXAMPLE: &str = "isthmus-example";

/// Where to find the server.
pub(super) fn addresses(webhook: SocketAddr, admin: SocketAddr, has_page: bool) -> String {
    let paths = if has_page { "/readyz, /metrics and /mesh" } else { "/readyz and /metrics" };
    format!(
        "webhook: https://{webhook}/validate and /mutate\nadmin:   http://{admin}/livez, {paths}\n"
    )
}

/// What is guarded, and a command that shows a denial.
pub(super) fn guarded(mesh: &Mesh, webhook: SocketAddr) -> String {
    let members = mesh.members();
    let mut text = match members.len() {
        0 => "guarding a mesh that has no members yet\n".to_owned(),
        1 => "guarding a mesh of 1 member:\n".to_owned(),
        many => format!("guarding a mesh of {many} members:\n"),
    };
    let shown = if members.len() > MOST_MEMBERS { MOST_MEMBERS - 1 } else { members.len() };
    // Writing to a String cannot fail.
    for member in &members[..shown] {
        let _ = writeln!(text, "  {}", describe(mesh, member));
    }
    let rest = &members[shown..];
    if !rest.is_empty() {
        let domains: BTreeSet<_> = rest.iter().flat_map(|member| domains(member)).collect();
        let subnets: usize = rest.iter().map(|member| member.subnets().count()).sum();
        let domains = match domains.len() {
            0 => "no domain".to_owned(),
            1..=3 => Vec::from_iter(domains).join(", "),
            many => format!("{many} domains"),
        };
        let _ = writeln!(text, "  and {} more: {domains}, {subnets} subnets", rest.len());
    }
    if let Some(review) = refused(mesh) {
        let address = reachable(webhook);
        let _ = writeln!(
            text,
            "see a denial:\n  curl -sk https://{address}/validate -H 'Content-Type: application/json' -d '{}'",
            review.replace('\'', r"'\''")
        );
    }
    text
}

fn describe(mesh: &Mesh, member: &Member) -> String {
    let network = match member.network_claim() {
        _ if **member.name() == *mesh.settings().local_member => " (local)".to_owned(),
        Some((Network::Local, _)) => " on the local network".to_owned(),
        Some((Network::Named(name), _)) => format!(" on network {}", printable(name)),
        Some((Network::Own, _)) => " behind a gateway".to_owned(),
        None => String::new(),
    };
    let mut words = vec![printable(member.name()) + &network];
    let domains = domains(member);
    words.push(if domains.is_empty() {
        "domain unknown".to_owned()
    } else {
        format!("domain {}", Vec::from_iter(domains).join(" or "))
    });
    let subnets: BTreeSet<_> =
        member.subnets().map(|(role, subnet, _)| format!("{role} {subnet}")).collect();
    if subnets.is_empty() {
        words.push("subnets unknown".to_owned());
    }
    words.extend(subnets);
    words.join(", ")
}

fn domains(member: &Member) -> BTreeSet<String> {
    member.pick(StatedDomain::of).map(|(domain, _)| domain.to_string()).collect()
}

/// A review that this mesh refuses: the first of some that is.
fn refused(mesh: &Mesh) -> Option<String> {
    let domain = mesh.members().iter().any(|member| !domains(member).is_empty());
    let local = mesh.member(&mesh.settings().local_member);
    let subnet = local.and_then(|local| local.subnets().next());
    let subnet = subnet.map(|(_, subnet, _)| {
        let annotations = json!({"isthmus.dev/pod-subnet-cidr": subnet.to_string()});
        example(&annotations, json!({"enableIngressGateway": false}))
    });
    let domain = domain.then(|| {
        let annotations = json!({"isthmus.dev/cluster-domain": "another.example"});
        example(&annotations, json!({}))
    });
    let scheme =
        example(&json!({}), json!({"metadataEndpoint": "http://istio.example.com/metadata/"}));
    let reviews = subnet.into_iter().chain(domain).chain([scheme]);
    reviews.map(|review| review.to_string()).find(|review| {
        answer(mesh, Hook::Validate, review.as_bytes())
            .is_ok_and(|answer| answer.decision.outcome == Outcome::Denied)
    })
}

fn example(annotations: &Json, spec: Json) -> Json {
    let (group, version, kind) = ("deckhouse.io", "v1alpha1", "IstioMulticluster");
    let mut full = json!({"metadataEndpoint": "https://istio.isthmus-example.com/metadata/"});
    if let (Json::Object(full), Json::Object(spec)) = (&mut full, spec) {
        full.extend(spec);
    }
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "example",
            "kind": {"group": group, "version": version, "kind": kind},
            "name": EXAMPLE,
            "operation": "CREATE",
            "userInfo": {"username": "you"},
            "dryRun": true,
            "object": {
                "apiVersion": format!("{group}/{version}"),
                "kind": kind,
                "metadata": {"name": EXAMPLE, "annotations": annotations},
                "spec": full,
            },
        },
    })
}

/// An address that a command on this machine can call.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
