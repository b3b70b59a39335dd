//! How what is read is noted: one place for claims, for faults, and for what has the wrong kind.

use std::collections::HashMap;

use super::cursor::{Cursor, shortened};
use crate::mesh::{About, Fact, Fault, MemberName, Reading};
use crate::syntax::{Key, Node, Path, Value};
use crate::value::Invalid;

/// How whoever reads a document takes it.
pub(crate) struct Dialect {
    /// What is wrong where nothing more is known of it.
    about: About,
    /// What comes of a value of the wrong kind.
    consequence: &'static str,
    /// Whether any scalar does where a string is wanted.
    takes_scalars: bool,
    /// The maximum number of faults, and of doubts; a response with more would be too long for the
    /// API server.
    most_told: usize,
    /// Whether items of lists are identified by their content, not by their index.
    is_known_by_content: bool,
}

/// What becomes of a descriptor that Pilot cannot read. It reads them at its start only.
pub(crate) const EXITS: &str = "Pilot exits at its next start";

/// An object of Kubernetes or Deckhouse.
pub(crate) static KUBERNETES: Dialect = Dialect {
    about: About::Document,
    consequence: "",
    takes_scalars: false,
    most_told: usize::MAX,
    is_known_by_content: false,
};

/// A descriptor in YAML, as Pilot of Istio 0.8 takes it.
pub(crate) static PILOT: Dialect = Dialect {
    about: About::Descriptor,
    consequence: ", and Pilot exits at its next start",
    takes_scalars: true,
    ..KUBERNETES
};

/// A descriptor in JSON, in which nothing but a string is a string.
pub(crate) static PILOT_JSON: Dialect = Dialect { takes_scalars: false, ..PILOT };

/// A text that Istio reads as protobuf's JSON.
pub(crate) static PROTOBUF: Dialect =
    Dialect { about: About::MeshConfig, most_told: 100, is_known_by_content: true, ..KUBERNETES };

/// Claims and faults of one member.
pub(crate) struct Notes<'r> {
    pub(crate) reading: &'r mut Reading,
    pub(crate) member: MemberName,
    dialect: &'static Dialect,
    /// How many faults in lists are known by one identity.
    alike: HashMap<String, usize>,
    faults: usize,
    doubts: usize,
}

impl<'r> Notes<'r> {
    /// Notes of an object of Kubernetes.
    pub(crate) fn new(reading: &'r mut Reading, member: MemberName) -> Self {
        Self::of(&KUBERNETES, reading, member)
    }

    /// Notes of what is read by a dialect.
    pub(crate) fn of(
        dialect: &'static Dialect,
        reading: &'r mut Reading,
        member: MemberName,
    ) -> Self {
        Self { reading, member, dialect, alike: HashMap::new(), faults: 0, doubts: 0 }
    }

