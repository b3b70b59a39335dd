//! The mesh as a map: who its members are, on which networks and addresses, who lists whom, and what
//! clashes; and the forms in which that is shown.

mod html;
mod layout;
mod mermaid;
mod space;
mod survey;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Borrow;
use std::collections::BTreeSet;

pub use html::{POLICY, html};
pub use mermaid::mermaid;
pub use survey::Survey;
pub use svg::svg;
pub use text::text;

use crate::mesh::{Basis, MemberName, Mesh, Role};
use crate::rule::Severity;
use crate::value::{Moment, Subnet};

/// A mesh, as one cluster or several of its clusters see it.
#[derive(Debug, Default)]
pub struct Map {
    /// When it was seen, if anybody told the time.
    pub now: Option<Moment>,
    /// The members, by name.
    pub members: Vec<Node>,
    /// The networks that they are on.
    pub networks: Vec<Net>,
    /// What is wrong, the most serious first.
    pub clashes: Vec<Clash>,
    /// How many members there are besides, by name after these: a map is bounded.
    pub left_out: usize,
}

/// A member.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: MemberName,
    /// Whether the mesh is shown as this cluster sees it.
    pub is_own: bool,
    /// Whether it takes part in the mesh, or is merely described.
    pub is_joined: bool,
    /// The cluster domains in force.
    pub domains: BTreeSet<String>,
    /// The subnets in force.
    pub subnets: BTreeSet<(Role, Subnet)>,
    /// All that is known of it.
    pub facts: Vec<Known>,
    /// Which of the members it lists.
    pub lists: BTreeSet<usize>,
    /// Which of them list it.
    pub listed_by: BTreeSet<usize>,
    /// What is wrong with it, at worst.
    pub worst: Option<Severity>,
}

/// One fact of a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// What is known.
    pub what: &'static str,
    /// Its value.
    pub value: String,
    /// The object that tells it.
    pub from: String,
    /// On what basis.
    pub basis: Basis,
}

/// A network.
#[derive(Debug)]
pub struct Net {
    /// What it is called.
    pub name: String,
    /// Its gateways, as Istio's mesh networks name them.
    pub gateways: BTreeSet<String>,
    /// Who is on it.
    pub members: Vec<usize>,
    /// Whether each of them is on one of its own.
    pub are_apart: bool,
}

/// Something that is wrong.
#[derive(Debug)]
pub struct Clash {
    /// The rule.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// With which members.
    pub members: BTreeSet<usize>,
    /// The addresses that both sides share.
    pub extent: Option<Subnet>,
    /// Where: object and field.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl Map {
    /// The map of a mesh as these clusters see it, each as the local member of one.
    pub fn of<M: Borrow<Mesh>>(views: impl IntoIterator<Item = M>, now: Option<Moment>) -> Self {
        let mut survey = Survey::at(now);
        for mesh in views {
            survey.add(mesh.borrow());
        }
        survey.map()
    }

    /// How many clashes are denied, and how many are warned of.
    pub fn counts(&self) -> (usize, usize) {
        let denied = self.clashes.iter().filter(|it| it.severity == Severity::Deny).count();
        (denied, self.clashes.len() - denied)
    }

    /// What there is of it, in a line.
    pub fn summary(&self) -> String {
        let (denials, warnings) = self.counts();
        let networks: usize =
            self.networks.iter().map(|it| if it.are_apart { it.members.len() } else { 1 }).sum();
        let more = match self.left_out {
            0 => String::new(),
            more => format!(" (the first by name; {more} more are not shown)"),
        };
        format!(
            "{}{more}, {}, {}, {}",
            counted(self.members.len(), "member"),
            counted(networks, "network"),
            counted(denials, "denial"),
            counted(warnings, "warning"),
        )
    }

    /// Members by name, at most so many of them.
    fn names(&self, members: &BTreeSet<usize>, most: usize) -> String {
        let names = members.iter().take(most).map(|at| &*self.members[*at].name);
        let names = names.collect::<Vec<_>>().join(", ");
        match members.len().saturating_sub(most) {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    }
}

impl Node {
    /// The subnets of one role.
    pub fn subnets_of(&self, role: Role) -> String {
        let subnets = self.subnets.iter().filter(|(of, _)| *of == role);
        subnets.map(|(_, subnet)| subnet.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// How it stands, in a word.
    pub fn state(&self) -> &'static str {
        state(self.worst)
    }

    /// All that is known of it, a fact in each line.
    fn told(&self, now: Option<Moment>) -> String {
        let facts = self.facts.iter().map(|known| {
            format!("{}: {}, {} {}", known.what, known.value, known.how(now), known.from)
        });
        facts.fold(format!("{} ({})", self.name, self.state()), |told, fact| told + "\n" + &fact)
    }
}

impl Known {
    /// How it is known, and how old it is, before the object that tells it.
    pub fn how(&self, now: Option<Moment>) -> String {
        match self.basis {
            Basis::Own(_) => "configured by".to_owned(),
            Basis::Stated => "stated by".to_owned(),
            Basis::Discovered => "published by the cluster, in".to_owned(),
            Basis::Observed(seen) => {
                let part = if seen.is_exact { "" } else { "in part " };
                let ago = now.and_then(|now| now.since(seen.at)).map(|age| age.as_secs() / 60);
                let ago = match ago {
                    None => String::new(),
                    Some(0) => " (less than a minute ago)".to_owned(),
                    Some(minutes @ 1..120) => format!(" ({minutes} min ago)"),
                    Some(minutes) => format!(" ({} h ago)", minutes / 60),
                };
                format!("observed {part}at {}{ago}, as told by", seen.at)
            }
        }
    }
}

/// How something stands, in a word.
fn state(worst: Option<Severity>) -> &'static str {
    match worst {
        Some(Severity::Deny) => "denied",
        Some(Severity::Warn) => "warned",
        None => "sound",
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
