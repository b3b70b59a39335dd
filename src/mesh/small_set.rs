//! A set that nearly always has one element.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::ops::Bound;

/// A set of at least one element. Most subnets and endpoints belong to one member, and a tree for
/// one would be ten times its size.
pub(super) enum SmallSet<T> {
    One(T),
    Many(BTreeSet<T>),
}

impl<T: Ord + Clone> SmallSet<T> {
    /// Adds an element to the set of a key.
    pub(super) fn add<K>(entry: Entry<'_, K, Self>, element: &T) {
        match entry {
            Entry::Occupied(mut set) => set.get_mut().insert(element.clone()),
            Entry::Vacant(none) => {
                none.insert(Self::One(element.clone()));
            }
        }
    }

    pub(super) fn insert(&mut self, element: T) {
        match self {
            Self::Many(all) => {
                all.insert(element);
            }
            Self::One(one) if *one == element => {}
            Self::One(one) => *self = Self::Many(BTreeSet::from([one.clone(), element])),
        }
    }

    /// Removes an element; whether none is left.
    pub(super) fn remove(&mut self, element: &T) -> bool {
        match self {
            Self::One(one) => one == element,
            Self::Many(all) => {
                all.remove(element);
                all.is_empty()
            }
        }
    }

    pub(super) fn contains(&self, element: &T) -> bool {
        match self {
            Self::One(one) => one == element,
            Self::Many(all) => all.contains(element),
        }
    }

    /// All elements in their order.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> + use<'_, T> {
        self.from(None)
    }

    /// All elements in their order, or those that are not before `from`.
    pub(super) fn from<'a>(&'a self, from: Option<&T>) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let (one, many) = match self {
            Self::One(one) => (Some(one).filter(|one| from.is_none_or(|from| *one >= from)), None),
            Self::Many(all) => {
                let from = from.map_or(Bound::Unbounded, Bound::Included);
                (None, Some(all.range::<T, _>((from, Bound::Unbounded))))
            }
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
