//! Other clusters that a write leads to: read, and held against that very write.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::{Value as Json, json};

use crate::support::TempDir;
use crate::support::elsewhere::{Elsewhere, Reply, Shows, kubeconfig, remote_secret};
use crate::support::objects::{multicluster, review, with};
use crate::support::process::Server;

const PATH: &str = "00112233445566778899aabbccddeeff";
const TOKEN: &str = "planted-token";

/// A member that clashes with nobody.
const SOUND: Shows<'static> = Shows {
    uid: "0b9d1c80-8a46-11ee-b9d1-0242ac120002",
    pods: "10.112.0.0/16",
    services: "10.223.0.0/16",
    domain: "cluster.local",
    network: "",
    id: "cluster-b",
};

/// What the guarded cluster is.
const LOCAL: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kubeadm-config, namespace: kube-system}\ndata:\n  ClusterConfiguration: |\n    apiVersion: kubeadm.k8s.io/v1beta4\n    kind: ClusterConfiguration\n    networking: {dnsDomain: cluster.local, podSubnet: 10.111.0.0/16, serviceSubnet: 10.222.0.0/16}\n";

/// isthmus, asked as an API server asks it.
struct Asked {
    server: Server,
    inventory: TempDir,
    _path: TempDir,
}

impl Asked {
    fn start(args: &[&str]) -> Self {
        let (inventory, path) = (TempDir::with("local.yaml", LOCAL), TempDir::with("path", PATH));
        let file = path.path().join("path");
        let args = &[args, &["--tls-path-file", file.to_str().unwrap()]].concat();
        let server = Server::start(inventory.path(), args);
        Self { server, inventory, _path: path }
    }

    fn review(&self, review: &Json) -> Json {
        self.server.review(&format!("/validate/{PATH}"), review)
    }

    fn create(&self, object: &Json) -> Json {
        self.review(&review(None, object))
    }

    /// What is known of a member from now on.
    fn learn(&self, name: &str, text: &str) {
        self.inventory.write(name, text);
        self.server.wait_inventory();
    }
}

/// Whether it was allowed, with all that it was told.
fn told(response: &Json) -> (bool, Vec<String>) {
    let causes = response["status"]["details"]["causes"].as_array().into_iter().flatten();
    let causes = causes.map(|cause| {
        format!("{}: {}", cause["field"].as_str().unwrap(), cause["message"].as_str().unwrap())
    });
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.map(|warning| warning.as_str().unwrap().to_owned());
    (response["allowed"].as_bool().unwrap(), causes.chain(warnings).collect())
}

fn showing(shows: &Shows<'static>) -> Elsewhere {
    let shows = shows.clone();
    Elsewhere::start(move |path| shows.reply(path))
}

fn secret(peer: &Elsewhere) -> Json {
    remote_secret("cluster-b", &peer.kubeconfig("cluster-b", TOKEN))
}

/// The identity of the UPDATE's old object.
fn update(old: &Json, new: &Json) -> Json {
    review(Some(old), new)
}

