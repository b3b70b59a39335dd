//! What is told of a clash, whichever of its objects is written last.

use std::sync::Arc;

use isthmus::admission::Hook;
use isthmus::mesh::{Mesh, Reading};
use isthmus::review::{review_all, standing_findings};
use isthmus::rule::Severity;
use isthmus::settings::Settings;
use serde_json::Value;

use super::reading;
use crate::golden::{Outcome, call, outcomes};
use crate::support::objects::{annotated, stated};

/// The rules that tell of a step and not of a state, and a part of one that does.
const STEPS: &[&str] = &["PinnedMemberMoved"];

/// The cases in which a write is told of what its reverse is rightly not told of, and why.
const ONE_WAY: &[(&str, &str)] = &[
    ("warned-first-networks", "the first networks are a step"),
    (
        "denied-local-changes-under-status",
        "a status is held against a change of the local domain only",
    ),
    ("warned-by-status", "a status is held against a change of the local domain only"),
    ("warned-registry-that-no-cluster-has", "its remote Secret may still come"),
];

impl Outcome {
    /// The rules that any write is told of if the objects are written in this order. They are stored
    /// whatever is said, for they may have been there before.
    fn told(&self, ordered: &[&Value]) -> Vec<&'static str> {
        let mut mesh = Mesh::new(Arc::clone(&self.settings));
        let mut told = String::new();
        for object in ordered {
            told += &call(&mesh, Hook::Validate, None, object)["response"].to_string();
            mesh.apply(reading(object, &self.settings));
        }
        let is_told = |rule: &&'static str| told.contains(&format!("[{rule}"));
        self.rules.iter().copied().filter(is_told).collect()
    }
}

#[test]
fn what_a_case_is_told_of_is_told_whichever_of_its_objects_comes_last() {
    let mut failures = Vec::new();
    let mut tried = 0;
    for outcome in outcomes() {
        let name = &outcome.name;
        if ONE_WAY.iter().any(|(case, _)| name.starts_with(case)) {
            continue;
        }
        for last in 0..outcome.objects.len() {
            let mut ordered: Vec<&Value> = outcome.objects.iter().collect();
            let one = ordered.remove(last);
            ordered.push(one);
            let told = outcome.told(&ordered);
            for rule in outcome.rules.iter().filter(|rule| !STEPS.contains(rule)) {
                tried += 1;
                if !told.contains(rule) {
                    failures.push(format!("{name}: {} last: no {rule}", one["metadata"]["name"]));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
    assert!(tried > 1000, "{tried} are tried");
}

/// A hub whose members state these domains.
fn hub(domains: &[&str]) -> (Arc<Settings>, Vec<Reading>) {
    let settings = Arc::new(Settings { local_member: String::new(), ..Settings::default() });
    let members = domains.iter().enumerate().map(|(n, domain)| {
        let (pods, services) = (format!("10.{n}.0.0/16"), format!("172.16.{n}.0/24"));
        let object = stated(&format!("m{n}"), true, &pods, &services);
        reading(&annotated(object, "isthmus.dev/cluster-domain", domain), &settings)
    });
    let members = members.collect();
    (settings, members)
}

#[test]
fn of_a_split_hub_nobody_is_to_blame_and_of_a_majority_only_the_others() {
    use Severity::{Deny, Warn};
    for (domains, expected) in [
        (&["a.local", "b.local"][..], &[Some(Warn), Some(Warn)][..]),
        (&["a.local", "a.local", "b.local"], &[None, None, Some(Deny)]),
        (&["a.local", "a.local", "b.local", "b.local"], &[Some(Warn); 4]),
        (
            &["a.local", "a.local", "b.local", "b.local", "c.local"],
            &[Some(Warn), Some(Warn), Some(Warn), Some(Warn), Some(Deny)],
        ),
        (&["a.local", "a.local"], &[None, None]),
        (&["a.local"], &[None]),
    ] {
        let (settings, members) = hub(domains);
        let mesh = Mesh::of(Arc::clone(&settings), members.iter().cloned());
        // As they stand, to an audit.
        let audited = (0..domains.len()).map(|n| {
            let found = standing_findings(&mesh, &format!("m{n}"), None);
            found.into_iter().map(|(_, severity)| severity).max()
        });
        assert_eq!(audited.collect::<Vec<_>>(), expected, "{domains:?}");
        // All at once, as files.
        let verdict = review_all(&Mesh::new(settings), &mesh, &members, None);
        let denied = expected.iter().filter(|it| **it == Some(Deny)).count();
        assert_eq!(verdict.denials.len(), denied, "{domains:?}: {verdict:?}");
    }
}
