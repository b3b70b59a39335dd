//! Writes that a replica admits and that are never stored: who is judged by another replica waits for
//! them, and not for ever.

use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::support::api::{Api, MEMBERS};
use crate::support::cable::Cable;
use crate::support::client::Answer;
use crate::support::guarded::{Guarded, LEDGER, VALIDATE, isthmus};
use crate::support::objects::{bare, config_map, configuration, described, labelled, with, yaml};
use crate::support::process::Server;
use crate::support::racing::Ring;
use crate::support::transcript::Transcript;
use crate::support::{TempDir, wait_for};

/// How long an admitted write is held here; a rival is refused at most for so long and a sweep more.
const HOLD: &str = "--hold=2s";
/// With a ledger that they share, and where there is no other.
const REPLICAS: [usize; 2] = [2, 1];
const TRIES: u32 = 5;
const DELAYED: &str = r#"isthmus_reviews_total{hook="validate",kind="IstioMulticluster",operation="CREATE",verdict="delayed"}"#;
const CONTESTED: &str = "https://istio.contested.example.com/metadata/";

#[test]
fn a_write_that_another_webhook_denies_blocks_others_only_briefly() {
    for replicas in REPLICAS {
        let ring = Ring::start(replicas, &[HOLD]);
        let _denier = Denier::start(&ring.cluster, "denied");
        passes(&ring, &|api| {
            let answer = api.create(MEMBERS, &peer("denied-0", CONTESTED));
            assert_eq!(answer.status, 422, "{}", answer.text());
            assert!(answer.text().contains("(IstioMulticluster twin)"), "{}", answer.text());
        });
    }
}

#[test]
fn a_write_that_a_quota_rejects_blocks_others_only_briefly() {
    // A member that is only described denies nobody else by its subnets otherwise.
    let ring = Ring::start(2, &[HOLD, "--described-overlap=Deny"]);
    let _quota = Quota::of_no_config_map(&ring.cluster);
    let text = yaml(&bare(configuration("quota", "10.155.0.0/16", "10.156.0.0/16")));
    let member = config_map("isthmus", "quota-0", json!({"cluster-configuration.yaml": text}));
    let member = labelled(member, "isthmus.dev/member", "quota");
    passes(&ring, &|api| {
        let answer = api.create("/api/v1/namespaces/isthmus/configmaps", &member);
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("exceeded quota"), "{}", answer.text());
    });
}

#[test]
fn a_write_of_an_existing_name_blocks_others_only_briefly() {
    let ring = Ring::start(2, &[HOLD]);
    let stored = peer("exists-0", "https://istio.exists.example.com/metadata/");
    assert_eq!(ring.api().create(MEMBERS, &stored).status, 201);
    ring.with_each(|replica| replica.wait_metric("isthmus_watched_objects", 1.0));
    passes(&ring, &|api| {
        let answer = api.create(MEMBERS, &peer("exists-0", CONTESTED));
        assert_eq!(answer.status, 409, "{}", answer.text());
    });
}

#[test]
fn a_write_that_times_out_blocks_others_only_briefly() {
    let ring = Ring::start(2, &[HOLD]);
    // Connections are made, and nothing is ever answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    register(&ring.cluster, "late", &url, "");
    passes(&ring, &|api| {
        let answer = api.create(MEMBERS, &peer("late-0", CONTESTED));
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains("failed calling webhook"), "{}", answer.text());
    });
}

#[test]
fn a_generated_name_that_is_never_used_blocks_others_only_briefly() {
    let ring = Ring::start(2, &[HOLD]);
    let _denier = Denier::start(&ring.cluster, "generated");
    passes(&ring, &|api| {
        let mut generated = peer("", CONTESTED);
        generated["metadata"] = json!({"generateName": "generated-"});
        // Each try is of another name, and is held apart; it may have to wait for those before it.
        for _ in 0..3 {
            let answer = api.create(MEMBERS, &generated);
            assert!([422, 429].contains(&answer.status), "{}", answer.text());
        }
    });
}

