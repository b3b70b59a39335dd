//! What the chart's objects do in a real cluster.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::calls::map;
use super::helm::{HELMS, IMAGE, chart, rendered};
use super::registry::{CASES, certified};
use super::release::{CREATE, Release};
use crate::support::api::{Api, MEMBERS};
use crate::support::guarded::{described, local, member};
use crate::support::wait_for;

const DRY_RUN: &[&str] = &["create", "--dry-run=server", "-f", "-"];

#[test]
fn the_api_server_takes_every_object_strictly() {
    let cluster = Release::none();
    let certificates = certified();
    let authority = certificates.path().join("ca.pem").display().to_string();
    // The network of the node is not for those who must be restricted.
    let unrestricted = "pod-security.kubernetes.io/enforce-";
    cluster.kubectl(&["label", "namespace/isthmus", unrestricted]).ok();
    // A Pod is not taken without its account, and a dry run makes none.
    for name in ["isthmus-probe", "guard-probe"] {
        let create = ["create", "--save-config", "serviceaccount", name, "-n=isthmus"];
        cluster.kubectl(&create).ok();
    }
    for case in CASES {
        let values: Vec<_> =
            case.values.iter().map(|value| value.replace("ca.pem", &authority)).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        for helm in HELMS {
            let manifests = rendered(helm, &values).unwrap();
            let apply = ["apply", "--dry-run=server", "--validate=strict", "-o=name", "-f", "-"];
            let objects = super::helm::objects(&manifests).len();
            // Admission knows of the label and the accounts a little later than whoever reads them.
            wait_for(&format!("{}, {helm}", case.name), || {
                let taken = cluster.plane.kubectl(&apply, &manifests);
                eprint!("{}", taken.stderr);
                let is_taken = taken.succeeded && taken.stderr.is_empty();
                (is_taken && taken.stdout.lines().count() == objects).then_some(())
            });
        }
    }
}

#[test]
fn a_release_lives_from_install_to_uninstall() {
    let node = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let mut release = Release::none();
    release.plane.kubectl(CREATE, &node("only").to_string()).ok();
    let namespaces = "--set=istioNamespaces={istio-system,istio-nowhere}";
    let monitored = "--set=serviceMonitor.enabled=true,prometheusRule.enabled=true,networkPolicy.enabled=true,dashboard.enabled=true";
    let printed = release.roll_out("install", &[namespaces, monitored]);
    let absent = "There is no namespace istio-nowhere yet";
    assert!(printed.contains(absent) && printed.contains("helm test isthmus"), "{printed}");
    let budget = |release: &Release| {
        release.get("poddisruptionbudget/isthmus")["spec"]["maxUnavailable"].clone()
    };
    assert_eq!(budget(&release), "100%", "the only node can be drained");

    let told = &printed[printed.find("kubectl --namespace isthmus create").unwrap()..];
    let told = &told[..told.find("\nEOF").unwrap() + 4];
    let refused = release.shell(told);
    assert!(refused.stderr.contains("[InvalidSubnet]"), "{told}: {refused:?}");

    let refused = release.plane.kubectl(DRY_RUN, &member("bad", "https://istio.bad.example.com"));
    assert!(refused.stderr.contains("[InvalidMetadataEndpoint]"), "{refused:?}");

    // It is sent remote Secrets, but cannot read one.
    let may = |verb: &str, secret: &str, namespace: &str| {
        let account = "--as=system:serviceaccount:isthmus:isthmus";
        let asked = ["auth", "can-i", verb, secret, namespace, account];
        release.kubectl(&asked).stdout.trim() == "yes"
    };
    assert!(may("get", "secrets/d8-cluster-configuration", "-n=kube-system"));
    for verb in ["get", "list", "watch"] {
        assert!(!may(verb, "secrets/istio-remote-secret-b", "-n=istio-system"), "{verb}");
    }

    let overlap = described("far", true, &[("pod-subnet-cidr", "10.111.0.0/16")]);
    release.plane.kubectl(CREATE, &local("10.111.0.0/16")).ok();
    release.isthmus().wait_metric("isthmus_watched_objects", 1.0);
    let warned = release.plane.kubectl(DRY_RUN, &overlap);
    assert!(warned.succeeded && warned.stderr.contains("Warning: "), "{warned:?}");

    release.plane.kubectl(CREATE, &node("second").to_string()).ok();
    let denying = "--set=multiNetworkOverlap=Deny,replicas=3";
    let printed = release.roll_out("upgrade", &[namespaces, denying]);
    assert!(printed.contains("REVISION: 2"), "{printed}");
    assert_eq!(budget(&release), 1, "a replica stays where there is another node");
    assert_eq!(release.get("deployment/isthmus")["status"]["readyReplicas"], 3);
    release.isthmus().wait_metric("isthmus_watched_objects", 1.0);
    let refused = release.plane.kubectl(DRY_RUN, &overlap);
    assert!(refused.stderr.contains("[SubnetOverlap]"), "{refused:?}");
    assert!(!release.kubectl(&["get", "servicemonitor/isthmus", "-n=isthmus"]).succeeded);

    release.roll_out("rollback", &["1"]);
    assert_eq!(release.get("deployment/isthmus")["spec"]["replicas"], 2);
    assert_eq!(release.get("servicemonitor/isthmus")["spec"]["endpoints"][0]["port"], "admin");
    release.isthmus().wait_metric("isthmus_watched_objects", 1.0);
    assert!(release.plane.kubectl(DRY_RUN, &overlap).succeeded);

    without_isthmus(&mut release);
    let begun = revision(&release);
    release.uninstall();
    in_order(&release, &begun);
    let bad = member("a", "https://istio.a.example.com");
    wait_for("the end", || release.plane.kubectl(DRY_RUN, &bad).succeeded.then_some(()));
    let left = release.kubectl(&["get", "all,sa,roles,rolebindings,cm", "-n=isthmus", "-o=name"]);
    assert_eq!(left.ok(), "");
    release.kubectl(&["delete", "nodes", "--all"]).ok();
}

