//! A set that nearly always has one element.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::ops::{Bound, RangeBounds};

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

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(all) => all.len(),
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
        self.range((Bound::Unbounded, Bound::Unbounded))
    }

    /// The elements within these bounds in their order.
    pub(super) fn range(
        &self,
        bounds: (Bound<&T>, Bound<&T>),
    ) -> impl Iterator<Item = &T> + use<'_, T> {
        let (one, many) = match self {
            Self::One(one) => (Some(one).filter(|one| bounds.contains(*one)), None),
            Self::Many(all) => (None, Some(all.range::<T, _>(bounds))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
