//! `isthmus map`: where it reads the mesh, and what it shows; in a browser, `make pages` looks at it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::prelude::{BASE64_STANDARD, Engine};
use isthmus::map::POLICY;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

use crate::support::golden::expect;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Three clusters, of which two clash.
const REPOSITORY: &str = "tests/data/check/clusters";
const FORMATS: [&str; 4] = ["text", "html", "svg", "mermaid"];

/// What `isthmus map` does in this directory.
fn map(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
    command.arg("map").args(args).current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ISTHMUS_") {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

fn shown(directory: &Path, args: &[&str]) -> String {
    let output = map(directory, args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn root() -> PathBuf {
    ROOT.into()
}

fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("map").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn the_pictures_of_the_documentation_are_what_is_shown() {
    let repository = root().join(REPOSITORY);
    expect(&root().join("docs/map.svg"), &shown(&repository, &["--format", "svg"]));
    let page = root().join("docs/map.md");
    let mut text = fs::read_to_string(&page).unwrap();
    for format in ["text", "mermaid"] {
        let begin = format!("```{format}\n");
        let (before, rest) = text.split_once(&begin).expect("a block");
        let (_, after) = rest.split_once("```\n").expect("its end");
        text = format!("{before}{begin}{}```\n{after}", shown(&repository, &["--format", format]));
    }
    expect(&page, &text);
}

#[test]
fn a_repository_is_shown_as_each_of_its_clusters_sees_it() {
    let repository = root().join(REPOSITORY);
    let text = shown(&repository, &[]);
    assert!(text.starts_with("3 members, 1 network, 1 denial, 0 warnings\n"), "{text}");
    // The same, however its members are named, but for the rule that isthmus.yaml turns off.
    let named = ["eu-west", "us-east", "ap-south"].map(|name| format!("{name}=clusters/{name}"));
    let args: Vec<_> = named.iter().flat_map(|named| ["--member", named]).collect();
    assert_eq!(shown(&repository, &args), text);
}

#[test]
fn files_an_inventory_and_standard_input_are_the_same_mesh() {
    let mesh = "manifests/examples/mesh";
    let of_files = shown(&root(), &[mesh]);
    assert!(of_files.contains(" members, "), "{of_files}");
    assert_eq!(shown(&root(), &["--inventory", mesh]), of_files);
}

#[test]
fn what_cannot_be_read_or_is_not_one_mesh_is_not_shown() {
    let directory = scratch("unusable");
    fs::write(directory.join("bad.yaml"), "a: [").unwrap();
    let config =
        "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\npodSubnetCIDR: 10.1.0.0/16\n";
    for name in ["a", "b"] {
        fs::create_dir(directory.join(name)).unwrap();
        fs::write(directory.join(name).join("config.yaml"), config).unwrap();
    }
    for (args, told) in [
        (&["nowhere"][..], "nowhere: No such file"),
        (&["bad.yaml"], "bad.yaml:1:"),
        (&["a", "b"], "--member a=a --member b=b"),
        (&["a", "--inventory", "b"], "cannot be used with"),
        (&["--inventory", "nowhere"], "there is no such directory"),
    ] {
        let output = map(&directory, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn no_form_shows_a_credential() {
    let directory = scratch("credentials");
    let secret = "apiVersion: v1
kind: Secret
metadata:
  name: istio-remote-secret-b
  namespace: istio-system
  labels: {istio/multiCluster: \"true\"}
stringData:
  b: |
    apiVersion: v1
    kind: Config
    current-context: b
    contexts: [{name: b, context: {cluster: b, user: b}}]
    clusters: [{name: b, cluster: {server: \"https://user:planted-a@b.example.com:6443\"}}]
    users: [{name: b, user: {token: planted-b, password: planted-c}}]
---
apiVersion: deckhouse.io/v1alpha1
kind: IstioMulticluster
metadata: {name: c}
spec: {metadataEndpoint: \"https://user:planted-d@istio.c.example.com/metadata/\"}
";
    fs::write(directory.join("mesh.yaml"), secret).unwrap();
    for format in FORMATS {
        let shown = shown(&directory, &["mesh.yaml", "--format", format]);
        assert!(shown.contains('b') && !shown.contains("planted"), "{format}: {shown}");
    }
}

#[test]
fn the_page_allows_its_own_style_and_nothing_else() {
    let page = shown(&root(), &["manifests/examples/mesh", "--format", "html"]);
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    assert!(!rest.contains("<style"), "there is one style");
    assert!(!page.contains(" style="), "and no other");
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let hash = suite.common.hash_provider.hash(style.as_bytes());
    let hash = BASE64_STANDARD.encode(hash.as_ref());
    assert!(POLICY.contains(&format!("style-src 'sha256-{hash}';")), "write sha256-{hash}");
    assert!(POLICY.starts_with("default-src 'none'; "), "{POLICY}");
    let policy = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">");
    let before = page.split_once(&policy).expect("the policy").0;
    assert!(!before.contains("<style") && !before.contains("<title"), "before all it governs");
}
