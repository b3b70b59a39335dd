//! What `contract.md` promises is shown: every case and test that it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What `contract.md` states, and what it names for that.
fn statements() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(of("tests/contract.md")).unwrap();
    let sections = text.split("\n## ").skip(1);
    let bullets = sections.flat_map(|section| section.split("\n- ").skip(1));
    let statement = |bullet: &str| {
        let (statement, shown) = bullet.split_once("\n  = ").unwrap_or((bullet, ""));
        let shown = shown.split(',').map(|name| name.trim().to_owned());
        (statement.to_owned(), shown.filter(|name| !name.is_empty()).collect())
    };
    bullets.map(statement).collect()
}

fn of(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The paths of all tests, as `cargo test` prints them, and the same of other functions.
fn functions() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = vec![of("tests"), of("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let module = path.strip_prefix(of("")).unwrap().with_extension("");
                let names = module.iter().skip(1).map(|it| it.to_str().unwrap());
                let module: Vec<_> = names.filter(|it| *it != "mod" && *it != "tests").collect();
                let text = fs::read_to_string(&path).unwrap();
                let tests = text.split("#[test]").skip(1).chain(text.split("[tokio::test").skip(1));
                let names = tests.filter_map(|it| it.split_once("fn ")?.1.split('(').next());
                found.extend(names.map(|name| format!("{}::{name}", module.join("::"))));
            }
        }
    }
    found
}

#[test]
fn every_statement_is_shown_by_cases_and_tests_that_exist() {
    let (statements, functions) = (statements(), functions());
    let mut failures = Vec::new();
    for (statement, shown) in &statements {
        if shown.is_empty() {
            failures.push(format!("{statement:?} is shown by nothing"));
        }
        for name in shown {
            let case = of("tests/cases").join(format!("{name}.case"));
            if !case.is_file() && !functions.contains(name) {
                failures.push(format!("{name} is neither a case nor a test"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(statements.len() >= AT_LEAST, "{} statements", statements.len());
}

/// How many statements there were when this was written: none may be lost.
const AT_LEAST: usize = 60;
