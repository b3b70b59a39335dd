//! Every list and mapping that a document may hold, at any length: as people write it, and as
//! somebody does who wants to make a review dear.

#![allow(clippy::needless_pass_by_value, reason = "objects are made here and given on")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isthmus::admission::{Hook, answer};
use isthmus::document;
use isthmus::mesh::Mesh;
use isthmus::review::standing_findings;
use isthmus::settings::Settings;
use isthmus::syntax::Object;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

use super::objects::{
    self, annotated, config_map, labelled, module, multicluster, review, with, yaml,
};

/// A part of a document that may have any number of items.
pub struct Part {
    /// The document, as the registry names it.
    pub document: &'static str,
    /// Which part of it.
    pub name: &'static str,
    /// The object with so many items in it.
    pub make: fn(usize, Kind) -> Value,
}

/// What the items are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As they should be.
    Sound,
    /// Each wrong in a way of its own, or in the same way.
    Hostile,
}

impl Kind {
    /// One of two.
    pub fn pick<T>(self, sound: T, hostile: T) -> T {
        match self {
            Self::Sound => sound,
            Self::Hostile => hostile,
        }
    }
}

/// All of them.
pub static PARTS: &[Part] = &[
    part("IstioMulticluster", "labels", |n, kind| {
        metadata(
            peer(),
            "labels",
            many(n, |at| {
                (kind.pick("l", "isthmus.dev/l").to_owned() + &at.to_string(), "x".into())
            }),
        )
    }),
    part("IstioMulticluster", "annotations", |n, kind| {
        let prefix = kind.pick("example.com", "isthmus.dev");
        metadata(peer(), "annotations", many(n, |at| (format!("{prefix}/{at}"), "x".into())))
    }),
    part("IstioMulticluster", "fields", |n, kind| {
        let mut object = peer();
        let fields = object.as_object_mut().unwrap();
        fields.extend(many(n, |at| (format!("field{at}"), kind.pick(json!("x"), json!([[]])))));
        object
    }),
    part("IstioMulticluster", "spec", |n, kind| {
        let mut object = peer();
        let name = kind.pick("field", "metadataEndpoin");
        object["spec"]
            .as_object_mut()
            .unwrap()
            .extend(many(n, |at| (format!("{name}{at}"), json!(1))));
        object
    }),
    part("IstioMulticluster", "subnets of the annotation", |n, kind| {
        let list = list(n, |at| kind.pick(subnet(at), "10.0.0.1/8".to_owned()), ",");
        annotated(peer(), "isthmus.dev/pod-subnet-cidr", &list)
    }),
    part("IstioMulticluster", "rules that are allowed", |n, kind| {
        let list =
            list(n, |at| kind.pick("SubnetOverlap".to_owned(), format!("SubnetOverla{at}")), ",");
        annotated(peer(), "isthmus.dev/allow", &list)
    }),
    part("IstioMulticluster", "endpoint", |n, kind| {
        let mut object = peer();
        object["spec"]["metadataEndpoint"] =
            format!("https://h.example.com/{}metadata/", kind.pick("a/", "../").repeat(n)).into();
        object
    }),
    part("IstioMulticluster", "status", |n, kind| {
        let mut object = peer();
        let value = kind.pick(json!({"a": 1}), json!([1]));
        object["status"] =
            json!({"metadataCache": {"public": many(n, |at| (format!("k{at}"), value.clone()))}});
        object
    }),
    part("IstioFederation", "spec", |n, kind| {
        let fields = many(n, |at| (format!("trustDomain{at}"), kind.pick(json!("x"), json!([]))));
        let mut object = json!({
            "apiVersion": "deckhouse.io/v1alpha1", "kind": "IstioFederation",
            "metadata": {"name": "partner"},
            "spec": {
                "trustDomain": "partner.local",
                "metadataEndpoint": "https://istio.partner.example.com/metadata/",
            },
        });
        object["spec"].as_object_mut().unwrap().extend(fields);
        object
    }),
    part("MeshMember", "spec", |n, kind| {
        let fields = many(n, |at| (format!("podSubnets{at}"), kind.pick(json!("x"), json!([]))));
        json!({
            "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshMember",
            "metadata": {"name": "far"}, "spec": fields,
        })
    }),
    part("MeshMember", "subnets", |n, kind| {
        let subnets: Vec<_> = (0..n).map(|at| kind.pick(json!(subnet(at)), json!(1))).collect();
        json!({
            "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshMember",
            "metadata": {"name": "far"}, "spec": {"podSubnets": subnets},
        })
    }),
    part("ClusterConfiguration", "fields", |n, kind| {
        let mut object = configuration();
        let fields = object.as_object_mut().unwrap();
        fields
            .extend(many(n, |at| (format!("clusterDomain{at}"), kind.pick(json!("x"), json!(1)))));
        object
    }),
    part("ClusterConfiguration", "subnets", |n, kind| {
        let mut object = configuration();
        object["podSubnetCIDR"] = list(n, |at| kind.pick(subnet(at), "1".to_owned()), ",").into();
        object
    }),
    part("d8-cluster-configuration", "keys", |n, kind| {
        secret(
            deckhouse(""),
            many(n, |at| (format!("key{at}"), kind.pick(json!("eA=="), json!(1)))),
        )
    }),
    part("d8-cluster-configuration", "fields", |n, kind| {
        secret(
            deckhouse(&list(n, |at| format!("f{at}: {}", kind.pick("x", "{}")), "\n")),
            Map::new(),
        )
    }),
    part("d8-cluster-configuration", "a list", |n, kind| {
        secret(
            deckhouse(&format!(
                "list:\n{}",
                list(n, |_| kind.pick("- 1", "- [{}]").to_owned(), "\n")
            )),
            Map::new(),
        )
    }),
    part("d8-cluster-configuration", "aliases", |n, kind| {
        let item = kind.pick("1", "[1,1,1,1,1,1,1,1]");
        secret(
            deckhouse(&format!("a: &a {item}\nlist: [{}]", list(n, |_| "*a".to_owned(), ","))),
            Map::new(),
        )
    }),
    part("d8-cluster-configuration", "anchors", |n, kind| {
        let deep = list(
            n,
            |at| {
                format!(
                    "k{at}: &a{at} {}",
                    kind.pick(
                        "1".to_owned(),
                        match at {
                            0 => "1".to_owned(),
                            at => format!("[*a{}]", at - 1),
                        }
                    )
                )
            },
            "\n",
        );
        secret(deckhouse(&deep), Map::new())
    }),
    part("d8-cluster-configuration", "merged mappings", |n, kind| {
        let item = kind.pick("{x: 1}", "{x: 1, y: 2, z: 3}");
        secret(
            deckhouse(&format!("a: &a {item}\nb:\n  <<: [{}]", list(n, |_| "*a".to_owned(), ","))),
            Map::new(),
        )
    }),
    part("d8-cluster-configuration", "a long text", |n, kind| {
        secret(
            deckhouse(&format!("text: \"{}\"", kind.pick("xxxxxxxx", "\\x41\\n").repeat(n))),
            Map::new(),
        )
    }),
    part("d8-cluster-configuration", "nesting", |n, kind| {
        secret(
            deckhouse(
                &kind.pick(
                    "a: [1]\n".to_owned() + &"# x\n".repeat(n),
                    format!("a: {}", "[".repeat(n)),
                ),
            ),
            Map::new(),
        )
    }),
    part("d8-cluster-configuration", "indentation", |n, kind| {
        secret(
            deckhouse(&list(
                n,
                |at| kind.pick(format!("k{at}:\n  a: 1"), format!("k{at}: |\n\n\n  a")),
                "\n",
            )),
            Map::new(),
        )
    }),
    part("Istio", "networks", |n, kind| {
        let networks = many(n, |at| {
            let registry = kind.pick(format!("c{at}"), "c".to_owned());
            let gateways = json!([{"address": "192.0.2.1", "port": 15443}]);
            (
                format!("n{at}"),
                json!({"endpoints": [{"fromRegistry": registry}], "gateways": gateways}),
            )
        });
        installation("sailoperator.io/v1", "Istio", json!({"global": {"meshNetworks": networks}}))
    }),
    part("IstioOperator", "values", |n, kind| {
        let fields = many(n, |at| (format!("network{at}"), kind.pick(json!("x"), json!([]))));
        installation("install.istio.io/v1alpha1", "IstioOperator", json!({"global": fields}))
    }),
    part("remote Secret", "keys", |n, kind| {
        let server = |at: usize| kind.pick(format!("https://h{at}.example.com"), "http://h".into());
        remote(many(n, |at| {
            (format!("c{at}"), STANDARD.encode(remote_kubeconfig(&server(at), "")).into())
        }))
    }),
    part("remote Secret", "users", |n, kind| {
        let user = kind.pick("{token: t}", "{exec: {}}");
        let users = list(n, |at| format!("- {{name: u{at}, user: {user}}}"), "\n");
        let text = remote_kubeconfig("https://192.0.2.1", &users);
        remote(many(1, |_| ("c".to_owned(), STANDARD.encode(&text).into())))
    }),
    part("remote Secret", "a long token", |n, kind| {
        let token = kind.pick("xxxxxxxx", "x.e30.e30").repeat(n);
        let user = format!("- {{name: long, user: {{token: '{token}'}}}}");
        let text = remote_kubeconfig("https://192.0.2.1", &user).replace("user: u}", "user: long}");
        remote(many(1, |_| ("c".to_owned(), STANDARD.encode(&text).into())))
    }),
    part("kubeadm-config", "subnets", |n, kind| {
        let subnets = list(n, |at| kind.pick(subnet(at), "10.0.0.1/8".to_owned()), ",");
        let text = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n  podSubnet: {subnets}\n"
        );
        config_map("kube-system", "kubeadm-config", json!({"ClusterConfiguration": text}))
    }),
    part("kubeadm-config", "fields", |n, kind| {
        let fields = list(n, |at| format!("  f{at}: {}", kind.pick("x", "[1]")), "\n");
        let text = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n{fields}\n"
        );
        config_map("kube-system", "kubeadm-config", json!({"ClusterConfiguration": text}))
    }),
    part("member ConfigMap", "keys", |n, kind| {
        let mut data = many(n, |at| (format!("key{at}"), kind.pick(json!("x"), json!([]))));
        data.insert("cluster-configuration.yaml".to_owned(), deckhouse("").into());
        labelled(config_map("isthmus", "b", data), "isthmus.dev/member", "b")
    }),
    part("ModuleConfig control-plane-manager", "settings", |n, kind| {
        module(
            "control-plane-manager",
            json!({"network": many(n, |at| (format!("f{at}"), kind.pick(json!("x"), json!([1]))))}),
        )
    }),
    part("ModuleConfig istio", "settings", |n, kind| {
        module(
            "istio",
            json!({"multicluster": many(n, |at| (format!("f{at}"), kind.pick(json!("x"), json!([1]))))}),
        )
    }),
    part("ModuleConfig global", "settings", |n, kind| {
        module(
            "global",
            json!({"modules": many(n, |at| (format!("f{at}"), kind.pick(json!("x"), json!([1]))))}),
        )
    }),
    part("d8-cluster-uuid", "keys", |n, kind| {
        config_map(
            "kube-system",
            "d8-cluster-uuid",
            many(n, |at| (format!("k{at}"), kind.pick(json!("x"), json!(1)))),
        )
    }),
    part("multicluster", "keys with a descriptor", |n, kind| {
        let own = |at: usize| descriptor(at, kind).replace("c.kube", &format!("c{at}.kube"));
        let mut data = many(n, |at| (format!("c{at}.yaml"), own(at).into()));
        let user = objects::kubeconfig("{username: pilot}");
        let server = |at: usize| user.replace("10.0.0.1:6443", &format!("10.0.0.1:{}", 1024 + at));
        data.extend(many(n, |at| (format!("c{at}.kube"), server(at).into())));
        config_map("istio-system", "multicluster", data)
    }),
    part("multicluster", "descriptors of one name", |n, kind| {
        let mut data = many(n, |at| (format!("c{at}.yaml"), descriptor(0, kind).into()));
        data.insert("c.kube".to_owned(), kubeconfig("").into());
        config_map("istio-system", "multicluster", data)
    }),
    part("multicluster", "documents of one key", |n, kind| {
        config_map(
            "istio-system",
            "multicluster",
            json!({"c.yaml": list(n, |at| descriptor(at, kind), "---\n"), "c.kube": kubeconfig("")}),
        )
    }),
    part("multicluster", "keys beside", |n, kind| {
        let mut data =
            many(n, |at| (format!("c{at}.kub"), kind.pick("x".to_owned(), kubeconfig("")).into()));
        data.insert(
            "c.yaml".to_owned(),
            list(200, |at| descriptor(at, kind).replace("c.kube", &format!("c{at}.kube")), "---\n")
                .into(),
        );
        config_map("istio-system", "multicluster", data)
    }),
    part("multicluster", "annotations of a descriptor", |n, kind| {
        let annotations = list(
            n,
            |at| {
                format!(
                    "    {}{at}: {}",
                    kind.pick("a/", "config.istio.io/pilotEndpoin"),
                    kind.pick("x", "[]")
                )
            },
            "\n",
        );
        let text = descriptor(1, Kind::Sound)
            .replace("  annotations:\n", &format!("  annotations:\n{annotations}\n"));
        config_map(
            "istio-system",
            "multicluster",
            json!({"c.yaml": text, "c.kube": kubeconfig("")}),
        )
    }),
    part("multicluster", "endpoints of a descriptor", |n, kind| {
        let endpoints = list(
            n,
            |at| {
                format!(
                    "    - clientCIDR: {}\n      serverAddress: 10.0.0.1",
                    kind.pick(subnet(at), "1".to_owned())
                )
            },
            "\n",
        );
        let text = descriptor(1, Kind::Sound)
            + &format!("spec:\n  kubernetesApiEndpoints:\n    serverEndpoints:\n{endpoints}\n");
        config_map(
            "istio-system",
            "multicluster",
            json!({"c.yaml": text, "c.kube": kubeconfig("")}),
        )
    }),
    part("multicluster", "fields of a descriptor", |n, kind| {
        let fields = list(n, |at| format!("{}{at}: 1", kind.pick("x", "specc")), "\n");
        config_map(
            "istio-system",
            "multicluster",
            json!({"c.yaml": descriptor(1, Kind::Sound) + &fields, "c.kube": kubeconfig("")}),
        )
    }),
    part("multicluster", "users of a kubeconfig", |n, kind| {
        let users = list(
            n,
            |at| {
                kind.pick(
                    format!("- {{name: u{at}, user: {{token: x}}}}"),
                    format!("- {{name: [], user: u{at}}}"),
                )
            },
            "\n",
        );
        let data = json!({"c.yaml": descriptor(1, Kind::Sound), "c.kube": kubeconfig(&users)});
        config_map("istio-system", "multicluster", data)
    }),
    part("Cluster", "endpoints", |n, kind| {
        let endpoint = |at| json!({"clientCIDR": kind.pick(subnet(at), "1".to_owned()), "serverAddress": "10.0.0.1"});
        cluster(
            json!({"kubernetesApiEndpoints": {"serverEndpoints": (0..n).map(endpoint).collect::<Vec<_>>()}}),
        )
    }),
    part("Cluster", "annotations", |n, kind| {
        let prefix = kind.pick("example.com/", "config.istio.io/platfor");
        metadata(
            cluster(json!({})),
            "annotations",
            many(n, |at| (format!("{prefix}{at}"), "x".into())),
        )
    }),
    part("Istio mesh config", "networks", |n, kind| {
        networks(list(
            n,
            |at| {
                format!(
                    "  n{at}:\n    endpoints:\n    - fromCidr: {}\n    gateways:\n    - address: 1.2.3.4\n      port: 443",
                    kind.pick(subnet(at), "10.0.0.0/8".to_owned())
                )
            },
            "\n",
        ))
    }),
    part("Istio mesh config", "ranges of one network", |n, kind| {
        networks(
            "  n:\n    endpoints:\n".to_owned()
                + &list(
                    n,
                    |at| {
                        format!(
                            "    - fromCidr: {}",
                            kind.pick(subnet(at), "10.0.0.1/8".to_owned())
                        )
                    },
                    "\n",
                ),
        )
    }),
    part("Istio mesh config", "ranges within each other", |n, kind| {
        networks(list(
            n,
            |at| {
                format!(
                    "  n{at}:\n    endpoints:\n    - fromCidr: {}",
                    kind.pick(subnet(at), format!("10.0.0.0/{}", 8 + at % 24))
                )
            },
            "\n",
        ))
    }),
    part("Istio mesh config", "registries", |n, kind| {
        networks(list(
            n,
            |at| {
                format!(
                    "  n{at}:\n    endpoints:\n    - fromRegistry: {}",
                    kind.pick(format!("r{at}"), "r".to_owned())
                )
            },
            "\n",
        ))
    }),
    part("Istio mesh config", "gateways of one network", |n, kind| {
        networks(
            "  n:\n    gateways:\n".to_owned()
                + &list(
                    n,
                    |at| {
                        format!(
                            "    - address: {}\n      port: {}",
                            kind.pick(
                                format!("1.2.{}.{}", at / 250 % 250, at % 250 + 1),
                                "x:1".to_owned()
                            ),
                            kind.pick("443", "x")
                        )
                    },
                    "\n",
                ),
        )
    }),
    part("Istio mesh config", "fields of an endpoint", |n, kind| {
        let name = kind.pick("x", "fromCid");
        networks(
            "  n:\n    endpoints:\n    - fromCidr: 10.0.0.0/8\n".to_owned()
                + &list(n, |at| format!("      {name}{at}: 1"), "\n"),
        )
    }),
    part("Istio mesh config", "fields", |n, kind| {
        let name = kind.pick("x", "trustDomai");
        config_map(
            "istio-system",
            "istio",
            json!({"mesh": list(n, |at| format!("{name}{at}: 1"), "\n")}),
        )
    }),
    part("Istio mesh config", "fields of the proxy config", |n, kind| {
        let name = kind.pick("x", "discoveryAddres");
        config_map(
            "istio-system",
            "istio",
            json!({"mesh": "defaultConfig:\n".to_owned() + &list(n, |at| format!("  {name}{at}: 1"), "\n")}),
        )
    }),
    part("Endpoints", "subsets", |n, kind| {
        let subset =
            kind.pick(json!({"addresses": [{"ip": "10.1.2.3"}]}), json!({"addresses": [1]}));
        endpoints("Endpoints", "v1", "subsets", vec![subset; n].into())
    }),
    part("Endpoints", "addresses", |n, kind| {
        let address = |at: usize| {
            kind.pick(json!({"ip": format!("10.1.{}.{}", at / 250 % 250, at % 250)}), json!(1))
        };
        let addresses: Vec<_> = (0..n).map(address).collect();
        endpoints("Endpoints", "v1", "subsets", json!([{"addresses": addresses}]))
    }),
    part("EndpointSlice", "endpoints", |n, kind| {
        let endpoint = kind.pick(
            json!({"addresses": ["10.1.2.3"], "targetRef": {"kind": "Pod"}}),
            json!({"addresses": [1]}),
        );
        endpoints("EndpointSlice", "discovery.k8s.io/v1", "endpoints", vec![endpoint; n].into())
    }),
    part("EndpointSlice", "addresses", |n, kind| {
        let address =
            |at: usize| kind.pick(json!(format!("10.1.{}.{}", at / 250 % 250, at % 250)), json!(1));
        let addresses: Vec<_> = (0..n).map(address).collect();
        endpoints(
            "EndpointSlice",
            "discovery.k8s.io/v1",
            "endpoints",
            json!([{"addresses": addresses}]),
        )
    }),
    part("istio-remote values", "fields", |n, kind| {
        let name = kind.pick("x", "remotePilotAddres");
        let text = "global:\n".to_owned() + &list(n, |at| format!("  {name}{at}: 1"), "\n");
        labelled(
            config_map("istio-system", "values", json!({"values.yaml": text})),
            "isthmus.dev/helm-values",
            "istio-remote",
        )
    }),
];

