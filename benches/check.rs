//! How long `isthmus check` takes for a repository of 5,000 files, beside parsing the same files.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use granit_parser::Parser;

const FILES: usize = 5_000;
/// How many of the files have something wrong, in the second repository.
const WRONG: usize = 2_000;
const ROUNDS: usize = 11;

fn main() {
    for wrong in [0, WRONG] {
        let directory = repository(wrong);
        let check = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
            let output = command.arg("check").arg(&directory).output().expect("isthmus");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(told.contains(&format!("{FILES} files, {FILES} objects judged")), "{told}");
            assert!(told.ends_with(&format!(" {wrong} denials, 0 warnings\n")), "{told}");
        };
        let parse = || {
            for entry in fs::read_dir(&directory).expect("the repository") {
                let text = fs::read_to_string(entry.expect("a file").path()).expect("a text");
                assert!(Parser::new_from_str(&text).all(|event| event.is_ok()));
            }
        };
        let mut rounds = [(); ROUNDS].map(|()| (time(check), time(parse)));
        rounds.sort_unstable();
        let (check, _) = rounds[ROUNDS / 2];
        rounds.sort_unstable_by_key(|(_, parse)| *parse);
        let (_, parse) = rounds[ROUNDS / 2];
        let ratio = check.as_secs_f64() / parse.as_secs_f64();
        println!(
            "{FILES} files, {wrong} denials: {check:.0?}; parsing them: {parse:.0?}; {ratio:.2} times"
        );
    }
}

fn time(work: impl Fn()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Members of which each has subnets of its own; so many have a wrong endpoint.
fn repository(wrong: usize) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{wrong}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    for number in 0..FILES {
        let (high, low) = (number / 256, number % 256);
        let end = if number < wrong { "" } else { "/metadata/" };
        let text = format!(
            "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata:\n  name: peer-{number}\n  annotations:\n    isthmus.dev/cluster-domain: cluster.local\n    isthmus.dev/pod-subnet-cidr: 10.{high}.{low}.0/24\n    isthmus.dev/service-subnet-cidr: 10.{}.{low}.0/24\nspec:\n  enableIngressGateway: false\n  metadataEndpoint: https://istio.peer-{number}.example.com{end}\n",
            high + 128,
        );
        fs::write(directory.join(format!("peer-{number}.yaml")), text).expect("a file");
    }
    directory
}
