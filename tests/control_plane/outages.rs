//! What comes, goes and breaks: resources, the API server, isthmus itself, and two at once.

use std::sync::Barrier;

use base64::Engine;
use serde_json::{Value as Json, json};

use crate::support::api::MEMBERS;
use crate::support::guarded::{CRDS, Guarded, described, local, member};
use crate::support::objects::{self, review};
use crate::support::transcript::Transcript;
use crate::support::wait_for;

#[test]
fn resources_that_come_later_and_go_are_normal() {
    let cluster = Guarded::start_with("", "Fail");
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    for _ in 0..2 {
        cluster.kubectl(&["apply", "-f", "-"], CRDS).ok();
        cluster.wait_established();
        cluster.register("Fail");
        wait_for("the resource", || {
            let made = cluster.create(&member("a", "https://istio.a.example.com/metadata/"));
            (made.succeeded || made.stderr.contains("AlreadyExists")).then_some(())
        });
        cluster.wait_watched(2);
        let twin = cluster.create(&member("b", "https://istio.a.example.com/metadata/"));
        assert!(twin.stderr.contains("(IstioMulticluster a)"), "{twin:?}");
        cluster.kubectl(&["delete", "crd", "--all"], "").ok();
        cluster.wait_watched(1);
        cluster.isthmus.wait_metric("isthmus_lost_watches", 0.0);
    }
}

#[test]
fn a_resource_stays_visible_when_its_served_version_changes() {
    let version = |name: &str, served: bool, storage: bool| {
        format!(
            "    - name: {name}\n      served: {served}\n      storage: {storage}\n      schema:\n        openAPIV3Schema:\n          type: object\n          x-kubernetes-preserve-unknown-fields: true\n"
        )
    };
    let new = version("v1", true, true);
    assert!(CRDS.contains(&new));
    let old = CRDS.replace(&new, &version("v1alpha1", true, true));
    let cluster = Guarded::start_with("", "Fail");
    cluster.kubectl(&["apply", "-f", "-"], &old).ok();
    cluster.wait_established();
    cluster.register("Fail");
    let far = |version: &str, pods: &str| {
        format!(
            "apiVersion: deckhouse.io/{version}\nkind: ClusterConfiguration\nmetadata:\n  name: far\npodSubnetCIDR: {pods}\nserviceSubnetCIDR: 10.223.0.0/16\n"
        )
    };
    let flat = |pods: &str| described("near", false, &[("pod-subnet-cidr", pods)]);
    let refused = |pods: &str| {
        let dry_run = ["create", "--dry-run=server", "-f", "-"];
        let near = cluster.kubectl(&dry_run, &flat(pods));
        assert!(near.succeeded || near.stderr.contains("(ClusterConfiguration far)"), "{near:?}");
        !near.succeeded
    };
    let replace = ["replace", "-f", "-"];
    cluster.create(&far("v1alpha1", "10.112.0.0/16")).ok();
    cluster.wait_watched(1);
    assert!(refused("10.112.0.0/16"));
    cluster.kubectl(&replace, &far("v1alpha1", "10.113.0.0/16")).ok();
    cluster.wait_watched(1);
    assert!(refused("10.113.0.0/16") && !refused("10.112.0.0/16"));
    // The new version beside the old one, and then alone.
    for (is_served, pods) in [(true, "10.114.0.0/16"), (false, "10.115.0.0/16")] {
        let both = new.clone() + &version("v1alpha1", is_served, false);
        let crds = CRDS.replace(&new, &both);
        cluster.kubectl(&["apply", "-f", "-"], &crds).ok();
        wait_for("the new version", || {
            cluster.kubectl(&replace, &far("v1", pods)).succeeded.then_some(())
        });
        // Not what was admitted, but what the watch tells.
        cluster.wait_watched(1);
        assert!(refused(pods) && !refused("10.113.0.0/16"));
    }
    wait_for("the old version to be gone", || {
        let old = ["get", "--raw=/apis/deckhouse.io/v1alpha1/clusterconfigurations"];
        (!cluster.kubectl(&old, "").succeeded).then_some(())
    });
    for pods in ["10.116.0.0/16", "10.117.0.0/16"] {
        cluster.kubectl(&replace, &far("v1", pods)).ok();
        cluster.wait_watched(1);
        assert!(refused(pods) && !refused("10.115.0.0/16"));
    }
    cluster.isthmus.wait_metric("isthmus_lost_watches", 0.0);
    cluster.kubectl(&["delete", "clusterconfiguration/far"], "").ok();
    cluster.wait_watched(0);
}

