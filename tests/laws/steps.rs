//! What holds of writes that follow each other: a mesh is as sound as what is in it, whatever came
//! first.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isthmus::admission::Hook;
use isthmus::manifest;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::mesh;
use crate::golden::call;
use crate::support::objects::{
    annotated, bare, carried, config_map, configuration, described, module, secret, stated, with,
    yaml,
};

/// The subnets that Deckhouse gives a cluster by default.
const PODS: &str = "10.111.0.0/16";
const SERVICES: &str = "10.222.0.0/16";

/// A cluster whose API server asks about each write, and stores what is admitted.
#[derive(Clone, Debug, Default)]
struct Cluster {
    objects: BTreeMap<String, Value>,
}

/// What is told of a write.
#[derive(Debug)]
struct Told {
    /// The rules, fields and messages of what it is refused for.
    causes: Vec<[String; 3]>,
    warnings: Vec<String>,
}

impl Told {
    fn is_admitted(&self) -> bool {
        self.causes.is_empty()
    }

    fn is_of(&self, rule: &str) -> bool {
        self.causes.iter().any(|[of, ..]| of == rule)
            || self.warnings.iter().any(|warning| warning.contains(&format!("[{rule}")))
    }
}

impl Cluster {
    fn key(object: &Value) -> String {
        format!(
            "{} {} {}",
            object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]
        )
    }

    /// What is told of a write; it is not stored.
    fn ask(&self, new: &Value) -> (Value, Told) {
        let all: Vec<_> = self.objects.values().cloned().collect();
        let mesh = mesh(&all);
        let old = self.objects.get(&Self::key(new));
        let mut stored = new.clone();
        let mutated = call(&mesh, Hook::Mutate, old, new);
        if let Some(patch) = mutated["response"]["patch"].as_str() {
            let patch: json_patch::Patch =
                serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
            json_patch::patch(&mut stored, &patch).unwrap();
        }
        let response = call(&mesh, Hook::Validate, old, &stored)["response"].take();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let causes = response["status"]["details"]["causes"].as_array().cloned();
        let causes = causes.unwrap_or_default();
        let told = Told {
            causes: causes
                .iter()
                .map(|cause| [&cause["reason"], &cause["field"], &cause["message"]].map(text))
                .collect(),
            warnings: response["warnings"].as_array().into_iter().flatten().map(text).collect(),
        };
        assert_eq!(response["allowed"] == true, told.is_admitted(), "{response}");
        (stored, told)
    }

    fn write(&mut self, new: &Value) -> Told {
        let (stored, told) = self.ask(new);
        if told.is_admitted() {
            self.objects.insert(Self::key(&stored), stored);
        }
        told
    }
}

/// Where a peer is, and who says so.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// On the local network; its IstioMulticluster says everything.
    Flat,
    /// The same, and a member ConfigMap says what it has.
    FlatByConfigMap,
    /// The same by a ClusterConfiguration.
    FlatByConfiguration,
    /// Behind a gateway, with the default subnets.
    Gateway,
    /// The same, and a ConfigMap that names the network says what it has.
    GatewayByConfigMap,
    /// The same by a ClusterConfiguration.
    GatewayByConfiguration,
    /// Described by a ConfigMap alone, with subnets of its own.
    Described,
}

const PEERS: [Peer; 7] = [
    Peer::Flat,
    Peer::FlatByConfigMap,
    Peer::FlatByConfiguration,
    Peer::Gateway,
    Peer::GatewayByConfigMap,
    Peer::GatewayByConfiguration,
    Peer::Described,
];

impl Peer {
    fn is_flat(self) -> bool {
        matches!(self, Self::Flat | Self::FlatByConfigMap | Self::FlatByConfiguration)
    }

    fn shares_subnets(self) -> bool {
        matches!(self, Self::Gateway | Self::GatewayByConfigMap | Self::GatewayByConfiguration)
    }

