//! A repository of several clusters: whose files are whose, and what each cluster sees.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::{check, data, golden, json, scratch, text};

const MEMBERS: [&str; 6] = [
    "--member",
    "eu-west=clusters/eu-west",
    "--member",
    "us-east=clusters/us-east",
    "--member",
    "ap-south=clusters/ap-south",
];

/// A copy of the repository, without the file that describes it.
fn repository(name: &str) -> std::path::PathBuf {
    let copy = scratch(name);
    copied(&data("check/clusters/clusters"), &copy.join("clusters"));
    copy
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(super) fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

/// The codes of what is found, with the views that see it.
fn found(directory: &Path, args: &[&str]) -> Vec<(String, Vec<String>)> {
    let args: Vec<_> = args.iter().copied().chain(["--format", "json"]).collect();
    let output = check(directory, &args, b"");
    assert!(output.status.code().unwrap() < 2, "{}", text(&output.stderr));
    let findings = json(&output)["findings"].as_array().unwrap().clone();
    let views = |finding: &serde_json::Value| {
        finding["views"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap().to_owned())
            .collect()
    };
    findings.iter().map(|it| (it["rule"].as_str().unwrap().to_owned(), views(it))).collect()
}

#[test]
fn every_cluster_sees_the_others_as_their_own_files_are() {
    golden("check/clusters/described", &[], b"");
}

#[test]
fn findings_in_unselected_files_are_left_out() {
    golden("check/clusters/asked", &["clusters/us-east/peers.yaml"], b"");
    // As seen from a directory below.
    let output = check(&data("check/clusters/clusters/us-east"), &["."], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("NotMutual"), "{}", text(&output.stdout));
}

#[test]
fn files_of_several_clusters_are_not_one_mesh() {
    let directory = repository("unclear");
    for paths in [&["."][..], &["clusters"], &["clusters/eu-west", "clusters/us-east"]] {
        let output = check(&directory, paths, b"");
        assert_eq!(output.status.code(), Some(2), "{paths:?}");
        assert_eq!(text(&output.stdout), "", "{paths:?}");
        let told = text(&output.stderr);
        assert!(
            told.contains("--member eu-west=clusters/eu-west --member us-east=clusters/us-east"),
            "{told}"
        );
    }
    // One of them alone is one.
    let output = check(&directory, &["clusters/eu-west"], b"");
    assert_eq!(output.status.code(), Some(0));
    // Two configurations of the cluster itself, side by side.
    for name in ["eu-west", "us-east"] {
        let from = directory.join("clusters").join(name).join("cluster-configuration.yaml");
        fs::rename(from, directory.join(format!("{name}.yaml"))).unwrap();
    }
    let output = check(&directory, &["eu-west.yaml", "us-east.yaml"], b"");
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("--member eu-west=eu-west.yaml --member us-east=us-east.yaml"), "{told}");
}

