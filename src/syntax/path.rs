//! The way to a field: one type that documents build, findings compare, messages print and files
//! are searched by.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Position;

/// A field of an object, and the line and column at which it was found in a text that the object
/// carries. Nearly all are named in the code, which keeps a path small.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Built", into = "Built")]
pub struct Path(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Fixed(&'static [&'static str]),
    Built(Box<Built>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Built {
    segments: Vec<Segment<'static>>,
    #[serde(default, skip_serializing_if = "Position::is_none")]
    position: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Box<str>>,
    /// Whether the field is not set, so that its default applies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_default: bool,
    /// What showed the value, where nobody has written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Box<str>>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Segment<'a> {
    /// A key of a mapping.
    Key(Cow<'a, str>),
    /// An item of a list, from 0.
    Item(usize),
    /// One of several YAML documents of a text, by the name of its object, or by its number.
    Document(Cow<'a, str>),
}

/// Mappings whose keys are the author's own, and stand in brackets.
const MAPS: [&str; 4] = ["data", "binaryData", "annotations", "labels"];

impl Path {
    /// A path that the code names.
    pub const fn fixed(keys: &'static [&'static str]) -> Self {
        Self(Repr::Fixed(keys))
    }

    /// A path that an object brings, and where it was found.
    pub fn new(segments: Vec<Segment<'static>>, position: Position) -> Self {
        let (identity, is_default, source) = (None, false, None);
        Self(Repr::Built(Box::new(Built { segments, position, identity, is_default, source })))
    }

    /// The object's name.
    pub const NAME: Self = Self::fixed(&["metadata", "name"]);

    /// A field of an object.
    pub fn of_field(field: &'static str) -> Self {
        Self::new(vec![Segment::Key(field.into())], Position::NONE)
    }

    /// A key of a field such as `data`.
    pub fn of_key(field: &'static str, key: &str) -> Self {
        let segments = vec![Segment::Key(field.into()), Segment::Key(key.to_owned().into())];
        Self::new(segments, Position::NONE)
    }

    /// One of the documents of what stands here.
    #[must_use]
    pub fn document(&self, name: &str) -> Self {
        let document = Segment::Document(name.to_owned().into());
        let segments = self.segments().map(Segment::into_owned).chain([document]).collect();
        Self::new(segments, self.position())
    }

    /// The same, found at a line and column.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        match self.0 {
            Repr::Fixed(_) if position == Position::NONE => self,
            Repr::Fixed(_) => {
                Self::new(self.segments().map(Segment::into_owned).collect(), position)
            }
            Repr::Built(built) => Self(Repr::Built(Box::new(Built { position, ..*built }))),
        }
    }

    /// The same, known by something that does not change when items of a list come and go, as
    /// their indexes do.
    #[must_use]
    pub fn known_by(self, identity: String) -> Self {
        let position = self.position();
        let segments = self.segments().map(Segment::into_owned).collect();
        let (identity, is_default) = (Some(identity.into()), self.is_default());
        let source = self.source().map(Into::into);
        Self(Repr::Built(Box::new(Built { segments, position, identity, is_default, source })))
    }

    /// The same, of a value that something else has shown.
    #[must_use]
    pub fn shown_by(&self, source: &str) -> Self {
        let mut path =
            Self::new(self.segments().map(Segment::into_owned).collect(), self.position());
        if let Repr::Built(built) = &mut path.0 {
            built.source = Some(source.into());
        }
        path
    }

    /// What showed the value, where nobody has written it.
    pub fn source(&self) -> Option<&str> {
        match &self.0 {
            Repr::Fixed(_) => None,
            Repr::Built(built) => built.source.as_deref(),
        }
    }

    /// The same, where nothing stands and a default is in force.
    #[must_use]
    pub fn by_default(self) -> Self {
        let built = match self.0 {
            Repr::Built(built) => Built { is_default: true, ..*built },
            Repr::Fixed(_) => {
                let segments = self.segments().map(Segment::into_owned).collect();
                let (position, identity, source) = (Position::NONE, None, None);
                Built { segments, position, identity, is_default: true, source }
            }
        };
        Self(Repr::Built(Box::new(built)))
    }

    /// Whether the field is not set, so that its default applies.
    pub fn is_default(&self) -> bool {
        matches!(&self.0, Repr::Built(built) if built.is_default)
    }

    /// Where it is within a text that the object carries, if it is in one.
    pub fn position(&self) -> Position {
        match &self.0 {
            Repr::Fixed(_) => Position::NONE,
            Repr::Built(built) => built.position,
        }
    }

    /// Its steps from the top of the object.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let (fixed, built) = match &self.0 {
            Repr::Fixed(keys) => (*keys, &[][..]),
            Repr::Built(built) => (&[][..], built.segments.as_slice()),
        };
        let fixed = fixed.iter().map(|key| Segment::Key(Cow::Borrowed(*key)));
        fixed.chain(built.iter().map(Segment::borrowed))
    }

    /// What is left of it below another path, if it leads below that.
    pub fn below(&self, top: &Self) -> Option<Self> {
        let mut segments = self.segments();
        let is_below = top.segments().all(|key| segments.next().is_some_and(|own| own == key));
        let rest: Vec<_> = segments.map(Segment::into_owned).collect();
        (is_below && !rest.is_empty()).then(|| Self::new(rest, self.position()))
    }

    /// Whether it leads into the field of this name.
    pub fn is_in(&self, field: &str) -> bool {
        matches!(self.segments().next(), Some(Segment::Key(key)) if key == field)
    }

    /// How many bytes it takes in memory beside itself, roughly.
    pub fn bytes(&self) -> usize {
        let Repr::Built(built) = &self.0 else { return 0 };
        let text = |segment: &Segment<'_>| match segment {
            Segment::Key(text) | Segment::Document(text) => text.len(),
            Segment::Item(_) => 0,
        };
        let identity = built.identity.as_ref().map_or(0, |identity| identity.len());
        let source = built.source.as_ref().map_or(0, |source| source.len());
        let segments = built.segments.capacity() * size_of::<Segment<'_>>();
        size_of::<Built>()
            + segments
            + built.segments.iter().map(text).sum::<usize>()
            + identity
            + source
    }

    fn identity(&self) -> Option<&str> {
        match &self.0 {
            Repr::Fixed(_) => None,
            Repr::Built(built) => built.identity.as_deref(),
        }
    }
}

