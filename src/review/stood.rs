//! Which findings tell of one clash: from its two sides, and before and after a change.

use std::collections::BTreeMap;

use crate::mesh::ObjectRef;
use crate::rule::{FaultKey, Finding, Key, Severity, Sides};

/// Keeps one of two findings that tell of one clash from its two sides: the more serious one, else
/// the one that stands in a written object.
pub(super) fn told_once(
    findings: Vec<Finding>,
    is_written: impl Fn(&ObjectRef) -> bool,
) -> Vec<Finding> {
    let mut told: Vec<usize> = Vec::new();
    let mut by_key: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, finding) in findings.iter().enumerate() {
        let alike = by_key.entry(finding.key()).or_default();
        let same = alike.iter().find(|&&slot| findings[told[slot]].tells_the_same(finding));
        let Some(&slot) = same else {
            alike.push(told.len());
            told.push(at);
            continue;
        };
        let weight = |finding: &Finding| (finding.severity, is_written(&finding.place.object));
        if weight(finding) > weight(&findings[told[slot]]) {
            told[slot] = at;
        }
    }
    let mut findings: Vec<_> = findings.into_iter().map(Some).collect();
    told.into_iter().filter_map(|at| findings[at].take()).collect()
}

/// The findings that stood before, so that a mesh with thousands is looked up and not searched.
pub(super) struct Stood<'a> {
    by_key: BTreeMap<Key<'a>, Vec<&'a Finding>>,
    by_value: BTreeMap<(&'static str, Sides<'a>), Vec<&'a Finding>>,
    faults: BTreeMap<FaultKey<'a>, Severity>,
}

impl<'a> Stood<'a> {
    pub(super) fn new(findings: &'a [Finding]) -> Self {
        let (by_key, by_value) = (BTreeMap::new(), BTreeMap::new());
        let mut stood = Self { by_key, by_value, faults: BTreeMap::new() };
        for finding in findings {
            stood.by_key.entry(finding.key()).or_default().push(finding);
            if let Some(sides) = finding.sides() {
                stood.by_value.entry((finding.rule, sides)).or_default().push(finding);
            }
            if let Some(fault) = finding.fault() {
                let worst = stood.faults.entry(fault).or_insert(finding.severity);
                *worst = finding.severity.max(*worst);
            }
        }
        stood
    }

    pub(super) fn holds(&self, finding: &Finding) -> bool {
        let by_value = finding.sides().and_then(|sides| self.by_value.get(&(finding.rule, sides)));
        let mut before = self.by_key.get(&finding.key()).into_iter().chain(by_value).flatten();
        let is_repeated = || {
            let before = finding.fault().and_then(|fault| self.faults.get(&fault));
            before.is_some_and(|before| *before >= finding.severity)
        };
        before.any(|before| finding.stood_as(before)) || is_repeated()
    }
}