#[test]
fn a_cluster_that_clashes_cannot_join() {
    let asked = Asked::start(&["--reach=true"]);
    let overlapping = Shows { pods: "10.111.0.0/16", domain: "other.local", ..SOUND };
    let peer = showing(&overlapping);
    let (allowed, causes) = told(&asked.create(&secret(&peer)));
    assert!(!allowed);
    assert_eq!(
        causes,
        [
            "data[cluster-b]: cluster domain other.local differs from cluster.local of member \"local\" (ConfigMap kube-system/kubeadm-config), as Pod istio-system/istiod-1 (--domain) shows; the member cannot be used in this mesh until its cluster is rebuilt with cluster.local [ClusterDomainMismatch]",
            "data[cluster-b]: pod subnet 10.111.0.0/16 overlaps pod subnet 10.111.0.0/16 of member \"local\" (ConfigMap kube-system/kubeadm-config) on the same network, as Pod kube-system/kube-controller-manager-m (--cluster-cidr) shows; next free /16: 10.112.0.0/16; or, if \"cluster-b\" is on another network, label its Istio namespace topology.istio.io/network [SubnetOverlap]",
        ]
    );
    let mut dry_run = review(None, &secret(&peer));
    dry_run["request"]["dryRun"] = true.into();
    assert_eq!(told(&asked.review(&dry_run)).1, causes, "a dry run tells the same");
    assert_eq!(told(&asked.create(&secret(&showing(&SOUND)))), (true, Vec::new()));
    // On a network of its own.
    let apart = Shows { network: "vpc-b", domain: "cluster.local", ..overlapping };
    let (allowed, warnings) = told(&asked.create(&secret(&showing(&apart))));
    assert!(allowed, "{warnings:?}");
    assert!(warnings[0].contains("on a network without a gateway"), "{warnings:?}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn what_stood_is_never_denied_for_facts() {
    let asked = Asked::start(&["--reach=true"]);
    let overlapping = Shows { pods: "10.111.0.0/16", ..SOUND };
    let (peer, other) = (showing(&overlapping), showing(&overlapping));
    let stands = secret(&peer);
    let rotated = remote_secret("cluster-b", &peer.kubeconfig("cluster-b", "rotated"));
    // Another address, another authority: the same cluster by its UID.
    for new in [&rotated, &secret(&other)] {
        let (allowed, warnings) = told(&asked.review(&update(&stands, new)));
        assert!(allowed, "{warnings:?}");
        assert!(warnings[0].ends_with("[SubnetOverlap, existed before]"), "{warnings:?}");
    }
    // Another cluster.
    let rebuilt = Shows { uid: "1c9d1c80-8a46-11ee-b9d1-0242ac120002", ..overlapping.clone() };
    assert!(!told(&asked.review(&update(&stands, &secret(&showing(&rebuilt))))).0);
    // A label is no reason to look.
    let asked_before = peer.asked("/");
    let labelled = with(stands.clone(), &["metadata", "labels", "a"], "b");
    assert_eq!(told(&asked.review(&update(&stands, &labelled))), (true, Vec::new()));
    assert_eq!(peer.asked("/"), asked_before);
    // A member that is known to have stood is restored.
    let fact = |value: Json| json!({"value": value, "from": "x", "exact": true, "at": "2026-11-01T00:00:00Z"});
    let observed = json!({
        "uid": fact(overlapping.uid.into()), "podSubnets": fact(json!([overlapping.pods])),
    });
    let known = json!({
        "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshMember",
        "metadata": {"name": "cluster-b"}, "status": {"observed": observed},
    });
    asked.learn("b.yaml", &known.to_string());
    let (allowed, warnings) = told(&asked.create(&stands));
    assert!(allowed, "{warnings:?}");
    assert!(warnings[0].ends_with("[SubnetOverlap, existed before]"), "{warnings:?}");
    // By its UID: one that was rebuilt with what clashes is not that member.
    let moved = remote_secret("cluster-b", &showing(&rebuilt).kubeconfig("cluster-b", TOKEN));
    assert!(!told(&asked.create(&moved)).0);
    // So is one whose Secret stands, though the other cluster had clashed as well.
    let (allowed, causes) = told(&asked.review(&update(&stands, &moved)));
    assert!(!allowed && causes[0].ends_with("[SubnetOverlap]"), "{causes:?}");
}

#[test]
fn a_secret_that_leads_home_is_harmless_under_the_cluster_s_own_id_alone() {
    let asked = Asked::start(&["--reach=true"]);
    let own = json!({
        "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshMember", "metadata": {"name": "local"},
        "status": {"observed": {"uid": {
            "value": SOUND.uid, "from": "Namespace kube-system", "exact": true,
            "at": "2026-11-01T00:00:00Z",
        }}},
    });
    asked.learn("own.yaml", &own.to_string());
    let home = Shows { pods: "10.111.0.0/16", services: "10.222.0.0/16", ..SOUND };
    let (allowed, warnings) = told(&asked.create(&secret(&showing(&home))));
    assert!(allowed, "{warnings:?}");
    let expected = "data[cluster-b]: leads to this cluster itself, by the UID of its namespace kube-system; apply the Secret in the other clusters only [InvalidRemoteSecret]";
    assert_eq!(warnings, [expected]);
    let (allowed, causes) = told(&asked.create(&secret(&showing(&Shows { id: "other", ..home }))));
    assert!(!allowed && causes.len() == 1, "{causes:?}");
    assert!(causes[0].contains("so Istio finds each of its endpoints twice"), "{causes:?}");
}

#[test]
fn what_an_operator_renders_or_people_allow_is_not_denied_for_facts() {
    let asked = Asked::start(&["--reach=true"]);
    let peer = showing(&Shows { pods: "10.111.0.0/16", ..SOUND });
    let owner = json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]);
    let rendered = with(secret(&peer), &["metadata", "ownerReferences"], owner);
    let (allowed, warnings) = told(&asked.create(&rendered));
    assert!(allowed && warnings[0].ends_with("[SubnetOverlap, rendered by an operator]"));
    let allow = "isthmus.dev/allow";
    let permitted = with(secret(&peer), &["metadata", "annotations", allow], "SubnetOverlap");
    let (allowed, warnings) = told(&asked.create(&permitted));
    assert!(allowed && warnings[0].ends_with("[SubnetOverlap, allowed by annotation]"));
    asked.learn(
        "b.yaml",
        "apiVersion: isthmus.dev/v1alpha1\nkind: MeshMember\nmetadata: {name: cluster-b, annotations: {isthmus.dev/allow: SubnetOverlap}}\n",
    );
    assert!(told(&asked.create(&secret(&peer))).0);
}

