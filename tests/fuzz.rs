//! What the fuzz targets have found worth keeping, held to their laws again.

#[allow(unreachable_pub, reason = "the fuzz targets take it in as a part of their own crate")]
#[path = "../fuzz/src/oracles/mod.rs"]
mod oracles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use isthmus::cluster::Dial;
use isthmus::document::DOCUMENTS;
use isthmus::settings::Settings;
use isthmus::syntax::Object;

use oracles::{TARGETS, bases};

fn fuzz(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The names in a directory, in order.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn targets() -> BTreeSet<String> {
    TARGETS.iter().map(|target| target.name.to_owned()).collect()
}

#[test]
fn every_law_holds_of_every_kept_input() {
    assert_eq!(names(&fuzz("corpus")), targets(), "each target has a corpus");
    assert!(names(&fuzz("regressions")).is_subset(&targets()));
    let mut broken = Vec::new();
    for target in TARGETS {
        let kept = ["corpus", "regressions"].map(|kind| fuzz(kind).join(target.name));
        let mut files = 0;
        for directory in kept.iter().filter(|directory| directory.exists()) {
            for file in names(directory).iter().map(|name| directory.join(name)) {
                let input = fs::read(&file).unwrap();
                files += 1;
                // The panic itself is printed; this says which input it was.
                if catch_unwind(AssertUnwindSafe(|| (target.law)(&input))).is_err() {
                    broken.push(file);
                }
            }
        }
        assert!(files > 0, "{} has inputs", target.name);
    }
    assert!(broken.is_empty(), "laws do not hold of {broken:#?}");
}

/// What leads to another cluster is read by another parser than what is judged.
#[test]
fn no_kubeconfig_that_is_followed_is_repeated() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    for target in ["kubeconfig", "remote_secret"] {
        let directory = fuzz("corpus").join(target);
        let mut followed = 0;
        for file in names(&directory).iter().map(|name| directory.join(name)) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let led = catch_unwind(|| Dial::default().client(&text).map(drop));
            match led.unwrap_or_else(|_| panic!("{} breaks it", file.display())) {
                Err(why) => {
                    let told = format!("{why} {}", why.reason());
                    assert!(!told.contains("c0nf1dent1al"), "{}: {told}", file.display());
                }
                Ok(()) => followed += 1,
            }
        }
        assert!(followed > 0 || target == "kubeconfig", "none of {target} is followed");
    }
}

#[test]
fn every_target_has_a_program() {
    let programs = names(&fuzz("fuzz_targets"));
    let expected = targets().iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(programs, expected);
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for name in targets() {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{name} in Cargo.toml");
        let program = fs::read_to_string(fuzz("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(program.contains(&format!("\"{name}\"")), "{name}.rs runs its own law");
    }
}

#[test]
fn a_review_of_every_document_is_changed() {
    let settings = Settings::default();
    let mut reviewed = BTreeSet::new();
    for review in bases() {
        let object = review["request"]["object"].to_string();
        let object = Object::parse(&object).unwrap();
        let document = isthmus::document::of(&object, &settings);
        reviewed.insert(document.unwrap_or_else(|| panic!("of no document: {review}")).name);
    }
    let asked = DOCUMENTS.iter().filter(|document| document.webhook.is_some());
    let asked: BTreeSet<_> = asked.map(|document| document.name).collect();
    assert_eq!(reviewed, asked, "fuzz/src/oracles/bases.yaml has an object of each");
}

/// What is fuzzed is what is shipped.
#[test]
fn fuzzing_takes_the_versions_that_are_shipped() {
    let versions = |lock: &str| -> BTreeMap<String, BTreeSet<String>> {
        let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
        for package in lock.split("[[package]]").skip(1) {
            let field = |name: &str| {
                let line = package.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim_matches('"').to_owned()
            };
            versions.entry(field("name = ")).or_default().insert(field("version = "));
        }
        versions
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = versions(&fs::read_to_string(root.join("Cargo.lock")).unwrap());
    let fuzzed = versions(&fs::read_to_string(fuzz("Cargo.lock")).unwrap());
    assert!(fuzzed.len() > 20, "the packages are found");
    for (name, versions) in fuzzed {
        if let Some(shipped) = shipped.get(&name) {
            assert!(
                versions.is_subset(shipped),
                "{name} {versions:?}, not {shipped:?}: copy Cargo.lock to fuzz/"
            );
        }
    }
}