const fn part(document: &'static str, name: &'static str, make: fn(usize, Kind) -> Value) -> Part {
    Part { document, name, make }
}

fn many(n: usize, entry: impl Fn(usize) -> (String, Value)) -> Map<String, Value> {
    (0..n).map(entry).collect()
}

fn list(n: usize, item: impl Fn(usize) -> String, separator: &str) -> String {
    let mut text = String::new();
    for at in 0..n {
        let _ = write!(text, "{}{separator}", item(at));
    }
    text.truncate(text.len().saturating_sub(separator.len()));
    text
}

/// The n-th /28 of 10.0.0.0/8.
fn subnet(n: usize) -> String {
    let address = (10 << 24) + (u32::try_from(n % (1 << 20)).unwrap() << 4);
    format!("{}/28", std::net::Ipv4Addr::from(address))
}

fn peer() -> Value {
    multicluster("b")
}

fn configuration() -> Value {
    objects::configuration("local", "10.111.0.0/16", "10.222.0.0/16")
}

fn deckhouse(rest: &str) -> String {
    format!(
        "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nclusterDomain: cluster.local\npodSubnetCIDR: 10.111.0.0/16\nserviceSubnetCIDR: 10.222.0.0/16\n{rest}\n"
    )
}

fn secret(text: String, mut data: Map<String, Value>) -> Value {
    data.insert("cluster-configuration.yaml".to_owned(), STANDARD.encode(text).into());
    objects::secret("kube-system", "d8-cluster-configuration", data)
}

