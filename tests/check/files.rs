//! Which files are read, and what is said of those that cannot be.

use std::fs;
use std::os::unix::fs::symlink;

use super::{check, data, golden, json, scratch, text};

#[test]
fn skips_what_is_not_a_manifest() {
    golden("check/sorts/directory", &["."], b"");
}

#[test]
fn named_files_must_be_read() {
    golden("check/sorts/named", &["templates/peer.yaml", "latin1.yaml", "absent.yaml"], b"");
    golden("check/sorts/named-other", &["templates/values.yaml", "README.md"], b"");
}

#[test]
fn a_broken_mesh_document_is_a_finding_even_in_a_named_file() {
    golden("check/sorts/broken", &["broken.yml", "nested"], b"");
}

#[test]
fn says_which_definition_counts() {
    golden("check/twice/last", &["a.yaml", "b.yaml"], b"");
    golden("check/twice/first", &["b.yaml", "a.yaml"], b"");
}

#[test]
fn symlink_cycles_end_and_no_file_is_read_twice() {
    let directory = scratch("links");
    fs::create_dir(directory.join("a")).unwrap();
    fs::copy(data("check/twice/b.yaml"), directory.join("a/b.yaml")).unwrap();
    symlink("..", directory.join("a/round")).unwrap();
    symlink("a/b.yaml", directory.join("same.yaml")).unwrap();
    let output = check(&directory, &[".", "a", "a/b.yaml"], b"");
    let stdout = text(&output.stdout);
    assert_eq!(
        stdout.lines().last(),
        Some("1 file, 1 object judged: 0 denials, 0 warnings"),
        "{stdout}"
    );
}

#[test]
fn reads_standard_input() {
    let text = fs::read(data("check/twice/a.yaml")).unwrap();
    let output = check(&scratch("stdin"), &["-", "--format", "json"], &text);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["findings"][0]["location"]["file"], "<stdin>");
    let output = check(&scratch("stdin"), &["-"], b"a: b: c");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        super::text(&output.stderr),
        "isthmus: <stdin>:1:5: not YAML: mapping values are not allowed in this context\n"
    );
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let directory = scratch("unreadable");
    fs::write(directory.join("nul.yaml"), b"a: \0").unwrap();
    fs::write(directory.join("wide.yaml"), b"\xff\xfea\0").unwrap();
    fs::File::create(directory.join("huge.yaml")).unwrap().set_len((64 << 20) + 1).unwrap();
    symlink("nowhere", directory.join("dangling.yaml")).unwrap();
    let output = check(
        &directory,
        &["nul.yaml", "wide.yaml", "huge.yaml", "dangling.yaml", "a\u{1b}b"],
        b"",
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "isthmus: nul.yaml: is binary, not text\n\
         isthmus: wide.yaml: is UTF-16; save it as UTF-8\n\
         isthmus: huge.yaml: is larger than 64 MiB; split it\n\
         isthmus: dangling.yaml: No such file or directory (os error 2)\n\
         isthmus: a\u{fffd}b: No such file or directory (os error 2)\n"
    );
    let output = check(&directory, &[], b"");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_unreadable_mesh_cannot_be_judged_against() {
    let directory = data("check");
    let output = check(&directory, &["twice/b.yaml", "--against", "sorts"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "isthmus: sorts/broken.yml:6:22: not YAML: mapping values are not allowed in this context\n"
    );
}

#[test]
fn a_cause_is_printed_once() {
    let output = check(&scratch("cause"), &["--cluster", "--kubeconfig", "absent", "."], b"");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.starts_with("isthmus: --kubeconfig absent: "), "{told}");
    assert_eq!(told.matches("No such file").count(), 1, "{told}");
}
