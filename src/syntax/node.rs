//! One tree for JSON and YAML, with lines where the text has any.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::budget::Budget;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value of a document, with its place in the text if that was YAML.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// The value.
    pub value: Value<'a>,
    /// Where it stands in the text.
    pub span: Span,
}

/// A value of JSON or YAML.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`, or nothing where YAML expects a value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, as it is written.
    Number(Cow<'a, str>),
    /// A string.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Node<'a>>),
    /// A mapping in the order of the text, without duplicate keys.
    Map(Vec<(Key<'a>, Node<'a>)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Key<'a> {
    /// The key's text.
    pub text: Cow<'a, str>,
    /// Where it stands in the text.
    pub span: Span,
}

/// A place in a text. All zero in JSON, where only paths tell places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The line, from 1; 0 where there is none.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The bytes of the text.
    pub bytes: Range<usize>,
}

impl Span {
    /// The line and column.
    pub fn position(&self) -> Position {
        Position { line: self.line, column: self.column }
    }
}

/// A line and column, both from 1, of a text inside an object; all zero where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Position {
    /// No position: the place is a field of the object itself.
    pub const NONE: Self = Self { line: 0, column: 0 };

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(super) fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// How deep a document may nest: deeper than any that Kubernetes has, shallower than any stack.
pub(crate) const DEEPEST: usize = 100;

impl<'a> Node<'a> {
    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The key and value of a key, if this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&(Key<'a>, Self)> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(found, _)| found.text == key),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text that a scalar is read as where a string is wanted, as Kubernetes' YAML library does
    /// it: `True` is `true`, and nothing is the empty text. No list or mapping has one.
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null => Some(""),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What kind of value this is, with its article.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same value as JSON. Numbers that JSON cannot hold become strings.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| text.as_ref().into())
            }
            Value::Text(text) => text.as_ref().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, node)| (key.text.to_string(), node.to_json())).collect(),
            ),
        }
    }
}

impl<'a> Node<'a> {
    /// Reads a value from JSON, as far as the budget goes.
    pub(crate) fn from_json(json: &'a str, budget: &Budget<'_>) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let node = Within(budget).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(node)
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Within(&Budget::of(usize::MAX)).deserialize(deserializer)
    }
}

/// Reads a value within a budget, of which each value costs a unit.
#[derive(Clone, Copy)]
pub(crate) struct Within<'b>(pub(crate) &'b Budget<'b>);

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        self.0.spend(1).map_err(D::Error::custom)?;
        let value = deserializer.deserialize_any(self)?;
        Ok(Node { value, span: Span::default() })
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Number(value.to_string().into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(value.to_string().into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Number(value.to_string().into()))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        items.shrink_to_fit();
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Entries::default();
        while let Some(BorrowedText(key)) = map.next_key()? {
            let key = Key { text: key, span: Span::default() };
            if let Err(twice) = entries.insert(key, map.next_value_seed(self)?) {
                return Err(A::Error::custom(format!("duplicate key {:?}", twice.text)));
            }
        }
        Ok(entries.into_map())
    }
}

/// The entries of a mapping while it is read. Large mappings are checked with a set, so that a
/// hostile one costs no more than its size.
#[derive(Default)]
pub(crate) struct Entries<'a> {
    entries: Vec<(Key<'a>, Node<'a>)>,
    seen: std::collections::HashSet<String>,
}

/// Up to here comparing with each key before is faster than hashing.
const FEW: usize = 16;

impl<'a> Entries<'a> {
    /// Adds an entry, or returns the key if it is a duplicate.
    pub(crate) fn insert(&mut self, key: Key<'a>, node: Node<'a>) -> Result<(), Key<'a>> {
        if self.entries.len() == FEW {
            self.seen = self.entries.iter().map(|(key, _)| key.text.to_string()).collect();
        }
        let stands = if self.entries.len() < FEW {
            self.entries.iter().any(|(found, _)| found.text == key.text)
        } else {
            !self.seen.insert(key.text.to_string())
        };
        if stands {
            return Err(key);
        }
        self.entries.push((key, node));
        Ok(())
    }

    pub(crate) fn into_map(mut self) -> Value<'a> {
        // A vector's first element brings room for four.
        self.entries.shrink_to_fit();
        Value::Map(self.entries)
    }
}

/// A string that borrows from the input wherever that holds it literally.
#[derive(Debug)]
pub struct BorrowedText<'a>(pub Cow<'a, str>);

impl<'a, 'de: 'a> Deserialize<'de> for BorrowedText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}
