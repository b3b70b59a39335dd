//! SARIF: its shape, as its schema and the services that read it ask for.

use std::fs;
use std::process::Command;

use serde_json::{Value, json as value};

use super::{check, data, json};
use crate::policy_report;
use crate::support::TempDir;
use crate::support::plane::{binary, published};

#[test]
fn has_the_shape_of_the_schema() {
    let args = ["carried", "descriptors", "sorts", "twice", "--format", "sarif"];
    let output = check(&data("check"), &args, b"");
    assert_eq!(output.status.code(), Some(1));
    let sarif = json(&output);
    assert_eq!(sarif["version"], "2.1.0");
    assert!(sarif["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let [run] = sarif["runs"].as_array().unwrap().as_slice() else { panic!("one run") };
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "isthmus");
    let rules = driver["rules"].as_array().unwrap();
    for rule in isthmus::rule::RULES {
        let told = rules.iter().find(|told| told["id"] == rule.name).unwrap();
        assert!(!told["shortDescription"]["text"].as_str().unwrap().is_empty());
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.iter().any(|result| result["level"] == "error"));
    assert!(results.iter().any(|result| result["level"] == "warning"));
    assert!(results.iter().any(|result| result["level"] == "note"));
    assert!(results.iter().any(|result| result.get("relatedLocations").is_some()));
    let prints =
        results.iter().map(|result| result["partialFingerprints"]["isthmus/v1"].to_string());
    let distinct: std::collections::BTreeSet<_> = prints.collect();
    assert_eq!(distinct.len(), results.len(), "two results have one fingerprint");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let locations = result["locations"].as_array().unwrap();
        assert_eq!(locations.len(), 1);
        let related = result.get("relatedLocations").and_then(Value::as_array);
        let ids: Vec<_> = related.into_iter().flatten().map(|place| &place["id"]).collect();
        assert!(ids.iter().enumerate().all(|(index, id)| **id == index));
        for location in locations.iter().chain(related.into_iter().flatten()) {
            place(&location["physicalLocation"]);
        }
    }
}

#[test]
fn is_valid_by_the_published_schema() {
    let reports = [
        json(&check(&data("check"), &["carried", "sorts", "twice", "--format=sarif"], b"")),
        json(&check(&data("check"), &["carried", "--rule=UnknownKind", "--format=sarif"], b"")),
        serde_json::from_str(&policy_report::audit(policy_report::MESH, "sarif")).unwrap(),
    ];
    for report in &reports {
        assert_eq!(refused(report), None, "{report:#}");
    }
    // The schema is asked.
    for (place, wrong, why) in [
        ("/runs/0/results/0/level", value!("fatal"), "value must be one of"),
        ("/runs/0/tool/driver/name", Value::Null, "got null, want string"),
        ("/runs/0/results/0/locations/0", value!({"file": "x"}), "additional properties 'file'"),
    ] {
        let mut report = reports[0].clone();
        *report.pointer_mut(place).unwrap() = wrong;
        let refused = refused(&report).unwrap_or_else(|| panic!("{place} is not refused"));
        assert!(refused.contains(place) && refused.contains(why), "{refused}");
    }
}

/// Why a report is not as the published schema has it. Helm tells, which holds the values of a chart
/// to their JSON schema.
fn refused(report: &Value) -> Option<String> {
    let mut schema: Value = serde_json::from_str(&published("sarif.json")).unwrap();
    let parts = schema.as_object_mut().unwrap();
    parts.remove("$id");
    let schema = value!({
        "$schema": parts.remove("$schema"),
        "definitions": parts.remove("definitions"),
        "required": ["report"],
        "properties": {"report": schema},
    });
    let chart = TempDir::new();
    for (name, text) in [
        ("Chart.yaml", "{apiVersion: v2, name: x, version: 0.0.0}"),
        ("values.schema.json", &schema.to_string()),
        ("values.json", &value!({"report": report}).to_string()),
    ] {
        fs::write(chart.path().join(name), text).unwrap();
    }
    let helm = ["template", "x", ".", "--values=values.json"];
    let output =
        Command::new(binary("helm")).args(helm).current_dir(chart.path()).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
}

fn place(place: &Value) {
    let uri = place["artifactLocation"]["uri"].as_str().unwrap();
    assert!(data("check").join(uri).is_file(), "{uri}");
    let at = |name: &str| place["region"][name].as_u64().unwrap();
    assert!(at("startLine") >= 1 && at("startColumn") >= 1);
    assert!((at("startLine"), at("startColumn")) < (at("endLine"), at("endColumn")));
}
