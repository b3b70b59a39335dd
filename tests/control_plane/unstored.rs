//! Writes that isthmus admits and that are never stored: a rival waits for them, and not for ever.

use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::support::api::{Api, MEMBERS};
use crate::support::client::Answer;
use crate::support::guarded::{CRDS, Guarded, isthmus};
use crate::support::objects::{bare, config_map, configuration, described, labelled, with, yaml};
use crate::support::process::Server;
use crate::support::{TempDir, wait_for};

/// How long an admitted write is held here, in seconds; a rival is refused at most for so long and
/// a sweep more.
const HOLD: &str = "2s";
const TRIES: u32 = 5;
const CONTESTED: &str = "https://istio.contested.example.com/metadata/";

#[test]
fn what_another_webhook_refuses_is_in_nobodys_way_for_long() {
    let cluster = Guarded::start_by(CRDS, "Fail", &["--hold", HOLD]);
    let _denier = Denier::start(&cluster, "denied");
    passes(&cluster, &|api| {
        let answer = api.create(MEMBERS, &peer("denied", CONTESTED));
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains("(IstioMulticluster twin)"), "{}", answer.text());
    });
}

#[test]
fn what_a_quota_refuses_is_in_nobodys_way_for_long() {
    let cluster = Guarded::start_by(CRDS, "Fail", &["--hold", HOLD]);
    let quota = Quota::of_no_config_map(&cluster);
    let text = yaml(&bare(configuration("quota", "10.155.0.0/16", "10.156.0.0/16")));
    let member = config_map("isthmus", "quota", json!({"cluster-configuration.yaml": text}));
    let member = labelled(member, "isthmus.dev/member", "quota");
    passes(&cluster, &|api| {
        let answer = api.create("/api/v1/namespaces/isthmus/configmaps", &member);
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("exceeded quota"), "{}", answer.text());
    });
    drop(quota);
}

#[test]
fn what_exists_already_is_in_nobodys_way_for_long() {
    let cluster = Guarded::start_by(CRDS, "Fail", &["--hold", HOLD]);
    let mut api = cluster.plane.admin();
    let stored = peer("exists", "https://istio.exists.example.com/metadata/");
    assert_eq!(api.create(MEMBERS, &stored).status, 201);
    cluster.wait_watched(1);
    passes(&cluster, &|api| {
        let answer = api.create(MEMBERS, &peer("exists", CONTESTED));
        assert_eq!(answer.status, 409, "{}", answer.text());
    });
}

#[test]
fn what_times_out_is_in_nobodys_way_for_long() {
    let cluster = Guarded::start_by(CRDS, "Fail", &["--hold", HOLD]);
    // Connections are made, and nothing is ever answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    register(&cluster, "late", &url, "");
    passes(&cluster, &|api| {
        let answer = api.create(MEMBERS, &peer("late", CONTESTED));
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains("failed calling webhook"), "{}", answer.text());
    });
}

#[test]
fn a_generated_name_that_is_never_used_is_in_nobodys_way_for_long() {
    let cluster = Guarded::start_by(CRDS, "Fail", &["--hold", HOLD]);
    let _denier = Denier::start(&cluster, "generated");
    passes(&cluster, &|api| {
        let mut generated = peer("", CONTESTED);
        generated["metadata"] = json!({"generateName": "generated-"});
        // Each try is of another name, and is held apart.
        for _ in 0..3 {
            let answer = api.create(MEMBERS, &generated);
            assert_eq!(answer.status, 422, "{}", answer.text());
        }
    });
}

/// A write is admitted and not stored: what it claims is refused to another, and not for ever.
fn passes(cluster: &Guarded, write: &dyn Fn(&mut Api)) {
    let mut api = cluster.plane.admin();
    // On a slow machine a hold may be over before the rival comes.
    let refused = (0..TRIES).any(|_| {
        write(&mut api);
        let mut refusals = 0;
        wait_for("the rival to be admitted", || {
            let answer = rival(&mut api);
            let told = answer.text();
            refusals += u32::from(answer.status == 422);
            // A refusal says what it is about, and that this may not be stored.
            let is_told = answer.status == 422 && told.contains("just admitted");
            assert!(answer.status == 201 || is_told, "{told}");
            (answer.status == 201).then_some(())
        });
        refusals > 0
    });
    assert!(refused, "what is admitted counts at once");
    cluster.isthmus.wait_metric("isthmus_held_writes", 0.0);
    assert_eq!(rival(&mut api).status, 201, "what is over does not come back");
}

