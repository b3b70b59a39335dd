//! A report of `check` or `audit` as one JSON object, for programs.

use serde_json::{Value as Json, json};

use super::diagnostic::{CheckReport, Diagnostic, Level, PassedOver};
use super::locate::Location;
use crate::mesh::ObjectRef;
use crate::review::Reason;

/// The report as JSON text.
pub fn json(report: &CheckReport) -> String {
    let findings: Vec<_> =
        report.diagnostics.iter().map(|diagnostic| finding(report, diagnostic)).collect();
    let changes: Vec<_> = report
        .changes
        .iter()
        .map(|change| {
            json!({
                "file": change.file,
                "line": change.line,
                "object": object(&change.object),
                "field": change.field,
                "from": change.from.as_deref().map(parsed),
                "to": parsed(&change.to),
            })
        })
        .collect();
    let with_reason = |passed: &[PassedOver]| -> Vec<_> {
        passed.iter().map(|it| json!({"file": it.file, "reason": it.reason})).collect()
    };
    let counts = report.counts;
    let whole = json!({
        "findings": findings,
        "changes": changes,
        "passedOver": with_reason(&report.passed_over),
        "ignored": with_reason(&report.ignored),
        "summary": {
            "files": counts.files,
            "filesPassedOver": counts.files_passed_over,
            "objects": counts.objects,
            "objectsPassedOver": counts.objects_passed_over,
            "objectsOfCluster": counts.in_cluster,
            "denials": report.count(Level::Denial),
            "warnings": report.count(Level::Warning),
            "notes": report.count(Level::Note),
        },
    });
    format!("{whole:#}\n")
}

fn finding(report: &CheckReport, diagnostic: &Diagnostic) -> Json {
    let related: Vec<_> = diagnostic
        .related
        .iter()
        .map(|(what, at)| {
            let mut place = location(report, at);
            place["what"] = (*what).into();
            place
        })
        .collect();
    json!({
        "level": diagnostic.level.as_str(),
        "rule": diagnostic.code,
        "because": diagnostic.because.map(because),
        "views": diagnostic.views.iter().map(|view| &**view).collect::<Vec<_>>(),
        "member": diagnostic.member.as_deref(),
        "object": diagnostic.object.as_ref().map(object),
        "field": diagnostic.field,
        "message": diagnostic.message,
        "remedy": diagnostic.remedy,
        "location": diagnostic.at.as_ref().map(|at| location(report, at)),
        "related": related,
    })
}

fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::RuleWarns => "mild",
        Reason::StoodBefore => "stood",
        Reason::AllowedByAnnotation => "allowed",
        Reason::Rendered => "rendered",
        Reason::Replaces => "replaces",
        Reason::Terminating => "terminating",
        Reason::NotEnforced => "not enforced",
    }
}

fn object(object: &ObjectRef) -> Json {
    json!({"kind": object.kind, "namespace": object.namespace, "name": *object.name})
}

fn location(report: &CheckReport, at: &Location) -> Json {
    json!({
        "file": report.file(at),
        "startLine": at.start.line,
        "startColumn": at.start.column,
        "endLine": at.end.line,
        "endColumn": at.end.column,
    })
}

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