#[test]
fn a_watch_whose_past_is_gone_starts_again() {
    let cluster = Guarded::start();
    let kept = member("kept", "https://istio.kept.example.com/metadata/");
    let lost = member("lost", "https://istio.lost.example.com/metadata/");
    cluster.create(&(kept + "---\n" + &lost)).ok();
    cluster.wait_watched(2);
    let again = "starting again with a list";
    assert!(!cluster.isthmus.logged().contains(again), "{}", cluster.isthmus.logged());
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    cluster.plane.while_api_server_sleeps(|| {
        // Nothing that was under way outlives etcd, so the API server has to ask for what came
        // after the last revision that it knows, and that is compacted.
        cluster.plane.stop_etcd();
        cluster.plane.start_etcd();
        let key = base64("/registry/deckhouse.io/istiomulticlusters/lost");
        let deleted = cluster.plane.etcd("/v3/kv/deleterange", &json!({"key": key}));
        assert_eq!(deleted["deleted"], "1");
        let note = json!({"key": base64("/tests/note"), "value": base64("x")});
        let put = cluster.plane.etcd("/v3/kv/put", &note);
        let revision = &put["header"]["revision"];
        cluster.plane.etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true}));
    });
    // The watch is told so, or its call is ended.
    cluster.isthmus.wait_logged("; starting again with a list");
    cluster.wait_watched(1);
    let twin = |of: &str| member("twin", &format!("https://istio.{of}.example.com/metadata/"));
    let dry_run = ["create", "--dry-run=server", "-f", "-"];
    wait_for("the API server", || cluster.kubectl(&dry_run, &twin("lost")).succeeded.then_some(()));
    let refused = cluster.kubectl(&dry_run, &twin("kept"));
    assert!(refused.stderr.contains("(IstioMulticluster kept)"), "{refused:?}");
    assert!(!cluster.isthmus.logged().contains("is lost"), "{}", cluster.isthmus.logged());
    cluster.create(&member("later", "https://istio.later.example.com/metadata/")).ok();
    cluster.wait_watched(2);
}

#[test]
fn a_lost_api_server_keeps_the_last_known_state() {
    let cluster = Guarded::start();
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    assert_eq!(cluster.isthmus.metric("isthmus_inventory_age_seconds"), Some(0.0));
    let subnet = [("pod-subnet-cidr", "10.111.0.0/16")];
    let review = review(None, &objects::described("a", false, &subnet));
    assert!(!cluster.isthmus.allows(&review));
    cluster.plane.stop_api_server();
    let watches = isthmus::cluster::watches(&isthmus::settings::Settings::default()).len();
    let all = f64::from(u32::try_from(watches).unwrap());
    cluster.isthmus.wait_metric("isthmus_lost_watches", all);
    assert!(!cluster.isthmus.allows(&review), "what was known stands");
    assert_eq!(cluster.isthmus.admin("/readyz").status, 200);
    wait_for("the age", || {
        (cluster.isthmus.metric("isthmus_inventory_age_seconds")? > 0.0).then_some(())
    });
    cluster.plane.start_api_server();
    cluster.isthmus.wait_metric("isthmus_lost_watches", 0.0);
    assert_eq!(cluster.isthmus.metric("isthmus_inventory_age_seconds"), Some(0.0));
    cluster.kubectl(&["delete", "-n=kube-system", "secret/d8-cluster-configuration"], "").ok();
    cluster.wait_watched(0);
    let logged = cluster.isthmus.log_lines();
    let is_loss = |line: &&Json| line["message"].as_str().unwrap().contains("is lost;");
    let lost = logged.iter().filter(is_loss).count();
    assert_eq!(lost, 1, "told once: {}", cluster.isthmus.logged());
}

#[test]
fn without_isthmus_the_failure_policy_decides() {
    let mut told = Transcript::new("failure-policy");
    for policy in ["Fail", "Ignore"] {
        let mut cluster = Guarded::start_with(CRDS, policy);
        cluster.isthmus.terminate();
        cluster.isthmus.wait_exit();
        told.note(policy);
        let dry_run = ["create", "--dry-run=server", "-f", "-"];
        let bad = member("a", "https://istio.a.example.com");
        let printed = told.kubectl(&cluster, &dry_run, &bad);
        assert_eq!(printed.succeeded, policy == "Ignore", "{printed:?}");
        told.note("Objects that nobody asks about are stored.");
        let other =
            "{apiVersion: v1, kind: Secret, metadata: {name: other, namespace: kube-system}}";
        told.kubectl(&cluster, &["apply", "-f", "-"], other);
        cluster.kubectl(&["delete", "-n=kube-system", "secret/other"], "").ok();
    }
    told.check();
}