    /// The objects of the `n`-th peer with these subnets.
    fn objects(self, n: usize, pods: &str, services: &str) -> Vec<Value> {
        let name = format!("peer-{n}");
        let gateway = !self.is_flat();
        let whole = || configuration(&name, pods, services);
        let carried = || carried(&name, whole());
        let on = |object: Value| annotated(object, "isthmus.dev/network", &name);
        match self {
            Self::Flat | Self::Gateway => vec![stated(&name, gateway, pods, services)],
            Self::FlatByConfigMap => vec![described(&name, gateway, &[]), carried()],
            Self::FlatByConfiguration => vec![described(&name, gateway, &[]), whole()],
            Self::GatewayByConfigMap => vec![on(described(&name, gateway, &[])), on(carried())],
            Self::GatewayByConfiguration => vec![on(described(&name, gateway, &[])), on(whole())],
            Self::Described => vec![carried()],
        }
    }
}

/// The local member's own objects, none of which contradicts another.
fn local(also: [bool; 4]) -> Vec<Value> {
    let carried = yaml(&bare(configuration("local", PODS, SERVICES)));
    let data = json!({"cluster-configuration.yaml": STANDARD.encode(carried)});
    let kubeadm = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n  dnsDomain: cluster.local\n  podSubnet: {PODS}\n  serviceSubnet: {SERVICES}\n"
    );
    let network = json!({"podSubnetCIDR": PODS, "serviceSubnetCIDR": SERVICES});
    let template = json!({"modules": {"publicDomainTemplate": "%s.kube.example.com"}});
    let others = [
        config_map("kube-system", "kubeadm-config", json!({"ClusterConfiguration": kubeadm})),
        module("control-plane-manager", json!({"network": network})),
        with(
            module("istio", json!({"multicluster": {"enabled": true}})),
            &["spec", "enabled"],
            true,
        ),
        module("global", template),
    ];
    let others = others.into_iter().zip(also).filter(|(_, is_there)| *is_there);
    let first = secret("kube-system", "d8-cluster-configuration", data);
    std::iter::once(first).chain(others.map(|(object, _)| object)).collect()
}

/// Subnets that are nobody else's.
fn own(n: usize) -> [String; 2] {
    [format!("10.{}.0.0/16", 120 + n), format!("10.{}.0.0/16", 230 + n)]
}

fn peers() -> impl Strategy<Value = Vec<Peer>> {
    prop::collection::vec(prop::sample::select(&PEERS[..]), 1..5)
}

/// The objects of some peers, of which no two clash.
fn sound(peers: &[Peer]) -> Vec<Value> {
    let objects = peers.iter().enumerate().flat_map(|(n, peer)| {
        let [pods, services] = own(n);
        let shared = peer.shares_subnets();
        let (pods, services) = if shared { (PODS, SERVICES) } else { (&*pods, &*services) };
        peer.objects(n, pods, services)
    });
    objects.collect()
}

/// A set of sound objects, in any order.
fn sound_set() -> impl Strategy<Value = Vec<Value>> {
    (peers(), any::<[bool; 4]>())
        .prop_map(|(peers, also)| [local(also), sound(&peers)].concat())
        .prop_shuffle()
}

/// Sets with one clash that is told by one of these rules, in any order.
fn clashing_set(
    rules: &'static [&'static str],
) -> impl Strategy<Value = (&'static str, Vec<Value>)> {
    let clash = prop::sample::select(rules);
    let flat = prop::sample::select(&PEERS[..3]);
    (peers(), any::<[bool; 4]>(), clash, flat).prop_flat_map(|(peers, also, rule, flat)| {
        let n = peers.len();
        let [pods, services] = own(n);
        let clashing = match rule {
            "SubnetOverlap" => flat.objects(n, "10.111.128.0/17", &services),
            "ClusterDomainMismatch" => flat
                .objects(n, &pods, &services)
                .into_iter()
                .map(|object| {
                    let text = object.to_string().replace("cluster.local", "other.local");
                    serde_json::from_str(&text).unwrap()
                })
                .collect(),
            _ => {
                let endpoint = "https://istio.twins.example.com/metadata/";
                let of = |n: usize| {
                    let [pods, services] = own(n);
                    let object = stated(&format!("peer-{n}"), true, &pods, &services);
                    with(object, &["spec", "metadataEndpoint"], endpoint)
                };
                vec![of(n), of(n + 1)]
            }
        };
        let set = [local(also), sound(&peers), clashing].concat();
        (Just(rule), Just(set).prop_shuffle())
    })
}

