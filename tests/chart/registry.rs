//! The chart says what the commands print, which fold over the registry of documents.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::helm::{HELMS, chart, only, template};
use crate::support::TempDir;
use crate::support::golden::expect;
use crate::support::guarded::isthmus;

/// Values, and what the commands are told in place of them.
pub(crate) struct Case {
    /// What it is about.
    pub(crate) name: &'static str,
    pub(crate) values: &'static [&'static str],
    settings: &'static [&'static str],
    webhooks: &'static [&'static str],
    rbac: &'static [&'static str],
}

const NAMES: &[&str] =
    &["--istio-namespaces=a-istio,b-istio", "--member-namespaces=a-istio,kube-system"];

/// Values of every sort. The certificate of those with mode `provided` is in `ca.pem`.
pub(crate) const CASES: &[Case] = &[
    Case { name: "defaults", values: &[], settings: &[], webhooks: &["--no-path"], rbac: &[] },
    Case {
        name: "everything that can be switched on",
        values: &[
            "--set=networkPolicy.enabled=true,serviceMonitor.enabled=true",
            "--set=prometheusRule.enabled=true,dashboard.enabled=true,strictDescriptors=true",
            "--set=tls.mode=cert-manager,networkPolicy.metricsFrom[0].podSelector.matchLabels.a=b",
            "--set=networkPolicy.apiServerFrom[0].ipBlock.cidr=192.0.2.0/28,lostNodeSeconds=9",
            "--set=networkPolicy.apiServerAt={192.0.2.1/32,2001:db8::1/128}",
            "--set=serviceMonitor.labels.a=b,prometheusRule.labels.a=b,image.pullSecrets={x,y}",
            "--set=podLabels.a=b,podAnnotations.a=b,nodeSelector.a=b,serviceAccount.annotations.a=b",
            "--set=tolerations[0].operator=Exists,extraArgs={--hold=20s,--max-reviews=9}",
            "--set-json=affinity={\"podAntiAffinity\":{}}",
            "--set=topologySpreadConstraints[0].maxSkew=1,topologySpreadConstraints[0].topologyKey=a",
            "--set=topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
            "--set=topologySpreadConstraints[0].labelSelector.matchLabels.a=b",
        ],
        settings: &[],
        webhooks: &[],
        rbac: &[],
    },
    Case {
        name: "a certificate that is provided",
        values: &[
            "--set=tls.mode=provided,tls.provided.secretName=given,hostNetwork=true",
            "--set-file=tls.provided.caBundle=ca.pem,tls.clientCA=ca.pem",
            "--set=tls.clientNames={kube-apiserver,front},tls.clientOptional=true,tls.pathSecret=path",
            "--set=inventory.configMap=far,replicas=3,podDisruptionBudget.maxUnavailable=34%",
        ],
        settings: &[],
        webhooks: &["--ca=ca.pem"],
        rbac: &[],
    },
    Case {
        name: "other namespaces and settings",
        values: &[
            "--set=istioNamespaces={a-istio,b-istio},memberNamespaces={a-istio,kube-system}",
            "--set=localMember=here,multiNetworkOverlap=Deny,selfReference=Warn",
            "--set=admissionPolicy.enabled=false,flowControl.enabled=false",
        ],
        settings: NAMES,
        webhooks: &["--no-path"],
        rbac: &[],
    },
    Case {
        name: "no namespaces of Istio",
        values: &["--set-json=istioNamespaces=[]"],
        settings: &["--istio-namespaces="],
        webhooks: &["--no-path"],
        rbac: &[],
    },
    Case {
        name: "a control plane outside the cluster, and other policies",
        values: &[
            "--set=webhooks.url=https://[2001:db8::1]:8443/,webhooks.timeoutSeconds=9",
            "--set=webhooks.failurePolicy.mutating=Fail,webhooks.failurePolicy.kubeSystem=Fail",
            "--set=webhooks.failurePolicy.customResources=Ignore,tls.mode=cert-manager",
            "--set=webhooks.failurePolicy.configMaps=Ignore,webhooks.failurePolicy.endpoints=Fail",
            "--set=tls.certManager.issuerRef.name=ours,tls.certManager.issuerRef.kind=ClusterIssuer",
        ],
        settings: &[],
        webhooks: &[
            "--url=https://[2001:db8::1]:8443/",
            "--timeout=9",
            "--failure-policy=mutating=Fail,kubeSystem=Fail,customResources=Ignore",
            "--failure-policy=configMaps=Ignore,endpoints=Fail",
        ],
        rbac: &[],
    },
    Case {
        name: "a policy for all",
        values: &[
            "--set=webhooks.failurePolicy.mutating=Fail,webhooks.failurePolicy.kubeSystem=Fail",
            "--set=webhooks.failurePolicy.endpoints=Fail,podDisruptionBudget.enabled=false",
            "--set=webhooks.failurePolicy.remoteSecrets=Fail",
        ],
        settings: &[],
        webhooks: &["--failure-policy=Fail", "--no-path"],
        rbac: &[],
    },
    Case {
        name: "another name and account",
        values: &[
            "--set=fullnameOverride=guard,serviceAccount.create=false,serviceAccount.name=theirs",
            "--set=tls.mode=cert-manager,webhooks.url=https://isthmus.example.com:8443/at",
            "--set=image.tag=x,resources.limits.cpu=1,replicas=1,hostNetwork=true",
        ],
        settings: &[],
        webhooks: &["--name=guard", "--url=https://isthmus.example.com:8443/at"],
        rbac: &["--name=guard", "--service-account=theirs"],
    },
];