/// Somebody else who wants the same endpoint and the same subnets, to see whether it goes.
fn rival(api: &mut Api) -> Answer {
    let pods = [("pod-subnet-cidr", "10.155.0.0/16")];
    let rival = described("rival", false, &pods);
    api.try_create(MEMBERS, &with(rival, &["spec", "metadataEndpoint"], CONTESTED))
}

fn peer(name: &str, endpoint: &str) -> Json {
    with(described(name, true, &[]), &["spec", "metadataEndpoint"], endpoint)
}

/// Has the API server ask another webhook as well, about members whose names begin so. The
/// configuration goes when the next test begins.
fn register(cluster: &Guarded, name: &str, url: &str, bundle: &str) {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": format!("{name}.example.com"),
            "clientConfig": {"url": url, "caBundle": bundle},
            "rules": [{
                "apiGroups": ["deckhouse.io"], "apiVersions": ["*"],
                "resources": ["istiomulticlusters"], "operations": ["CREATE"],
            }],
            "matchConditions": [{"name": "named", "expression": format!("request.name.startsWith('{name}')")}],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 1,
            "failurePolicy": "Fail",
        }],
    });
    cluster.kubectl(&["apply", "-f", "-"], &configuration.to_string()).ok();
    // Until the API server asks it: this one is refused in any case, by whoever is asked.
    let probe = peer(name, "https://istio.probe.example.com/metadata/");
    let mut api = cluster.plane.admin();
    wait_for(name, || (api.try_create(MEMBERS, &probe).status != 201).then_some(()));
}

/// A webhook that refuses the member of one name.
struct Denier {
    _server: Server,
    _directories: [TempDir; 2],
}

impl Denier {
    /// Another isthmus will do: of its mesh, a member has either endpoint already.
    fn start(cluster: &Guarded, name: &str) -> Self {
        let twin = |name: &str, endpoint: &str| {
            let manifest = peer(name, endpoint).to_string();
            format!("---\n{manifest}\n")
        };
        let inventory = TempDir::with(
            "twins.yaml",
            &(twin("twin", CONTESTED)
                + &twin("probed", "https://istio.probe.example.com/metadata/")),
        );
        let certificates = TempDir::new();
        let directory = certificates.path().to_str().unwrap();
        isthmus(&["certs", "--certs-dir", directory]);
        let server = Server::start(inventory.path(), &["--certs-dir", directory]);
        let authority = std::fs::read(certificates.path().join("ca.pem")).unwrap();
        let url = format!("https://{}/validate", server.webhook);
        register(cluster, name, &url, &STANDARD.encode(authority));
        Self { _server: server, _directories: [inventory, certificates] }
    }
}

/// A quota of the namespace of member ConfigMaps, which allows none.
struct Quota<'c>(&'c Guarded);

impl<'c> Quota<'c> {
    fn of_no_config_map(cluster: &'c Guarded) -> Self {
        let mut quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": "isthmus"},
            "spec": {"hard": {"count/configmaps": "0"}},
        });
        cluster.kubectl(&["apply", "-f", "-"], &quota.to_string()).ok();
        // What the controller would write that a control plane of tests does not have.
        quota["status"] = json!({
            "hard": {"count/configmaps": "0"}, "used": {"count/configmaps": "0"},
        });
        let write = ["replace", "--subresource=status", "-f", "-"];
        cluster.kubectl(&write, &quota.to_string()).ok();
        let quota = Self(cluster);
        let probe =
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: probe, namespace: isthmus}}";
        wait_for("the quota", || {
            let answer = cluster.kubectl(&["create", "--dry-run=server", "-f", "-"], probe);
            answer.stderr.contains("exceeded quota").then_some(())
        });
        quota
    }
}

impl Drop for Quota<'_> {
    fn drop(&mut self) {
        self.0.kubectl(&["delete", "-n=isthmus", "resourcequota/none"], "");
    }
}
