//! What holds of all of Istio's mesh networks.

use std::collections::BTreeSet;

use isthmus::admission::Hook;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{cidr, istio, mesh, share_bits};
use crate::golden::call;
use crate::support::objects::{annotated, described};

/// Values that a field of an endpoint or a gateway may have, sound ones among them.
fn network_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => cidr(),
        2 => "cluster-[a-c]",
        2 => "192\\.0\\.2\\.[1-3]",
        2 => "[0-9]{1,5}",
        1 => Just("gateway.example.com".to_owned()),
        1 => prop_oneof![Just("null"), Just("true"), Just("{}"), Just("[]"), Just("''")].prop_map(str::to_owned),
        1 => "[A-Za-z_./:-]{1,8}",
    ]
}

/// Mesh networks as YAML, in camelCase: sound, wrong and strange ones.
fn networks() -> impl Strategy<Value = String> {
    const FIELDS: [&str; 6] =
        ["fromCidr", "fromRegistry", "address", "registryServiceName", "port", "locality"];
    let item = || {
        let field = (prop::sample::select(&FIELDS[..]), network_value());
        prop::collection::vec(field, 0..3).prop_map(|fields| {
            let mut seen = BTreeSet::new();
            let fields = fields.into_iter().filter(|(name, _)| seen.insert(*name));
            let fields = fields.map(|(name, value)| format!("{name}: {value}"));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        })
    };
    let list = || {
        let items = prop::collection::vec(item(), 0..4);
        items.prop_map(|items| format!("[{}]", items.join(", ")))
    };
    let network = (list(), list()).prop_map(|(endpoints, gateways)| {
        format!("{{endpoints: {endpoints}, gateways: {gateways}}}")
    });
    prop::collection::vec(network, 0..4).prop_map(|networks| {
        let networks = networks.iter().enumerate().map(|(n, text)| format!("n{n}: {text}"));
        format!("networks: {{{}}}", networks.collect::<Vec<_>>().join(", "))
    })
}

#[test]
fn a_response_to_very_many_mistakes_lists_enough() {
    let many = |endpoint: &str| {
        let networks = (0..2_000).map(|n| format!("n{n}: {{endpoints: [{{{endpoint}}}]}}"));
        format!("networks: {{{}}}", networks.collect::<Vec<_>>().join(", "))
    };
    for (endpoint, rule, end) in [
        ("fromCidr: 10.0.0.0/8", "NetworkSubnetOverlap", ", and there are more;"),
        ("fromRegistry: a", "NetworkSubnetOverlap", ", and there are more;"),
        ("fromCidr: 10.0.0.1", "InvalidMeshConfig", ", and there are more errors;"),
    ] {
        let answer = call(&mesh(&[]), Hook::Validate, None, &istio(&many(endpoint), ""));
        let causes = answer["response"]["status"]["details"]["causes"].as_array().unwrap();
        assert_eq!(causes.len(), 100, "{endpoint}");
        assert!(causes.iter().all(|cause| cause["reason"] == rule), "{endpoint}");
        let told = |cause: &Value| cause["message"].as_str().unwrap().contains(end);
        assert!(causes.iter().filter(|cause| told(cause)).count() == 1 && told(&causes[99]));
    }
    let nested = (0..=32).flat_map(|length| (0..100).map(move |n| (length, n)));
    let nested = nested.map(|(length, n)| {
        format!("n{n}-{length}: {{endpoints: [{{fromCidr: 0.0.0.0/{length}}}]}}")
    });
    let nested = format!("networks: {{{}}}", nested.collect::<Vec<_>>().join(", "));
    let answer = call(&mesh(&[]), Hook::Validate, None, &istio(&nested, ""));
    assert_eq!(answer["response"]["status"]["details"]["causes"].as_array().unwrap().len(), 100);
}