#[test]
fn the_file_that_templates_fold_over_follows_from_the_registry() {
    expect(&chart().join("files/documents.yaml"), &isthmus::cli::chart_documents());
}

#[test]
fn the_definition_of_mesh_members_follows_from_their_types() {
    expect(&chart().join("files/meshmembers.yaml"), &isthmus::cli::chart_crd());
    let printed = super::helm::objects(&isthmus(&["crd"]));
    for helm in HELMS {
        let mut rendered = only(&template(helm, &[]), "CustomResourceDefinition").clone();
        // A cluster's members outlive the release.
        let annotations = rendered["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(annotations.unwrap()["helm.sh/resource-policy"], "keep");
        rendered["metadata"].as_object_mut().unwrap().remove("labels");
        assert_eq!(rendered, printed[0]);
        let without = template(helm, &["--set=meshMembers.install=false"]);
        assert!(without.iter().all(|object| object["kind"] != "CustomResourceDefinition"));
    }
}

#[test]
fn both_helms_render_what_the_commands_print() {
    let directory = certified();
    for case in CASES {
        let ours = |values: &[&str]| -> Vec<String> {
            // Files are named as the commands find them.
            let place = directory.path().join("ca.pem").display().to_string();
            values.iter().map(|value| value.replace("ca.pem", &place)).collect()
        };
        let values = ours(case.values);
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let [four, three] = HELMS.map(|helm| {
            let mut objects = template(helm, &values);
            // They do not order kinds alike that are not Kubernetes' own.
            objects.sort_by_key(ToString::to_string);
            objects
        });
        assert_eq!(four.len(), three.len(), "{}", case.name);
        for (four, three) in four.iter().zip(&three) {
            assert_eq!(four, three, "{}", case.name);
        }

        let webhooks = ours(&[&["webhooks"], case.settings, case.webhooks].concat());
        let webhooks: Vec<_> = webhooks.iter().map(String::as_str).collect();
        let printed = super::helm::objects(&isthmus(&webhooks));
        for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
            let (rendered, printed) = (only(&four, kind), only(&printed, kind));
            assert_eq!(rendered["metadata"]["name"], printed["metadata"]["name"], "{}", case.name);
            assert_eq!(sorted(rendered), sorted(printed), "{}: {kind}", case.name);
        }

        let of_policy = |object: &&Json| {
            object["kind"].as_str().unwrap().starts_with("ValidatingAdmissionPolicy")
        };
        let is_off = values.iter().any(|value| value.contains("admissionPolicy.enabled=false"));
        let own = ["--tls-secret=isthmus/isthmus-tls"];
        let own =
            if values.iter().any(|value| value.contains("tls.mode")) { &[][..] } else { &own };
        let name = case.rbac.iter().find_map(|arg| arg.strip_prefix("--name="));
        let ledger = format!("--ledger=isthmus/{}-ledger", name.unwrap_or("isthmus"));
        let rbac = [&["rbac", &ledger], case.settings, case.rbac, own].concat();
        let printed = super::helm::objects(&isthmus(&rbac));
        for policy in printed.iter().filter(of_policy).filter(|_| !is_off) {
            let rendered = only(&four, policy["kind"].as_str().unwrap());
            assert_eq!(rendered["metadata"]["name"], policy["metadata"]["name"]);
            assert_eq!(rendered["spec"], policy["spec"], "{}", case.name);
        }
        let policies = printed.iter().filter(of_policy).filter(|_| !is_off).count();
        assert_eq!(four.iter().filter(of_policy).count(), policies, "{}", case.name);
        for kind in ["FlowSchema", "PriorityLevelConfiguration"] {
            let printed = only(&printed, kind);
            if is_off {
                assert!(four.iter().all(|object| object["kind"] != kind), "{}", case.name);
                continue;
            }
            let rendered = only(&four, kind);
            assert_eq!(rendered["metadata"]["name"], printed["metadata"]["name"], "{}", case.name);
            assert_eq!(rendered["spec"], printed["spec"], "{}", case.name);
        }
        for secret in printed.iter().filter(|object| object["kind"] == "Secret") {
            let rendered = only(&four, "Secret");
            assert_eq!(rendered["metadata"]["name"], secret["metadata"]["name"]);
            assert!(rendered.get("data").is_none() && secret.get("data").is_none());
            assert_eq!(rendered["type"], secret["type"]);
        }
        let printed = grants(&printed);
        let (probe, rendered): (BTreeSet<_>, BTreeSet<_>) =
            grants(&four).into_iter().partition(|grant| is_of_probe(grant));
        assert_eq!(rendered, printed, "{}", case.name);
        let name: Vec<_> =
            case.rbac.iter().filter(|arg| arg.starts_with("--name")).copied().collect();
        let rbac = [&["rbac", "--probe"], case.settings, &name].concat();
        let printed = grants(&super::helm::objects(&isthmus(&rbac)));
        assert_eq!(probe, printed, "{}", case.name);
    }
}

