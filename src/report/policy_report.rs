//! A report of `audit` as reports that other policy engines write too, so that what shows theirs shows
//! these: PolicyReports, and the reports of OpenReports.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::diagnostic::{CheckReport, Diagnostic, Level};
use super::printable;

/// How many results one report has at most, since an object has to fit in etcd.
const MOST_RESULTS: usize = 1_000;
/// The name of each report, and what its results are from.
const NAME: &str = "isthmus";

/// An API that has such reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `wgpolicyk8s.io/v1alpha2`.
    PolicyReport,
    /// `openreports.io/v1alpha1`.
    OpenReport,
}

impl Api {
    fn version(self) -> &'static str {
        match self {
            Self::PolicyReport => "wgpolicyk8s.io/v1alpha2",
            Self::OpenReport => "openreports.io/v1alpha1",
        }
    }

    fn kind(self, is_namespaced: bool) -> &'static str {
        match (self, is_namespaced) {
            (Self::PolicyReport, false) => "ClusterPolicyReport",
            (Self::PolicyReport, true) => "PolicyReport",
            (Self::OpenReport, false) => "ClusterReport",
            (Self::OpenReport, true) => "Report",
        }
    }
}

/// One report on the objects without a namespace, and one on those of each namespace in which
/// something is found.
pub fn policy_reports(report: &CheckReport, api: Api) -> Vec<Json> {
    let mut namespaces: BTreeMap<Option<&str>, Vec<&Diagnostic>> = BTreeMap::new();
    namespaces.entry(None).or_default();
    for diagnostic in &report.diagnostics {
        let namespace = diagnostic.object.as_ref().and_then(|it| it.namespace.as_deref());
        namespaces.entry(namespace).or_default().push(diagnostic);
    }
    namespaces.into_iter().map(|(namespace, found)| one(api, namespace, &found)).collect()
}

fn one(api: Api, namespace: Option<&str>, found: &[&Diagnostic]) -> Json {
    let count = |level| found.iter().filter(|diagnostic| diagnostic.level == level).count();
    let denials = count(Level::Denial);
    let mut results: Vec<_> = found.iter().take(MOST_RESULTS).map(|it| result(it)).collect();
    if let Some(more) = found.len().checked_sub(MOST_RESULTS).filter(|more| *more > 0) {
        results.push(json!({
            "policy": NAME,
            "source": NAME,
            "result": "error",
            "message": format!("{more} more; `isthmus audit` lists all"),
        }));
    }
    let mut metadata = json!({"name": NAME, "labels": {"app.kubernetes.io/managed-by": NAME}});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({
        "apiVersion": api.version(),
        "kind": api.kind(namespace.is_some()),
        "metadata": metadata,
        "summary": {
            "pass": 0,
            "fail": denials,
            "warn": found.len() - denials,
            "error": usize::from(found.len() > MOST_RESULTS),
            "skip": 0,
        },
        "results": results,
    })
}

fn result(diagnostic: &Diagnostic) -> Json {
    let (result, severity) = match diagnostic.level {
        Level::Denial => ("fail", "high"),
        Level::Warning => ("warn", "medium"),
        Level::Note => ("warn", "info"),
    };
    let texts = [
        ("field", Some(diagnostic.field.as_str())),
        ("member", diagnostic.member.as_deref()),
        ("remedy", Some(diagnostic.remedy.as_str())),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let properties: BTreeMap<_, _> = texts
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name, printable(text)))
        .collect();
    let mut result = json!({
        "policy": NAME,
        "rule": diagnostic.code,
        "category": "Istio multicluster",
        "source": NAME,
        "result": result,
        "severity": severity,
        "scored": true,
        "message": printable(&diagnostic.message),
        "properties": properties,
    });
    if let Some(object) = &diagnostic.object {
        let mut resource = json!({"kind": object.kind, "name": *object.name});
        if let Some(namespace) = &object.namespace {
            resource["namespace"] = (&**namespace).into();
        }
        result["resources"] = json!([resource]);
    }
    result
}
