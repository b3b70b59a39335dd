//! How documents turn fields into claims: one way to read, one way to fail.

use std::borrow::Cow;
use std::sync::Arc;

use crate::mesh::{About, Allow, Fact, MemberName, Network, Position, Reading, Role};
use crate::syntax::Object;
use crate::syntax::{Node, Span, Value};
use crate::value::{ClusterDomain, Invalid, Subnet};

/// An annotation: its key, and its path as places name it.
struct Annotation {
    key: &'static str,
    path: &'static str,
}

macro_rules! annotation {
    ($key:literal) => {
        Annotation { key: $key, path: concat!("metadata.annotations[", $key, "]") }
    };
}

const CLUSTER_DOMAIN: Annotation = annotation!("isthmus.dev/cluster-domain");
const POD_SUBNET: Annotation = annotation!("isthmus.dev/pod-subnet-cidr");
const SERVICE_SUBNET: Annotation = annotation!("isthmus.dev/service-subnet-cidr");
const NETWORK: Annotation = annotation!("isthmus.dev/network");
const ALLOW: Annotation = annotation!("isthmus.dev/allow");
const ALLOW_UNSAFE: Annotation = annotation!("deckhouse.io/allow-unsafe");

/// The fields of one tree, read into claims of one member.
pub(super) struct Fields<'r, 'n> {
    pub(super) reading: &'r mut Reading,
    pub(super) member: &'r MemberName,
    pub(super) root: &'n Node<'n>,
    /// What stands before every path: `spec`, `data[key]`, or nothing.
    pub(super) prefix: &'r str,
}

