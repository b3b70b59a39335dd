//! What holds of every input, tried on thousands.

mod canonical;
mod clashes;
mod descriptors;
mod identities;
mod networks;
mod pages;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use isthmus::admission::{Hook, answer};
use isthmus::document::VALUES_KIND;
use isthmus::manifest;
use isthmus::mesh::{Mesh, Reading};
use isthmus::review::review_all;
use isthmus::settings::Settings;
use isthmus::value::{ClusterDomain, MetadataEndpoint, Subnet};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::call;
use crate::support::objects::{
    annotated, config_map, configuration, labelled, module, review, stated, with,
};

/// A CIDR of few ranges, so that many of them meet.
fn cidr() -> impl Strategy<Value = String> {
    let v4 = (0u8..4, 0u8..4, 8u8..=24).prop_map(|(a, b, length)| {
        let bits = u32::from_be_bytes([10, a, b, 0]) & (u32::MAX << (32 - u32::from(length)));
        format!("{}/{length}", std::net::Ipv4Addr::from(bits))
    });
    let v6 = (0u16..4, 0u16..4, 16u8..=64).prop_map(|(a, b, length)| {
        let bits = u128::from(std::net::Ipv6Addr::new(0xfd00, a, b, 0, 0, 0, 0, 0));
        let bits = bits & (u128::MAX << (128 - u32::from(length)));
        format!("{}/{length}", std::net::Ipv6Addr::from(bits))
    });
    prop_oneof![3 => v4, 1 => v6]
}

/// An IstioMulticluster of few names, hosts and subnets.
fn peer() -> impl Strategy<Value = Value> {
    let network = prop_oneof![Just(None), Just(Some("vpc")), Just(Some("edge"))];
    let domain = prop_oneof![4 => Just("cluster.local"), 1 => Just("other.local")];
    (0u8..12, 0u8..20, any::<bool>(), network, domain, cidr(), cidr()).prop_map(
        |(name, host, gateway, network, domain, pods, services)| {
            let object = stated(&format!("cluster-{name}"), gateway, &pods, &services);
            let object = annotated(object, "isthmus.dev/cluster-domain", domain);
            let object = match network {
                Some(network) => annotated(object, "isthmus.dev/network", network),
                None => object,
            };
            let endpoint = format!("https://istio.k8s-{host}.example.com/metadata/");
            with(object, &["spec", "metadataEndpoint"], endpoint)
        },
    )
}

/// A document of any kind that speaks of a member.
fn document() -> impl Strategy<Value = Value> {
    let configuration = (0u8..12, cidr(), cidr()).prop_map(|(name, pods, services)| {
        configuration(&format!("cluster-{name}"), &pods, &services)
    });
    let local = (cidr(), cidr(), any::<bool>()).prop_map(|(pods, services, named)| {
        let network = json!({"podSubnetCIDR": pods, "serviceSubnetCIDR": services});
        let object = module("control-plane-manager", json!({"network": network}));
        if named { annotated(object, "isthmus.dev/network", "vpc") } else { object }
    });
    prop_oneof![6 => peer(), 2 => configuration, 1 => local]
}

/// A ConfigMap of Istio with these texts.
fn istio(networks: &str, mesh: &str) -> Value {
    config_map("istio-system", "istio", json!({"meshNetworks": networks, "mesh": mesh}))
}

fn reading(object: &Value, settings: &Settings) -> Reading {
    manifest::read(&object.to_string(), "object.json").unwrap()[0].reading(settings).unwrap()
}

fn mesh(objects: &[Value]) -> Mesh {
    let settings = Arc::new(Settings::default());
    Mesh::of(Arc::clone(&settings), objects.iter().map(|object| reading(object, &settings)))
}

/// Whether some address is in both, decided bit by bit.
fn share_bits(a: &str, b: &str) -> bool {
    meet(&bits_of(a), &bits_of(b))
}