#[test]
fn the_program_knows_every_argument_that_it_is_given() {
    let directory = certified();
    let place = directory.path().join("ca.pem").display().to_string();
    for case in CASES {
        let values: Vec<_> =
            case.values.iter().map(|value| value.replace("ca.pem", &place)).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let rendered = template("helm", &values);
        let deployment = &only(&rendered, "Deployment")["spec"]["template"]["spec"];
        for pod in [deployment, &only(&rendered, "Pod")["spec"]] {
            // What is asked for help is not run, but read.
            let mut args = super::release::args_of(&pod["containers"][0]);
            args.push("--help".to_owned());
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            assert!(isthmus(&args).contains("Usage:"), "{}", case.name);
        }
    }
}

#[test]
fn a_scout_is_granted_what_the_command_prints_and_knows_its_arguments() {
    for (values, args) in [
        (&[][..], &[][..]),
        (&["--set=scout.remoteSecrets=true"], &["--remote-secrets"]),
        (&["--set=scout.secretNames={b,c}"], &["--secret-names=b,c"]),
        (&["--set=scout.policyReports=openreports.io"], &["--policy-reports=openreports.io"]),
        (&["--set=scout.policyReports=wgpolicyk8s.io"], &["--policy-reports=wgpolicyk8s.io"]),
    ] {
        let enabled = ["--set=scout.enabled=true,networkPolicy.enabled=true"];
        let values = [&enabled[..], values].concat();
        let [four, three] = HELMS.map(|helm| template(helm, &values));
        let of_scout = |objects: &[Json]| -> BTreeSet<String> {
            grants(objects).into_iter().filter(|grant| grant.ends_with("-scout")).collect()
        };
        let rbac = [&["rbac", "--scout", "--member-namespaces=isthmus"], args].concat();
        let printed = grants(&super::helm::objects(&isthmus(&rbac)));
        assert_eq!(of_scout(&four), printed);
        assert_eq!(of_scout(&three), printed);
        let is_scout = |object: &&Json| {
            object["kind"] == "Deployment" && object["metadata"]["name"] == "isthmus-scout"
        };
        let deployment = four.iter().find(is_scout).unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "isthmus-scout");
        let mut args = super::release::args_of(&pod["containers"][0]);
        args.push("--help".to_owned());
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        assert!(isthmus(&args).contains("Usage:"));
        let is_policy = |object: &&Json| {
            object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == "isthmus-scout"
        };
        assert_eq!(four.iter().filter(is_policy).count(), 1);
    }
    let without = template("helm", &[]);
    assert!(without.iter().all(|object| !object.to_string().contains("scout")));
}