/// One of few subnets, some of which meet.
fn subnet() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &["10.111.0.0/16", "10.111.128.0/17", "10.112.0.0/16", "10.113.0.0/16"][..],
    )
}

/// A document of one of few members, which clash as often as not: its kind, and itself.
fn statement() -> impl Strategy<Value = (u8, Value)> {
    let domain = prop_oneof![3 => Just("cluster.local"), 1 => Just("other.local")];
    let host = prop_oneof![3 => Just(None), 1 => Just(Some("twins"))];
    let network = prop_oneof![3 => Just(None), 1 => Just(Some("edge"))];
    (0u8..4, 0usize..3, subnet(), domain, host, network, any::<bool>()).prop_map(
        |(kind, n, pods, domain, host, network, gateway)| {
            let name = format!("peer-{n}");
            let services = &own(n)[1];
            let whole = with(configuration(&name, pods, services), &["clusterDomain"], domain);
            let object = match kind {
                0 => {
                    let host = host.unwrap_or(&name);
                    let endpoint = format!("https://istio.{host}.example.com/metadata/");
                    with(described(&name, gateway, &[]), &["spec", "metadataEndpoint"], endpoint)
                }
                1 => annotated(
                    stated(&name, gateway, pods, services),
                    "isthmus.dev/cluster-domain",
                    domain,
                ),
                2 => whole,
                _ => carried(&name, whole),
            };
            let object = match network {
                Some(network) => annotated(object, "isthmus.dev/network", network),
                None => object,
            };
            // Two ways to write one kind.
            (kind.max(PEER), object)
        },
    )
}

/// The kind of an IstioMulticluster.
const PEER: u8 = 1;

/// What stands, sound or not, and one of these objects, of one of these kinds, as somebody changes it.
fn change(kinds: &'static [u8]) -> impl Strategy<Value = (Cluster, Value)> {
    let standing = prop::collection::vec(statement(), 1..7);
    (
        standing,
        any::<[bool; 4]>(),
        any::<prop::sample::Index>(),
        prop::collection::vec(statement(), 20),
    )
        .prop_filter_map("nothing of the same kind", |(standing, also, at, changes)| {
            let of_kinds: Vec<_> =
                standing.iter().filter(|(kind, _)| kinds.contains(kind)).collect();
            let (kind, old) = of_kinds.get(at.index(of_kinds.len().max(1)))?;
            let (_, new) = changes.iter().find(|(of, _)| of == kind)?;
            let name = old["metadata"]["name"].clone();
            let new = with(new.clone(), &["metadata", "name"], name.clone());
            let is_labelled = new["metadata"]["labels"]["isthmus.dev/member"].is_string();
            let path = ["metadata", "labels", "isthmus.dev/member"];
            let new = if is_labelled { with(new, &path, name) } else { new };
            let mut cluster = Cluster::default();
            let standing = standing.iter().map(|(_, object)| object.clone());
            for object in local(also).into_iter().chain(standing) {
                cluster.objects.insert(Cluster::key(&object), object);
            }
            Some((cluster, new))
        })
}

