//! What operators get to see: the start, logs and metrics.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::support::objects::{self, review};
use crate::support::process::Server;
use crate::support::{TempDir, data, peer, wait_for};

fn banner(server: &Server) -> String {
    wait_for("the banner", || {
        let printed = server.printed();
        printed.contains("curl").then_some(printed)
    })
}

#[test]
fn it_prints_what_it_guards() {
    let inventory = TempDir::with("local.yaml", &data("seed/cluster-configuration.yaml"));
    inventory.write("peers.yaml", data("seed/istiomulticlusters.yaml"));
    let server = Server::start(inventory.path(), &[]);
    let printed = banner(&server);
    let expected = format!(
        "webhook: https://{}/validate and /mutate\n\
         admin:   http://{}/livez, /readyz and /metrics\n\
         guarding a mesh of 3 members:\n\
         \x20 cluster-a behind a gateway, domain unknown, subnets unknown\n\
         \x20 cluster-b behind a gateway, domain unknown, subnets unknown\n\
         \x20 local (local), domain cluster.local, pod subnet 10.111.0.0/16, service subnet 10.222.0.0/16\n\
         see a denial:\n",
        server.webhook, server.admin
    );
    assert!(printed.starts_with(&expected), "{printed}");
}

#[test]
fn the_printed_command_shows_a_denial() {
    let empty = TempDir::new();
    let local = TempDir::with("local.yaml", &data("seed/cluster-configuration.yaml"));
    let peers = TempDir::with("peers.yaml", &data("seed/istiomulticlusters.yaml"));
    let cases = [
        (&empty, "InvalidMetadataEndpoint"),
        (&local, "SubnetOverlap"),
        (&peers, "InvalidMetadataEndpoint"),
    ];
    for (inventory, rule) in cases {
        let server = Server::start(inventory.path(), &[]);
        let printed = banner(&server);
        let line = printed.lines().find(|line| line.trim().starts_with("curl ")).unwrap();
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let review: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(review["response"]["allowed"], false);
        assert_eq!(review["response"]["status"]["details"]["causes"][0]["reason"], rule);
    }
}

#[test]
fn many_members_are_summed_up() {
    let many: Vec<_> = (0..50)
        .map(|n| peer(&format!("m{n:02}"), &format!("https://istio.m{n}.example.com/metadata/")))
        .map(|review| review["request"]["object"].to_string())
        .collect();
    let inventory = TempDir::with("many.yaml", &many.join("\n---\n"));
    let server = Server::start(inventory.path(), &[]);
    let printed = banner(&server);
    assert!(printed.contains("guarding a mesh of 50 members:\n"), "{printed}");
    assert!(printed.contains("\n  m08 "), "{printed}");
    assert!(printed.contains("\n  and 41 more: no domain, 0 subnets\n"), "{printed}");
    assert!(!printed.contains("\n  m09 "), "{printed}");
}

#[test]
fn a_decision_is_one_line_without_secrets() {
    let inventory = TempDir::with("local.yaml", &data("seed/cluster-configuration.yaml"));
    let server = Server::start(inventory.path(), &[]);
    let mut review = peer("peer", "https://peer:hunter2@istio.example.com/metadata/");
    review["request"]["dryRun"] = true.into();
    assert!(!server.allows(&review));
    let line = wait_for("the line", || {
        let lines = server.log_lines();
        lines.into_iter().find(|line| line["message"] == "review decided")
    });
    let mut line = line.as_object().unwrap().clone();
    assert!(line.remove("duration_us").unwrap().is_u64());
    assert!(line.remove("timestamp").unwrap().is_string());
    assert_eq!(
        Json::Object(line),
        json!({
            "level": "INFO",
            "message": "review decided",
            "hook": "validate",
            "uid": "5a2c7d0e-0000-4000-8000-000000000001",
            "operation": "CREATE",
            "kind": "IstioMulticluster",
            "object": "peer",
            "subresource": "",
            "user": "jane",
            "dry_run": true,
            "verdict": "denied",
            "rules": "InvalidMetadataEndpoint,UnknownFacts",
        })
    );

    let encode = |text: &str| STANDARD.encode(text);
    for data in [
        json!({"cluster-configuration.yaml": encode("hunter2: [")}),
        json!({"cluster-configuration.yaml": encode("podSubnetCIDR: hunter2\nclusterDomain: hunter2..\n"), "more": "hunter2"}),
        json!({"cluster-configuration.yaml": "hunter2!"}),
        json!(["hunter2"]),
    ] {
        let object = objects::secret("kube-system", "d8-cluster-configuration", data.clone());
        assert!(!server.allows(&objects::review(None, &object)), "{data}");
        inventory.write("secret.yaml", object.to_string());
        server.wait_inventory();
    }
    for body in ["\"hunter2\"", "{\"kind\":\"hunter2\"}", "{\"request\":\"hunter2\"}", "hunter2"] {
        assert_eq!(server.client().post("/validate", body).status, 400);
    }
    inventory.write("secret.yaml", "kind: Secret\nmetadata: hunter2\n");
    server.wait_metric("isthmus_inventory_bad_files", 1.0);
    let (logged, encoded) = (server.all_logged(), encode("hunter2"));
    assert!(!logged.contains("hunter2"), "{logged}");
    assert!(!logged.contains(encoded.trim_end_matches('=')), "{logged}");
}

