//! `isthmus check` as a whole: the built program run on files.

mod clusters;
mod examples;
mod files;
mod fix;
mod formats;
mod layouts;
mod sarif;
mod secrets;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::golden::expect;

/// The files of the tests.
fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// An empty directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Runs `isthmus check` in a directory, with nothing of the environment that would change it.
fn check(directory: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = command(directory, args);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

fn command(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
    command.arg("check").args(args).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ISTHMUS_") || name.contains("COLOR") {
            command.env_remove(name);
        }
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Holds what a run prints equal to a file beside the data.
fn golden(case: &str, args: &[&str], stdin: &[u8]) {
    let directory = case.rsplit_once('/').map_or(case, |(directory, _)| directory);
    let output = check(&data(directory), args, stdin);
    let mut actual =
        format!("$ isthmus check {}\nexit {}\n", args.join(" "), output.status.code().unwrap());
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        write!(actual, "--- {name}\n{}", text(bytes)).unwrap();
    }
    let path = data(&format!("{case}.golden"));
    expect(&path, &actual);
}