#[test]
fn isthmus_does_not_queue_behind_those_who_wait_for_it() {
    let release = Release::install(&[]);
    release.kubectl(&["create", "serviceaccount", "writer", "-n=isthmus"]).ok();
    let uid = |kind: &str| release.get(&format!("{kind}/isthmus"))["metadata"]["uid"].clone();
    let level = uid("prioritylevelconfiguration");
    let served = |account: &str, path: &str| {
        let mut api = Api::by(release.plane.api(), &release.token(account));
        let answer = api.send("GET", path, &Json::Null);
        let header = |name: &str| Json::from(answer.header(name).unwrap());
        [header("X-Kubernetes-PF-FlowSchema-UID"), header("X-Kubernetes-PF-PriorityLevel-UID")]
    };
    // Those who are refused have been in the queue, too.
    let paths = [MEMBERS, "/api/v1/namespaces/kube-system/secrets", "/apis/deckhouse.io/v1"];
    for path in paths {
        wait_for("the schema to apply", || {
            (served("isthmus", path) == [uid("flowschema"), level.clone()]).then_some(())
        });
        let [_, other] = served("writer", path);
        assert_ne!(other, level, "{path}");
    }
}

#[test]
fn a_namespace_that_comes_later_is_read_after_an_upgrade() {
    let namespaces = "--set=istioNamespaces={istio-system,istio-later}";
    let mut release = Release::none();
    let printed = release.roll_out("install", &[namespaces]);
    assert!(printed.contains("There is no namespace istio-later yet"), "{printed}");
    let isthmus = release.isthmus();
    assert_eq!(isthmus.metric("isthmus_lost_watches"), Some(0.0), "it is as good as empty");

    release.kubectl(&["create", "namespace", "istio-later"]).ok();
    let mesh = map("istio-later", "istio", "mesh").to_string();
    let refused = release.plane.kubectl(DRY_RUN, &mesh);
    assert!(refused.stderr.contains("[InvalidMeshConfig]"), "from its first day: {refused:?}");
    isthmus.wait_logged("the API server refuses a watch");

    let printed = release.roll_out("upgrade", &[namespaces]);
    assert!(!printed.contains("There is no namespace"), "{printed}");
    release.isthmus().wait_metric("isthmus_lost_watches", 0.0);
    release.uninstall();
}

/// What becomes of writes by their failure policies, and what the API server counts.
fn without_isthmus(release: &mut Release) {
    release.end_isthmus();
    let refused = release.plane.kubectl(DRY_RUN, &member("a", "https://istio.a.example.com"));
    let why = "failed calling webhook \"istiomulticluster.isthmus.dev\"";
    assert!(refused.stderr.contains(why), "{refused:?}");
    let label = ["label", "secret/d8-cluster-configuration", "-n=kube-system", "upgraded=true"];
    release.kubectl(&label).ok();
    let metrics = release.kubectl(&["get", "--raw=/metrics"]).ok();
    let name = r#"name="d8-cluster-configuration.isthmus.dev""#;
    let [open, rejected] = super::alerts::OF_THE_API_SERVER;
    let counted = |metric: &str, labels: &[&str]| {
        metrics
            .lines()
            .any(|line| line.starts_with(metric) && labels.iter().all(|label| line.contains(label)))
    };
    assert!(counted(open, &[name]), "{open} is not there");
    let failed = r#"error_type="calling_webhook_error""#;
    let name = r#"name="istiomulticluster.isthmus.dev""#;
    assert!(counted(rejected, &[name, failed]), "{rejected} is not there");
}

