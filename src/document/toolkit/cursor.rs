//! A value of a document and the way to it.

use crate::syntax::{Node, Path, Position, Segment, Value};

/// A place in a tree: the value there, if there is one, and the way there from the top of the
/// object. The path is put together only when something is said of it.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'c, 'n> {
    /// The value; absent and null are the same, as everywhere in Kubernetes.
    pub(crate) node: Option<&'n Node<'n>>,
    up: Option<&'c Cursor<'c, 'n>>,
    step: Step<'c>,
    position: Position,
    /// Whether its parent has the wrong type, so that it is unknown whether the field is set.
    is_lost: bool,
}

#[derive(Clone, Copy)]
enum Step<'c> {
    /// Where an object begins, and which fields of it cannot be read.
    Top(&'c [&'static str]),
    /// Where a text that an object carries begins.
    Within(&'c Path),
    /// Keys that the code names.
    Keys(&'static [&'static str]),
    /// A key as it is written, and by the name that it is known by.
    Key { written: &'c str, name: &'c str },
    /// An item of a list, and what it is known by among the others.
    Item(usize, Option<&'c str>),
}

/// How much of a key a path repeats, in characters: as much as a label of Kubernetes holds.
const LONGEST_KEY: usize = 63;

impl<'c, 'n> Cursor<'c, 'n> {
    /// The top of an object, of which some fields cannot be read.
    pub(crate) fn top(node: &'n Node<'n>, unreadable: &'c [&'static str]) -> Self {
        Self::start(node, Step::Top(unreadable))
    }

    /// The top of what stands at a path of an object.
    pub(crate) fn within(path: &'c Path, node: &'n Node<'n>) -> Self {
        Self::start(node, Step::Within(path))
    }

    fn start(node: &'n Node<'n>, step: Step<'c>) -> Self {
        let position = node.span.position();
        Self { node: Self::present(node), up: None, step, position, is_lost: false }
    }

    /// The same at a line and column.
    pub(crate) fn at(self, position: Position) -> Self {
        Self { position, ..self }
    }

    /// What `keys` lead to, and how far they lead where something on the way is not a mapping.
    pub(super) fn walk(&'c self, keys: &'static [&'static str]) -> Result<Self, Self> {
        let child = |node, keys| Self::child(self, node, Step::Keys(keys));
        if let (Step::Top(unreadable), Some(first)) = (self.step, keys.first())
            && unreadable.contains(first)
        {
            return Ok(self.lost(keys));
        }
        let mut node = self.node;
        for (walked, key) in keys.iter().enumerate() {
            match node.map(|node| (node, &node.value)) {
                None => break,
                Some((map, Value::Map(_))) => node = map.get(key).and_then(Self::present),
                Some(_) if walked == 0 => return Err(*self),
                Some((other, _)) => return Err(child(Some(other), &keys[..walked])),
            }
        }
        Ok(Self { is_lost: self.is_lost, ..child(node, keys) })
    }

    /// Where these keys would lead, whatever is there.
    pub(crate) fn to(&'c self, keys: &'static [&'static str]) -> Self {
        self.child(None, Step::Keys(keys))
    }

    /// The same, if it is unknown whether it is there.
    pub(super) fn lost(&'c self, keys: &'static [&'static str]) -> Self {
        Self { is_lost: true, ..self.to(keys) }
    }

    /// An entry of a mapping: its key as it is written, the name it is known by, and its value.
    pub(crate) fn entry(&'c self, written: &'c str, name: &'c str, node: &'n Node<'n>) -> Self {
        self.child(Self::present(node), Step::Key { written, name }).at(node.span.position())
    }

    /// A key that has no value to look at.
    pub(crate) fn key(&'c self, key: &'c str) -> Self {
        self.child(None, Step::Key { written: key, name: key })
    }

    /// An item of a list.
    pub(crate) fn item(&'c self, index: usize, node: &'n Node<'n>) -> Self {
        self.child(Self::present(node), Step::Item(index, None)).at(node.span.position())
    }

    /// The same place, known by a name among the items of its list.
    pub(crate) fn known_by(&'c self, name: &'c str) -> Self {
        Self { step: Step::Item(usize::MAX, Some(name)), up: Some(self), ..*self }
    }

    fn child(&'c self, node: Option<&'n Node<'n>>, step: Step<'c>) -> Self {
        let position = node.map_or(Position::NONE, |node| node.span.position());
        Self { node, up: Some(self), step, position, is_lost: false }
    }

    fn present(node: &'n Node<'n>) -> Option<&'n Node<'n>> {
        (node.value != Value::Null).then_some(node)
    }

    /// The line and column at which it is, or at which it was looked for.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whether it is known not to be there.
    pub(crate) fn is_absent(&self) -> bool {
        self.node.is_none() && !self.is_lost
    }

    /// The text of a scalar that is written as a string.
    pub(crate) fn text(&self) -> Option<&'n str> {
        self.node?.text()
    }

    /// Whether it is within a text that an object carries, which is never rewritten.
    pub(crate) fn is_carried(&self) -> bool {
        match self.step {
            Step::Within(_) => true,
            _ => self.up.is_some_and(Cursor::is_carried),
        }
    }

    /// The last key of the way.
    pub(crate) fn last_key(&self) -> &'c str {
        match self.step {
            Step::Keys([.., last]) => last,
            Step::Key { written, .. } => written,
            _ => "",
        }
    }

    /// The way there.
    pub(crate) fn path(&self) -> Path {
        if let (Step::Keys(keys), Some(Cursor { step: Step::Top(_), .. })) = (self.step, self.up)
            && self.position == Position::NONE
        {
            return Path::fixed(keys);
        }
        let mut segments = Vec::new();
        for cursor in self.way() {
            match cursor.step {
                Step::Top(_) | Step::Item(_, Some(_)) => {}
                Step::Within(path) => segments.extend(path.segments().map(Segment::into_owned)),
                Step::Keys(keys) => {
                    segments.extend(keys.iter().map(|key| Segment::Key((*key).into())));
                }
                Step::Key { written, .. } => segments.push(Segment::Key(shortened(written).into())),
                Step::Item(index, None) => segments.push(Segment::Item(index)),
            }
        }
        Path::new(segments, self.position)
    }

    /// What it is known by however many items stand before it; nothing where it is in no list.
    pub(super) fn identity(&self) -> Option<String> {
        let is_item = |cursor: &&Self| matches!(cursor.step, Step::Item(_, None));
        self.way().into_iter().find(is_item)?;
        let step = |cursor: &Self| match cursor.step {
            Step::Top(_) => String::new(),
            Step::Within(path) => path.to_string(),
            Step::Keys(keys) => keys.iter().map(|key| [".", *key].concat()).collect(),
            Step::Key { name, .. } => format!(".{}", shortened(name)),
            Step::Item(_, name) => format!("[{}]", name.unwrap_or_default()),
        };
        Some(self.way().into_iter().map(step).collect())
    }

    /// Itself and all above it, from the top.
    fn way(&self) -> Vec<&Self> {
        let mut way: Vec<_> = std::iter::successors(Some(self), |cursor| cursor.up).collect();
        way.reverse();
        way
    }
}

/// As much of a text as a path repeats.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_KEY) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}
