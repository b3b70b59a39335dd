//! The documentation says what the code does.

use std::fs;
use std::path::Path;
use std::process::Command;

use isthmus::document::DOCUMENTS;
use isthmus::report::diagnostic::CHECK_CODES;
use isthmus::rule::RULES;

use crate::support::golden::expect;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_rules_page_is_what_the_command_prints() {
    expect(&root().join("docs/rules.md"), &isthmus::cli::rules_page());
}

#[test]
fn the_schema_of_a_repository_s_file_is_that_of_the_tables() {
    expect(&root().join("docs/isthmus.schema.json"), &isthmus::cli::repository_schema());
}

#[test]
fn every_rule_is_explained_by_its_name() {
    let explain = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
        command.args(["explain", name]).output().unwrap()
    };
    for rule in RULES {
        // As it stands at the end of a message, too.
        for name in [rule.name.to_owned(), format!("[{}]", rule.name)] {
            let output = explain(&name);
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{name}");
            for text in [rule.name, rule.what, rule.why, rule.remedy, rule.example] {
                assert!(printed.contains(text), "{name}: {printed}");
            }
        }
    }
    for (code, what) in CHECK_CODES {
        let output = explain(code);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && printed.contains(what), "{code}: {printed}");
    }
    for (name, told) in [
        ("subnetoverlap", "did you mean SubnetOverlap?"),
        ("nothing", "`isthmus rules` lists them"),
    ] {
        let output = explain(name);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains(&format!("there is no rule {name:?}; ")), "{printed}");
        assert!(printed.contains(told), "{printed}");
    }
}

#[test]
fn the_documents_page_has_every_row_of_the_registry_and_no_other() {
    let page = page("docs/documents.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| Document"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let told: Vec<_> = rows.iter().map(|row| (row[0], row[2])).collect();
    let registered: Vec<_> =
        DOCUMENTS.iter().map(|document| (document.name, document.says)).collect();
    assert_eq!(told, registered);
}

#[test]
fn every_test_of_the_reliability_page_exists() {
    let page = page("docs/reliability.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| Promise |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(!rows.is_empty(), "the table is found");
    for row in rows {
        let [promise, tests, _figure] = row.as_slice() else { panic!("three columns: {row:?}") };
        assert!(!tests.is_empty(), "nothing shows: {promise}");
        for test in tests.split(", ") {
            let path = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
            let path = path.unwrap_or_else(|| panic!("{test:?} is not a test's path in backticks"));
            assert!(is_test(path), "{path} is not a test; it is to show: {promise}");
        }
    }
}

/// Whether a path, as `cargo test` prints it, is that of a test: in `tests/` or in `src/`, where a
/// module `tests` may stand at the end of the file that it tests.
fn is_test(path: &str) -> bool {
    let (module, name) = path.rsplit_once("::").unwrap_or(("", path));
    let outer = module.strip_suffix("::tests").unwrap_or(module);
    let files = [("tests", module), ("src", module), ("src", outer)];
    let files = files.iter().flat_map(|(root, module)| {
        let module = module.replace("::", "/");
        [format!("{root}/{module}.rs"), format!("{root}/{module}/mod.rs")]
    });
    let head = format!("fn {name}(");
    files.filter_map(|file| fs::read_to_string(root().join(file)).ok()).any(|text| {
        let mut marked = false;
        text.lines().map(str::trim_start).any(|line| {
            let is_head = marked && line.trim_start_matches("async ").starts_with(&head);
            // Attributes and comments may stand between the mark and the function.
            marked = matches!(line, "#[test]" | "#[tokio::test]")
                || marked && (line.starts_with("#[") || line.starts_with("//"));
            is_head
        })
    })
}

#[test]
fn every_link_between_pages_has_a_target() {
    let root = root();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "manifests/isthmus/README.md",
    ]
    .map(|name| root.join(name));
    for file in docs.chain(top) {
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(
                    file.parent().unwrap().join(target).exists(),
                    "{}: {target}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_image_is_built_by_the_toolchain_that_the_project_pins() {
    let pinned = page("rust-toolchain.toml");
    let pinned = pinned.lines().find_map(|line| line.strip_prefix("channel = \"")).unwrap();
    let image = format!("rust:{}-bookworm", pinned.trim_end_matches('"'));
    // `make` is told what to do, and says what that would be.
    let mut make = Command::new("make");
    make.args(["--dry-run", "image", "CONTAINER=docker"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let told = String::from_utf8(make.output().unwrap().stdout).unwrap();
    assert!(told.contains(&format!(".ci/pin-image \"{image}\"")), "{told}");
}

#[test]
fn the_image_trusts_public_authorities_where_the_binary_looks_for_them() {
    let mut make = Command::new("make");
    make.args(["--dry-run", "static"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let told = String::from_utf8(make.output().unwrap().stdout).unwrap();
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    assert!(told.contains(&format!("cp {bundle} target/static/ca-certificates.crt")), "{told}");
    let image = page("Dockerfile");
    assert!(image.contains(&format!("/ca-certificates.crt {bundle}\n")), "{image}");
}

#[test]
fn an_image_is_built_only_in_a_build_image_named_by_digest() {
    let root = env!("CARGO_MANIFEST_DIR");
    let docker = Path::new(root).join("tests/data/image/docker");
    let pinned = |image: &str, digest: &str| {
        let mut pin = Command::new(Path::new(root).join(".ci/pin-image"));
        let output =
            pin.arg(image).env("CONTAINER", &docker).env("DIGEST", digest).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let digest = |image: &str| format!("{image}@sha256:{}", "0".repeat(64));
    let line = |image: &str| Some(digest(image) + "\n");
    assert_eq!(pinned("rust:1", &digest("docker/rust")), line("docker/rust"));
    assert_eq!(pinned(&digest("rust"), ""), line("rust"), "it is taken as it is");
    assert_eq!(pinned("rust:1", ""), None);
    assert!(page("Dockerfile").contains("\nARG RUST=scratch\n"), "nothing is built in a tag");
}
