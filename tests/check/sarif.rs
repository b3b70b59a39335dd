//! SARIF: its shape, as its schema and the services that read it ask for.

use serde_json::Value;

use super::{check, data, json};

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
        let page = format!("docs/rules.md#{}", rule.name.to_lowercase());
        assert!(told["helpUri"].as_str().unwrap().ends_with(&page), "{told}");
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

fn place(place: &Value) {
    let uri = place["artifactLocation"]["uri"].as_str().unwrap();
    assert!(data("check").join(uri).is_file(), "{uri}");
    let at = |name: &str| place["region"][name].as_u64().unwrap();
    assert!(at("startLine") >= 1 && at("startColumn") >= 1);
    assert!((at("startLine"), at("startColumn")) < (at("endLine"), at("endColumn")));
}