/// The value that a cause says to write instead, if it names one.
fn remedy(rule: &str, field: &str, message: &str) -> Option<Value> {
    if field == "spec.enableIngressGateway" {
        return message.contains("(spec.enableIngressGateway: true)").then(|| true.into());
    }
    // What is to be changed is a field of another object.
    if field == "metadata.name" {
        return None;
    }
    let value = match rule {
        "SubnetOverlap" | "SubnetSelfOverlap" => {
            message.split("next free /").nth(1)?.split_once(": ")?.1
        }
        "ClusterDomainMismatch"
        | "InvalidClusterDomain"
        | "InvalidMetadataEndpoint"
        | "InvalidSubnet" => {
            let value = message.rsplit_once("write ")?.1;
            value.rsplit_once("such as ").map_or(value, |(_, value)| value)
        }
        _ => return None,
    };
    let value = value.split([' ', ';', ',']).next()?.trim_end_matches('?');
    let value = value.trim_matches('"');
    (!value.is_empty()).then(|| value.into())
}

/// The object with another value at a field, as messages name fields.
fn put(object: &Value, field: &str, value: &Value) -> Option<Value> {
    let mut object = object.clone();
    let mut place = &mut object;
    for key in field.replace('[', ".[").split(".[").flat_map(|part| match part.split_once(']') {
        Some((key, rest)) => [vec![key], rest.split('.').collect()].concat(),
        None => part.split('.').collect(),
    }) {
        if !key.is_empty() {
            place = place.get_mut(key)?;
        }
    }
    place.clone_from(value);
    Some(object)
}

/// Nobody is refused who follows a guide.
#[test]
fn documented_examples_of_others_are_admitted_in_any_order() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guides");
    let (mut files, mut pages) = (0, String::new());
    for guide in fs::read_dir(guides).unwrap().map(|guide| guide.unwrap().path()) {
        files += 1;
        let text = fs::read_to_string(&guide).unwrap();
        assert!(text.starts_with("# After "), "{} names its page", guide.display());
        pages.extend(text.lines().take_while(|line| line.starts_with('#')));
        let objects = manifest::read(&text, "guide.yaml").unwrap();
        let objects = objects.iter().map(|object| serde_json::from_str(&object.json).unwrap());
        let mut objects: Vec<Value> = objects.collect();
        for _ in 0..objects.len() {
            for backwards in [false, true] {
                let mut cluster = Cluster::default();
                let mut ordered: Vec<_> = objects.iter().collect();
                if backwards {
                    ordered.reverse();
                }
                for object in ordered {
                    let told = cluster.write(object);
                    let key = Cluster::key(object);
                    assert!(told.is_admitted(), "{}: {key}: {told:?}", guide.display());
                }
            }
            objects.rotate_left(1);
        }
    }
    assert!(files >= 7, "{files} guides are found");
    for kind in
        ["multicluster.html", "federation.html", "multi-primary", "primary-remote", "kubeadm"]
    {
        assert!(pages.contains(kind), "no guide is that of {kind}: {pages}");
    }
}

