//! What holds of every ConfigMap `multicluster`, tried on thousands.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isthmus::admission::Hook;
use isthmus::mesh::Mesh;
use isthmus::settings::Settings;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::complexity::parts::cpu;
use crate::golden::call;
use crate::support::objects::{self, annotated, with, yaml};

fn config_map(data: &Value) -> Value {
    objects::config_map("istio-system", "multicluster", data.clone())
}

fn judged(object: &Value) -> Value {
    let mesh = Mesh::new(Arc::new(Settings::default()));
    call(&mesh, Hook::Validate, None, object)["response"].take()
}

/// A kubeconfig whose user has this token.
fn kubeconfig(token: &str) -> String {
    objects::kubeconfig(&format!("{{token: {token}}}"))
}

/// A descriptor: its name, and its annotations under `config.istio.io/`.
#[derive(Clone, Debug)]
struct Descriptor {
    name: String,
    annotations: Vec<(String, String)>,
    cidr: &'static str,
}

/// A descriptor, mostly sound, of few names, so that some clash.
fn descriptor() -> impl Strategy<Value = Descriptor> {
    let mostly = |sound: &'static str, other: &'static str| prop_oneof![6 => Just(Some(sound)), 1 => Just(Some(other)), 1 => Just(None)];
    (
        0u8..9,
        mostly("192.168.1.1:9080", "192.168.1.2:9080"),
        mostly("Kubernetes", "kubernetes"),
        prop_oneof![4 => Just("False"), 1 => Just("True"), 1 => Just("maybe")],
        mostly("a.conf", "b.conf"),
        prop_oneof![4 => Just(None), 1 => Just(Some("pilotEndpiont")), 1 => Just(Some("zone"))],
        prop_oneof![4 => Just("0.0.0.0/0"), 1 => Just("10.0.0.0")],
        0u8..4,
    )
        .prop_map(|(name, endpoint, platform, store, file, extra, cidr, third)| {
            let istio = [
                ("pilotEndpoint", endpoint),
                ("platform", platform),
                ("pilotCfgStore", Some(store)),
                ("accessConfigFile", file),
                (extra.unwrap_or_default(), extra),
            ];
            let istio = istio
                .into_iter()
                .filter_map(|(key, text)| Some((format!("config.istio.io/{key}"), text?.into())));
            let pods = ("isthmus.dev/pod-subnet-cidr".into(), format!("10.{third}.0.0/16"));
            Descriptor {
                name: format!("cluster-{name}"),
                annotations: istio.chain([pods]).collect(),
                cidr,
            }
        })
}

impl Descriptor {
    fn object(&self) -> Value {
        let object = objects::descriptor(&self.name, &[]);
        let servers = json!([{"clientCIDR": self.cidr}]);
        let object = with(object, &["spec", "kubernetesApiEndpoints", "serverEndpoints"], servers);
        self.annotations.iter().fold(object, |object, (key, text)| annotated(object, key, text))
    }

    fn json(&self) -> String {
        self.object().to_string()
    }

    fn yaml(&self) -> String {
        yaml(&self.object())
    }
}