    /// The same of what another dialect reads.
    pub(crate) fn in_dialect(&mut self, dialect: &'static Dialect) -> Notes<'_> {
        Notes::of(dialect, self.reading, MemberName::clone(&self.member))
    }

    /// What is wrong where nothing more is known of it.
    pub(super) fn about(&self) -> About {
        self.dialect.about
    }

    /// Notes what is said at a place.
    pub(crate) fn claim(&mut self, at: &Cursor<'_, '_>, fact: Fact) {
        let path = match at.identity().filter(|_| self.dialect.is_known_by_content) {
            Some(identity) => at.path().known_by(identity),
            None => at.path(),
        };
        self.claim_at(path, fact);
    }

    /// Notes the default of a field that is not set.
    pub(crate) fn claim_default(&mut self, at: &Cursor<'_, '_>, fact: Fact) {
        self.claim_at(at.path().by_default(), fact);
    }

    /// Notes what is said at a path.
    pub(crate) fn claim_at(&mut self, path: impl Into<Path>, fact: Fact) {
        self.reading.claim(&self.member, path, fact);
    }

    /// Notes what its reader fails on, drops, or reads otherwise than it is written.
    pub(crate) fn fault(&mut self, at: &Cursor<'_, '_>, text: &str, why: Invalid) {
        self.fault_of(self.dialect.about, at, text, why);
    }

    /// Notes what its reader gets by with, though it is hardly meant.
    pub(crate) fn doubt(&mut self, at: &Cursor<'_, '_>, text: &str, why: Invalid) {
        self.doubt_of(self.dialect.about, at, text, why);
    }

    /// Notes a fault of what a value should have been.
    pub(crate) fn fault_of(&mut self, about: About, at: &Cursor<'_, '_>, text: &str, why: Invalid) {
        self.faults += 1;
        self.note(self.faults, at, Fault::new(about, text, why));
    }

    /// Notes a doubt about what a value should have been.
    pub(crate) fn doubt_of(&mut self, about: About, at: &Cursor<'_, '_>, text: &str, why: Invalid) {
        self.doubts += 1;
        self.note(self.doubts, at, Fault { harmless: true, ..Fault::new(about, text, why) });
    }

    /// Notes a fault at a path.
    pub(crate) fn fault_at(
        &mut self,
        about: About,
        path: impl Into<Path>,
        text: &str,
        why: Invalid,
    ) {
        self.reading.fault(&self.member, path, Fault::new(about, text, why));
    }

    /// Notes a doubt at a path.
    pub(crate) fn doubt_at(&mut self, about: About, path: impl Into<Path>, why: Invalid) {
        let fault = Fault { harmless: true, ..Fault::new(about, "", why) };
        self.reading.fault(&self.member, path, fault);
    }

    fn note(&mut self, count: usize, at: &Cursor<'_, '_>, mut fault: Fault) {
        if count > self.dialect.most_told {
            return;
        }
        if count == self.dialect.most_told {
            fault.problem.push_str(", and there are more errors");
        }
        let mut path = at.path();
        if let Some(list) = at.identity().filter(|_| self.dialect.is_known_by_content) {
            // Known by the value that is wrong, and among equal ones by number.
            let identity = format!("{list}={}", shortened(&fault.text));
            let alike = self.alike.entry(identity.clone()).or_default();
            *alike += 1;
            path = path.known_by(format!("{identity}#{alike}"));
        }
        self.reading.fault(&self.member, path, fault);
    }

    /// What `keys` lead to; what is on the way and not a mapping is noted.
    pub(crate) fn get<'c, 'n>(
        &mut self,
        from: &'c Cursor<'c, 'n>,
        keys: &'static [&'static str],
    ) -> Cursor<'c, 'n> {
        from.walk(keys).unwrap_or_else(|stop| {
            self.wrong_kind(&stop, "a mapping");
            from.lost(keys)
        })
    }

    /// The text that a value must be; none where it is absent.
    pub(crate) fn text<'n>(&mut self, at: &Cursor<'_, 'n>) -> Option<&'n str> {
        let node = at.node?;
        let is_text = matches!(node.value, Value::Text(_));
        let text = node.scalar().filter(|_| is_text || self.dialect.takes_scalars);
        if text.is_none() {
            self.wrong_kind(at, A_STRING);
        }
        text
    }

    /// The boolean that a value must be; none where it is absent.
    pub(crate) fn boolean(&mut self, at: &Cursor<'_, '_>) -> Option<bool> {
        if let Value::Bool(value) = at.node?.value {
            return Some(value);
        }
        self.wrong_kind(at, "true or false");
        None
    }

    /// The entries of a mapping; nothing has none of them.
    pub(crate) fn entries<'n>(
        &mut self,
        at: &Cursor<'_, 'n>,
        wanted: &str,
    ) -> &'n [(Key<'n>, Node<'n>)] {
        match at.node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            None => &[],
            Some(_) => {
                self.wrong_kind(at, wanted);
                &[]
            }
        }
    }

    /// Whether a value is a mapping; what is neither that nor nothing is noted.
    pub(crate) fn is_mapping(&mut self, at: &Cursor<'_, '_>) -> bool {
        self.entries(at, "a mapping");
        matches!(at.node.map(|node| &node.value), Some(Value::Map(_)))
    }

    /// The items of a list; nothing has none of them.
    pub(crate) fn items<'n>(&mut self, at: &Cursor<'_, 'n>) -> &'n [Node<'n>] {
        match at.node.map(|node| &node.value) {
            Some(Value::List(items)) => items,
            None => &[],
            Some(_) => {
                self.wrong_kind(at, "a list");
                &[]
            }
        }
    }

    /// Notes that a value has the wrong kind.
    pub(crate) fn wrong_kind(&mut self, at: &Cursor<'_, '_>, wanted: &str) {
        let Some(node) = at.node else { return };
        let problem = format!("must be {wanted}, not {}{}", node.kind(), self.dialect.consequence);
        let remedy = match (wanted, node.scalar()) {
            (A_STRING, Some(text)) => format!("write {:?}, in quotes", shortened(text)),
            _ => format!("write {wanted}"),
        };
        self.fault(at, "", Invalid { problem, remedy });
    }
}

const A_STRING: &str = "a string";