#[test]
fn people_read_lines_and_programs_json() {
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &["--log-format", "human"]);
    let mut review = peer("peer", "https://istio.example.com/metadata/");
    review["request"]["userInfo"]["username"] = "eve\r\nINFO all is well \u{1b}[31m".into();
    assert!(server.allows(&review));
    let line = wait_for("the line", || {
        let logged = server.logged();
        logged.lines().find(|line| line.contains("review decided")).map(str::to_owned)
    });
    assert!(line.contains("INFO review decided hook=\"validate\""), "{line}");
    assert!(line.contains(r#"user="eve\r\nINFO all is well \u{1b}[31m""#), "{line}");
    assert!(!server.logged().contains('\u{1b}'));
    let server = Server::start(empty.path(), &["--log-format", "json"]);
    assert!(server.log_lines().iter().all(|line| line["level"] == "INFO"));
}

#[test]
fn metrics_count_what_happens_in_bounded_labels() {
    let inventory = TempDir::with("local.yaml", &data("seed/cluster-configuration.yaml"));
    let server = Server::start(inventory.path(), &[]);
    let good = peer("peer", "https://istio.example.com/metadata/");
    let raw = peer("peer", "https://Istio.example.com:443/metadata");
    let bad = peer("peer", "http://istio.example.com/metadata/");
    server.review("/validate", &good);
    server.review("/validate", &bad);
    server.review("/mutate", &raw);
    server.review("/mutate", &good);
    for n in 0..5 {
        let object =
            json!({"apiVersion": "v1", "kind": format!("Kind{n}"), "metadata": {"name": "x"}});
        let mut review = review(None, &object);
        review["request"]["operation"] = format!("OPERATION{n}").into();
        server.review("/validate", &review);
    }
    server.client().post("/validate", "x");
    let series = |hook: &str, kind: &str, operation: &str, verdict: &str| {
        format!(
            "isthmus_reviews_total{{hook=\"{hook}\",kind=\"{kind}\",operation=\"{operation}\",verdict=\"{verdict}\"}}"
        )
    };
    let expected = [
        (series("validate", "IstioMulticluster", "CREATE", "warned"), 1.0),
        (series("validate", "IstioMulticluster", "CREATE", "denied"), 1.0),
        (series("mutate", "IstioMulticluster", "CREATE", "patched"), 1.0),
        (series("mutate", "IstioMulticluster", "CREATE", "allowed"), 1.0),
        (series("validate", "other", "other", "allowed"), 5.0),
        ("isthmus_findings_total{rule=\"InvalidMetadataEndpoint\",verdict=\"denied\"}".into(), 1.0),
        ("isthmus_findings_total{rule=\"UnknownFacts\",verdict=\"warned\"}".into(), 1.0),
        ("isthmus_review_duration_seconds_count{hook=\"validate\"}".into(), 7.0),
        ("isthmus_refused_requests_total{status=\"400\"}".into(), 1.0),
        ("isthmus_reviews_in_flight".into(), 0.0),
        ("isthmus_panics_total".into(), 0.0),
        ("isthmus_inventory_members".into(), 1.0),
        ("isthmus_inventory_objects".into(), 1.0),
        ("isthmus_inventory_files".into(), 1.0),
        ("isthmus_inventory_errors_total".into(), 0.0),
        ("isthmus_certificate_errors_total".into(), 0.0),
        ("isthmus_ready".into(), 1.0),
    ];
    for (series, value) in expected {
        assert_eq!(server.metric(&series), Some(value), "{series}");
    }
    assert!(server.metric("isthmus_inventory_age_seconds").unwrap() < 60.0);
    let page = server.admin("/metrics");
    assert!(page.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(page.text().ends_with("# EOF\n"));
    assert_eq!(server.admin("/nowhere").status, 404);
}

#[test]
fn a_standing_finding_is_counted_once_for_both_sides() {
    let series = |rule: &str, severity: &str| {
        format!("isthmus_standing_findings{{rule=\"{rule}\",severity=\"{severity}\"}}")
    };
    let twin = |name: &str, allow: &str| {
        let endpoint = "https://istio.twin.example.com/metadata/";
        format!(
            "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata: {{name: {name}, annotations: {{{allow}}}}}\nspec: {{metadataEndpoint: '{endpoint}'}}\n"
        )
    };
    let inventory = TempDir::with("a.yaml", &twin("a", ""));
    inventory.write("b.yaml", twin("b", ""));
    let server = Server::start(inventory.path(), &[]);
    server.wait_metric(&series("DuplicateMember", "deny"), 1.0);
    server.wait_metric(&series("UnknownFacts", "warn"), 2.0);
    inventory.write("b.yaml", twin("b", "isthmus.dev/allow: DuplicateMember"));
    server.wait_metric(&series("DuplicateMember", "deny"), 0.0);
    server.wait_metric(&series("DuplicateMember", "warn"), 1.0);
    inventory.remove("b.yaml");
    server.wait_metric(&series("DuplicateMember", "warn"), 0.0);
}
