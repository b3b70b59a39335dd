//! No input costs more than its size: each list and mapping that a document may hold is made
//! longer, and what it costs may not grow faster than that.

use crate::support::objects::{
    self, annotated, carried, config_map, configuration, module, review, stated, with,
};

#[allow(unreachable_pub, reason = "the benchmark uses it too")]
pub(crate) mod parts;

use std::cell::Cell;
use std::sync::Arc;

use isthmus::admission::{Asked, Hook, answer};
use isthmus::budget::Budget;
use isthmus::document::{self, DOCUMENTS};
use isthmus::mesh::{Fact, MemberName, Mesh, ObjectRef, Reading, WriteId};
use isthmus::review::{Write, review as judge, standing_findings};
use isthmus::settings::Settings;
use isthmus::syntax::{Object, Path, Position, Segment};
use isthmus::value::ClusterDomain;
use serde_json::{Value, json};

use parts::{Kind, PARTS, Part, Works, cpu};

/// The size of the shortest object, in bytes; the others are twice and four times as long.
const SHORTEST: usize = 8 << 10;
/// How much dearer an object of four times the length may be: half way between linear cost, 4, and
/// quadratic cost, 16, for a machine that is busy with other things.
const DEAREST: f64 = 8.0;
/// How often the figures are taken again before they count. The lowest of each is the one with the
/// least of other work in it.
const TRIES: usize = 6;

#[test]
fn cost_grows_no_faster_than_size() {
    let mut failures = Vec::new();
    for part in PARTS {
        for kind in [Kind::Sound, Kind::Hostile] {
            failures.extend(dearer(part, kind));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_document_of_a_cluster_is_tried_at_length() {
    for document in DOCUMENTS.iter().filter(|document| !document.resource.is_empty()) {
        let parts = PARTS.iter().filter(|part| part.document == document.name);
        assert!(parts.count() > 0, "{} has no part in tests/complexity/parts.rs", document.name);
    }
    for part in PARTS {
        let is_known = DOCUMENTS.iter().any(|document| document.name == part.document);
        assert!(is_known, "{} is not a document", part.document);
    }
}

/// Why a part costs more than its size, if it does.
fn dearer(part: &Part, kind: Kind) -> Option<String> {
    let n = (1..20).find(|n| Works::of(part, 1 << n, kind).bytes() >= SHORTEST)?;
    let works = [0, 1, 2].map(|doubled| Works::of(part, 1 << (n + doubled), kind));
    let [first, second, third] = too_dear(|at| works[at].review())?;
    Some(format!(
        "{}, {} ({kind:?}): {first:.1} ms, {second:.1} ms and {third:.1} ms of CPU for {} items, twice and four times as many",
        part.document,
        part.name,
        1 << n
    ))
}

/// What work of three sizes costs in milliseconds, each twice the one before, if that grows faster
/// than the size.
fn too_dear(work: impl Fn(usize)) -> Option<[f64; 3]> {
    let mut least = [f64::INFINITY; 3];
    for _ in 0..TRIES {
        for (at, least) in least.iter_mut().enumerate() {
            *least = least.min(cpu(|| work(at)).as_secs_f64());
        }
        if least[2] < DEAREST * least[0] {
            return None;
        }
    }
    Some(least.map(|seconds| seconds * 1e3))
}

/// So many documents that speak of one member: of subnets of their own, or of such that all of them
/// clash with each other, and with node prefixes too long for them.
fn documents_of_one_member(n: usize, kind: Kind) -> Vec<Value> {
    let document = |at: usize| {
        let (high, low) = (at / 256, at % 256);
        let (pods, prefix) = match kind {
            Kind::Sound => (format!("10.{high}.{low}.0/24"), 26),
            Kind::Hostile => ("10.0.0.0/8".to_owned(), 7),
        };
        let services = kind.pick(172, 10);
        let text = format!(
            "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nclusterDomain: cluster.local\npodSubnetCIDR: {pods}\npodSubnetNodeCIDRPrefix: '{prefix}'\nserviceSubnetCIDR: {services}.{}.{low}.0/24\n",
            16 + high
        );
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("far-{at}"), "namespace": "isthmus", "labels": {"isthmus.dev/member": "far"}},
            "data": {"ClusterConfiguration": text},
        })
    };
    (0..n).map(document).collect()
}

#[test]
fn documents_of_one_member_cost_no_more_than_their_number() {
    for kind in [Kind::Sound, Kind::Hostile] {
        let sizes = [100, 200, 400].map(|n| {
            let objects = documents_of_one_member(n, kind);
            let updated = review(Some(&objects[n / 2]), &objects[0]).to_string().into_bytes();
            (objects.iter().map(Value::to_string).collect::<Vec<_>>(), updated)
        });
        let dear = too_dear(|at| {
            let (objects, updated) = &sizes[at];
            let settings = Arc::new(Settings::default());
            let read = |text: &String| document::read(&Object::parse(text).unwrap(), &settings);
            let readings: Vec<_> = objects.iter().map(read).collect();
            let gone = readings.iter().map(|reading| Reading::of(Arc::clone(&reading.object)));
            let gone: Vec<_> = gone.collect();
            let mut mesh = Mesh::of(Arc::clone(&settings), readings);
            assert!(!standing_findings(&mesh, "far", None).is_empty());
            answer(&mesh, Hook::Validate, updated).unwrap();
            mesh.apply_all(gone);
            assert!(mesh.is_empty());
        });
        assert!(dear.is_none(), "{kind:?}: {dear:?} ms of CPU for 100, 200 and 400 documents");
    }
}

