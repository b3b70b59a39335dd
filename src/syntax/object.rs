//! A Kubernetes object as far as isthmus needs it, borrowed from its JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::node::{BorrowedText, Node, Value};
use crate::budget::{Budget, Clock};

/// The prefix of every label and annotation of our own.
const OURS: &str = "isthmus.dev/";
/// The prefix of the annotations of Istio 0.8's descriptors.
const ISTIO: &str = "config.istio.io/";
/// Deckhouse's own way to say that a dangerous change is meant.
pub(crate) const ALLOW_UNSAFE: &str = "deckhouse.io/allow-unsafe";
/// Labels and annotations of others that tell what a Secret is, and who writes it.
const OF_OTHERS: &[&str] =
    &[ALLOW_UNSAFE, "istio/multiCluster", "networking.istio.io/cluster", "heritage"];
/// The largest field that is read, in bytes of JSON: more than any object that etcd can store.
const LARGEST_FIELD: usize = 2 << 20;

/// An object: its identity, the labels and annotations that mean something here, and its other
/// fields as text until a document asks for them.
#[derive(Debug, Default)]
pub struct Object<'a> {
    /// `apiVersion`.
    pub api_version: Cow<'a, str>,
    /// `kind`.
    pub kind: Cow<'a, str>,
    /// `metadata`.
    pub metadata: Metadata<'a>,
    /// The file it comes from, for documents that carry no name.
    pub file: Option<Cow<'a, str>>,
    /// How much of its fields may be read.
    pub(crate) budget: ReadingBudget<'a>,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// How many values an object's fields may hold, those of the texts that it carries included, and
/// aliases as often as they are used: ten times what the largest real ones hold.
pub(crate) const MOST_VALUES: usize = 100_000;

/// A budget for the fields of one object.
#[derive(Debug)]
pub(crate) struct ReadingBudget<'a>(Budget<'a>);

impl Default for ReadingBudget<'_> {
    fn default() -> Self {
        Self(Budget::of(MOST_VALUES))
    }
}

impl<'a> std::ops::Deref for ReadingBudget<'a> {
    type Target = Budget<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Labels or annotations.
type Texts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// An object's metadata.
#[derive(Debug, Default)]
pub struct Metadata<'a> {
    /// `name`, or `generateName` and an asterisk where only that is there.
    pub name: Cow<'a, str>,
    /// `namespace`; empty for cluster-scoped objects.
    pub namespace: Cow<'a, str>,
    /// `uid`; empty where the API server has given none yet.
    pub uid: Cow<'a, str>,
    /// Whether it is being deleted: it has a `deletionTimestamp`.
    pub is_terminating: bool,
    /// Whether another object owns it: it has `ownerReferences`.
    pub is_owned: bool,
    /// `resourceVersion`; empty for what is not stored.
    pub resource_version: Cow<'a, str>,
    /// A `spec` that stands here by mistake, where it is lost.
    pub(crate) nested_spec: Option<&'a RawValue>,
    labels: Texts<'a>,
    annotations: Texts<'a>,
}

impl<'a> Object<'a> {
    /// Reads an object from its JSON.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The same, of which no more is read once the time is up.
    #[must_use]
    pub fn until(self, clock: Option<Clock<'a>>) -> Self {
        let ReadingBudget(budget) = self.budget;
        Self { budget: ReadingBudget(budget.until(clock)), ..self }
    }

    /// The API group: what stands before the slash of `apiVersion`.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The API version within the group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(&self.api_version, |(_, version)| version)
    }

    /// The object's name. While it is still to be generated, what it begins with and an asterisk,
    /// which no other object's name has.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// A label of our own.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.metadata.labels, key)
    }

    /// The annotations that mean something here.
    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.annotations.iter().map(|(key, text)| (key.as_ref(), text.as_ref()))
    }

    /// The labels that mean something here.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.labels.iter().map(|(key, text)| (key.as_ref(), text.as_ref()))
    }

    /// An annotation of our own, of Istio 0.8, or Deckhouse's `deckhouse.io/allow-unsafe`.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        find(&self.metadata.annotations, key)
    }

    /// A field beside `metadata`.
    pub fn field(&self, name: &str) -> Result<Option<Node<'a>>, serde_json::Error> {
        let Some((_, raw)) = self.fields.iter().find(|(found, _)| found == name) else {
            return Ok(None);
        };
        if raw.get().len() > LARGEST_FIELD {
            return Err(Error::custom(format!("{name} is larger than {LARGEST_FIELD} bytes")));
        }
        Node::from_json(raw.get(), &self.budget).map(Some)
    }

    /// A field beside `metadata`, as text.
    pub(crate) fn raw_field(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, raw)| raw.get())
    }
}

fn find<'m>(map: &'m Texts<'_>, key: &str) -> Option<&'m str> {
    map.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_ref())
}