/// The revision of the cluster.
fn revision(release: &Release) -> String {
    let list = release.kubectl(&["get", "--raw=/api/v1/namespaces/isthmus/services"]).ok();
    let list: Json = serde_json::from_str(&list).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

/// The webhooks went before all that they need.
fn in_order(release: &Release, begun: &str) {
    let deleted = |path: &str| -> Option<u64> {
        let raw = format!("--raw={path}?watch=true&resourceVersion={begun}&timeoutSeconds=1");
        let events = release.kubectl(&["get", &raw]).ok();
        let events = events.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        let mut deleted = events.filter(|event| event["type"] == "DELETED");
        let event = deleted.find(|event| event["object"]["metadata"]["name"] == "isthmus")?;
        event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().ok()
    };
    // A second may be too short for the events to come.
    let gone = |path: &str| wait_for(path, || deleted(path));
    let registration = "/apis/admissionregistration.k8s.io/v1";
    let webhooks = ["validating", "mutating"]
        .map(|kind| gone(&format!("{registration}/{kind}webhookconfigurations")));
    let last = webhooks.into_iter().max().unwrap();
    for path in [
        "/api/v1/namespaces/isthmus/services",
        "/api/v1/namespaces/isthmus/serviceaccounts",
        "/apis/apps/v1/namespaces/isthmus/deployments",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings",
    ] {
        assert!(gone(path) > last, "{path} went before the webhooks did");
    }
}

#[test]
fn the_tests_of_a_release_tell_whether_it_guards() {
    let mut release = Release::install(&[]);
    let (helm, probe) = release.test();
    assert!(probe.succeeded, "{probe:?}");
    assert!(helm.succeeded && helm.stdout.contains("Phase:          Succeeded"), "{helm:?}");
    let gone = release.kubectl(&["get", "pod/isthmus-probe", "-n=isthmus"]);
    assert!(gone.stderr.contains("NotFound"), "what succeeded is removed: {gone:?}");

    release.roll_out("upgrade", &["--set=webhooks.failurePolicy.customResources=Ignore"]);
    release.end_isthmus();
    let (helm, probe) = release.test();
    assert!(!probe.succeeded && !helm.succeeded, "{probe:?} {helm:?}");
    let left = release.get("pod/isthmus-probe");
    assert_eq!(left["status"]["phase"], "Failed", "its logs can be read");
    let account = release.kubectl(&["get", "clusterrole/isthmus-probe"]);
    assert!(account.stderr.contains("NotFound"), "its rights do not stay: {account:?}");
    release.uninstall();
}

#[test]
fn a_release_keeps_its_own_certificate() {
    HELMS.into_iter().for_each(certified_by_itself);
}

fn certified_by_itself(helm: &'static str) {
    let mut release = Release::none_by(helm);
    release.roll_out("install", &[]);
    let bad = member("bad", "https://istio.bad.example.com");
    let authority = |release: &Release| {
        let webhooks = release.get("validatingwebhookconfiguration/isthmus");
        let webhooks = webhooks["webhooks"].as_array().unwrap().clone();
        let bundle = webhooks[0]["clientConfig"]["caBundle"].as_str().unwrap().to_owned();
        assert!(webhooks.iter().all(|webhook| webhook["clientConfig"]["caBundle"] == bundle));
        bundle
    };
    let refused = |release: &Release| {
        wait_for("a refusal", || {
            let answer = release.plane.kubectl(DRY_RUN, &bad);
            answer.stderr.contains("[InvalidMetadataEndpoint]").then_some(())
        });
    };
    refused(&release);
    let first = authority(&release);
    for metric in super::alerts::OF_ITS_OWN_CERTIFICATE {
        assert!(release.isthmus().metric(metric).is_some(), "{metric}");
    }
    release.roll_out("upgrade", &["--set=replicas=3,localMember=here"]);
    refused(&release);
    assert_eq!(authority(&release), first, "an upgrade leaves it as it is");
    // Of a url, unlike of a Service's path, Helm 4 goes back to what it was by force only.
    let force: &[_] = if release.helm == "helm" { &["--force-conflicts"] } else { &[] };
    release.roll_out("rollback", &[&["1"], force].concat());
    refused(&release);
    assert_eq!(authority(&release), first, "and so does a rollback");
    let (helm, probe) = release.test();
    assert!(probe.succeeded && helm.succeeded, "{probe:?} {helm:?}");

    // As the documentation says: what isthmus wrote, Helm 4 overwrites only when it is told to.
    release.own_certificate = false;
    release.roll_out("upgrade", force);
    refused(&release);
    assert_ne!(authority(&release), first, "it is the one that is provided");
    release.own_certificate = true;
    release.roll_out("upgrade", &[]);
    wait_for("its own authority", || (authority(&release) == first).then_some(()));
    refused(&release);

    release.uninstall();
    wait_for("the end", || release.plane.kubectl(DRY_RUN, &bad).succeeded.then_some(()));
    let left = release.kubectl(&["get", "secrets", "-n=isthmus", "-o=name"]).ok();
    assert_eq!(left, "secret/given\nsecret/isthmus-tls\n", "as the notes say");
}

#[test]
fn an_upgrade_leaves_alone_what_isthmus_keeps() {
    for helm in HELMS {
        for by_service in [true, false] {
            let mut release = Release::none_by(helm);
            release.by_service = by_service;
            // So that no path comes by itself while this lasts.
            let still = "--set=extraArgs={--tls-path-life=24h,--tls-settle=1h}";
            release.roll_out("install", &[still]);
            let kept = |release: &Release| {
                let kinds = ["validating", "mutating"];
                let clients = kinds.map(|kind| {
                    let found = release.get(&format!("{kind}webhookconfiguration/isthmus"));
                    found["webhooks"][0]["clientConfig"].clone()
                });
                (clients, release.get("secret/isthmus-tls")["data"].clone())
            };
            let whole = |release: &Release| {
                wait_for("a path and a bundle", || {
                    let (clients, data) = kept(release);
                    let path = String::from_utf8(STANDARD.decode(data["path"].as_str()?).unwrap());
                    let path = path.unwrap();
                    let has = |client: &Json| {
                        let called = [&client["url"], &client["service"]["path"]];
                        let called = called.into_iter().find_map(Json::as_str);
                        client["caBundle"].is_string()
                            && called.is_some_and(|called| called.ends_with(&path))
                    };
                    clients.iter().all(has).then_some((clients, data))
                })
            };
            let before = whole(&release);
            // The replica is not there while Helm upgrades, so nobody puts anything back.
            release.end_isthmus();
            let changed = ["--set=webhooks.timeoutSeconds=9,podLabels.a=b", still];
            let mut command = release.helm(&["upgrade", "isthmus"]);
            command.arg(chart()).args(["--set", IMAGE, "--reuse-values"]).args(changed);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(kept(&release), before, "{helm}, by Service: {by_service}");
            for kind in ["validating", "mutating"] {
                let found = release.get(&format!("{kind}webhookconfiguration/isthmus"));
                assert_eq!(found["webhooks"][0]["timeoutSeconds"], 9);
            }
            release.uninstall();
            if !by_service {
                continue;
            }
            // What is left by a release is taken up by the next.
            assert_eq!(release.get("secret/isthmus-tls")["data"], before.1);
            release.roll_out("install", &[still]);
            assert_eq!(whole(&release).1["ca.crt"], before.1["ca.crt"]);
            release.uninstall();
        }
    }
}

#[test]
fn a_path_of_a_secret_is_registered_and_known() {
    let path = "00112233445566778899aabbccddeeff";
    let mut release = Release::none();
    let chosen = "--set=tls.pathSecret=path";
    let missing = release
        .helm(&["install", "isthmus"])
        .arg(chart())
        .args(["--set", IMAGE])
        .args(["--set=tls.mode=cert-manager", chosen])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(told.contains("kubectl --namespace isthmus create secret generic path"), "{told}");
    let create = ["create", "secret", "generic", "path", "-n=isthmus"];
    release.kubectl(&[&create[..], &[&format!("--from-literal=path={path}")]].concat()).ok();
    release.roll_out("install", &[chosen]);
    let called = release.get("validatingwebhookconfiguration/isthmus");
    let url = called["webhooks"][0]["clientConfig"]["url"].as_str().unwrap();
    assert!(url.ends_with(&format!("/validate/{path}")), "{url}");
    let refused = release.plane.kubectl(DRY_RUN, &member("bad", "https://istio.bad.example.com"));
    assert!(refused.stderr.contains("[InvalidMetadataEndpoint]"), "{refused:?}");
    assert!(!release.isthmus().logged().contains("callers cannot be verified"));
    release.uninstall();
}