fn installation(version: &str, kind: &str, values: Value) -> Value {
    json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": "default"},
        "spec": {"values": values},
    })
}

fn remote(data: Map<String, Value>) -> Value {
    let mut secret = objects::secret("istio-system", "remote", data);
    secret["metadata"]["labels"] = json!({"istio/multiCluster": "true"});
    secret
}

fn remote_kubeconfig(server: &str, users: &str) -> String {
    format!(
        "kind: Config\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\nusers:\n- {{name: u, user: {{token: t}}}}\n{users}\n"
    )
}

fn descriptor(at: usize, kind: Kind) -> String {
    let store = if at == 0 { "true" } else { "false" };
    yaml(&objects::descriptor(
        &format!("c{at}"),
        &[
            ("pilotEndpoint", kind.pick("10.0.0.1:9080", "x")),
            ("platform", "Kubernetes"),
            ("pilotCfgStore", store),
            ("accessConfigFile", "c.kube"),
        ],
    ))
}

fn kubeconfig(users: &str) -> String {
    objects::kubeconfig("{token: x}") + users + "\n"
}

fn cluster(spec: Value) -> Value {
    let annotations = [
        ("pilotEndpoint", "10.0.0.1:9080"),
        ("platform", "Kubernetes"),
        ("accessConfigFile", "c.kube"),
    ];
    let object = objects::descriptor("c", &annotations);
    with(with(object, &["metadata", "namespace"], "istio-system"), &["spec"], spec)
}

