//! What is found as reports that other policy engines write too, so that what shows theirs shows
//! these: PolicyReports, and the reports of OpenReports.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::diagnostic::{Diagnostic, Level};
use super::{clipped_to, printable};

/// How many results one report has at most, and how many bytes they take: an object has to fit in
/// etcd.
const MOST: (usize, usize) = (1_000, 512 << 10);
/// The longest text of a result, in characters.
const LONGEST: usize = 1_024;
/// What results are from.
const SOURCE: &str = "isthmus";
/// The label by which the reports of one writer are found.
pub const LABEL: &str = "app.kubernetes.io/managed-by";

/// An API that has such reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `wgpolicyk8s.io/v1alpha2`.
    PolicyReport,
    /// `openreports.io/v1alpha1`.
    OpenReport,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::PolicyReport, Self::OpenReport];

    /// Its group.
    pub fn group(self) -> &'static str {
        match self {
            Self::PolicyReport => "wgpolicyk8s.io",
            Self::OpenReport => "openreports.io",
        }
    }

    /// Its version.
    pub fn version(self) -> &'static str {
        match self {
            Self::PolicyReport => "v1alpha2",
            Self::OpenReport => "v1alpha1",
        }
    }

    /// The kind of its reports.
    pub fn kind(self, is_namespaced: bool) -> &'static str {
        match (self, is_namespaced) {
            (Self::PolicyReport, false) => "ClusterPolicyReport",
            (Self::PolicyReport, true) => "PolicyReport",
            (Self::OpenReport, false) => "ClusterReport",
            (Self::OpenReport, true) => "Report",
        }
    }

    /// The resource of its reports, as API paths have it.
    pub fn plural(self, is_namespaced: bool) -> String {
        self.kind(is_namespaced).to_lowercase() + "s"
    }
}

/// One report on the objects without a namespace, and one on those of each namespace in which
/// something is found, by the name of who writes them.
pub fn policy_reports(diagnostics: &[Diagnostic], api: Api, writer: &str) -> Vec<Json> {
    let mut namespaces: BTreeMap<Option<&str>, Vec<&Diagnostic>> = BTreeMap::new();
    namespaces.entry(None).or_default();
    for diagnostic in diagnostics {
        let namespace = diagnostic.object.as_ref().and_then(|it| it.namespace.as_deref());
        namespaces.entry(namespace).or_default().push(diagnostic);
    }
    let one = |(namespace, found): (_, Vec<_>)| one(api, writer, namespace, &found);
    namespaces.into_iter().map(one).collect()
}

fn one(api: Api, writer: &str, namespace: Option<&str>, found: &[&Diagnostic]) -> Json {
    let count = |level| found.iter().filter(|diagnostic| diagnostic.level == level).count();
    let denials = count(Level::Denial);
    let mut room = MOST.1;
    let results = found.iter().take(MOST.0).map(|it| result(it)).map_while(|result| {
        room = room.checked_sub(result.to_string().len())?;
        Some(result)
    });
    let mut results: Vec<_> = results.collect();
    let more = found.len() - results.len();
    if more > 0 {
        results.push(json!({
            "policy": SOURCE,
            "source": SOURCE,
            "result": "error",
            "message": format!("{more} more; `isthmus audit` lists all"),
        }));
    }
    let mut metadata = json!({"name": writer, "labels": {LABEL: writer}});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({
        "apiVersion": format!("{}/{}", api.group(), api.version()),
        "kind": api.kind(namespace.is_some()),
        "metadata": metadata,
        "summary": {
            "pass": 0,
            "fail": denials,
            "warn": found.len() - denials,
            "error": usize::from(more > 0),
            "skip": 0,
        },
        "results": results,
    })
}

fn result(diagnostic: &Diagnostic) -> Json {
    let (result, severity) = match diagnostic.level {
        Level::Denial => ("fail", "high"),
        Level::Warning => ("warn", "medium"),
        // Older versions of the resource know no `info`.
        Level::Note => ("warn", "low"),
    };
    let texts = [
        ("field", Some(diagnostic.field.as_str())),
        ("member", diagnostic.member.as_deref()),
        ("remedy", Some(diagnostic.remedy.as_str())),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let properties: BTreeMap<_, _> = texts
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name, shown(text)))
        .collect();
    let mut result = json!({
        "policy": SOURCE,
        "rule": diagnostic.code,
        "category": "Istio multicluster",
        "source": SOURCE,
        "result": result,
        "severity": severity,
        "scored": true,
        "message": shown(&diagnostic.message),
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

fn shown(text: &str) -> String {
    clipped_to(&printable(text), LONGEST)
}