/// What is told of the descriptors in these texts: rules and fields, wherever a descriptor lies.
fn told(texts: &[String]) -> (bool, Vec<(String, String)>) {
    let keys = texts.iter().enumerate();
    let mut data: Map<String, Value> =
        keys.map(|(at, text)| (format!("{at:02}.yaml"), json!(text))).collect();
    data.insert("a.conf".to_owned(), json!(kubeconfig("x")));
    let response = judged(&config_map(&data.into()));
    let causes = response["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
    let field = |path: &str| path.split_once("].").map_or(path, |(_, field)| field).to_owned();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let causes = causes.iter().map(|cause| (text(&cause["reason"]), field(&text(&cause["field"]))));
    let mut causes: Vec<_> = causes.collect();
    causes.sort();
    (response["allowed"] == true, causes)
}

const SECRET: &str = "s3cr3t";

/// What is answered to a ConfigMap of so many descriptors, each with these pods.
fn of_many(count: usize, pods: impl Fn(usize) -> String) -> Value {
    let mut texts = String::new();
    for index in 0..count {
        let descriptor = objects::descriptor(
            &format!("c{index}"),
            &[
                ("pilotEndpoint", "192.168.1.1:9080"),
                ("platform", "Kubernetes"),
                ("pilotCfgStore", if index == 0 { "True" } else { "False" }),
                ("accessConfigFile", &format!("{index}.conf")),
            ],
        );
        let services = format!("11.{}.{}.0/24", index / 250, index % 250);
        let descriptor = annotated(descriptor, "isthmus.dev/cluster-domain", "cluster.local");
        let descriptor = annotated(descriptor, "isthmus.dev/pod-subnet-cidr", &pods(index));
        let descriptor = annotated(descriptor, "isthmus.dev/service-subnet-cidr", &services);
        write!(texts, "---\n{}", yaml(&descriptor)).unwrap();
    }
    let server = |index| format!("https://10.0.0.1:{}", 1024 + index);
    let config = objects::kubeconfig("{username: pilot}");
    let own = |index| config.replace("https://10.0.0.1:6443", &server(index));
    let mut data: serde_json::Map<_, _> =
        (0..count).map(|index| (format!("{index}.conf"), own(index).into())).collect();
    data.insert("a.yaml".to_owned(), texts.into());
    judged(&config_map(&data.into()))
}

#[test]
fn more_descriptors_than_an_object_has_room_for_are_refused_at_once() {
    let pods = |index| format!("10.{}.{}.0/24", index / 250, index % 250);
    assert_eq!(of_many(500, pods)["allowed"], true);
    let refused = of_many(501, pods);
    assert_eq!(
        refused["status"]["message"],
        "ConfigMap \"multicluster\" is invalid: data: 501 descriptors, more than the 500 that are read; keep one for each cluster of the mesh [InvalidDescriptor]"
    );
}

#[test]
fn a_response_does_not_grow_with_the_square_of_the_mistakes() {
    let refused = of_many(500, |_| "10.0.0.0/16".to_owned());
    let causes = refused["status"]["details"]["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 257);
    let last = causes[256]["message"].as_str().unwrap();
    assert!(last.ends_with(" more; `isthmus check` lists all [SubnetOverlap]"), "{last}");
}

/// Each of the names is compared with each of the files where nothing stops it.
#[test]
fn names_of_files_that_are_not_there_cost_no_more_than_their_number() {
    let of_size = |scale: usize| {
        let mut data = Map::new();
        let mut texts = String::new();
        for index in 0..125 * scale {
            let path = "metadata: {annotations: {config.istio.io/accessConfigFile";
            let head = "apiVersion: clusterregistry.k8s.io/v1alpha1\nkind: Cluster";
            let name = format!("{index:03}").repeat(20);
            writeln!(texts, "---\n{head}\n{path}: {name}}}}}").unwrap();
        }
        data.insert("a.yaml".to_owned(), texts.into());
        for index in 0..2_500 * scale {
            data.insert(format!("{index:04}").repeat(15), "".into());
        }
        config_map(&data.into())
    };
    let sizes = [1, 2, 4].map(of_size);
    let [one, two, four] = sizes.each_ref().map(|object| {
        let cost = || cpu(|| assert_eq!(judged(object)["allowed"], false));
        (0..3).map(|_| cost()).min().unwrap()
    });
    assert!(two < 3 * one && four < 3 * two, "{one:?}, {two:?} and {four:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(
        key in "(a\\.yaml|a\\.yml|a\\.conf|[a-z.\\[\\]]{0,9})",
        text in "[ -~\n\t&*!|>{}\\[\\]:#'\"-]{0,200}",
        is_binary in any::<bool>(),
    ) {
        let sound = Descriptor {
            name: "a".into(),
            annotations: vec![("config.istio.io/accessConfigFile".into(), "a.conf".into())],
            cidr: "0.0.0.0/0",
        };
        let begun = format!("{}{text}", sound.yaml());
        for text in [text, begun] {
            let mut object = config_map(&json!({"z.yaml": sound.yaml()}));
            if is_binary {
                object["binaryData"][&key] = STANDARD.encode(&text).into();
            } else {
                object["data"][&key] = text.into();
            }
            judged(&object);
        }
    }

    #[test]
    fn how_descriptors_are_written_does_not_matter(
        descriptors in prop::collection::vec(descriptor(), 0..6),
        order in any::<prop::sample::Index>(),
    ) {
        let yaml: Vec<_> = descriptors.iter().map(Descriptor::yaml).collect();
        let json: Vec<_> = descriptors.iter().map(Descriptor::json).collect();
        let expected = told(&yaml);
        prop_assert_eq!(&told(&[yaml.join("---\n")]), &expected);
        prop_assert_eq!(&told(&json), &expected);
        prop_assert_eq!(&told(&[json.join("\n")]), &expected);
        let flow = format!("---\n{}", json.join("\n---\n"));
        prop_assert_eq!(&told(&[flow]), &expected);
        let mut turned = yaml;
        if !turned.is_empty() {
            let by = order.index(turned.len());
            turned.rotate_left(by);
        }
        prop_assert_eq!(&told(&turned), &expected);
    }

    #[test]
    fn credentials_are_never_told(
        field in prop::sample::select(&[
            "token: T", "password: T", "client-key-data: T", "auth-provider: {config: {access-token: T}}",
            "exec: {env: [{name: PASSWORD, value: T}]}", "username: u, password: [T]",
        ][..]),
        server in prop::sample::select(&["https://10.0.0.1:6443", "https://u:T@10.0.0.1", "http://u:T@10.0.0.1", "u:T@10.0.0.1", "https://u:T@localhost/"][..]),
        key in prop::sample::select(&["a.conf", "a.yaml", "a"][..]),
        at in any::<prop::sample::Index>(),
        inserted in prop::sample::select(&["", "\n", ": ", "}", "\"", "&a ", "- ", "\n---\n", "\u{1}"][..]),
        is_cut in any::<bool>(),
    ) {
        let config = kubeconfig("x").replace("token: x", field).replace("https://10.0.0.1:6443", server);
        let mut config = config.replace('T', SECRET);
        let at = at.index(config.len());
        // The secret itself stays whole, or nothing could be found of it.
        prop_assume!(!config.match_indices(SECRET).any(|(start, _)| (start + 1..start + SECRET.len()).contains(&at)));
        if is_cut { config.truncate(at) } else { config.insert_str(at, inserted) }
        let descriptor = Descriptor {
            name: "a".into(),
            annotations: [("pilotEndpoint", "192.168.1.1:9080"), ("platform", "Kubernetes"), ("pilotCfgStore", "True"), ("accessConfigFile", key)]
                .map(|(key, text)| (format!("config.istio.io/{key}"), text.to_owned())).to_vec(),
            cidr: "0.0.0.0/0",
        };
        let mut object = config_map(&json!({"z.yaml": descriptor.yaml(), key: config}));
        let response = judged(&object).to_string();
        prop_assert!(!response.contains(SECRET), "{response}");
        object["data"][key] = Value::Null;
        object["binaryData"][key] = STANDARD.encode(&config).into();
        let response = judged(&object).to_string();
        prop_assert!(!response.contains(SECRET), "{response}");
    }
}
