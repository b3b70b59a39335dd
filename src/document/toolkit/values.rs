//! Values that many documents state: cluster domains, subnets, and a node's part of one.

use super::cursor::Cursor;
use super::notes::Notes;
use crate::mesh::{About, Fact, Role};
use crate::syntax::{Path, Value};
use crate::value::{ClusterDomain, Invalid, Subnet};

/// How many subnets one list may hold: Kubernetes takes one of each family, and each is held
/// against every other.
const MOST_SUBNETS: usize = 32;

/// Reads a cluster domain.
pub(crate) fn domain(notes: &mut Notes<'_>, path: Path, text: &str) {
    match ClusterDomain::parse(text) {
        Ok(domain) => notes.claim_at(path, Fact::ClusterDomain(domain)),
        Err(why) => notes.fault_at(About::ClusterDomain, path, text, why),
    }
}

/// Reads a list of subnets; a range whose host bits are set is both a claim and a fault.
pub(crate) fn subnets<'t>(
    notes: &mut Notes<'_>,
    path: &Path,
    role: Role,
    items: impl Iterator<Item = &'t str> + Clone,
) {
    if items.clone().nth(MOST_SUBNETS).is_some() {
        let problem = format!("the list has more than {MOST_SUBNETS} subnets");
        let why = Invalid::new(problem, "write one subnet for each IP family");
        return notes.fault_at(About::Subnet(role), path.clone(), "", why);
    }
    for text in items {
        let meant = match Subnet::parse(text) {
            Ok(subnet) => Some(subnet),
            Err(why) => {
                notes.fault_at(About::Subnet(role), path.clone(), text, why);
                Subnet::meant(text)
            }
        };
        if let Some(subnet) = meant {
            notes.claim_at(path.clone(), Fact::Subnet(role, subnet));
        }
    }
}

/// Reads the prefix length of a node's part of the pod subnet, as Deckhouse writes it: a string,
/// though a number means the same.
pub(crate) fn node_prefix(notes: &mut Notes<'_>, at: &Cursor<'_, '_>) {
    let Some(node) = at.node else { return };
    let (Value::Text(text) | Value::Number(text)) = &node.value else {
        return notes.wrong_kind(at, "a string");
    };
    match text.parse() {
        Ok(length @ 1..=128) => notes.claim(at, Fact::NodePrefix(length)),
        _ => {
            let problem = format!("{text:?} is not a prefix length");
            let why = Invalid::new(problem, "write one such as \"24\"");
            notes.fault_of(About::NodePrefix, at, text, why);
        }
    }
}