fn networks(text: String) -> Value {
    config_map("istio-system", "istio", json!({"meshNetworks": format!("networks:\n{text}\n")}))
}

fn endpoints(kind: &str, version: &str, field: &str, items: Value) -> Value {
    let metadata = json!({"name": "istio-pilot", "namespace": "istio-system"});
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, field: items})
}

fn metadata(mut object: Value, field: &str, entries: Map<String, Value>) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    let stand = metadata.entry(field).or_insert_with(|| json!({}));
    stand.as_object_mut().unwrap().extend(entries);
    object
}

/// What is done with an object: it is written, and written again, and a mesh begins with it.
pub struct Works {
    create: Vec<u8>,
    update: Vec<u8>,
    object: String,
}

impl Works {
    pub fn of(part: &Part, n: usize, kind: Kind) -> Self {
        let object = (part.make)(n, kind);
        let create = review(None, &object).to_string().into_bytes();
        let updated = annotated(object.clone(), "example.com/x", "y");
        let update = review(Some(&object), &updated).to_string().into_bytes();
        Self { create, update, object: object.to_string() }
    }

    /// How large the object is, in bytes.
    pub fn bytes(&self) -> usize {
        self.object.len()
    }

    /// Reviews of the object, in a mesh that knows nothing of it and in one that has it.
    pub fn review(&self) {
        let mesh = Mesh::new(Arc::default());
        answer(&mesh, Hook::Mutate, &self.create).unwrap();
        answer(&mesh, Hook::Validate, &self.create).unwrap();
        let mesh = self.start();
        answer(&mesh, Hook::Validate, &self.update).unwrap();
    }

    /// The start of a mesh that has the object: it is read, taken in and judged as it stands.
    pub fn start(&self) -> Mesh {
        let settings = Arc::new(Settings::default());
        // What cannot be read as an object at all is passed over.
        let Ok(object) = Object::parse(&self.object) else { return Mesh::new(settings) };
        let mesh = Mesh::of(Arc::clone(&settings), [document::read(&object, &settings)]);
        for member in mesh.members() {
            standing_findings(&mesh, member.name(), None);
        }
        mesh
    }
}

/// How much of a processor this thread takes for some work.
pub fn cpu(work: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let begun = now();
    work();
    now().checked_sub(begun).unwrap()
}