#[test]
fn of_two_racing_writes_one_is_stored() {
    const PAIRS: u32 = 200;
    let cluster = Guarded::start();
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    let barrier = Barrier::new(2);
    let race = |side: &str| -> Vec<bool> {
        let mut api = cluster.plane.admin();
        let mut stored = Vec::new();
        for pair in 0..PAIRS {
            let pods = format!("10.{}.{}.0/24", 120 + pair / 100, pair % 100);
            let name = format!("{side}-{pair}");
            let object = objects::described(&name, false, &[("pod-subnet-cidr", &pods)]);
            barrier.wait();
            let mut answer = api.create(MEMBERS, &object);
            // Until what was just admitted is stored, its rival waits.
            while answer.status == 429 {
                answer = api.create(MEMBERS, &object);
            }
            assert!([201, 422].contains(&answer.status), "{}", answer.text());
            stored.push(answer.status == 201);
        }
        stored
    };
    let (left, right) = std::thread::scope(|scope| {
        let (left, right) = (scope.spawn(|| race("left")), scope.spawn(|| race("right")));
        (left.join().unwrap(), right.join().unwrap())
    });
    for (pair, (left, right)) in left.iter().zip(&right).enumerate() {
        assert!(left != right, "pair {pair}: left {left}, right {right}");
    }
    cluster.wait_watched(PAIRS + 1);
}

#[test]
fn an_admitted_write_counts_before_its_event() {
    let cluster = Guarded::start();
    let peer = |name: &str| crate::support::peer(name, "https://istio.a.example.com/metadata/");
    let is_allowed = |review: &Json| cluster.asks(review)["allowed"].as_bool().unwrap();
    // Anybody may ask, but what is not known to be of the API server is not remembered.
    assert!(cluster.isthmus.allows(&peer("a")) && cluster.isthmus.allows(&peer("b")));
    assert_eq!(cluster.isthmus.metric("isthmus_held_writes"), Some(0.0));
    // Asked about, but never stored.
    assert!(is_allowed(&peer("a")));
    let answer = cluster.asks(&peer("b"));
    assert_eq!(answer["status"]["code"], 429);
    let delayed = |reason: &str| {
        let series = format!("isthmus_delayed_reviews_total{{reason=\"{reason}\"}}");
        cluster.isthmus.metric(&series)
    };
    assert_eq!((delayed("pending"), delayed("full")), (Some(1.0), Some(0.0)));
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains("member \"a\" (IstioMulticluster a, just admitted)"), "{message}");
    assert!(is_allowed(&peer("a")), "it does not clash with itself");
    assert!(!cluster.isthmus.allows(&peer("b")), "it counts for whoever asks");
    drop(cluster);

    let cluster = Guarded::start_by(CRDS, "Fail", &["--hold", "100ms"]);
    let is_allowed = |review: &Json| cluster.asks(review)["allowed"].as_bool().unwrap();
    assert!(is_allowed(&peer("a")));
    wait_for("the deadline", || is_allowed(&peer("b")).then_some(()));
    // A dry run is not held.
    cluster.isthmus.wait_metric("isthmus_held_writes", 0.0);
    let mut dry_run = peer("c");
    dry_run["request"]["dryRun"] = true.into();
    assert!(is_allowed(&dry_run));
    assert_eq!(cluster.isthmus.metric("isthmus_held_writes"), Some(0.0));
}

#[test]
fn etcd_stops_and_continues() {
    let cluster = Guarded::start();
    cluster.create(&member("a", "https://istio.a.example.com/metadata/")).ok();
    cluster.wait_watched(1);
    cluster.plane.stop_etcd();
    cluster.plane.start_etcd();
    wait_for("a write", || {
        let made = cluster.create(&member("b", "https://istio.b.example.com/metadata/"));
        (made.succeeded || made.stderr.contains("AlreadyExists")).then_some(())
    });
    cluster.wait_watched(2);
    let twin = cluster.create(&member("c", "https://istio.b.example.com/metadata/"));
    assert!(twin.stderr.contains("(IstioMulticluster b)"), "{twin:?}");
}

#[test]
fn a_thousand_members_come_in_a_burst() {
    const BURST: u32 = 1000;
    let cluster = Guarded::start();
    let create = &|from: u32| {
        let mut api = cluster.plane.admin();
        for at in (from..BURST).step_by(4) {
            let object = objects::multicluster(&format!("m-{at}"));
            let mut answer = api.create(MEMBERS, &object);
            // One user has so many pending writes at most, and comes again.
            while answer.status == 429 {
                answer = api.create(MEMBERS, &object);
            }
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|from| {
            scope.spawn(move || create(from));
        });
    });
    cluster.wait_watched(BURST);
    cluster.isthmus.wait_metric("isthmus_inventory_members", BURST.into());
}