/// All of Istio's fields are looked at for each.
#[test]
fn so_many_unknown_fields_of_the_mesh_config_are_compared() {
    for (unknown, warnings) in [(499, 1), (500, 0)] {
        let unknown = (0..unknown).map(|n| format!("unknown{n}: 1"));
        let fields: Vec<_> = unknown.chain(["trustDomains: cluster.local".to_owned()]).collect();
        let config = fields.join("\n");
        let answer = call(&mesh(&[]), Hook::Validate, None, &istio("", &config));
        let told = answer["response"]["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(told, warnings, "{answer}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranges_of_two_networks_are_denied_just_if_they_meet(
        ours in prop::collection::vec(cidr(), 0..5), theirs in prop::collection::vec(cidr(), 0..5),
    ) {
        let list = |ranges: &[String]| ranges.iter().map(|range| json!({"fromCidr": range})).collect::<Value>();
        let networks = json!({"networks": {"a": {"endpoints": list(&ours)}, "b": {"endpoints": list(&theirs)}}});
        let answer = call(&mesh(&[]), Hook::Validate, None, &istio(&networks.to_string(), ""));
        let meet = ours.iter().any(|ours| theirs.iter().any(|theirs| share_bits(ours, theirs)));
        prop_assert_eq!(answer["response"]["allowed"] == false, meet);
        let causes = answer["response"]["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
        prop_assert!(causes.iter().all(|cause| cause["reason"] == "NetworkSubnetOverlap"));
    }

    #[test]
    fn members_and_networks_meet_alike_from_both_sides(
        range in cidr(), pods in cidr(), network in "[ab]", gateway in any::<bool>(), pinned in any::<bool>(),
    ) {
        let networks = json!({"networks": {"a": {"endpoints": [{"fromCidr": range}]}}}).to_string();
        let mut member = described("b", gateway, &[("pod-subnet-cidr", &pods)]);
        let name = if pinned {
            member["status"] = json!({"metadataCache": {"private": {"networkName": "network-cluster-local-5"}}});
            if gateway { Some("network-cluster-local-5") } else { None }
        } else {
            member = annotated(member, "isthmus.dev/network", &network);
            Some(network.as_str())
        };
        let istio = istio(&networks, "");
        let meets = name.is_some_and(|name| name != "a") && share_bits(&range, &pods);
        for (stands, new) in [(&istio, &member), (&member, &istio)] {
            let answer = call(&mesh(std::slice::from_ref(stands)), Hook::Validate, None, new);
            prop_assert_eq!(&answer["response"]["allowed"], &true);
            let warned = answer["response"]["warnings"].to_string();
            prop_assert_eq!(warned.contains("[NetworkSubnetOverlap]"), meets, "{}", warned);
        }
    }

    #[test]
    fn both_spellings_of_networks_are_judged_alike(networks in networks()) {
        let proto = networks
            .replace("fromCidr", "from_cidr")
            .replace("fromRegistry", "from_registry")
            .replace("registryServiceName", "registry_service_name");
        let told = |networks: &str| {
            let answer = call(&mesh(&[]), Hook::Validate, None, &istio(networks, ""));
            let text = answer["response"].to_string();
            // Columns are others, and places have the spelling of the text.
            let text = text
                .replace("from_cidr", "fromCidr")
                .replace("from_registry", "fromRegistry")
                .replace("registry_service_name", "registryServiceName");
            let parts = text.split("column ").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
            parts.collect::<Vec<_>>().join("column ")
        };
        prop_assert_eq!(told(&proto), told(&networks));
    }

    #[test]
    fn a_sound_endpoint_before_the_others_changes_no_verdict(networks in networks()) {
        let (first, rest) = networks.split_once('{').unwrap();
        // A registry of its own for each network.
        let rest = rest.split("endpoints: [").enumerate().map(|(n, part)| match n {
            0 => part.to_owned(),
            n => format!("endpoints: [{{fromRegistry: new-{n}}}, {part}"),
        });
        let (old, new) = (istio(&networks, ""), istio(&format!("{first}{{{}", rest.collect::<String>()), ""));
        let denied = |old, new| call(&mesh(&[]), Hook::Validate, old, new)["response"]["allowed"] == false;
        prop_assert!(!denied(Some(&old), &new));
        prop_assert_eq!(denied(None, &old), denied(None, &new));
    }
}