impl<'n> Fields<'_, 'n> {
    /// The value at a dotted path; absent and null are the same, as everywhere in Kubernetes.
    pub(super) fn node(&mut self, path: &'static str) -> Option<&'n Node<'n>> {
        let mut node = self.root;
        let mut walked = 0;
        for key in path.split('.') {
            match &node.value {
                Value::Null => return None,
                Value::Map(_) => node = node.get(key)?,
                _ => {
                    let parent = path.get(..walked).unwrap_or("").trim_end_matches('.');
                    self.wrong_kind(parent, node, "a mapping");
                    return None;
                }
            }
            walked += key.len() + 1;
        }
        (node.value != Value::Null).then_some(node)
    }

    /// The text at a path.
    pub(super) fn text(&mut self, path: &'static str) -> Option<(&'n str, &'n Span)> {
        let node = self.node(path)?;
        match node.text() {
            Some(text) => Some((text, &node.span)),
            None => {
                self.wrong_kind(path, node, "a string");
                None
            }
        }
    }

    /// The boolean at a path.
    pub(super) fn boolean(&mut self, path: &'static str) -> Option<(bool, Position)> {
        let node = self.node(path)?;
        if let Value::Bool(value) = node.value {
            return Some((value, node.span.position()));
        }
        self.wrong_kind(path, node, "true or false");
        None
    }

    /// The cluster domain at a path; gives back whether there is a text.
    pub(super) fn domain(&mut self, path: &'static str) -> Option<&'n str> {
        let (text, span) = self.text(path)?;
        let path = self.path(path);
        domain(self.reading, self.member, path, span.position(), text);
        Some(text)
    }

    /// The subnets at a path: one, or as many as `separator` makes of the text.
    pub(super) fn subnets(
        &mut self,
        path: &'static str,
        role: Role,
        separator: Option<char>,
    ) -> Option<&'n str> {
        let (text, span) = self.text(path)?;
        let path = self.path(path);
        match separator {
            None => subnet(self.reading, self.member, path, span.position(), role, text),
            Some(separator) => {
                let (items, position) = (text.split(separator), span.position());
                subnets(self.reading, self.member, path, position, role, items);
            }
        }
        Some(text)
    }

    /// The prefix length of a node's part of the pod subnet, as Deckhouse writes it: a string,
    /// though a number means the same.
    pub(super) fn node_prefix(&mut self, path: &'static str) {
        let Some(node) = self.node(path) else { return };
        let (Value::Text(text) | Value::Number(text)) = &node.value else {
            self.wrong_kind(path, node, "a string");
            return;
        };
        let (full, position) = (self.path(path), node.span.position());
        match text.parse() {
            Ok(length @ 1..=128) => {
                self.reading.claim(self.member, full, position, Fact::NodePrefix(length));
            }
            _ => {
                let problem = format!("{text:?} is not a prefix length");
                let why = Invalid { problem, remedy: "write one such as \"24\"".to_owned() };
                self.reading.fault(self.member, full, position, About::NodePrefix, text, why);
            }
        }
    }

    /// Notes what is said at a path.
    pub(super) fn claim(&mut self, path: &'static str, position: Position, fact: Fact) {
        let path = self.path(path);
        self.reading.claim(self.member, path, position, fact);
    }

    /// Notes how a text that is never rewritten would better be written. An object of its own is
    /// rewritten instead, so it needs no advice.
    pub(super) fn advise(&mut self, path: &'static str, advice: String) {
        if !self.prefix.is_empty() {
            self.claim(path, Position::NONE, Fact::Advice(advice.into()));
        }
    }

    /// Notes what is wrong at a path.
    pub(super) fn fault(
        &mut self,
        path: &str,
        position: Position,
        about: About,
        text: &str,
        why: Invalid,
    ) {
        let path = self.full(path);
        self.reading.fault(self.member, path, position, about, text, why);
    }

    /// Notes that a value has the wrong kind.
    pub(super) fn wrong_kind(&mut self, path: &str, node: &Node<'_>, wanted: &str) {
        let problem = format!("must be {wanted}, not {}", node.kind());
        let why = Invalid { problem, remedy: format!("write {wanted}") };
        let path = if path.is_empty() { self.prefix.to_owned() } else { self.full(path) };
        self.reading.fault(self.member, path, node.span.position(), About::Document, "", why);
    }

    fn path(&self, path: &'static str) -> Cow<'static, str> {
        if self.prefix.is_empty() { Cow::Borrowed(path) } else { Cow::Owned(self.full(path)) }
    }

    fn full(&self, path: &str) -> String {
        match self.prefix {
            "" => path.to_owned(),
            prefix if path.starts_with('[') => format!("{prefix}{path}"),
            prefix => format!("{prefix}.{path}"),
        }
    }
}

/// How many subnets one list may hold: Kubernetes takes one of each family, and each is held
/// against every other.
const MOST_SUBNETS: usize = 32;

/// Reads a list of subnets.
fn subnets<'t>(
    reading: &mut Reading,
    member: &MemberName,
    path: Cow<'static, str>,
    position: Position,
    role: Role,
    items: impl Iterator<Item = &'t str> + Clone,
) {
    if items.clone().nth(MOST_SUBNETS).is_some() {
        let why = Invalid {
            problem: format!("the list has more than {MOST_SUBNETS} subnets"),
            remedy: "write one subnet for each IP family".to_owned(),
        };
        return reading.fault(member, path, position, About::Subnet(role), "", why);
    }
    for item in items {
        subnet(reading, member, path.clone(), position, role, item);
    }
}

/// Reads one subnet into a claim, or a fault; a range whose host bits are set is both.
fn subnet(
    reading: &mut Reading,
    member: &MemberName,
    path: Cow<'static, str>,
    position: Position,
    role: Role,
    text: &str,
) {
    match Subnet::parse(text) {
        Ok(subnet) => reading.claim(member, path, position, Fact::Subnet(role, subnet)),
        Err(why) => {
            if let Some(meant) = Subnet::meant(text) {
                reading.claim(member, path.clone(), position, Fact::Subnet(role, meant));
            }
            reading.fault(member, path, position, About::Subnet(role), text, why);
        }
    }
}

