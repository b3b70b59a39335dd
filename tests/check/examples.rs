//! The examples of the documentation and of `manifests/examples`.

use std::fs;
use std::path::Path;

use super::{check, data, json, text};

#[test]
fn every_example_of_the_documentation_passes() {
    for entry in fs::read_dir(data("seed")).unwrap() {
        let path = entry.unwrap().path();
        let output = check(&data("seed"), &[path.to_str().unwrap()], b"");
        assert_eq!(output.status.code(), Some(0), "{}: {}", path.display(), text(&output.stdout));
    }
}

#[test]
fn the_example_mesh_passes_without_warnings() {
    let output = check(&examples(), &["--strict", "mesh"], b"");
    assert_eq!(text(&output.stdout), "3 files, 6 objects judged: 0 denials, 0 warnings\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_example_descriptors_pass_without_warnings() {
    let output = check(&examples(), &["--strict", "multicluster"], b"");
    assert_eq!(
        text(&output.stdout),
        "4 files (2 skipped), 2 objects judged: 0 denials, 0 warnings\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn each_refused_example_is_refused_by_its_rule() {
    const CASES: &[(&str, &str)] = &[
        ("domain", "ClusterDomainMismatch"),
        ("duplicate", "DuplicateMember"),
        ("overlap", "SubnetOverlap"),
    ];
    let files = fs::read_dir(examples().join("refused")).unwrap().count();
    assert_eq!(files, CASES.len());
    for (name, rule) in CASES {
        let file = format!("refused/{name}.yaml");
        let output = check(&examples(), &[&file, "--against", "mesh", "--format", "json"], b"");
        assert_eq!(output.status.code(), Some(1), "{name}");
        let report = json(&output);
        let findings = report["findings"].as_array().unwrap().iter();
        let denials: Vec<_> = findings.filter(|finding| finding["level"] == "denial").collect();
        assert_eq!(denials.len(), 1, "{name}");
        assert_eq!(denials[0]["rule"], *rule);
        assert_eq!(denials[0]["location"]["file"], *file);
    }
}

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples")
}