/// How many bits an address of a CIDR's family has, and those that the CIDR fixes.
type Bits = (usize, Vec<bool>);

fn bits_of(cidr: &str) -> Bits {
    let (address, length) = cidr.split_once('/').unwrap();
    let bytes = match address.parse().unwrap() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1));
    (8 * bytes.len(), bits.take(length.parse().unwrap()).collect())
}

fn meet((size, bits): &Bits, (other_size, others): &Bits) -> bool {
    size == other_size && bits.iter().zip(others).all(|(a, b)| a == b)
}

/// Whether a subnet of this length within another meets none that is taken, sought half by half.
fn is_any_free(within: &Bits, length: usize, taken: &[Bits]) -> bool {
    let taken: Vec<_> = taken.iter().filter(|taken| meet(taken, within)).cloned().collect();
    let (size, bits) = within;
    if taken.is_empty() {
        return bits.len() <= length;
    }
    if taken.iter().any(|(_, taken)| taken.len() <= bits.len()) {
        return false;
    }
    let half = |bit| (*size, [&bits[..], &[bit]].concat());
    bits.len() < length
        && [false, true].into_iter().any(|bit| is_any_free(&half(bit), length, &taken))
}

proptest! {
    // A failure prints its smallest input, which becomes a case of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn overlap_is_symmetric_and_agrees_with_the_bits(a in cidr(), b in cidr()) {
        let (x, y) = (Subnet::parse(&a).unwrap(), Subnet::parse(&b).unwrap());
        prop_assert_eq!(x.overlaps(y), share_bits(&a, &b));
        prop_assert_eq!(x.intersection(y), y.intersection(x));
    }

    #[test]
    fn a_subnet_prints_as_it_parses(text in cidr()) {
        let subnet = Subnet::parse(&text).unwrap();
        prop_assert_eq!(Subnet::parse(&subnet.to_string()), Ok(subnet));
    }

    #[test]
    fn a_domain_prints_as_it_parses(text in "[a-zA-Z0-9-]{1,12}(\\.[a-zA-Z0-9-]{1,12}){0,3}\\.?") {
        if let Ok(domain) = ClusterDomain::parse(&text) {
            prop_assert_eq!(ClusterDomain::parse(domain.as_str()), Ok(domain.clone()));
        }
    }

    #[test]
    fn the_canonical_form_of_an_endpoint_is_its_own(
        host in "[a-zA-Z0-9äß.-]{1,20}", port in "(:[0-9]{1,5})?", path in "[a-z./%A-Z]{0,30}",
    ) {
        if let Ok(endpoint) = MetadataEndpoint::parse(&format!("https://{host}{port}/{path}")) {
            prop_assert_eq!(MetadataEndpoint::parse(endpoint.as_str()), Ok(endpoint.clone()));
        }
    }

    #[test]
    fn a_patch_yields_the_canonical_form_and_then_nothing(
        mut object in document(),
        endpoint in prop_oneof![Just("HTTPS://A.example:443//metadata"), Just("https://a.example/metadata/public/public.json"), Just("nonsense")],
        drop_gateway in any::<bool>(),
    ) {
        if object["kind"] == "IstioMulticluster" {
            object["spec"]["metadataEndpoint"] = endpoint.into();
            if drop_gateway {
                object["spec"].as_object_mut().unwrap().remove("enableIngressGateway");
            }
        }
        let settings = Settings::default();
        let text = object.to_string();
        let manifests = manifest::read(&text, "object.json").unwrap();
        let kind = manifests[0].document(&settings).unwrap();
        let mut canonical = object.clone();
        kind.canonicalize(&mut canonical);
        let mesh = mesh(&[]);
        let answer = call(&mesh, Hook::Mutate, None, &object);
        let mut patched = object.clone();
        if let Some(patch) = answer["response"]["patch"].as_str() {
            use base64::Engine;
            let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
            json_patch::patch(&mut patched, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
        } else {
            prop_assert_eq!(&canonical, &object);
        }
        prop_assert_eq!(&patched, &canonical);
        let again = call(&mesh, Hook::Mutate, None, &patched);
        prop_assert_eq!(again["response"].get("patch"), None);
    }

    #[test]
    fn a_verdict_does_not_depend_on_the_order_of_documents(
        objects in prop::collection::vec(document(), 0..12),
        shuffled in any::<prop::sample::Index>(),
        new in document(),
    ) {
        // One object stands once; the last of a name is the one that counts.
        let mut stand: Vec<Value> = Vec::new();
        for object in objects {
            stand.retain(|o| (&o["kind"], &o["metadata"]["name"]) != (&object["kind"], &object["metadata"]["name"]));
            stand.push(object);
        }
        let forward = call(&mesh(&stand), Hook::Validate, None, &new);
        let turn = if stand.is_empty() { 0 } else { shuffled.index(stand.len()) };
        stand.rotate_left(turn);
        stand.reverse();
        prop_assert_eq!(call(&mesh(&stand), Hook::Validate, None, &new), forward);
    }

    #[test]
    fn a_mesh_forgets_without_a_trace(
        kept in prop::collection::vec(document(), 0..8),
        forgotten in prop::collection::vec(document(), 0..8),
        new in document(),
    ) {
        let settings = Settings::default();
        let mut once = mesh(&kept);
        for object in &forgotten {
            once.apply(reading(object, &settings));
        }
        for object in &forgotten {
            once.remove(&reading(object, &settings).object);
        }
        for object in &kept {
            once.apply(reading(object, &settings));
        }
        prop_assert_eq!(
            call(&once, Hook::Validate, None, &new),
            call(&mesh(&kept), Hook::Validate, None, &new)
        );
    }

    #[test]
    fn an_overlap_is_denied_just_if_two_subnets_on_one_network_meet(
        pods in cidr(), services in cidr(), their_pods in cidr(), their_services in cidr(), flat in any::<bool>(),
    ) {
        let object = |name: &str, pods: &str, services: &str| stated(name, !flat, pods, services);
        let mesh = mesh(&[object("a", &their_pods, &their_services)]);
        let answer = call(&mesh, Hook::Validate, None, &object("b", &pods, &services));
        let causes = answer["response"]["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
        let denied = causes.iter().any(|cause| cause["reason"] == "SubnetOverlap");
        let meet = [&pods, &services].iter().any(|ours| {
            [&their_pods, &their_services].iter().any(|theirs| share_bits(ours, theirs))
        });
        prop_assert_eq!(denied, meet && flat);
    }

    #[test]
    fn the_next_free_subnet_is_free_and_where_none_is_told_none_is(
        mut objects in prop::collection::vec(peer(), 1..12), mut new in peer(), clash in any::<prop::sample::Index>(),
    ) {
        // A later object of a name replaces the earlier one.
        let last: BTreeMap<_, _> = objects.drain(..).map(|object| (object["metadata"]["name"].to_string(), object)).collect();
        let mut standing: Vec<_> = last.into_values().collect();
        // The new one takes the pods of one that stands, on its network.
        let at = clash.index(standing.len());
        let other = &mut standing[at]["metadata"]["annotations"];
        other["isthmus.dev/network"] = "vpc".into();
        let pods = other["isthmus.dev/pod-subnet-cidr"].clone();
        new["metadata"]["name"] = "new".into();
        let annotations = &mut new["metadata"]["annotations"];
        annotations["isthmus.dev/network"] = "vpc".into();
        annotations["isthmus.dev/pod-subnet-cidr"] = pods;

        let answer = call(&mesh(&standing), Hook::Validate, None, &new);
        prop_assert_eq!(&answer["response"]["allowed"], &false);
        let taken: Vec<_> = standing.iter().chain([&new]).flat_map(|object| {
            ["pod", "service"].map(|of| bits_of(object["metadata"]["annotations"][format!("isthmus.dev/{of}-subnet-cidr")].as_str().unwrap()))
        }).collect();
        let cidr = |text: &str| text.chars().take_while(|c| c.is_ascii_hexdigit() || ".:/".contains(*c)).collect::<String>();
        let text = answer.to_string();
        let mut told = 0;
        for proposal in text.split("next free /").skip(1) {
            let (length, free) = proposal.split_once(": ").unwrap();
            let free = cidr(free);
            prop_assert!(free.ends_with(&format!("/{length}")), "{free}");
            prop_assert!(!taken.iter().any(|taken| meet(taken, &bits_of(&free))), "{free} is not free: {text}");
            told += 1;
        }
        for (before, range) in text.split(" is free in ").zip(text.split(" is free in ").skip(1)) {
            let length = before.rsplit_once("no /").unwrap().1.parse().unwrap();
            prop_assert!(!is_any_free(&bits_of(&cidr(range)), length, &taken), "one is free: {text}");
            told += 1;
        }
        prop_assert!(told > 0, "nothing is proposed: {text}");
    }

    #[test]
    fn a_disjoint_member_adds_no_finding(objects in prop::collection::vec(document(), 0..10)) {
        let settings = Arc::new(Settings::default());
        let stranger = stated("stranger", false, "172.16.0.0/16", "172.17.0.0/16");
        // A stranger cannot agree with a mesh that is split.
        let one_domain = |object: &Value| object.to_string().replace("other.local", "cluster.local");
        let objects: Vec<Value> =
            objects.iter().map(|object| serde_json::from_str(&one_domain(object)).unwrap()).collect();
        let before = mesh(&objects);
        let mut all = objects.clone();
        all.push(stranger);
        let after = mesh(&all);
        let written: Vec<_> = all.iter().map(|object| reading(object, &settings)).collect();
        let verdict = review_all(&before, &after, &written, None);
        prop_assert_eq!(verdict.denials, vec![]);
        let brought = verdict.warnings.iter().filter(|w| w.because != isthmus::review::Reason::StoodBefore);
        prop_assert_eq!(brought.filter(|w| w.finding.rule != "PinnedMemberMoved").count(), 0);
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        for hook in [Hook::Validate, Hook::Mutate] {
            let _ = answer(&mesh(&[]), hook, &body);
        }
    }

    #[test]
    fn no_mutilated_review_panics(object in document(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = review(None, &object).to_string().into_bytes();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        for hook in [Hook::Validate, Hook::Mutate] {
            if let Ok(answer) = answer(&mesh(&[]), hook, &body) {
                let _: Value = serde_json::from_slice(&answer.body).unwrap();
            }
        }
    }

    #[test]
    fn no_yaml_panics(text in "[ -~\n\t&*!|>{}\\[\\]:#'\"-]{0,200}") {
        let text_of_kubeadm = format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n{text}");
        let object = config_map("kube-system", "kubeadm-config", json!({"ClusterConfiguration": text_of_kubeadm}));
        call(&mesh(&[]), Hook::Validate, None, &object);
        let values = json!({"values.yaml": format!("global:\n  pilotEndpoint: {text}")});
        let object = labelled(config_map("istio-system", "v", values), "isthmus.dev/helm-values", "istio-remote");
        call(&mesh(&[]), Hook::Validate, None, &object);
        for start in ["", "networks:\n  a:\n    endpoints:\n    - fromCidr: ", "networks: {a: {gateways: [{port: "] {
            call(&mesh(&[]), Hook::Validate, None, &istio(&format!("{start}{text}"), &text));
        }
        let mesh_config = format!("trustDomain: {text}\ndefaultConfig: {{discoveryAddress: {text}}}");
        call(&mesh(&[]), Hook::Validate, None, &istio("", &mesh_config));
        let _ = manifest::read(&text, "file.yaml");
        let _ = manifest::read_as(&text, "file.yaml", VALUES_KIND);
    }
}
