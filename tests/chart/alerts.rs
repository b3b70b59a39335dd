//! Alerts and the dashboard ask for metrics that are there, in PromQL that can be read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use isthmus::syntax::yaml_documents;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value as Json;

use super::helm::{file, only, template};
use crate::support::process::Server;
use crate::support::scouting::Scout;
use crate::support::{TempDir, peer};

/// What the API server tells of webhooks; that it does is shown where the chart is installed.
pub(crate) const OF_THE_API_SERVER: [&str; 2] =
    ["apiserver_admission_webhook_fail_open_count", "apiserver_admission_webhook_rejection_count"];

/// What isthmus tells where it makes its certificate itself; shown there, too.
pub(crate) const OF_ITS_OWN_CERTIFICATE: [&str; 2] = [
    "isthmus_certificate_authority_expiry_timestamp_seconds",
    "isthmus_certificate_sync_age_seconds",
];

/// What isthmus tells where replicas share a ledger, as `control_plane::ledger` shows.
pub(crate) const OF_THE_LEDGER: [&str; 6] = [
    "isthmus_ledger_available",
    "isthmus_ledger_entries",
    "isthmus_ledger_bytes",
    "isthmus_ledger_quarantine_seconds",
    "isthmus_ledger_swaps_total",
    "isthmus_ledger_wait_seconds_bucket",
];