/// Very many overlaps that only warn do not hide the one that denies.
#[test]
fn a_joined_member_is_found_behind_any_number_of_described_ones() {
    let mut cluster = Cluster::default();
    let enabled = with(
        module("istio", json!({"multicluster": {"enabled": true}})),
        &["spec", "enabled"],
        true,
    );
    let [pods, services] = own(0);
    let whole = |name: &str, services: &str| configuration(name, &pods, services);
    let described = (0..20).map(|n| {
        let name = format!("described-{n}");
        carried(&name, whole(&name, &format!("172.16.{n}.0/24")))
    });
    let joined = stated("joined", false, &pods, &services);
    for object in [enabled].into_iter().chain(described).chain([joined]) {
        let told = cluster.write(&object);
        assert!(told.is_admitted(), "{told:?}");
    }
    let told = cluster.write(&stated("a", false, &pods, "172.17.0.0/24"));
    assert!(
        told.causes.iter().any(|[.., message]| message.contains("of member \"joined\"")),
        "{told:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sound_objects_are_admitted_in_any_order(objects in sound_set()) {
        let mut cluster = Cluster::default();
        for object in &objects {
            let told = cluster.write(object);
            prop_assert!(told.is_admitted(), "{}: {told:?}\namong {:#?}", Cluster::key(object), cluster.objects.keys());
        }
        // Nor is any of them denied when it is written again.
        for object in &objects {
            let told = cluster.write(object);
            prop_assert!(told.is_admitted(), "again {}: {told:?}", Cluster::key(object));
        }
    }

    #[test]
    fn one_clash_is_told_in_any_order(
        (rule, objects) in clashing_set(&["SubnetOverlap", "ClusterDomainMismatch", "DuplicateMember"]),
    ) {
        let mut cluster = Cluster::default();
        let mut told = objects.iter().map(|object| cluster.write(object));
        prop_assert!(told.any(|told| told.is_of(rule)), "{rule}: nothing is told of {objects:#?}");
    }

    #[test]
    fn an_overlap_of_joined_members_on_one_network_is_denied_in_any_order((rule, objects) in clashing_set(&["SubnetOverlap"])) {
        let mut cluster = Cluster::default();
        let mut told = objects.iter().map(|object| cluster.write(object));
        prop_assert!(told.any(|told| !told.is_admitted() && told.is_of(rule)), "nothing is denied of {objects:#?}");
    }

    #[test]
    fn what_is_denied_to_a_peer_is_denied_when_it_is_deleted_and_created_anew((mut cluster, new) in change(&[PEER])) {
        // What another document of a member says goes on standing, and may be repeated.
        let (_, update) = cluster.ask(&new);
        cluster.objects.remove(&Cluster::key(&new));
        let (_, creation) = cluster.ask(&new);
        for [rule, field, message] in &update.causes {
            prop_assert!(
                creation.causes.iter().any(|[of, ..]| of == rule),
                "{rule} {field}: {message}\nis denied as an update; created anew: {creation:?}"
            );
        }
    }

    #[test]
    fn a_remedy_that_is_followed_removes_its_finding_and_adds_none(
        (cluster, new) in change(&[PEER, 2, 3]),
        endpoint in prop::sample::select(&["", "http://h.example.com/metadata/", "https://u@h.example.com/metadata/?a=b", "https://h.example.com"][..]),
        subnet in prop::sample::select(&[None, Some(""), Some("10/8"), Some("127.0.0.0/8"), Some("::/0")][..]),
        domain in prop::sample::select(&[None, Some(""), Some("a_b")][..]),
    ) {
        let is_peer = new["kind"] == "IstioMulticluster" && !endpoint.is_empty();
        let mut new = if is_peer { with(new, &["spec", "metadataEndpoint"], endpoint) } else { new };
        let is_peer = new["kind"] == "IstioMulticluster";
        for (annotation, value) in [("pod-subnet-cidr", subnet), ("service-subnet-cidr", subnet), ("cluster-domain", domain)] {
            if let Some(value) = value.filter(|_| is_peer) {
                new = annotated(new, &format!("isthmus.dev/{annotation}"), value);
            }
        }
        let (stored, told) = cluster.ask(&new);
        for [rule, field, message] in &told.causes {
            let Some(value) = remedy(rule, field, message) else { continue };
            let Some(remedied) = put(&stored, field, &value) else { continue };
            let (_, then) = cluster.ask(&remedied);
            prop_assert!(
                !then.causes.iter().any(|[of, at, _]| of == rule && at == field),
                "{field} {message}\nwith {value} it is still there: {then:?}"
            );
            for [of, at, more] in &then.causes {
                prop_assert!(
                    told.causes.iter().any(|[was, place, _]| was == of && (place == at || of == rule)),
                    "{field} {message}\nwith {value} comes {of} {at}: {more}"
                );
            }
        }
    }
}