#[test]
fn what_cannot_be_read_is_told_by_its_class_and_denies_nothing() {
    let asked = Asked::start(&["--reach=true", "--reach-timeout=8s"]);
    let impatient = Asked::start(&["--reach=true", "--reach-timeout=1s"]);
    let answers = |status: u16| Elsewhere::start(move |_| Reply::Answer(status, TOKEN.to_owned()));
    let mut foreign = showing(&SOUND);
    foreign.authority.clone_from(&answers(200).authority);
    let gone = kubeconfig("cluster-b", "https://192.0.2.254:1", &foreign.authority, TOKEN);
    let gone = remote_secret("cluster-b", &gone.replace("192.0.2.254:1", "name.invalid:6443"));
    let silent = Elsewhere::start(|_| Reply::Hang);
    let endless = Elsewhere::start(|_| Reply::Endless);
    let cases = [
        (secret(&answers(401)), "it does not accept the credentials (401)"),
        (
            secret(&answers(403)),
            "it does not let its namespace kube-system be read, whose UID is its identity",
        ),
        (
            secret(&answers(302)),
            "it redirects to another address, which isthmus does not follow (302)",
        ),
        (secret(&answers(500)), "it answers with status 500"),
        (secret(&answers(200)), "it does not answer as an API server of Kubernetes does"),
        (
            secret(&foreign),
            "its certificate is not signed by the certificate authority (CA) of the kubeconfig",
        ),
        (secret(&endless), "its answers are larger than isthmus reads"),
        (gone, "the name of its server cannot be resolved"),
    ];
    let cases = cases.map(|(secret, why)| (&asked, secret, why));
    let slow = (&impatient, secret(&silent), "it does not answer in time");
    for (asked, secret, why) in cases.into_iter().chain([slow]) {
        let (allowed, warnings) = told(&asked.create(&secret));
        assert!(allowed);
        let expected = format!(
            "data[cluster-b]: the cluster cannot be read, so it is not checked: {why}; check its server and credentials, or state its facts in a MeshMember [UnknownFacts]"
        );
        assert_eq!(warnings, [expected]);
    }
    let metrics = asked.server.admin("/metrics").text();
    assert!(metrics.contains("isthmus_reaches_total{outcome=\"Unauthorized\"} 1"), "{metrics}");
    for text in [asked.server.all_logged(), metrics] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn a_write_that_is_repeated_is_looked_into_once() {
    let asked = Asked::start(&["--reach=true"]);
    let peer = showing(&Shows { pods: "10.111.0.0/16", ..SOUND });
    let secret = secret(&peer);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(!told(&asked.create(&secret)).0));
        }
    });
    assert!(!told(&asked.create(&secret)).0);
    assert_eq!(peer.asked("/api/v1/namespaces/kube-system?"), 0);
    assert_eq!(peer.asked("/api/v1/namespaces/istio-system/configmaps/istio"), 1);
}

#[test]
fn nobody_else_waits_while_every_cluster_hangs() {
    let asked = Asked::start(&["--reach=true", "--reach-timeout=8s"]);
    let peers: Vec<_> = (0..48).map(|_| Elsewhere::start(|_| Reply::Hang)).collect();
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        for peer in &peers {
            scope.spawn(|| {
                let mut review = review(None, &secret(peer));
                review["request"]["name"] = "x".into();
                let path = format!("/validate/{PATH}?timeout=30s");
                assert!(told(&asked.server.review(&path, &review)).0);
                ended.fetch_add(1, Relaxed);
            });
        }
        asked.server.wait_metric("isthmus_reviews_in_flight", 48.0);
        for n in 0..100 {
            let name = format!("m{n}");
            assert!(asked.server.allows(&review(None, &multicluster(&name))));
            assert_eq!(ended.load(Relaxed), 0, "they hang still");
        }
    });
    // Eight were visited at once, and the others not at all.
    let visited = peers.iter().filter(|peer| peer.asked("/") > 0).count();
    assert_eq!(visited, 8);
}

#[test]
fn only_the_api_server_has_other_clusters_read_and_only_for_istio_s_namespaces() {
    let asked = Asked::start(&["--reach=true"]);
    let peer = showing(&Shows { pods: "10.111.0.0/16", ..SOUND });
    assert!(asked.server.allows(&review(None, &secret(&peer))), "somebody else asks");
    let elsewhere = with(secret(&peer), &["metadata", "namespace"], "default");
    assert!(told(&asked.create(&elsewhere)).0);
    let plain = with(secret(&peer), &["metadata", "labels", "istio/multiCluster"], "false");
    assert!(told(&asked.create(&plain)).0);
    let off = Asked::start(&["--reach=false"]);
    assert_eq!(told(&off.create(&secret(&peer))), (true, Vec::new()));
    assert_eq!(peer.asked("/"), 0);
    // What is wrong by itself leads nowhere.
    let wrong = peer.kubeconfig("cluster-b", TOKEN).replace("\"token\"", "\"tokenFile\"");
    assert!(!told(&asked.create(&remote_secret("cluster-b", &wrong))).0);
    assert_eq!(peer.asked("/"), 0);
}