/// An object that says of so many members which domain each has.
fn stating_domains(n: usize, is_going: bool, domain: impl Fn(usize) -> String) -> Reading {
    let mut reading = Reading::new(ObjectRef::new("ConfigMap", Some("istio-system"), "many"));
    for at in 0..n {
        let member: MemberName = format!("c{at}").into();
        let domain = ClusterDomain::parse(&domain(at)).unwrap();
        let keys = ["data".into(), format!("c{at}").into()].map(Segment::Key);
        let field = Path::new(keys.into(), Position::NONE);
        reading.claim(&member, field, Fact::ClusterDomain(domain));
        if is_going {
            reading.claim(&member, &["metadata"], Fact::Terminating);
        }
    }
    reading
}

#[test]
fn domains_that_one_object_states_in_a_hub_cost_no_more_than_their_number() {
    let hub = Arc::new(Settings { local_member: String::new(), ..Settings::default() });
    let own = |of: &'static str| move |at: usize| format!("{of}{at}.local");
    let one = |_| "one.local".to_owned();
    let sizes = [500, 1_000, 2_000].map(|n| {
        let going = stating_domains(n, true, own("b"));
        let objects = [own("a"), own("b")].map(|it| stating_domains(n, false, it));
        let others = (0..n).map(|at| {
            let object = stated(&format!("m{at}"), true, "10.111.0.0/16", "10.222.0.0/16");
            let object = annotated(object, "isthmus.dev/cluster-domain", &format!("m{at}.local"));
            document::read(&Object::parse(&object.to_string()).unwrap(), &hub)
        });
        let [a, b] = objects;
        ([a, b, stating_domains(n, false, one), going], others.collect::<Vec<_>>())
    });
    let mut failures = Vec::new();
    for (what, old, new, has_others) in [
        ("created", None, 0, false),
        ("changed beside others", Some(0), 1, true),
        ("made one", Some(0), 2, false),
        ("parted while they go", Some(2), 3, true),
    ] {
        let works = sizes.each_ref().map(|(objects, others)| {
            let old = old.map(|at: usize| objects[at].clone());
            let standing = others.iter().filter(|_| has_others).chain(&old).cloned();
            (Mesh::of(Arc::clone(&hub), standing), old, &objects[new])
        });
        let dear = too_dear(|at| {
            let (mesh, old, new) = &works[at];
            let id = if old.is_some() { WriteId::Update(None) } else { WriteId::Create("".into()) };
            let (old, new, user) = (old.clone(), (*new).clone(), "jane".into());
            let budget = Budget::of(usize::MAX);
            drop(judge(mesh, Write { old, new, id, is_stored: true, user, budget, now: None }));
        });
        failures.extend(
            dear.map(|dear| format!("{what}: {dear:?} ms of CPU for 500, 1,000 and 2,000 members")),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn whenever_time_runs_out_the_response_is_complete_or_a_denial() {
    let part = PARTS.iter().find(|part| part.name == "keys with a descriptor").unwrap();
    let object = (part.make)(300, Kind::Sound);
    let body = review(None, &object).to_string().into_bytes();
    let mesh = Mesh::new(Arc::default());
    let whole = answer(&mesh, Hook::Validate, &body).unwrap();
    let mut late = 0;
    for looks in 0.. {
        let looked = Cell::new(0);
        let clock = || {
            looked.set(looked.get() + 1);
            looked.get() > looks
        };
        let asked = Asked::read(Hook::Validate, &body, mesh.settings(), Some(&clock)).unwrap();
        let found = asked.answer(|write| judge(&mesh, write));
        if found.body == whole.body {
            break;
        }
        let told: Value = serde_json::from_slice(&found.body).unwrap();
        assert_eq!(told["response"]["allowed"], false, "{told}");
        let message = told["response"]["status"]["message"].as_str().unwrap();
        assert!(message.contains("too complex to be "), "{message}");
        late += 1;
    }
    assert!(late > 10, "the clock is looked at now and then, not {late} times");
}

/// How many members a small mesh has, and a large one.
const FLEETS: [usize; 2] = [500, 4_000];
/// How much dearer a verdict may be in the large mesh: half way between the same and eight times as
/// much.
const DEAREST_VERDICT: f64 = 4.0;

/// The `n`-th of very many subnets of this range.
fn nth(high: usize, n: usize) -> String {
    format!("{}.{}.{}.0/24", high, 16 + n / 256, n % 256)
}

/// The `n`-th member of a mesh.
type NthMember = fn(usize) -> Value;

/// Members as they are in large meshes, by what is special about them.
const MEMBERS: [(&str, NthMember); 5] = [
    ("flat", |n| stated(&format!("m{n}"), false, &nth(10, n), &nth(172, n))),
    ("behind gateways", |n| stated(&format!("m{n}"), true, "10.111.0.0/16", "10.222.0.0/16")),
    ("described", |n| {
        let name = format!("m{n}");
        carried(&name, configuration(&name, "10.111.0.0/16", "10.222.0.0/16"))
    }),
    ("on one named network", |n| {
        let object = stated(&format!("m{n}"), true, &nth(10, n), &nth(172, n));
        annotated(object, "isthmus.dev/network", "n")
    }),
    ("of another trust domain", |n| {
        json!({
            "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshMember",
            "metadata": {"name": format!("m{n}")},
            "spec": {
                "clusterDomain": "cluster.local", "podSubnets": [nth(10, n)],
                "serviceSubnets": [nth(172, n)], "trustDomain": "corp.example",
            },
        })
    }),
];

/// Writes of the local cluster's own objects and of single members, each with what it replaces.
fn writes() -> Vec<(Option<Value>, Value)> {
    let local = |pods: &str| configuration("local", pods, "10.222.0.0/16");
    let named = |object: Value| annotated(object, "isthmus.dev/network", "n");
    let multicluster =
        |enabled: bool| module("istio", json!({"multicluster": {"enabled": enabled}}));
    let networks = "networks:\n  n:\n    endpoints: [{fromCidr: 10.0.0.0/8}]\n    gateways: [{address: 192.0.2.1, port: 443}]\n  o:\n    endpoints: [{fromCidr: 172.16.0.0/12}, {fromRegistry: nobody}]\n    gateways: [{address: 192.0.2.2, port: 443}]\n";
    let istio = json!({"meshNetworks": networks, "mesh": "trustDomain: cluster.local\n"});
    let uuid = json!({"cluster-uuid": "5f2a0b0e-0000-4000-8000-000000000001"});
    let template = json!({"modules": {"publicDomainTemplate": "%s.m1.example.com"}});
    let domain = |domain: &str| with(local("10.111.0.0/16"), &["clusterDomain"], domain);
    vec![
        (Some(local("10.111.0.0/16")), local("10.112.0.0/16")),
        (Some(local("10.111.0.0/16")), named(local("10.111.0.0/16"))),
        (Some(domain("cluster.local")), domain("other.local")),
        (Some(domain("cluster.local")), domain("example.com")),
        (
            None,
            module("control-plane-manager", json!({"network": {"podSubnetCIDR": "10.113.0.0/16"}})),
        ),
        (Some(multicluster(true)), multicluster(false)),
        (None, module("global", template)),
        (None, config_map("kube-system", "d8-cluster-uuid", uuid)),
        (None, config_map("istio-system", "istio", istio)),
        (None, stated("new", false, "10.111.0.0/16", "10.223.0.0/16")),
        (None, stated("new", true, "10.111.0.0/16", "10.222.0.0/16")),
        (None, carried("new", configuration("new", "10.111.0.0/16", "10.222.0.0/16"))),
    ]
}

#[test]
fn a_verdict_costs_no_more_in_a_larger_mesh() {
    let mut failures = Vec::new();
    for local_member in ["local", ""] {
        let settings = Settings { local_member: local_member.into(), ..Settings::default() };
        let settings = Arc::new(settings);
        for (what, member) in MEMBERS {
            let base = [
                configuration("local", "10.111.0.0/16", "10.222.0.0/16"),
                module("istio", json!({"multicluster": {"enabled": true}})),
            ];
            let meshes = FLEETS.map(|n| {
                let objects = base.iter().cloned().chain((0..n).map(member));
                let readings = objects.map(|object| {
                    document::read(&Object::parse(&object.to_string()).unwrap(), &settings)
                });
                Mesh::of(Arc::clone(&settings), readings.collect::<Vec<_>>())
            });
            for (at, (old, new)) in writes().iter().enumerate() {
                let body = review(old.as_ref(), new).to_string().into_bytes();
                let mut least = [f64::INFINITY; 2];
                for _ in 0..TRIES {
                    for (mesh, least) in meshes.iter().zip(&mut least) {
                        let cost = cpu(|| drop(answer(mesh, Hook::Validate, &body).unwrap()));
                        *least = least.min(cost.as_secs_f64());
                    }
                    if least[1] < DEAREST_VERDICT * least[0] {
                        break;
                    }
                }
                let [small, large] = least.map(|seconds| seconds * 1e3);
                if large >= DEAREST_VERDICT * small {
                    failures.push(format!(
                        "{what}, local member {local_member:?}, write {at} ({} {}): {small:.2} ms and {large:.2} ms of CPU among {FLEETS:?} members",
                        new["kind"], new["metadata"]["name"]
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
