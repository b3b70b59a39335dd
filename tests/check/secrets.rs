//! Nothing of what a kubeconfig in a Secret holds is shown, whatever is wrong with it.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{check, scratch};

/// What stands in the cases in place of tokens, keys, passwords and paths.
const PLANTED: &str = "planted";

/// The objects of all cases of remote Secrets.
fn secrets() -> Vec<(String, String)> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/InvalidRemoteSecret");
    let mut secrets = Vec::new();
    for file in fs::read_dir(cases).unwrap() {
        let file = file.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let (_, new) = text.split_once("### new\n").unwrap();
        let (new, _) = new.split_once("### kubectl\n").unwrap();
        secrets.push((file.file_stem().unwrap().to_str().unwrap().to_owned(), new.to_owned()));
    }
    assert!(secrets.len() >= 40, "the cases are found");
    assert!(secrets.iter().filter(|(_, text)| text.contains(PLANTED)).count() >= 30);
    secrets
}

/// What is planted, also in base64 wherever in a text it stands.
fn forms() -> Vec<String> {
    let in_base64 = (0..3).map(|at| {
        let text = STANDARD.encode(format!("{}{PLANTED}", "x".repeat(at)));
        text[if at == 0 { 0 } else { 4 }..8].to_owned()
    });
    in_base64.chain([PLANTED.to_owned(), PLANTED.to_uppercase()]).collect()
}

fn assert_hidden(directory: &Path, what: &str) {
    let forms = forms();
    for format in ["pretty", "json", "sarif", "github"] {
        let output = check(directory, &["--format", format, "."], b"");
        for printed in [&output.stdout, &output.stderr] {
            let printed = String::from_utf8_lossy(printed);
            for form in &forms {
                assert!(!printed.contains(form.as_str()), "{what}, {format}, {form}:\n{printed}");
            }
        }
        assert!(!output.stdout.is_empty(), "{what}, {format}: {output:?}");
    }
}

#[test]
fn no_report_shows_what_a_remote_secret_holds() {
    let directory = scratch("secrets");
    for (name, text) in secrets() {
        fs::write(directory.join(format!("{name}.yaml")), text).unwrap();
    }
    assert_hidden(&directory, "the cases");
}

#[test]
fn no_report_shows_what_a_broken_file_with_a_secret_holds() {
    let (_, whole) = secrets().into_iter().find(|(name, _)| name == "denied-exec").unwrap();
    let directory = scratch("broken-secrets");
    let breaks = [": : {", "\t- [", "\"", "&a *b", "{{ .Values.token }}"];
    let lines: Vec<_> = whole.lines().collect();
    for (number, _) in lines.iter().enumerate() {
        for (at, broken) in breaks.iter().enumerate() {
            let mut lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
            // Without its indentation a line is not part of the text that the Secret carries.
            lines[number] = format!("{}{broken}", lines[number].trim_start());
            fs::write(directory.join(format!("{number}-{at}.yaml")), lines.join("\n")).unwrap();
        }
    }
    assert_hidden(&directory, "broken files");
}