#[test]
fn an_istiomulticluster_that_leads_home_or_to_a_member_is_denied_by_the_uuid_there() {
    const OWN: &str = "0b9d1c80-8a46-11ee-b9d1-0242ac120009";
    let asked = Asked::start(&["--reach=true"]);
    asked.learn(
        "uuid.yaml",
        &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: d8-cluster-uuid, namespace: kube-system}}\ndata: {{cluster-uuid: {OWN}}}\n"),
    );
    let publishing = |uuid: &str| {
        let public = json!({"clusterUUID": uuid, "authnKeyPub": "x", "rootCA": "x"}).to_string();
        Elsewhere::start(move |path| match path {
            "/metadata/public/public.json" => Reply::Answer(200, public.clone()),
            _ => Reply::Answer(404, String::new()),
        })
    };
    let leading = |name: &str, peer: &Elsewhere| {
        let endpoint = format!("https://{}/metadata/", peer.address);
        let object = with(multicluster(name), &["spec", "metadataEndpoint"], endpoint);
        with(object, &["spec", "metadata"], json!({"ca": peer.authority}))
    };
    let home = publishing(OWN);
    let (allowed, causes) = told(&asked.create(&leading("b", &home)));
    assert!(!allowed);
    let expected = format!(
        "spec.metadataEndpoint: cluster UUID {OWN} is also that of ConfigMap kube-system/d8-cluster-uuid: the cluster refers to itself; delete the IstioMulticluster here, and apply it in the other clusters [SelfReference]"
    );
    assert_eq!(causes[0], expected);
    let joined = with(
        multicluster("c"),
        &["status"],
        json!({"metadataCache": {"public": {"clusterUUID": SOUND.uid}}}),
    );
    asked.learn("c.yaml", &joined.to_string());
    let (allowed, causes) = told(&asked.create(&leading("b", &publishing(SOUND.uid))));
    assert!(!allowed && causes[0].ends_with("[DuplicateMember]"), "{causes:?}");
    let other = publishing("0b9d1c80-8a46-11ee-b9d1-0242ac120007");
    assert!(told(&asked.create(&leading("b", &other))).0);
    let silent = Elsewhere::start(|_| Reply::Answer(200, "<html>".to_owned()));
    let (allowed, warnings) = told(&asked.create(&leading("b", &silent)));
    assert!(allowed);
    let why = "spec.metadataEndpoint: the metadata cannot be read, so nobody knows which cluster this is: what it answers is not a cluster's public metadata; check the endpoint, and that isthmus may connect to it [UnknownFacts]";
    assert!(warnings.contains(&why.to_owned()), "{warnings:?}");
}

#[test]
fn an_endpoint_that_is_publicly_trusted_needs_no_authority_in_the_object() {
    let peer = Elsewhere::start(|path| match path {
        "/metadata/public/public.json" => {
            Reply::Answer(200, json!({"clusterUUID": SOUND.uid}).to_string())
        }
        _ => Reply::Answer(404, String::new()),
    });
    let files = TempDir::with("roots.pem", &peer.authority);
    files.write("path", PATH);
    let inventory = TempDir::with(
        "uuid.yaml",
        &format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: d8-cluster-uuid, namespace: kube-system}}\ndata: {{cluster-uuid: {}}}\n",
            SOUND.uid
        ),
    );
    let [roots, path] = ["roots.pem", "path"].map(|name| files.path().join(name));
    let (inventory, path) = (inventory.path().to_str().unwrap(), path.to_str().unwrap());
    let args = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--reach=true"];
    let args = [&args[..], &["--inventory", inventory, "--tls-path-file", path]].concat();
    let endpoint = format!("https://{}/metadata/", peer.address);
    let object = with(multicluster("b"), &["spec", "metadataEndpoint"], endpoint);
    let create = |roots: &[(&str, &str)]| {
        let server = Server::run_within(roots, &args);
        server.wait_ready();
        told(&server.review(&format!("/validate/{PATH}"), &review(None, &object)))
    };
    let (is_admitted, warnings) = create(&[]);
    assert!(is_admitted);
    assert!(warnings.iter().any(|it| it.contains("its certificate is not")), "{warnings:?}");
    let (is_admitted, causes) = create(&[("SSL_CERT_FILE", roots.to_str().unwrap())]);
    assert!(!is_admitted && causes[0].ends_with("[SelfReference]"), "{causes:?}");
}
