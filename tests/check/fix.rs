//! `check --fix`: what it writes, and what it leaves alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{check, data, golden, scratch, text};

#[test]
fn writes_what_it_can_and_reports_the_rest() {
    let before = fs::read_to_string(data("check/fix/peers.yaml")).unwrap();
    golden("check/fix/stdin", &["--fix", "-"], before.as_bytes());
    golden("check/fix/unfixed", &["peers.yaml"], b"");
    assert_eq!(before, fs::read_to_string(data("check/fix/peers.yaml")).unwrap());

    let directory = scratch("fix");
    let file = directory.join("real.yaml");
    fs::write(&file, format!("\u{feff}{before}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.yaml", directory.join("link.yaml")).unwrap();
    let output = check(&directory, &["--fix", "link.yaml"], b"");
    let stdout = text(&output.stdout);
    assert!(stdout.contains("fixed link.yaml:8: IstioMulticluster a: spec.metadataEndpoint: \"HTTPS://A.example.com/metadata\" -> \"https://a.example.com/metadata/\"\nfixed link.yaml:9: IstioMulticluster a: spec.enableIngressGateway: absent -> true\n"), "{stdout}");
    assert_eq!(output.status.code(), Some(0));
    let expected = before.replacen(
        "'HTTPS://A.example.com/metadata'   # kept too\n",
        "'https://a.example.com/metadata/'   # kept too\n  enableIngressGateway: true\n",
        1,
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("\u{feff}{expected}"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(directory.join("link.yaml").is_symlink());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);

    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let output = check(&directory, &["--fix", "link.yaml"], b"");
    assert!(!text(&output.stdout).contains("fixed"));
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), modified);
}

#[test]
fn writes_nothing_if_something_cannot_be_read() {
    let directory = scratch("fix-none");
    let file = directory.join("peers.yaml");
    fs::copy(data("check/fix/peers.yaml"), &file).unwrap();
    let output = check(&directory, &["--fix", "peers.yaml", "absent.yaml"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(&file).unwrap(), fs::read(data("check/fix/peers.yaml")).unwrap());
}

#[test]
fn leaves_patches_of_a_kustomization_alone() {
    let directory = scratch("patched");
    let peer = data("check/kustomize/repo/overlays/eu-west/peer-patch.yaml");
    let endpoint = "spec:\n  metadataEndpoint: https://istio.b.example.com/metadata/\n";
    let peer = fs::read_to_string(peer).unwrap() + endpoint;
    fs::write(directory.join("patch.yaml"), &peer).unwrap();
    fs::write(directory.join("kustomization.yaml"), "patches: [{path: patch.yaml}]\n").unwrap();
    let output = check(&directory, &["--fix", "."], b"");
    assert!(text(&output.stdout).contains("is a patch of kustomization.yaml"), "{output:?}");
    assert_eq!(fs::read_to_string(directory.join("patch.yaml")).unwrap(), peer);
    // One that is named is an object.
    check(&directory, &["--fix", "patch.yaml"], b"");
    assert_ne!(fs::read_to_string(directory.join("patch.yaml")).unwrap(), peer);
}

#[test]
fn leaves_read_only_files_and_files_with_templates_alone() {
    let directory = scratch("fix-not");
    let file = directory.join("peers.yaml");
    fs::copy(data("check/fix/peers.yaml"), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    let output = check(&directory, &["--fix", "peers.yaml"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "isthmus: peers.yaml cannot be written: it is read-only\n");

    let mixed = fs::read_to_string(&file).unwrap() + "---\nkind: {{ .kind }}\n";
    fs::write(directory.join("mixed.yaml"), &mixed).unwrap();
    fs::remove_file(&file).unwrap();
    let output = check(&directory, &["--fix", "."], b"");
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("edit it by hand: other documents in its file are not valid YAML"),
        "{stdout}"
    );
    assert_eq!(fs::read_to_string(directory.join("mixed.yaml")).unwrap(), mixed);
}
