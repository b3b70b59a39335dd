//! Repositories as the tools of GitOps have them, and reports that stay readable.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{check, data, golden, json, scratch, text};
use crate::support::golden::expect;
use crate::support::plane::binary;

#[test]
fn what_a_tool_has_still_to_make_is_named_and_not_judged() {
    golden("check/flux/short", &["repo"], b"");
    golden("check/flux/verbose", &["repo", "--verbose"], b"");
    let output = check(&data("check/flux/repo"), &[".", "--format", "json"], b"");
    let reasons = |list: &str| -> Vec<String> {
        let list = json(&output)[list].as_array().unwrap().clone();
        list.iter().map(|it| it["reason"].as_str().unwrap().to_owned()).collect()
    };
    let (files, objects) = (reasons("passedOver").join("\n"), reasons("ignored").join("\n"));
    for told in [
        "is a patch of overlay/kustomization.yaml",
        "a template",
        "is encrypted with SOPS",
        "has no namespace",
        "substituted later",
    ] {
        assert!(files.contains(told), "{told}: {files}");
    }
    assert!(objects.contains("Service shop/web"), "{objects}");
}

#[test]
fn a_fleet_of_argo_cd_is_judged_by_cluster() {
    golden("check/argo/unnamed", &["repo"], b"");
    let members = ["eu-west=repo/clusters/eu-west", "us-east=repo/clusters/us-east"];
    golden("check/argo/named", &["--member", members[0], "--member", members[1], "-v"], b"");
}

#[test]
fn a_repository_of_deckhouse_clusters_is_judged_by_cluster() {
    golden("check/deckhouse/unnamed", &["repo"], b"");
    let members = ["prod-1=repo/clusters/prod-1", "prod-2=repo/clusters/prod-2"];
    golden("check/deckhouse/named", &["--member", members[0], "--member", members[1], "-v"], b"");
}

