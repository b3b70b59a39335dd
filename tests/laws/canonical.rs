//! What admission would write: it never adds a finding, and written twice it is the same.

use std::collections::BTreeSet;

use isthmus::admission::Hook;
use isthmus::manifest;
use isthmus::settings::Settings;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::mesh;
use crate::golden::call;

/// A ClusterConfiguration or an IstioMulticluster that lacks some of what has a default.
fn object() -> impl Strategy<Value = Value> {
    let maybe = |text: &'static str| prop_oneof![Just(None), Just(Some(text))];
    let pods = (8u8..=32).prop_map(|length| format!("10.0.0.0/{length}"));
    let pods =
        prop_oneof![4 => pods, 1 => Just("fd00::/48".to_owned()), 1 => Just("10".to_owned())];
    let configuration = (pods, maybe("26"), maybe("Cluster.Local."), maybe("east.local"));
    let configuration = configuration.prop_map(|(pods, prefix, domain, other)| {
        json!({
            "apiVersion": "deckhouse.io/v1", "kind": "ClusterConfiguration",
            "metadata": {"name": "b"}, "clusterDomain": domain.or(other),
            "podSubnetCIDR": pods, "podSubnetNodeCIDRPrefix": prefix,
            "serviceSubnetCIDR": "10.222.0.0/16",
        })
    });
    let endpoints = prop_oneof![
        Just("https://istio.b.example.com"),
        Just("HTTPS://istio.B.example.com:443//metadata"),
        Just("https://istio.b.example.com/metadata/public/public.json"),
        Just("istio.b.example.com"),
    ];
    let peer = (endpoints, prop_oneof![Just(None), Just(Some(true)), Just(Some(false))]);
    let peer = peer.prop_map(|(endpoint, gateway)| {
        json!({
            "apiVersion": "deckhouse.io/v1alpha1", "kind": "IstioMulticluster",
            "metadata": {"name": "b"},
            "spec": {"metadataEndpoint": endpoint, "enableIngressGateway": gateway},
        })
    });
    prop_oneof![2 => configuration, 1 => peer]
}

/// What is denied of an object, by rule and field.
fn denied(object: &Value) -> BTreeSet<String> {
    let answer = call(&mesh(&[]), Hook::Validate, None, object);
    let causes = answer["response"]["status"]["details"]["causes"].as_array().cloned();
    let cause = |cause: Value| format!("{} {}", cause["reason"], cause["field"]);
    causes.unwrap_or_default().into_iter().map(cause).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_admission_would_write_adds_no_finding(object in object()) {
        let text = object.to_string();
        let manifests = manifest::read(&text, "object.json").unwrap();
        let document = manifests[0].document(&Settings::default()).unwrap();
        let mut written = object.clone();
        document.canonicalize(&mut written);
        let (before, after) = (denied(&object), denied(&written));
        prop_assert!(after.is_subset(&before), "{before:?} became {after:?}: {written}");
        prop_assert!(document.rewrites(&written).is_empty());
    }
}
