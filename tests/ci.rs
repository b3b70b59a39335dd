//! The scripts of `.ci` by which releases are made.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use isthmus::syntax::yaml_documents;
use serde_json::{Value as Json, json};

use crate::support::TempDir;

/// A script, in a directory.
fn script(name: &str, directory: &Path) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci").join(name);
    let mut command = Command::new(path);
    command.current_dir(directory);
    command
}

#[track_caller]
fn printed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_archive_holds_the_plugin_and_its_license_and_is_reproducible() {
    let directory = TempDir::new();
    let binary = directory.path().join("isthmus");
    fs::write(&binary, "#!/bin/sh\necho it runs\n").unwrap();
    let archives = ["a.tar.gz", "b.tar.gz"].map(|name| {
        let archive = directory.path().join(name);
        let mut command = script("archive", Path::new(env!("CARGO_MANIFEST_DIR")));
        printed(command.arg(&binary).arg(&archive).output().unwrap());
        fs::read(archive).unwrap()
    });
    assert!(archives[0] == archives[1], "the same binary and commit, the same bytes");
    let unpacked = Command::new("tar")
        .args(["--extract", "--gzip", "--verbose", "--file", "a.tar.gz"])
        .current_dir(directory.path())
        .output();
    assert_eq!(printed(unpacked.unwrap()), "kubectl-isthmus\nLICENSE\n");
    let plugin = Command::new(directory.path().join("kubectl-isthmus")).output();
    assert_eq!(printed(plugin.unwrap()), "it runs\n");
    let license = fs::read_to_string(directory.path().join("LICENSE")).unwrap();
    assert!(license.contains("Apache License"));
}

#[test]
fn the_manifest_for_krew_names_each_archive_with_its_checksum() {
    let directory = TempDir::new();
    let dist = directory.path().join("target/dist");
    fs::create_dir_all(&dist).unwrap();
    let krew = |url: &str| script("krew", directory.path()).args(["1.2.3", url]).output().unwrap();
    let url = "https://git.example.com/isthmus/releases/download/v1.2.3/";
    for (url, why) in [(url, "run make dist"), ("http://x", "must be the https address")] {
        let output = krew(url);
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    // That of another version is not meant.
    for name in
        ["1.2.3-aarch64-unknown-linux-gnu", "1.2.3-x86_64-unknown-linux-gnu", "1.2.2-x86_64-x"]
    {
        fs::write(dist.join(format!("kubectl-isthmus-{name}.tar.gz")), name).unwrap();
    }
    let manifest = printed(krew(url));
    let manifest = yaml_documents(&manifest).unwrap()[0].to_json();
    assert_eq!(manifest["kind"], "Plugin");
    assert_eq!(manifest["metadata"]["name"], "isthmus");
    let spec = &manifest["spec"];
    assert_eq!(spec["version"], "v1.2.3");
    assert_eq!(spec["homepage"], "https://git.example.com/isthmus");
    let platforms = spec["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    for (platform, (arch, cpu)) in platforms.iter().zip([("arm64", "aarch64"), ("amd64", "x86_64")])
    {
        assert_eq!(platform["selector"]["matchLabels"], json!({"os": "linux", "arch": arch}));
        let file = format!("kubectl-isthmus-1.2.3-{cpu}-unknown-linux-gnu.tar.gz");
        assert_eq!(platform["uri"], format!("{url}{file}"));
        let sum = Command::new("sha256sum").arg(dist.join(file)).output();
        let sum = printed(sum.unwrap());
        assert_eq!(platform["sha256"], *sum.split(' ').next().unwrap());
        assert_eq!(platform["bin"], "kubectl-isthmus");
        let files: Vec<_> = platform["files"].as_array().unwrap().iter().collect();
        let taken: Vec<_> = files.iter().map(|file| file["from"].as_str().unwrap()).collect();
        assert_eq!(taken, ["kubectl-isthmus", "LICENSE"]);
    }
    fs::write(dist.join("kubectl-isthmus-1.2.3-riscv64-x.tar.gz"), "").unwrap();
    assert!(!krew(url).status.success(), "an architecture that kubectl's names are not known of");
}

#[test]
fn the_provenance_names_the_commit_the_workflow_and_the_run() {
    let told = BTreeMap::from([
        ("GITHUB_SERVER_URL", "https://git.example.com"),
        ("GITHUB_REPOSITORY", "mesh/isthmus"),
        ("GITHUB_SHA", "0123abcd"),
        ("GITHUB_REF", "refs/tags/v1.2.3"),
        ("GITHUB_RUN_ID", "42"),
        ("GITHUB_RUN_ATTEMPT", "2"),
    ]);
    let run = |told: &BTreeMap<&str, &str>| {
        let mut command = script("provenance", Path::new("/"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GITHUB_")) {
            command.env_remove(name);
        }
        command.envs(told).output().unwrap()
    };
    let provenance: Json = serde_json::from_str(&printed(run(&told))).unwrap();
    let repository = "https://git.example.com/mesh/isthmus";
    let workflow = ".github/workflows/release.yml";
    let expected = json!({
        "buildDefinition": {
            "buildType": format!("{repository}/blob/0123abcd/{workflow}"),
            "externalParameters": {"ref": "refs/tags/v1.2.3", "repository": repository},
            "resolvedDependencies": [{
                "uri": format!("git+{repository}@refs/tags/v1.2.3"),
                "digest": {"gitCommit": "0123abcd"},
            }],
        },
        "runDetails": {
            "builder": {"id": format!("{repository}/{workflow}@refs/tags/v1.2.3")},
            "metadata": {"invocationId": format!("{repository}/actions/runs/42/attempts/2")},
        },
    });
    assert_eq!(provenance, expected);
    for name in told.keys() {
        let mut told = told.clone();
        told.remove(name);
        assert!(!run(&told).status.success(), "without {name}, it would name nothing");
    }
}