#[test]
fn overlays_are_judged_as_kubectl_builds_them() {
    golden("check/kustomize/unbuilt", &["repo/overlays/eu-west"], b"");
    let mut command = super::command(
        &data("check/kustomize/repo"),
        &["--kustomize", "overlays/eu-west", "clusters/eu-west.yaml"],
    );
    let output = command.env("PATH", binary("kubectl").parent().unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    expect(&data("check/kustomize/built.golden"), &text(&output.stdout));
}

/// A copy of a fleet whose clusters are built with kustomize.
fn built_fleet(name: &str) -> PathBuf {
    let (from, to) = (data("check/kustomize/fleet"), scratch(name));
    assert!(Command::new("cp").arg("-r").arg(from).arg(&to).status().unwrap().success());
    to.join("fleet")
}

/// Runs isthmus with kubectl as the only program that builds a kustomization.
fn built(directory: &Path, command: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_isthmus"));
    let kubectl = binary("kubectl");
    let path = format!("{}:/usr/bin:/bin", kubectl.parent().unwrap().display());
    let output = run.arg(command).args(args).current_dir(directory).env("PATH", path).output();
    let output = output.unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_fleet_of_overlays_is_judged_by_cluster_as_it_is_built() {
    let directory = built_fleet("built");
    let (code, told) = built(&directory, "check", &[]);
    expect(&data("check/kustomize/fleet.golden"), &told);
    assert_eq!(code, Some(1), "{told}");
    // As one is told that patches are not objects, and how they are judged.
    let config = fs::read_to_string(directory.join("isthmus.yaml")).unwrap();
    fs::write(directory.join("isthmus.yaml"), config.replace("kustomize: true\n", "")).unwrap();
    let (_, unbuilt) = built(&directory, "check", &[]);
    assert!(
        unbuilt.contains("kustomization.yaml; judge what it makes with --kustomize\n"),
        "{unbuilt}"
    );
    let (code, flagged) = built(&directory, "check", &["--kustomize"]);
    assert_eq!((code, flagged), (Some(1), told));
    let (code, refused) = built(&directory, "check", &["--kustomize", "clusters/eu-west"]);
    assert!(code == Some(2) && refused.contains("it builds theirs"), "{refused}");
    // Changes that a hook names are where a cluster is built from.
    let (code, changed) = built(&directory, "check", &["base/peer.yaml", "--kustomize"]);
    assert!(code == Some(1) && changed.contains("(built)"), "{changed}");
    fs::write(directory.join("base/kustomization.yaml"), "resources: [nowhere.yaml]\n").unwrap();
    let (code, broken) = built(&directory, "check", &["--kustomize"]);
    assert!(
        code == Some(2) && broken.contains("--kustomize clusters/eu-west: kubectl: "),
        "{broken}"
    );
    fs::write(directory.join("isthmus.yaml"), "kustomize: perhaps\n").unwrap();
    let (code, wrong) = built(&directory, "check", &["."]);
    assert_eq!(
        (code, &*wrong),
        (Some(2), "isthmus: isthmus.yaml:1:12: \"perhaps\" is not true or false\n")
    );
    fs::write(directory.join("isthmus.yaml"), "kustomize: true\n").unwrap();
    let (code, refused) = built(&directory, "check", &["--fix", "."]);
    assert!(
        code == Some(2) && refused.contains("cannot change what kustomize builds"),
        "{refused}"
    );
}

#[test]
fn a_branch_is_judged_as_it_is_built() {
    let directory = built_fleet("built-branch");
    let edit =
        |file: &str, from: &str, to: &str| super::clusters::edit(&directory.join(file), from, to);
    super::clusters::git(&directory, &["init", "-q"]);
    super::clusters::commit(&directory, "overlap");
    let against = || built(&directory, "check", &["--against-ref", "main"]);
    // What stood before is no fault of the branch.
    let (code, told) = against();
    assert!(code == Some(0) && told.contains(" 0 objects judged: 0 denials, 0 warnings"), "{told}");
    // A base changes what is built of it, and so does a patch.
    edit("base/peer.yaml", "/metadata/", "/metadata/ # the same");
    assert_eq!(against().1, told);
    edit("base/peer.yaml", "enableIngressGateway: false", "enableIngressGateway: true");
    let (code, told) = against();
    assert!(code == Some(0) && told.contains("3 files, 6 objects judged"), "{told}");
    super::clusters::commit(&directory, "gateways");
    edit("clusters/us-east/kustomization.yaml", "path: ap-south.yaml", "path: nowhere.yaml");
    super::clusters::commit(&directory, "broken");
    super::clusters::git(&directory, &["checkout", "-q", "HEAD~1", "clusters"]);
    let (code, told) = against();
    assert!(
        code == Some(0) && told.contains("skipped main: --kustomize clusters/us-east: "),
        "{told}"
    );
}

#[test]
fn a_plan_and_a_map_know_the_clusters_of_a_repository() {
    let directory = built_fleet("planned");
    let (code, told) = built(&directory, "map", &[]);
    assert!(code == Some(0) && told.contains("us-east   sound "), "{told}");
    let args = ["eu-north", "--from", "10.111.0.0/16", "--from", "10.112.0.0/14"];
    let (code, told) = built(&directory.join("clusters/us-east"), "plan", &args);
    let planned = "eu-north   10.113.0.0/16   10.114.0.0/16\n";
    assert!(code == Some(0) && told.ends_with(planned), "{told}");
    let (code, told) = built(&directory, "plan", &["ap-south"]);
    assert!(code == Some(2) && told.contains("ap-south is a member of the mesh already"), "{told}");
    let args = [
        "--member",
        "us-east=clusters/us-east",
        "--from",
        "10.111.0.0/16",
        "--pods",
        "/17",
        "--services",
        "/17",
    ];
    let (code, told) = built(&directory, "plan", &args);
    assert!(code == Some(0) && told.contains("10.111.0.0/17   10.111.128.0/17"), "{told}");
}

#[test]
fn a_patch_that_is_named_itself_is_judged() {
    let output = check(&data("check/flux/repo"), &["overlay/peer.yaml"], b"");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}

#[test]
fn a_kustomization_is_judged_as_it_is_built() {
    let directory = scratch("kustomize");
    fs::write(directory.join("kustomize"), "#!/bin/sh\ntest \"$1 $3\" = 'build .' && cat made\n")
        .unwrap();
    let made = fs::read_to_string(data("check/twice/a.yaml")).unwrap();
    fs::write(directory.join("made"), made).unwrap();
    let run = |path: &Path| {
        let mut command = super::command(&directory, &["--kustomize", "."]);
        command.env("PATH", path).output().unwrap()
    };
    let none = run(&directory.join("empty"));
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("neither kustomize nor kubectl"), "{}", text(&none.stderr));
    fs::set_permissions(directory.join("kustomize"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let built = run(path.as_ref());
    assert_eq!(built.status.code(), Some(1), "{}", text(&built.stderr));
    assert!(text(&built.stdout).contains("nonsense"), "{}", text(&built.stdout));
}

/// A fleet whose gateway peers all have the default subnets.
fn fleet(name: &str, peers: usize) -> PathBuf {
    let directory = scratch(name);
    let local = "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nclusterDomain: cluster.local\npodSubnetCIDR: 10.111.0.0/16\nserviceSubnetCIDR: 10.222.0.0/16\n";
    fs::write(directory.join("local.yaml"), local).unwrap();
    for number in 0..peers {
        let mut peer = String::new();
        write!(
            peer,
            "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata:\n  name: peer-{number}\n  annotations:\n    isthmus.dev/cluster-domain: cluster.local\n    isthmus.dev/pod-subnet-cidr: 10.111.0.0/16\n    isthmus.dev/service-subnet-cidr: 10.222.0.0/16\nspec:\n  metadataEndpoint: https://istio-metadata.peer-{number}.example.com/metadata/\n  enableIngressGateway: true\n"
        )
        .unwrap();
        fs::write(directory.join(format!("peer-{number}.yaml")), peer).unwrap();
    }
    directory
}

#[test]
fn what_has_one_cause_is_folded_so_that_it_fits_on_a_screen() {
    let directory = fleet("fleet", 100);
    let few = text(&check(&directory, &["."], b"").stdout).lines().count();
    let many = text(&check(&fleet("larger", 200), &["."], b"").stdout).lines().count();
    assert_eq!(few, many, "what is shown does not grow with the fleet");
    let all = text(&check(&directory, &[".", "--verbose"], b"").stdout);
    assert!(all.lines().count() > 5 * few);
    let told = text(&check(&directory, &["."], b"").stdout);
    assert!(told.contains("more like this, of 100 members [SubnetOverlap]"), "{told}");
    assert!(told.contains("\nSubnetOverlap: 0 denials, "), "{told}");
}

#[test]
fn what_is_reported_can_be_chosen() {
    let directory = fleet("chosen", 10);
    fs::write(directory.join("bad.yaml"), fs::read(data("check/twice/a.yaml")).unwrap()).unwrap();
    let run = |args: &[&str]| {
        let output = check(&directory, &[&["."], args].concat(), b"");
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, told, _) = run(&["--quiet"]);
    assert!(
        code == 1 && told.contains("InvalidMetadataEndpoint") && !told.contains("warning["),
        "{told}"
    );
    let (code, told, _) =
        run(&["--skip", "InvalidMetadataEndpoint", "--skip", "ClusterDomainMismatch"]);
    assert!(code == 0 && !told.contains("InvalidMetadataEndpoint"), "{told}");
    let (code, told, _) = run(&["--rule", "UnknownFacts"]);
    assert!(code == 0 && !told.contains("SubnetOverlap"), "{told}");
    let (_, told, _) = run(&["--max", "1"]);
    assert!(told.contains(" more findings\n"), "{told}");
    let (code, _, told) = run(&["--rule", "UnknownFact"]);
    assert!(code == 2 && told.contains("did you mean UnknownFacts?"), "{told}");
    let (_, told, _) = run(&["--color", "always"]);
    assert!(told.contains("\u{1b}["), "{told}");
    let (_, told, _) = run(&["--color", "never"]);
    assert!(!told.contains("\u{1b}["), "{told}");
}

#[test]
fn test_results_and_comments_are_printed() {
    for format in ["junit", "tap", "markdown"] {
        let case = format!("check/twice/{format}");
        golden(&case, &["b.yaml", "a.yaml", "--format", format], b"");
    }
}