impl Segment<'_> {
    /// The same, borrowed.
    fn borrowed(&self) -> Segment<'_> {
        match self {
            Self::Key(text) => Segment::Key(Cow::Borrowed(text)),
            Self::Item(index) => Segment::Item(*index),
            Self::Document(name) => Segment::Document(Cow::Borrowed(name)),
        }
    }

    /// The same, on its own.
    pub fn into_owned(self) -> Segment<'static> {
        match self {
            Self::Key(text) => Segment::Key(text.into_owned().into()),
            Self::Item(index) => Segment::Item(index),
            Self::Document(name) => Segment::Document(name.into_owned().into()),
        }
    }
}

/// Paths are compared by their segments, or by the content that identifies them: lines and indexes
/// move with every edit above them.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Path {}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.identity(), other.identity()) {
            (None, None) => self.segments().cmp(other.segments()),
            (ours, theirs) => ours.cmp(&theirs),
        }
    }
}

impl From<Built> for Path {
    fn from(built: Built) -> Self {
        Self(Repr::Built(Box::new(built)))
    }
}

impl From<Path> for Built {
    fn from(path: Path) -> Self {
        match path.0 {
            Repr::Built(built) => *built,
            Repr::Fixed(_) => {
                let segments = path.segments().map(Segment::into_owned).collect();
                let (position, identity, source) = (Position::NONE, None, None);
                Self { segments, position, identity, is_default: false, source }
            }
        }
    }
}

impl From<&'static [&'static str]> for Path {
    fn from(keys: &'static [&'static str]) -> Self {
        Self::fixed(keys)
    }
}

impl<const N: usize> From<&'static [&'static str; N]> for Path {
    fn from(keys: &'static [&'static str; N]) -> Self {
        Self::fixed(keys)
    }
}

/// As Kubernetes writes paths: `spec.metadataEndpoint`, `metadata.annotations[isthmus.dev/network]`,
/// `data[key].field`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |key: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            !key.is_empty() && key.chars().all(plain)
        };
        let (mut is_first, mut is_map) = (true, false);
        for segment in self.segments() {
            match &segment {
                Segment::Key(key) if is_map || !is_plain(key) => write!(f, "[{key}]")?,
                Segment::Key(key) if is_first => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Item(index) => write!(f, "[{index}]")?,
                Segment::Document(name) => write!(f, "[{name}]")?,
            }
            is_map = matches!(&segment, Segment::Key(key) if MAPS.contains(&key.as_ref()));
            is_first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_kubernetes_writes_paths() {
        let at = |line| Position { line, column: 1 };
        let fixed = Path::fixed(&["metadata", "annotations", "isthmus.dev/network"]);
        assert_eq!(fixed.to_string(), "metadata.annotations[isthmus.dev/network]");
        let key = |text: &'static str| Segment::Key(text.into());
        let built = |line| {
            let document = Segment::Document("b".into());
            let steps =
                vec![key("data"), key("b"), document, key("a"), key("c.d"), Segment::Item(2)];
            Path::new(steps, at(line))
        };
        assert_eq!(built(1).to_string(), "data[b][b].a[c.d][2]");
        assert_eq!(built(1), built(2));
        assert_eq!(
            built(1).below(&Path::of_key("data", "b")).unwrap().to_string(),
            "[b].a[c.d][2]"
        );
        assert_eq!(fixed.below(&fixed), None);
        assert!(fixed.is_in("metadata"));
        let known = |index| Path::new(vec![key("a"), Segment::Item(index)], at(1));
        assert_ne!(known(0), known(1));
        assert_eq!(known(0).known_by("x".to_owned()), known(1).known_by("x".to_owned()));
    }

    #[test]
    fn is_small() {
        assert_eq!(size_of::<Path>(), 2 * size_of::<usize>());
    }
}