impl<'a, 'de: 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object::default();
                let mut seen = [false; 3];
                while let Some(BorrowedText(key)) = map.next_key()? {
                    match key.as_ref() {
                        "apiVersion" => {
                            once(&mut seen[0], "apiVersion")?;
                            object.api_version = optional_text(&mut map)?;
                        }
                        "kind" => {
                            once(&mut seen[1], "kind")?;
                            object.kind = optional_text(&mut map)?;
                        }
                        "metadata" => {
                            once(&mut seen[2], "metadata")?;
                            let metadata: Option<Metadata<'_>> = map.next_value()?;
                            object.metadata = metadata.unwrap_or_default();
                        }
                        _ if object.fields.iter().any(|(found, _)| *found == key) => {
                            return Err(A::Error::custom(format!("duplicate key {key:?}")));
                        }
                        // The kinds read here have a dozen fields; more are hostile, and quadratic.
                        _ if object.fields.len() == MOST_FIELDS => {
                            return Err(A::Error::custom("too many fields"));
                        }
                        _ => object.fields.push((key, map.next_value()?)),
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// The most fields an object may have beside `metadata`.
const MOST_FIELDS: usize = 256;

impl<'a, 'de: 'a> Deserialize<'de> for Metadata<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;
        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut metadata = Metadata::default();
                let mut generate_name = Cow::default();
                let mut seen = [false; 10];
                while let Some(BorrowedText(key)) = map.next_key()? {
                    match key.as_ref() {
                        "name" => {
                            once(&mut seen[0], "metadata.name")?;
                            metadata.name = optional_text(&mut map)?;
                        }
                        "generateName" => {
                            once(&mut seen[1], "metadata.generateName")?;
                            generate_name = optional_text(&mut map)?;
                        }
                        "namespace" => {
                            once(&mut seen[2], "metadata.namespace")?;
                            metadata.namespace = optional_text(&mut map)?;
                        }
                        "resourceVersion" => {
                            once(&mut seen[6], "metadata.resourceVersion")?;
                            metadata.resource_version = optional_text(&mut map)?;
                        }
                        "uid" => {
                            once(&mut seen[7], "metadata.uid")?;
                            metadata.uid = optional_text(&mut map)?;
                        }
                        "deletionTimestamp" => {
                            once(&mut seen[8], "metadata.deletionTimestamp")?;
                            metadata.is_terminating = !optional_text(&mut map)?.is_empty();
                        }
                        "ownerReferences" => {
                            once(&mut seen[9], "metadata.ownerReferences")?;
                            let owners: Option<Vec<IgnoredAny>> = map.next_value()?;
                            metadata.is_owned = owners.is_some_and(|owners| !owners.is_empty());
                        }
                        "labels" => {
                            once(&mut seen[3], "metadata.labels")?;
                            metadata.labels = ours(&mut map)?;
                        }
                        "annotations" => {
                            once(&mut seen[4], "metadata.annotations")?;
                            metadata.annotations = ours(&mut map)?;
                        }
                        "spec" => {
                            once(&mut seen[5], "metadata.spec")?;
                            metadata.nested_spec = Some(map.next_value()?);
                        }
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                if metadata.name.is_empty() && !generate_name.is_empty() {
                    metadata.name = Cow::Owned(format!("{generate_name}*"));
                }
                Ok(metadata)
            }
        }
        deserializer.deserialize_map(MetadataVisitor)
    }
}

fn once<E: Error>(seen: &mut bool, key: &'static str) -> Result<(), E> {
    if std::mem::replace(seen, true) {
        return Err(E::custom(format!("duplicate key {key:?}")));
    }
    Ok(())
}

fn optional_text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Cow<'de, str>, A::Error> {
    let text: Option<BorrowedText<'de>> = map.next_value()?;
    Ok(text.map(|BorrowedText(text)| text).unwrap_or_default())
}

fn ours<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Texts<'de>, A::Error> {
    let ours: Option<Ours<'de>> = map.next_value()?;
    Ok(ours.map(|Ours(entries)| entries).unwrap_or_default())
}

/// The labels or annotations that mean something here; the rest is skipped without a copy.
struct Ours<'a>(Texts<'a>);

impl<'a, 'de: 'a> Deserialize<'de> for Ours<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OursVisitor;
        impl<'de> Visitor<'de> for OursVisitor {
            type Value = Ours<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Texts::new();
                while let Some(BorrowedText(key)) = map.next_key()? {
                    let means = key.starts_with(OURS) || key.starts_with(ISTIO);
                    if !means && !OF_OTHERS.contains(&key.as_ref()) {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if entries.len() == MOST_FIELDS {
                        return Err(A::Error::custom(format!("too many keys like {key:?}")));
                    }
                    if entries.iter().any(|(found, _)| *found == key) {
                        return Err(A::Error::custom(format!("duplicate key {key:?}")));
                    }
                    let text = if key.starts_with(ISTIO) {
                        let ScalarText(text) = map.next_value()?;
                        text
                    } else {
                        optional_text(&mut map)?
                    };
                    entries.push((key, text));
                }
                Ok(Ours(entries))
            }
        }
        deserializer.deserialize_map(OursVisitor)
    }
}

/// The text that a scalar is read as where a string is wanted: the API server lets only strings
/// through, but a descriptor in a file may have a bare boolean.
struct ScalarText<'a>(Cow<'a, str>);

impl<'a, 'de: 'a> Deserialize<'de> for ScalarText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Node::deserialize(deserializer)?;
        match node.value {
            Value::Text(text) | Value::Number(text) => Ok(Self(text)),
            Value::Null | Value::Bool(_) => {
                Ok(Self(node.scalar().unwrap_or_default().to_owned().into()))
            }
            Value::List(_) | Value::Map(_) => Err(D::Error::custom(format!(
                "an annotation must be a string, not {}",
                node.kind()
            ))),
        }
    }
}
