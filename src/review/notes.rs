//! How an object would better be written.

use crate::mesh::{Allow, Claim, Fact, Place, Reading};
use crate::rule;
use crate::value::similar;

/// What an object would better say, unless it said so before.
pub(super) fn notes(old: Option<&Reading>, new: &Reading) -> Vec<(Place, String)> {
    let mut notes = Vec::new();
    for (member, claims) in &new.statements {
        let is_note = |claim: &&Claim| matches!(claim.fact, Fact::Advice(_) | Fact::Allow(_));
        let old = old.map_or(&[][..], |old| old.claims_of(member));
        let said: Vec<_> = old.iter().filter(is_note).collect();
        for claim in claims.iter().filter(is_note).filter(|claim| !said.contains(claim)) {
            match &claim.fact {
                Fact::Advice(advice) => notes.push((claim.place.clone(), advice.to_string())),
                Fact::Allow(allow) => {
                    notes.extend(unknown_rules(allow).map(|note| (claim.place.clone(), note)));
                }
                _ => {}
            }
        }
    }
    notes
}

fn unknown_rules(allow: &Allow) -> impl Iterator<Item = String> {
    let rules = match allow {
        Allow::Every | Allow::Rendered => &[][..],
        Allow::Rules(rules) => rules,
    };
    rules.iter().filter(|name| rule::by_name(name).is_none()).map(|name| {
        let known: Vec<_> = rule::RULES.iter().map(|rule| rule.name).collect();
        match similar(name, &known) {
            Some(meant) => format!("there is no rule {name:?}; did you mean {meant}?"),
            None => format!("there is no rule {name:?}; `isthmus rules` lists them"),
        }
    })
}
