//! A report of `check` or `audit` as SARIF 2.1.0, which code scanning services read.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::diagnostic::{CHECK_CODES, CheckReport, Diagnostic, Level};
use super::locate::Location;
use crate::rule::{RULES, Rule};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// Where the rules are explained, within a repository.
const RULES_PAGE: &str = "blob/HEAD/docs/rules.md";

/// The report as SARIF text.
pub fn sarif(report: &CheckReport) -> String {
    let results: Vec<_> =
        report.diagnostics.iter().map(|diagnostic| result(report, diagnostic)).collect();
    let whole = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "isthmus",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{whole:#}\n")
}

fn rules() -> Vec<Json> {
    let judged = RULES.iter().map(|rule| {
        let mut told = json!({
            "id": rule.name,
            "shortDescription": {"text": rule.what},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.remedy},
        });
        if let Some(uri) = help_uri(env!("CARGO_PKG_REPOSITORY"), rule) {
            told["helpUri"] = uri.into();
        }
        told
    });
    let told = CHECK_CODES
        .iter()
        .map(|(code, what)| json!({"id": code, "shortDescription": {"text": what}}));
    judged.chain(told).collect()
}

/// The address at which a rule is explained, if Cargo.toml names a repository: a reference to a page
/// within the project is not a URI.
fn help_uri(repository: &str, rule: &Rule) -> Option<String> {
    let repository = repository.trim_end_matches('/');
    let is_known = !repository.is_empty();
    is_known.then(|| format!("{repository}/{RULES_PAGE}#{}", rule.name.to_lowercase()))
}

fn result(report: &CheckReport, diagnostic: &Diagnostic) -> Json {
    let level = match diagnostic.level {
        Level::Denial => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    let mut text = diagnostic.sentence();
    for note in diagnostic.notes() {
        text = format!("{text} ({note})");
    }
    let mut result = json!({
        "ruleId": diagnostic.code,
        "level": level,
        "message": {"text": text},
        "locations": [match &diagnostic.at {
            Some(at) => location(report, at),
            None => logical_location(diagnostic),
        }],
        "partialFingerprints": {"isthmus/v1": fingerprint(report, diagnostic)},
    });
    let index = RULES.iter().map(|rule| rule.name).chain(CHECK_CODES.iter().map(|(code, _)| *code));
    if let Some(index) = index.into_iter().position(|name| name == diagnostic.code) {
        result["ruleIndex"] = index.into();
    }
    let related: Vec<_> = diagnostic
        .related
        .iter()
        .enumerate()
        .map(|(id, (what, at))| {
            let mut related = location(report, at);
            related["id"] = id.into();
            related["message"] = json!({"text": what});
            related
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = related.into();
    }
    result
}

/// What stays the same when lines move: services that read SARIF follow a result by it.
fn fingerprint(report: &CheckReport, diagnostic: &Diagnostic) -> String {
    let object = diagnostic.object.as_ref().map(ToString::to_string).unwrap_or_default();
    let related = diagnostic.related.iter().map(|(_, at)| report.file(at));
    let file = diagnostic.at.iter().map(|at| report.file(at)).chain(related);
    let file = file.collect::<Vec<_>>().join(" ");
    let member = diagnostic.member.as_deref().unwrap_or_default();
    let parts = [diagnostic.code, &object, &diagnostic.field, member, &file, &diagnostic.message];
    parts.join("|")
}

/// What no file holds is named.
fn logical_location(diagnostic: &Diagnostic) -> Json {
    let object = diagnostic.object.as_ref().map(ToString::to_string).unwrap_or_default();
    json!({"logicalLocations": [{"fullyQualifiedName": object, "kind": "resource"}]})
}

fn location(report: &CheckReport, at: &Location) -> Json {
    json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(report.file(at))},
            "region": {
                "startLine": at.start.line,
                "startColumn": at.start.column,
                "endLine": at.end.line,
                "endColumn": at.end.column,
            },
        },
    })
}

/// A path as a URI reference: relative ones stay relative, to the root of the repository.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("a/b c.yaml"), "a/b%20c.yaml");
        assert_eq!(uri("/é:%"), "file:///%C3%A9%3A%25");
    }

    #[test]
    fn rules_have_an_address_where_the_project_has_one() {
        let rule = RULES[0];
        assert_eq!(help_uri("", rule), None);
        for repository in ["https://git.example.com/isthmus", "https://git.example.com/isthmus/"] {
            let address = "https://git.example.com/isthmus/blob/HEAD/docs/rules.md#invaliddocument";
            assert_eq!(help_uri(repository, rule).as_deref(), Some(address));
        }
    }
}