fn is_of_probe(grant: &str) -> bool {
    grant.ends_with("-probe")
}

#[test]
fn the_namespace_of_the_release_is_asked_about_only_for_labelled_config_maps() {
    let rendered = template("helm", &[]);
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        for webhook in only(&rendered, kind)["webhooks"].as_array().unwrap() {
            let rule = &webhook["rules"][0];
            // Remote Secrets are asked about wherever they are, by their label.
            let label = &webhook["objectSelector"]["matchLabels"]["istio/multiCluster"];
            if rule["scope"] == "Cluster" || *label == "true" {
                continue;
            }
            let within = &webhook["namespaceSelector"]["matchExpressions"][0];
            assert_eq!(within["operator"], "In", "{webhook}");
            let namespaces = within["values"].as_array().unwrap();
            if namespaces.iter().any(|namespace| namespace == "isthmus") {
                assert_eq!(rule["resources"], serde_json::json!(["configmaps"]), "{webhook}");
                let condition = webhook["matchConditions"][0]["expression"].as_str().unwrap();
                assert!(condition.contains("isthmus.dev/"), "{webhook}");
                assert!(condition.contains("metadata.labels"), "{webhook}");
            }
        }
    }
}

/// A directory with an authority in `ca.pem`.
pub(crate) fn certified() -> TempDir {
    let directory = TempDir::new();
    isthmus(&["certs", "--certs-dir", directory.path().to_str().unwrap()]);
    directory
}

/// A configuration's webhooks, their namespaces in order.
fn sorted(configuration: &Json) -> Vec<Json> {
    let mut webhooks = configuration["webhooks"].as_array().unwrap().clone();
    for webhook in &mut webhooks {
        if let Some(values) = webhook.pointer_mut("/namespaceSelector/matchExpressions/0/values") {
            let values = values.as_array_mut().unwrap();
            values.sort_by_key(ToString::to_string);
            values.dedup();
        }
    }
    webhooks
}

/// Every right that roles grant, one verb on one name each, and to whom.
fn grants(objects: &[Json]) -> BTreeSet<String> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let each = |value: &Json| -> Vec<String> {
        value.as_array().into_iter().flatten().map(text).collect()
    };
    let mut grants = BTreeSet::new();
    for role in objects.iter().filter(|object| object.get("rules").is_some()) {
        if role["kind"] != "Role" && role["kind"] != "ClusterRole" {
            continue;
        }
        let namespace = &role["metadata"]["namespace"];
        let binds = |object: &&Json| {
            object["roleRef"]["name"] == role["metadata"]["name"]
                && object["roleRef"]["kind"] == role["kind"]
                && object["metadata"]["namespace"] == *namespace
        };
        let binding = objects.iter().find(binds).expect("it is bound");
        let subject = &binding["subjects"][0];
        let subject = format!("{}/{}", text(&subject["namespace"]), text(&subject["name"]));
        let place = namespace.as_str().unwrap_or("cluster");
        for rule in role["rules"].as_array().unwrap() {
            let names = match each(&rule["resourceNames"]) {
                names if names.is_empty() => vec!["*".to_owned()],
                names => names,
            };
            for verb in each(&rule["verbs"]) {
                for resource in each(&rule["resources"]) {
                    let group = text(&rule["apiGroups"][0]);
                    for name in &names {
                        grants.insert(format!(
                            "{place}: {verb} {group}/{resource} {name}, as {subject}"
                        ));
                    }
                }
            }
        }
    }
    // What may be done to every object may be done to one.
    let all: Vec<_> = grants.iter().filter(|grant| grant.contains(" *, ")).cloned().collect();
    grants.retain(|grant| {
        let Some((right, subject)) = grant.split_once(", as ") else { return true };
        let (right, name) = right.rsplit_once(' ').unwrap();
        name == "*" || !all.contains(&format!("{right} *, as {subject}"))
    });
    grants
}