#[test]
fn kubectl_retries_by_itself_until_the_pending_write_is_over() {
    let mut told = Transcript::new("pending");
    let ring = Ring::start(2, &["--hold=4s"]);
    let delayed = || ring.with(1, |rival| rival.metric(DELAYED).unwrap_or_default());
    let denier = Denier::start(&ring.cluster, "denied");
    let rival = peer("rival-1", CONTESTED);
    told.note("A write was admitted and is not stored, as another webhook denies it.");
    for tries in 1.. {
        let denied = ring.api().create(MEMBERS, &peer("denied-0", CONTESTED));
        assert_eq!(denied.status, 422, "{}", denied.text());
        // On a slow machine a hold may be over before the rival comes.
        let made = ring.cluster.create(&rival.to_string());
        assert!(made.succeeded, "{made:?}");
        if delayed() > 0.0 {
            told.print("kubectl create -f - # IstioMulticluster rival-1", &made.stdout);
            break;
        }
        assert!(tries < TRIES, "what is admitted counts at once");
        ring.cluster.kubectl(&["delete", "istiomulticluster/rival-1"], "").ok();
    }
    drop((denier, ring));

    let ring = Ring::start(2, &[]);
    let delayed = || ring.with(1, |rival| rival.metric(DELAYED).unwrap_or_default());
    told.note("A write was admitted, and then it is stored.");
    let winner = crate::support::peer("winner-0", CONTESTED);
    assert_eq!(ring.with(0, |replica| replica.review(VALIDATE, &winner))["allowed"], true);
    std::thread::scope(|scope| {
        let made = scope.spawn(|| ring.cluster.create(&rival.to_string()));
        wait_for("the rival to be delayed", || (delayed() > 0.0).then_some(()));
        let winner = ring.api().create(MEMBERS, &peer("winner-0", CONTESTED));
        assert_eq!(winner.status, 201, "{}", winner.text());
        let made = made.join().unwrap();
        assert!(made.stderr.contains("(IstioMulticluster winner-0)"), "{made:?}");
        told.print("kubectl create -f - # IstioMulticluster rival-1", &made.stderr);
    });
    told.check();
}

#[test]
fn a_denial_does_not_rest_on_a_deleted_object() {
    const LARGE: usize = 200 << 10;
    let cluster = Guarded::start_unasked();
    let cable = Cable::to(cluster.plane.api());
    let server = cluster.replica_by(cable.address, &[]);
    server.wait_ready();
    let mut taken = peer("taken", CONTESTED);
    taken["metadata"]["annotations"] = json!({"note": "x".repeat(LARGE)});
    let mut api = cluster.plane.admin();
    assert_eq!(api.create(MEMBERS, &taken).status, 201);
    server.wait_metric("isthmus_watched_objects", 1.0);
    let rival = crate::support::peer("rival", CONTESTED);
    assert!(!server.allows(&rival));
    // The connection of one watch goes silent, which takes a while to be noticed.
    assert_eq!(cable.die_where_received(LARGE), 1);
    cluster.kubectl(&["delete", "istiomulticluster/taken"], "").ok();
    assert!(!server.allows(&rival), "for a stranger nothing is read");
    let answer = server.review(VALIDATE, &rival);
    assert_eq!(answer["allowed"], true, "{answer}");
}

/// A write is admitted and not stored: who claims the same waits for it, is not denied, and passes.
fn passes(ring: &Ring, write: &dyn Fn(&mut Api)) {
    let mut api = ring.api();
    // On a slow machine a hold may be over before the rival comes.
    let waited = (0..TRIES).any(|_| {
        write(&mut api);
        let mut waits = 0;
        wait_for("the rival to be admitted", || {
            let answer = api.create(MEMBERS, &rival());
            if answer.status == 429 {
                waits += 1;
                is_told_what_it_waits_for(&answer);
            } else {
                assert_eq!(answer.status, 201, "{}", answer.text());
            }
            (answer.status == 201).then_some(())
        });
        // What was stored and is gone is told to those who cannot see it any more.
        api.delete(&format!("{MEMBERS}/rival-1"));
        wait_for("it to be told", || {
            let is_there = ring.api().get(LEDGER)["metadata"].to_string().contains("rival-1");
            (!is_there).then_some(())
        });
        waits > 0
    });
    assert!(waited, "what is admitted counts at once");
    ring.with_each(|replica| replica.wait_metric("isthmus_held_writes", 0.0));
    // kubectl needs nobody to repeat it.
    write(&mut api);
    ring.cluster.create(&rival().to_string()).ok();
}

fn is_told_what_it_waits_for(answer: &Answer) {
    let status: Json = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(status["reason"], "TooManyRequests", "{status}");
    let seconds = status["details"]["retryAfterSeconds"].as_u64().unwrap();
    assert!((1..=6).contains(&seconds), "{status}");
    assert_eq!(answer.header("retry-after"), Some(&*seconds.to_string()), "{status}");
    let message = status["message"].as_str().unwrap();
    let told = ["has to wait", "just admitted and may not be stored", ", just admitted)"];
    assert!(told.iter().all(|told| message.contains(told)), "{message}");
    assert!(!message.contains("next free"), "no other subnet is advised: {message}");
}

/// Somebody else who wants the same endpoint and the same subnets, which another replica judges, if
/// there is one.
fn rival() -> Json {
    let pods = [("pod-subnet-cidr", "10.155.0.0/16")];
    with(described("rival-1", false, &pods), &["spec", "metadataEndpoint"], CONTESTED)
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
