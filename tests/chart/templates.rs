//! What the templates make of values, where that is more than to copy them.

use serde_json::{Value as Json, json};

use super::helm::{HELMS, IMAGE, chart, file, helm, objects, only, rendered, template};
use crate::support::TempDir;

#[test]
fn no_sidecar_is_injected_into_the_pods() {
    let inject = "sidecar.istio.io/inject";
    let chosen = r#"--set-json=podLabels={"sidecar.istio.io/inject":"true","a":"b"}"#;
    for (values, expected) in [(&[][..], "false"), (&[chosen], "true")] {
        let rendered = template("helm", values);
        let labels = &only(&rendered, "Deployment")["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels[inject], expected, "{values:?}");
        assert_eq!(labels["istio.io/dataplane-mode"], "none");
        let labels = &only(&rendered, "Pod")["metadata"]["labels"];
        assert_eq!(labels[inject], "false", "a proxy would keep the test from its end");
        assert_eq!(labels["istio.io/dataplane-mode"], "none");
    }
}

#[test]
fn isthmus_is_asked_about_remote_secrets_unless_that_is_switched_off() {
    for (values, asked) in [(&[][..], 1), (&["--set=webhooks.remoteSecrets=false"], 0)] {
        let rendered = template("helm", values);
        let webhooks = &only(&rendered, "ValidatingWebhookConfiguration")["webhooks"];
        let is_asked = |webhook: &&Json| {
            webhook["objectSelector"]["matchLabels"]["istio/multiCluster"] == "true"
        };
        let found = webhooks.as_array().unwrap().iter().filter(is_asked).count();
        assert_eq!(found, asked, "{values:?}: {webhooks}");
    }
}

#[test]
fn no_roles_are_rendered_if_they_are_created_elsewhere() {
    let rendered = template("helm", &["--set=rbac.create=false"]);
    let role = rendered.iter().find(|object| object["kind"].as_str().unwrap().contains("Role"));
    assert_eq!(role, None);
    assert_eq!(only(&rendered, "Pod")["spec"]["serviceAccountName"], "isthmus-probe");
}

#[test]
fn the_disruption_budget_is_as_set_or_one() {
    for (given, expected) in [
        ("null", json!(1)),
        (r#""""#, json!(1)),
        ("0", json!(0)),
        ("2", json!(2)),
        (r#""34%""#, json!("34%")),
    ] {
        let given = format!("--set-json=podDisruptionBudget.maxUnavailable={given}");
        for name in HELMS {
            let rendered = template(name, &[&given]);
            let budget = only(&rendered, "PodDisruptionBudget");
            assert_eq!(budget["spec"]["maxUnavailable"], expected, "{given}, {name}");
        }
    }
}

#[test]
fn the_network_policy_allows_only_the_named_peers() {
    let ports =
        |names: &[Json]| -> Json { names.iter().map(|port| json!({"port": port})).collect() };
    let api_server = ports(&[json!(443), json!(6443)]);
    let [webhook, admin] = ["webhook", "admin"].map(|name| ports(&[json!(name)]));
    let policy = |values: &[&str]| {
        let enabled = "--set=networkPolicy.enabled=true";
        let rendered = template("helm", &[&[enabled], values].concat());
        let spec = only(&rendered, "NetworkPolicy")["spec"].clone();
        let pods = &only(&rendered, "Deployment")["spec"]["template"]["metadata"]["labels"];
        for (name, value) in spec["podSelector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(pods[name], *value, "{name}");
        }
        assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
        (spec["ingress"].clone(), spec["egress"].clone())
    };
    let (ingress, egress) = policy(&["--set=reach=false"]);
    assert_eq!(ingress, json!([{"ports": webhook}, {"ports": admin}]));
    assert_eq!(egress, json!([{"ports": api_server}]));
    // Peers may be anywhere, but no cloud's metadata service is one.
    let (_, egress) = policy(&[]);
    assert_eq!(egress[0], json!({"ports": api_server}));
    let everywhere = &egress[1]["to"][0]["ipBlock"];
    assert_eq!(everywhere["cidr"], "0.0.0.0/0");
    assert!(everywhere["except"].as_array().unwrap().contains(&json!("169.254.0.0/16")));

    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    let selected = json!({"podSelector": {"matchLabels": {"a": "b"}}});
    let (ingress, egress) = policy(&[
        "--set=reach=false",
        "--set=networkPolicy.apiServerFrom[0].ipBlock.cidr=192.0.2.0/28",
        "--set=networkPolicy.metricsFrom[0].podSelector.matchLabels.a=b",
        "--set=networkPolicy.apiServerAt={192.0.2.1/32,2001:db8::1/128}",
    ]);
    let callers = json!({"ports": webhook, "from": [block("192.0.2.0/28")]});
    assert_eq!(ingress, json!([callers, {"ports": admin, "from": [selected]}]));
    let at = [block("192.0.2.1/32"), block("2001:db8::1/128")];
    assert_eq!(egress, json!([{"ports": api_server, "to": at}]));
}

#[test]
fn pods_leave_a_lost_node_soon_unless_set_otherwise() {
    const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let tolerations = |values: &[&str]| {
        let rendered = template("helm", values);
        only(&rendered, "Deployment")["spec"]["template"]["spec"]["tolerations"].clone()
    };
    let left = |key: &str, seconds: u32| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    assert_eq!(tolerations(&[]), json!(KEYS.map(|key| left(key, 30))));
    assert_eq!(tolerations(&["--set=lostNodeSeconds=0"]), json!(KEYS.map(|key| left(key, 0))));
    assert_eq!(tolerations(&["--set=lostNodeSeconds=null"]), Json::Null);
    for (own, added) in [
        (json!([{"key": "a", "operator": "Exists"}]), &KEYS[..]),
        (json!([{"key": KEYS[0], "operator": "Exists", "tolerationSeconds": 5}]), &KEYS[1..]),
        (json!([{"key": KEYS[0], "operator": "Exists", "effect": "NoSchedule"}]), &KEYS[..]),
        (json!([{"operator": "Exists"}]), &[]),
    ] {
        let mut expected = own.as_array().unwrap().clone();
        expected.extend(added.iter().map(|key| left(key, 30)));
        let given = format!("--set-json=tolerations={own}");
        assert_eq!(tolerations(&[&given]), Json::Array(expected));
    }
}

#[test]
fn a_release_of_any_name_has_names_that_the_api_server_takes() {
    let long = "a".repeat(53);
    for (release, expected) in [
        ("guard", Ok("guard-isthmus")),
        ("my.isthmus", Ok("my-isthmus")),
        (&*long, Ok(&long[..50])),
        ("1st-isthmus", Err("--set fullnameOverride=isthmus")),
    ] {
        let home = TempDir::new();
        let mut command = helm("helm", &home);
        command.args(["template", release]).arg(chart()).args(["--set", IMAGE]);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        match expected {
            Ok(expected) => {
                assert!(output.status.success(), "{release}: {told}");
                let rendered = objects(&String::from_utf8_lossy(&output.stdout));
                assert_eq!(only(&rendered, "Service")["metadata"]["name"], expected);
            }
            Err(remedy) => assert!(told.contains(remedy), "{release}: {told}"),
        }
    }
}

#[test]
fn a_cert_manager_certificate_has_a_lasting_ca() {
    let rendered = template("helm", &["--set=tls.mode=cert-manager"]);
    let of = |kind: &str, name: &str| -> &Json {
        let is = |object: &&Json| object["kind"] == kind && object["metadata"]["name"] == name;
        &rendered.iter().find(is).unwrap_or_else(|| panic!("there is no {kind} {name}"))["spec"]
    };
    let leaf = of("Certificate", "isthmus");
    assert_eq!(leaf["issuerRef"], json!({"kind": "Issuer", "name": "isthmus"}));
    let authority = of("Certificate", "isthmus-ca");
    assert_eq!(of("Issuer", "isthmus")["ca"]["secretName"], authority["secretName"]);
    assert_eq!(authority["isCA"], true);
    assert_eq!(authority["privateKey"]["rotationPolicy"], "Never");
    let signs_itself = authority["issuerRef"]["name"].as_str().unwrap();
    assert_eq!(of("Issuer", signs_itself), &json!({"selfSigned": {}}));
    let injected = &only(&rendered, "ValidatingWebhookConfiguration")["metadata"]["annotations"];
    assert_eq!(injected["cert-manager.io/inject-ca-from"], "isthmus/isthmus");
}

#[test]
fn a_resource_that_is_removed_is_reported_or_optional() {
    let schema: Json = serde_json::from_str(&file("values.schema.json")).unwrap();
    let mut open = vec![(String::new(), &schema)];
    let mut missed = 0;
    while let Some((path, schema)) = open.pop() {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match rendered("helm", &["--set", &format!("{path}=null")]) {
                Ok(rendered) => {
                    assert!(!rendered.contains("<nil>"), "{path} is written as <nil>");
                    for policy in webhooks_of(&rendered, "failurePolicy") {
                        assert!(policy.is_string(), "{path} leaves a policy to chance");
                    }
                }
                Err(refused) => {
                    let is_missed =
                        ["missing propert", "got null"].map(|why| refused.contains(why));
                    let named = is_missed.contains(&true) && refused.contains(name);
                    let needed = refused.contains("image.repository is empty");
                    assert!(named || needed, "{path}: {refused}");
                    missed += 1;
                }
            }
            open.push((path, below));
        }
    }
    assert!(missed > 20, "only {missed} are missed");
}

/// A field of every webhook that is rendered.
fn webhooks_of(rendered: &str, field: &str) -> Vec<Json> {
    let objects = objects(rendered);
    let webhooks = objects.iter().filter_map(|object| object["webhooks"].as_array()).flatten();
    webhooks.map(|webhook| webhook[field].clone()).collect()
}