#[test]
fn every_alert_is_readable_and_documented() {
    let alerts = ["files/alerts.yaml", "files/scout-alerts.yaml"].map(|name| {
        let alerts = yaml_documents(&file(name)).unwrap()[0].to_json();
        alerts[0]["rules"].as_array().unwrap().clone()
    });
    let mut known = series();
    known.extend(series_of_the_scout());
    let mut names = Vec::new();
    for alert in alerts.iter().flatten() {
        for asked in asked_for(alert["expr"].as_str().unwrap()) {
            assert!(known.contains(&asked), "{asked} is not a metric: {alert}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["warning", "critical"].contains(&severity), "{alert}");
        for annotation in ["summary", "description"] {
            assert!(alert["annotations"][annotation].is_string(), "{alert}");
        }
        names.push(alert["alert"].as_str().unwrap());
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let sections = page.split("\n### ").skip(1).filter_map(|section| section.split_once('\n'));
    let sections: Vec<_> = sections.filter(|(name, _)| name.starts_with("Isthmus")).collect();
    let told: Vec<_> = sections.iter().map(|(name, _)| *name).collect();
    assert_eq!(told, names);
    for (name, text) in sections {
        assert!(text.contains("**What to do.**"), "{name} has no remedy");
    }
}

#[test]
fn the_rule_that_is_rendered_is_of_the_release() {
    let rendered = template("helm", &["--set=prometheusRule.enabled=true,fullnameOverride=guard"]);
    let groups = &only(&rendered, "PrometheusRule")["spec"]["groups"];
    for rule in groups[0]["rules"].as_array().unwrap() {
        let expression = rule["expr"].as_str().unwrap();
        parser::parse(expression).unwrap();
        let of_all = OF_THE_API_SERVER.iter().any(|metric| expression.contains(metric));
        let of_release = expression.contains(r#"{job="guard",namespace="isthmus""#);
        let sees_the_first = expression.contains("unless") && expression.contains("offset 10m");
        assert_eq!(of_all, sees_the_first, "a series that was not there does not increase");
        assert!(of_all || of_release, "{expression}");
    }
}

#[test]
fn what_the_scout_tells_is_scraped_and_its_alerts_are_of_the_release() {
    let scraped = ["--set=scout.enabled=true,serviceMonitor.enabled=true"];
    let alerting = ["--set=prometheusRule.enabled=true,fullnameOverride=guard"];
    let rendered = template("helm", &[&scraped[..], &alerting].concat());
    let of_scout = |kind: &str, name: &str| {
        let is_it = |it: &&Json| it["kind"] == kind && it["metadata"]["name"] == name;
        rendered.iter().find(is_it).unwrap_or_else(|| panic!("{kind} {name}")).clone()
    };
    let service = of_scout("Service", "guard-scout");
    let deployment = of_scout("Deployment", "guard-scout");
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
    for name in ["guard", "guard-scout"] {
        // Each scrapes its own Service and no other one.
        let selector = of_scout("ServiceMonitor", name)["spec"]["selector"]["matchLabels"].clone();
        let is_selected = |object: &Json| {
            let selected = selector.as_object().unwrap();
            selected.iter().all(|(key, value)| object["metadata"]["labels"][key] == *value)
        };
        for of in ["guard", "guard-scout"] {
            assert_eq!(is_selected(&of_scout("Service", of)), name == of, "{name} of {of}");
        }
    }
    for rule in
        of_scout("PrometheusRule", "guard-scout")["spec"]["groups"][0]["rules"].as_array().unwrap()
    {
        let expression = rule["expr"].as_str().unwrap();
        parser::parse(expression).unwrap();
        let is_of_release = expression.contains(r#"{job="guard-scout",namespace="isthmus""#);
        assert!(is_of_release, "{expression}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_are_there() {
    let dashboard: Json = serde_json::from_str(&file("files/dashboard.json")).unwrap();
    let mut known = series();
    known.extend(series_of_the_scout());
    let (mut ids, mut asked) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64()), "{}: its id is taken", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$__rate_interval", "5m");
            for name in asked_for(&expression) {
                assert!(known.contains(&name), "{name} is not a metric: {expression}");
                // The variable has the jobs of the webhook, which the scout's are called after.
                let job =
                    if series_of_the_scout().contains(&name) { "($job)-scout" } else { "$job" };
                let is_of_job = expression.contains(&format!("{name}{{job=~\"{job}\""));
                assert!(is_of_job || OF_THE_API_SERVER.contains(&&*name), "{expression}");
                asked.insert(name);
            }
        }
    }
    assert!(asked.contains("isthmus_standing_findings_by_member"), "{asked:?}");
    let rendered = template("helm", &["--set=dashboard.enabled=true"]);
    let map = rendered.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let carried: Json =
        serde_json::from_str(map["data"]["isthmus.json"].as_str().unwrap()).unwrap();
    assert_eq!(carried, dashboard);
}

/// The names of the series that an expression asks for.
fn asked_for(expression: &str) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);

    impl ExprVisitor for Names {
        type Error = ();

        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
            let selector: Option<&VectorSelector> = match expression {
                Expr::VectorSelector(selector) => Some(selector),
                Expr::MatrixSelector(selector) => Some(&selector.vs),
                _ => None,
            };
            self.0.extend(selector.and_then(|selector| selector.name.clone()));
            Ok(true)
        }
    }

    let parsed = parser::parse(expression).unwrap_or_else(|why| panic!("{expression}: {why}"));
    let mut names = Names(BTreeSet::new());
    walk_expr(&mut names, &parsed).unwrap();
    assert!(!names.0.is_empty(), "{expression} asks for nothing");
    names.0
}

/// The names of the series of a scout that has no cluster, and of those that come with one, which
/// the tests of the scout show.
fn series_of_the_scout() -> BTreeSet<String> {
    let directory = TempDir::with(
        "kubeconfig",
        "{current-context: a, clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}], contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}]}",
    );
    let kubeconfig = directory.path().join("kubeconfig");
    let scout = Scout::launch(&["--kubeconfig", kubeconfig.to_str().unwrap()]);
    let mut names = names_in(&scout.page("/metrics").1);
    names.insert("isthmus_standing_findings_by_member".to_owned());
    names
}

/// The names of all series that there are, once each thing that is counted has happened.
fn series() -> BTreeSet<String> {
    let inventory = TempDir::new();
    let server = Server::start(inventory.path(), &["--max-body-memory=1"]);
    assert!(!server.allows(&peer("a", "http://istio.a.example.com")));
    assert_eq!(server.client().post("/validate", "{}").status, 400);
    let large = peer("a", &"a".repeat(3 << 20)).to_string();
    assert_eq!(server.client().post("/validate", large).status, 503);
    server.wait_metric(r#"isthmus_standing_findings{rule="SubnetOverlap",severity="deny"}"#, 0.0);
    let mut names = names_in(&server.admin("/metrics").text());
    let elsewhere = OF_THE_API_SERVER.into_iter().chain(OF_ITS_OWN_CERTIFICATE);
    names.extend(elsewhere.chain(OF_THE_LEDGER).map(str::to_owned));
    names
}

/// The names of the series on a page of metrics.
fn names_in(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let ours = types.flat_map(|(name, kind)| {
        let ends: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            "info" => &["_info"],
            _ => &[""],
        };
        ends.iter().map(move |end| format!("{name}{end}"))
    });
    ours.collect()
}