#[test]
fn a_member_is_one_cluster_and_a_file_is_of_one_member() {
    let directory = repository("shared");
    let run = |members: &[&str]| {
        let args: Vec<_> = members.iter().flat_map(|member| ["--member", member]).collect();
        let output = check(&directory, &args, b"");
        (output.status.code(), text(&output.stderr))
    };
    let (code, told) = run(&["eu-west=clusters/eu-west", "x=clusters"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains(r#"is a file of member "eu-west" and of member "x""#), "{told}");
    fs::create_dir(directory.join("none")).unwrap();
    let (code, told) = run(&["all=clusters", "none=none"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("so these are not the manifests of one cluster"), "{told}");
    assert!(told.contains("--member us-east=clusters/us-east"), "{told}");
}

#[test]
fn its_proposals_are_accepted() {
    let directory = repository("proposed");
    let told = text(&check(&directory, &["."], b"").stderr);
    let (_, proposed) = told.trim().split_once("isthmus check ").unwrap();
    let proposed: Vec<_> = proposed.split(' ').collect();
    let output = check(&directory, &proposed, b"");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("error[SubnetOverlap]"));
}

#[test]
fn a_clash_is_reported_once_with_every_cluster_that_sees_it() {
    let directory = repository("once");
    let all = ["eu-west", "us-east", "ap-south"].map(str::to_owned).to_vec();
    let found_of = |directory: &Path| found(directory, &MEMBERS);
    let overlaps = |found: &[(String, Vec<String>)]| -> Vec<Vec<String>> {
        found.iter().filter(|(code, _)| code == "SubnetOverlap").map(|(_, v)| v.clone()).collect()
    };
    assert_eq!(overlaps(&found_of(&directory)), [all]);
    // Another domain is foreign to everyone else.
    let configuration = directory.join("clusters/ap-south/cluster-configuration.yaml");
    edit(&configuration, "cluster.local", "east.local");
    edit(&configuration, "10.111.0.0/16", "10.113.0.0/16");
    let found = found_of(&directory);
    assert!(overlaps(&found).is_empty(), "{found:?}");
    let mismatches = found.iter().filter(|(code, _)| code == "ClusterDomainMismatch");
    let views: Vec<_> = mismatches.map(|(_, views)| views.clone()).collect();
    assert_eq!(views.len(), 2, "{found:?}");
}

#[test]
fn clusters_with_different_views_of_each_other_are_reported() {
    let directory = repository("alike");
    let peers = directory.join("clusters/us-east/peers.yaml");
    edit(&peers, "istio-metadata.eu-west.example.com", "istio-metadata.eu-north.example.com");
    let output = check(&directory, &MEMBERS, b"");
    let told = text(&output.stdout);
    assert!(told.contains("is not a metadata endpoint of eu-west, whose publicDomainTemplate is %s.eu-west.example.com"), "{told}");
    assert!(told.contains("write https://istio-metadata.eu-west.example.com/metadata/"), "{told}");
    // Without a template, whoever differs from the first is told.
    fs::remove_file(directory.join("clusters/eu-west/global.yaml")).unwrap();
    let told = text(&check(&directory, &MEMBERS, b"").stdout);
    assert!(told.contains("us-east finds eu-west at https://istio-metadata.eu-north.example.com/metadata/, but ap-south at https://istio-metadata.eu-west.example.com/metadata/"), "{told}");
    // One side through a gateway, the other directly.
    edit(
        &directory.join("clusters/eu-west/peers.yaml"),
        "enableIngressGateway: false",
        "enableIngressGateway: true",
    );
    let told = text(&check(&directory, &MEMBERS, b"").stdout);
    assert!(told.contains("us-east expects to reach eu-west directly, but eu-west reaches us-east through a gateway"), "{told}");
}

#[test]
fn the_file_of_a_repository_is_read_with_the_place_of_what_is_wrong() {
    let directory = repository("described");
    for (text, told) in [
        ("membres: {}\n", "isthmus.yaml:1:1: there is no field membres; did you mean members?"),
        ("members: [a]\n", "isthmus.yaml:1:10: must be a mapping, not a list"),
        ("members:\n  a: \"\"\n", "isthmus.yaml:2:6: must be a path, not empty"),
        (
            "settings:\n  enforcment: Warn\n",
            "isthmus.yaml:2:3: there is no setting enforcment; did you mean enforcement?",
        ),
        (
            "settings:\n  enforcement: Maybe\n",
            "isthmus.yaml:2:16: enforcement: \"Maybe\" is not Deny or Warn",
        ),
        (
            "rules:\n  SubnetOverlp: off\n",
            "isthmus.yaml:2:3: there is no rule SubnetOverlp; did you mean SubnetOverlap?",
        ),
        ("rules:\n  SubnetOverlap: mild\n", "isthmus.yaml:2:18: \"mild\" is not off, warn or deny"),
        ("a: b: c\n", "isthmus.yaml:1:5: not YAML: mapping values are not allowed in this context"),
    ] {
        fs::write(directory.join("isthmus.yaml"), text).unwrap();
        let output = check(&directory, &["clusters/eu-west"], b"");
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(super::text(&output.stderr), format!("isthmus: {told}\n"), "{text}");
    }
}

#[test]
fn rules_and_settings_of_a_repository_hold_unless_a_flag_says_otherwise() {
    let directory = repository("graded");
    let describe = |rest: &str| {
        let members = "members: {eu-west: clusters/eu-west, us-east: clusters/us-east, ap-south: clusters/ap-south}";
        fs::write(directory.join("isthmus.yaml"), format!("{members}\n{rest}")).unwrap();
    };
    let code = |args: &[&str]| check(&directory, args, b"").status.code();
    describe("");
    assert_eq!(code(&[]), Some(1));
    describe("rules: {SubnetOverlap: warn}\n");
    assert_eq!(code(&[]), Some(0));
    describe("rules: {SubnetOverlap: off, NotMutual: deny}\n");
    assert_eq!(code(&[]), Some(1));
    let found = found(&directory, &[]);
    assert!(found.iter().all(|(code, _)| code != "SubnetOverlap"), "{found:?}");
    describe("settings: {enforcement: Warn}\n");
    assert_eq!(code(&[]), Some(0));
    assert_eq!(code(&["--enforcement", "Deny"]), Some(1));
    // Without its files there is nothing it could clash with.
    describe("exclude: [clusters/ap-south/cluster-configuration.yaml]\n");
    assert_eq!(code(&[]), Some(0));
}

/// Runs git with nothing of the user's own configuration.
pub(super) fn git(directory: &Path, args: &[&str]) {
    let run = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(args)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(run.status.success(), "{args:?}: {}", text(&run.stderr));
}

pub(super) fn commit(directory: &Path, message: &str) {
    git(directory, &["add", "-A"]);
    git(directory, &["commit", "-q", "-m", message]);
}

#[test]
fn a_branch_is_judged_by_what_it_brings_to_where_it_is_merged() {
    let directory = repository("branch");
    fs::copy(data("check/clusters/isthmus.yaml"), directory.join("isthmus.yaml")).unwrap();
    let ap_south = directory.join("clusters/ap-south/cluster-configuration.yaml");
    git(&directory, &["init", "-q"]);
    commit(&directory, "overlap");
    git(&directory, &["checkout", "-q", "-b", "topic"]);
    // What stood before is no fault of the branch.
    assert_eq!(found(&directory, &["--against-ref", "main"]), []);
    edit(
        &directory.join("clusters/us-east/cluster-configuration.yaml"),
        "10.112.0.0/16",
        "10.111.0.0/16",
    );
    let output = check(&directory, &["--against-ref", "main"], b"");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("10.111.0.0/16 overlaps"), "{}", text(&output.stdout));
    git(&directory, &["checkout", "-q", "."]);
    // Main has put it right since, and the branch has not touched it.
    git(&directory, &["checkout", "-q", "main"]);
    edit(&ap_south, "10.111.0.0/16", "10.113.0.0/16");
    commit(&directory, "repair");
    git(&directory, &["checkout", "-q", "topic"]);
    fs::write(directory.join("clusters/us-east/more.yaml"), "# nothing\n").unwrap();
    commit(&directory, "topic");
    assert_eq!(found(&directory, &["--against-ref", "main"]), []);
    // A member that the branch deletes takes its subnets along.
    git(&directory, &["merge", "-q", "-m", "main", "main"]);
    edit(
        &directory.join("clusters/us-east/cluster-configuration.yaml"),
        "10.112.0.0/16",
        "10.113.0.0/16",
    );
    assert_eq!(check(&directory, &["--against-ref", "main"], b"").status.code(), Some(1));
    fs::remove_file(&ap_south).unwrap();
    assert_eq!(check(&directory, &["--against-ref", "main"], b"").status.code(), Some(0));
    let output = check(&directory, &["--against-ref", "nowhere"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("nowhere"), "{}", text(&output.stderr));
}

#[test]
fn what_a_repository_leaves_out_and_links_to_is_the_same_in_every_revision() {
    let directory = repository("linked");
    let archive = directory.join("clusters/us-east/archive");
    let shared = directory.join("shared");
    fs::create_dir(&archive).unwrap();
    fs::create_dir(&shared).unwrap();
    fs::rename(directory.join("clusters/us-east/global.yaml"), shared.join("global.yaml")).unwrap();
    symlink("../../shared/global.yaml", directory.join("clusters/us-east/global.yaml")).unwrap();
    fs::copy(
        directory.join("clusters/eu-west/cluster-configuration.yaml"),
        archive.join("old.yaml"),
    )
    .unwrap();
    let config = fs::read_to_string(data("check/clusters/isthmus.yaml")).unwrap();
    let config = config + "exclude: clusters/us-east/archive\n";
    fs::write(directory.join("isthmus.yaml"), config).unwrap();
    git(&directory, &["init", "-q"]);
    commit(&directory, "all");
    let output = check(&directory, &["--against-ref", "main"], b"");
    let told = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(told, "0 files, 0 objects judged: 0 denials, 0 warnings\n");
}

#[test]
fn a_branch_of_several_clusters_is_not_one_mesh_either() {
    let directory = repository("branch-unclear");
    git(&directory, &["init", "-q"]);
    commit(&directory, "all");
    fs::write(directory.join("clusters/us-east/more.yaml"), "# nothing\n").unwrap();
    let output = check(&directory, &[".", "--against-ref", "HEAD"], b"");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
}

#[test]
fn members_are_compared_with_another_revision_of_their_repository() {
    let (before, after) = (repository("before"), repository("after"));
    let against = before.to_str().unwrap();
    let args: Vec<_> = MEMBERS.into_iter().chain(["--against", against]).collect();
    let output = check(&after, &args, b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    edit(
        &after.join("clusters/us-east/cluster-configuration.yaml"),
        "10.112.0.0/16",
        "10.111.0.0/16",
    );
    let output = check(&after, &args, b"");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}
