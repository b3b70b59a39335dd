//! Commands beside those that judge: plans, completions, manual pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
    command.args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ISTHMUS_") {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tool").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

const MESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/examples/mesh");

#[test]
fn a_plan_is_clear_of_the_mesh() {
    let output = run(&["plan", "--inventory", MESH, "--count", "2", "--services", "/20"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "NAME        PODS          SERVICES\n\
         cluster-1   10.0.0.0/16   10.1.0.0/20\n\
         cluster-2   10.2.0.0/16   10.1.16.0/20\n"
    );
    let named = run(&[
        "plan",
        "--inventory",
        MESH,
        "eu-north",
        "--from",
        "192.168.0.0/16",
        "--pods",
        "17",
        "--services",
        "18",
    ]);
    assert_eq!(
        text(&named.stdout),
        "NAME       PODS             SERVICES\n\
         eu-north   192.168.0.0/17   192.168.128.0/18\n"
    );
}

#[test]
fn what_is_planned_is_admitted() {
    for format in ["meshmember", "deckhouse", "kubeadm"] {
        let output = run(&["plan", "--inventory", MESH, "eu-north", "-o", format]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let file = scratch(format).join("planned.yaml");
        fs::write(&file, &output.stdout).unwrap();
        assert_eq!(format == "deckhouse", text(&output.stdout).contains("# eu-north\n"));
        // As the local cluster of a mesh whose other members are known: the file is its own.
        let args = ["check", file.to_str().unwrap(), "--against", MESH, "--local-member", "new"];
        let args = if format == "meshmember" { &args[..4] } else { &args[..] };
        let output = run(args);
        let told = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{format}: {told}");
        assert!(told.contains("1 object judged") && !told.contains("SubnetOverlap"), "{told}");
    }
}

#[test]
fn a_plan_says_what_does_not_fit() {
    let output = run(&[
        "plan",
        "--inventory",
        MESH,
        "--count",
        "3",
        "--from",
        "192.168.0.0/16",
        "--pods",
        "/17",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "isthmus: 0 of 3 clusters fit in 192.168.0.0/16: no /16 is free for a service subnet; the largest that is free is a /17: 192.168.128.0/17\n"
    );
    for (args, told) in [
        (&["--pods", "x"][..], "\"x\" is not a prefix length such as /16"),
        (&["--pods", "/64"], "--pods /64: an address has 32 bits"),
        (&["--from", "127.0.0.0/8"], "127.0.0.0/8 is in the loopback range"),
        (&["Eu-north"], "a name has only lower-case letters, digits, - and ."),
        (&["local"], "local is a member of the mesh already"),
        (&["--count", "100000"], "at most 10000 clusters are planned at once"),
    ] {
        let output = run(&[&["plan", "--inventory", MESH], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(told), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn every_shell_has_completions_and_every_command_a_page() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completion", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("isthmus"), "{shell}");
    }
    let directory = scratch("man");
    let output = run(&["man", directory.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let help = run(&["--help"]);
    let commands = text(&help.stdout).lines().skip_while(|line| *line != "Commands:").skip(1);
    // A description may go on in the next line, further to the right.
    let commands = commands.take_while(|line| !line.is_empty());
    let commands: Vec<_> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !command.is_empty())
        .collect();
    assert!(commands.contains(&"check"), "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = fs::read_to_string(directory.join(format!("isthmus-{command}.1"))).unwrap();
        assert!(page.contains(command), "{page}");
    }
    assert_eq!(run(&["man", "/nonexistent"]).status.code(), Some(2));
}

#[test]
fn the_version_is_that_of_the_package() {
    let expected = format!("isthmus {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&run(&["version"]).stdout), expected);
    assert_eq!(text(&run(&["--version"]).stdout), expected);
}
