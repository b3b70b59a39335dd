//! What each format prints, whole.

use super::{check, command, data, golden, json, text};

#[test]
fn shows_places_in_carried_texts() {
    golden("check/carried/pretty", &["local.yaml", "members.yaml"], b"");
    golden("check/carried/secret", &["secret.yaml"], b"");
}

#[test]
fn prints_json() {
    golden("check/carried/json", &["local.yaml", "members.yaml", "--format", "json"], b"");
}

#[test]
fn prints_workflow_commands() {
    golden("check/carried/github", &["local.yaml", "members.yaml", "--format", "github"], b"");
}

#[test]
fn reads_values_files_that_have_no_kind() {
    let values = "istio-remote-values";
    golden("check/values/misplaced", &["--as", values, "misplaced.yaml"], b"");
    golden("check/values/good", &["--as", values, "good.yaml"], b"");
    golden("check/values/list", &["--as", values, "list.yaml", "good.yaml"], b"");
    golden("check/values/istiod", &["--as", "istiod-values", "istiod.yaml"], b"");
}

#[test]
fn finds_the_item_of_a_list() {
    golden("check/values/endpoints", &["endpoints.yaml"], b"");
}

#[test]
fn shows_places_in_descriptors_and_never_a_credential() {
    golden("check/descriptors/pretty", &["multicluster.yaml"], b"");
    golden("check/descriptors/directory", &["files"], b"");
    for format in ["pretty", "json", "sarif", "github"] {
        let args = ["multicluster.yaml", "--format", format];
        let output = check(&data("check/descriptors"), &args, b"");
        let stdout = text(&output.stdout);
        assert!(stdout.contains("falkor08.kube.conf") && !stdout.contains("s3cr3t"), "{stdout}");
    }
}

#[test]
fn finds_the_lines_of_networks() {
    golden("check/networks/pretty", &["istio.yaml"], b"");
    golden("check/networks/github", &["istio.yaml", "--format", "github"], b"");
}

#[test]
fn judges_a_change_against_the_existing_mesh() {
    golden("check/change/grown", &["set", "--against", "mesh"], b"");
    golden("check/change/strict", &["mesh/cluster.yaml", "--strict", "--against", "mesh"], b"");
    let stdin = std::fs::read(data("check/change/same.yaml")).unwrap();
    golden("check/change/stdin", &["-", "--against", "mesh/peer.yaml"], &stdin);
}

#[test]
fn existing_mistakes_are_only_warnings() {
    let directory = data("check/change");
    // The same name: it replaces the one that stands, mistake and all.
    let copy = super::scratch("stood").join("cluster.yaml");
    std::fs::copy(directory.join("same.yaml"), &copy).unwrap();
    let args = [copy.to_str().unwrap(), "--against", "mesh", "--format", "json"];
    let output = check(&directory, &args, b"");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(json(&output)["findings"][0]["because"], "stood");
    let output = check(&directory, &[&args[..], &["--strict"]].concat(), b"");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn colours_only_on_request() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = command(&data("check/carried"), &["secret.yaml"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        text(&output.stdout).contains('\u{1b}')
    };
    assert!(!run(&[]));
    assert!(run(&[("CLICOLOR_FORCE", "1")]));
    assert!(!run(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}
