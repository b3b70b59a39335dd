//! Values: each is explained, each is checked, and nothing else is taken.

use std::collections::BTreeMap;
use std::fmt::Write;

use isthmus::syntax::yaml_documents;
use serde_json::Value as Json;

use super::helm::{HELMS, chart, file, helm, rendered};
use super::registry::{CASES, certified};
use crate::support::TempDir;
use crate::support::golden::expect;

/// A value that is explained.
struct Explained {
    path: Vec<String>,
    meaning: String,
}

#[test]
fn the_readme_has_every_value() {
    // Where expected texts are written anew, the README follows what is written of values.
    crate::settings::values_have_every_setting();
    let defaults = file("values.yaml");
    let defaults = yaml_documents(&defaults).unwrap()[0].to_json();
    let mut table = String::from("| Value | Default | Meaning |\n|---|---|---|\n");
    for Explained { path, meaning } in explained() {
        let default = defaults.pointer(&format!("/{}", path.join("/"))).unwrap();
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{}` | `{default}` | {meaning} |", path.join("."));
    }
    let readme = file("README.md");
    let (before, rest) = readme.split_once("| Value |").unwrap();
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    let expected = format!("{before}{table}\n{after}");
    expect(&chart().join("README.md"), &expected);
}

#[test]
fn the_schema_has_every_value_and_no_other() {
    let schema: Json = serde_json::from_str(&file("values.schema.json")).unwrap();
    let mut explained: BTreeMap<_, _> =
        explained().into_iter().map(|value| (value.path.join("."), value.meaning)).collect();
    let mut open = vec![(String::new(), &schema)];
    while let Some((path, schema)) = open.pop() {
        // Helm hands `global` to every chart.
        if explained.remove(&path).is_some() || path == "global" {
            continue;
        }
        assert_eq!(schema["additionalProperties"], false, "{path} takes what nobody reads");
        for (name, below) in schema["properties"].as_object().expect(&path) {
            let dot = if path.is_empty() { "" } else { "." };
            open.push((format!("{path}{dot}{name}"), below));
        }
    }
    assert!(explained.is_empty(), "not in the schema: {:?}", explained.keys());
}

#[test]
fn an_unknown_value_is_rejected_by_name() {
    for (value, place, why) in [
        ("replica=2", "replica", "not allowed"),
        ("webhooks.failurePolicy.secrets=Fail", "secrets", "not allowed"),
        ("webhooks.failurePolicy.kubeSystem=fail", "kubeSystem", "'Fail', 'Ignore'"),
        ("tls.mode=certmanager", "tls/mode", "'self', 'cert-manager', 'provided'"),
        ("replicas=0", "replicas", "got 0, want 1"),
        ("replicas=two", "replicas", "want integer"),
        ("multiNetworkOverlap=deny", "multiNetworkOverlap", "'Deny', 'Warn', 'Ignore'"),
        ("selfReference=Ignore", "selfReference", "'Deny', 'Warn'"),
        ("webhooks.url=http://192.0.2.1:8443", "webhooks/url", "does not match pattern"),
        ("webhooks.timeoutSeconds=31", "timeoutSeconds", "got 31, want 30"),
        ("istioNamespaces={Istio}", "istioNamespaces/0", "does not match pattern"),
        ("memberNamespaces={a,a}", "memberNamespaces", "are equal"),
        ("tls.clientCA=x", "tls/clientCA", "does not match pattern"),
        ("tls.clientNames={a b}", "tls/clientNames/0", "does not match pattern"),
        ("tls.pathSecret=Path", "tls/pathSecret", "does not match pattern"),
        (
            "tls.pathSecret=path",
            "tls.pathSecret cannot be used with tls.mode self",
            "leave it empty",
        ),
        ("scout.policyReports=kyverno.io", "policyReports", "'wgpolicyk8s.io', 'openreports.io'"),
        ("networkPolicy.apiServerAt={192.0.2.1}", "apiServerAt/0", "does not match pattern"),
        ("lostNodeSeconds=-1", "lostNodeSeconds", "got -1, want 0"),
        ("ports.webhook=0", "ports/webhook", "got 0, want 1"),
        ("image.repository=registry.example.com/isthmus:1", "image/repository", "pattern"),
        ("image.digest=latest", "image/digest", "does not match pattern"),
        ("image.repository=", "image.repository", "set it to the image in your registry"),
        ("tls.mode=provided", "tls.provided.secretName", "name the Secret with tls.crt"),
        (
            "tls.mode=provided,tls.provided.secretName=x",
            "tls.provided.caBundle",
            "--set-file tls.provided.caBundle=ca.pem",
        ),
    ] {
        for name in HELMS {
            let refused = rendered(name, &["--set", value]).expect_err(value);
            assert!(refused.contains(place) && refused.contains(why), "{value}: {refused}");
        }
    }
    for namespace in ["kube-system", "d8-isthmus"] {
        let refused = rendered("helm", &["--namespace", namespace]).unwrap_err();
        assert!(
            refused.contains("install into a namespace of its own, such as isthmus"),
            "{refused}"
        );
    }
}

#[test]
fn the_chart_passes_helm_s_own_lint() {
    let directory = certified();
    let authority = directory.path().join("ca.pem").display().to_string();
    for name in HELMS {
        for case in CASES {
            let home = TempDir::new();
            let mut command = helm(name, &home);
            command.args(["lint", "--strict", "--set", super::helm::IMAGE]).arg(chart());
            command.arg("--namespace=isthmus");
            command.args(case.values.iter().map(|value| value.replace("ca.pem", &authority)));
            let output = command.output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}: {printed}", case.name);
            let told = |level: &str| printed.contains(level);
            assert!(!told("[WARNING]") && !told("[ERROR]"), "{}: {printed}", case.name);
        }
    }
}

#[test]
fn names_collide_neither_with_each_other_nor_with_deckhouse() {
    let everything = CASES.iter().find(|case| case.name.starts_with("everything")).unwrap();
    let rendered = rendered("helm", everything.values).unwrap();
    assert!(!rendered.contains("heritage"), "{rendered}");
    let mut names = std::collections::BTreeSet::new();
    for object in super::helm::objects(&rendered) {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or_default();
        // What is granted in another namespace is all that is put there.
        let is_role = object["kind"].as_str().unwrap().starts_with("Role");
        assert!(["", "isthmus"].contains(&namespace) || is_role, "{object}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm", "{object}");
        let name = format!("{} {namespace}/{}", object["kind"], metadata["name"]);
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
}

#[test]
fn the_chart_is_of_this_version() {
    let metadata = file("Chart.yaml");
    let metadata = yaml_documents(&metadata).unwrap()[0].to_json();
    assert_eq!(metadata["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
}

/// The values with comments above them, in order. Those without one hold such values.
fn explained() -> Vec<Explained> {
    let mut path: Vec<String> = Vec::new();
    let (mut comment, mut explained) = (Vec::new(), Vec::<Explained>::new());
    for line in file("values.yaml").lines().skip(1) {
        let text = line.trim_start();
        let depth = (line.len() - text.len()) / 2;
        if let Some(words) = text.strip_prefix("# ") {
            comment.push(words.to_owned());
        } else if let Some((key, value)) = text.split_once(':').filter(|_| !text.starts_with('-')) {
            path.truncate(depth);
            path.push(key.to_owned());
            let is_below = explained.iter().any(|above| path.starts_with(&above.path));
            if comment.is_empty() {
                assert!(is_below || value.is_empty(), "{} is not explained", path.join("."));
            } else {
                assert!(!is_below, "{} is explained above already", path.join("."));
                let meaning = std::mem::take(&mut comment).join(" ");
                explained.push(Explained { path: path.clone(), meaning });
            }
        }
    }
    explained
}
