//! `make demo`, and the picture of it in the README.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::TempDir;
use crate::support::golden::expect;

#[test]
fn the_picture_shows_what_the_demo_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = TempDir::new();
    let demo = Command::new(root.join("tests/kubernetes/demo"))
        .arg(env!("CARGO_BIN_EXE_isthmus"))
        .env("TMPDIR", scratch.path())
        .output()
        .expect("the demo needs a shell, `bash`");
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "it leaves nothing");
    let mut picture = Command::new(root.join("tests/kubernetes/picture"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    picture.stdin.take().unwrap().write_all(&demo.stdout).unwrap();
    let picture = picture.wait_with_output().unwrap();
    assert!(picture.status.success());
    let drawn = String::from_utf8(picture.stdout).unwrap();
    expect(&root.join("docs/demo.svg"), &drawn);
}