fn domain(
    reading: &mut Reading,
    member: &MemberName,
    path: Cow<'static, str>,
    position: Position,
    text: &str,
) {
    match ClusterDomain::parse(text) {
        Ok(domain) => reading.claim(member, path, position, Fact::ClusterDomain(domain)),
        Err(why) => reading.fault(member, path, position, About::ClusterDomain, text, why),
    }
}

/// Where the annotations of a document stand.
pub(super) enum Annotations<'a> {
    /// On the object itself.
    Object(&'a Object<'a>),
    /// On a descriptor within it: the mapping, and what stands before the descriptor's paths.
    Descriptor(&'a Node<'a>, &'a str),
}

impl Annotations<'_> {
    fn find(&self, annotation: &Annotation) -> Option<(&str, Cow<'static, str>, Position)> {
        match self {
            Self::Object(object) => {
                let text = object.annotation(annotation.key)?;
                Some((text, annotation.path.into(), Position::NONE))
            }
            Self::Descriptor(annotations, prefix) => {
                let node = annotations.get(annotation.key)?;
                let path = match *prefix {
                    "" => annotation.path.into(),
                    prefix => format!("{prefix}.{}", annotation.path).into(),
                };
                Some((node.scalar()?, path, node.span.position()))
            }
        }
    }
}

/// Reads the annotations that complete a document without fields of its own for them.
pub(super) fn completing_annotations(
    annotations: &Annotations<'_>,
    reading: &mut Reading,
    member: &MemberName,
) {
    if let Some((text, path, position)) = annotations.find(&CLUSTER_DOMAIN) {
        domain(reading, member, path, position, text.trim());
    }
    for (annotation, role) in [(POD_SUBNET, Role::Pod), (SERVICE_SUBNET, Role::Service)] {
        if let Some((text, path, position)) = annotations.find(&annotation) {
            let items = text.split(',').map(str::trim);
            subnets(reading, member, path, position, role, items);
        }
    }
}

/// Reads the annotations that mean something on every document of a member.
pub(super) fn common_annotations(object: &Object<'_>, reading: &mut Reading, member: &MemberName) {
    network_annotation(&Annotations::Object(object), reading, member);
    allow_annotation(object, reading, member);
}

/// Reads the annotation that names the network of a member.
pub(super) fn network_annotation(
    annotations: &Annotations<'_>,
    reading: &mut Reading,
    member: &MemberName,
) {
    let Some((text, path, position)) = annotations.find(&NETWORK) else { return };
    match text.trim() {
        "" => {
            let why = Invalid {
                problem: "the network name is empty".to_owned(),
                remedy: "write the name of the network, or remove the annotation".to_owned(),
            };
            reading.fault(member, path, position, About::Document, text, why);
        }
        name => {
            let network = Network::Named(name.into());
            reading.claim(member, path, position, Fact::Network(network));
        }
    }
}

/// How many rules an annotation may allow: more than there are.
const MOST_ALLOWED: usize = 64;

/// Reads the annotation that turns denials of an object into warnings.
pub(super) fn allow_annotation(object: &Object<'_>, reading: &mut Reading, member: &MemberName) {
    if let Some(text) = object.annotation(ALLOW.key) {
        let rules = text.split(',').map(str::trim).filter(|rule| !rule.is_empty());
        let rules = rules.take(MOST_ALLOWED);
        let allow = Allow::Rules(rules.map(str::to_owned).collect());
        reading.claim(member, ALLOW.path, Position::NONE, Fact::Allow(Arc::new(allow)));
    }
}

/// Reads Deckhouse's own escape hatch, which it honours on some kinds.
pub(super) fn allow_unsafe(object: &Object<'_>, reading: &mut Reading, member: &MemberName) {
    let value = object.annotation(ALLOW_UNSAFE.key);
    if value.is_some_and(|value| value != "false") {
        reading.claim(
            member,
            ALLOW_UNSAFE.path,
            Position::NONE,
            Fact::Allow(Arc::new(Allow::Every)),
        );
    }
}
