//! What was admitted and not observed yet, within bounds.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use crate::mesh::{ObjectRef, PendingWrite, Reading, WriteId};
use crate::review::Verdict;

/// The most writes that are held at once.
const MOST: usize = 4096;
/// The most writes of one user that are held at once.
const MOST_OF_USER: usize = 32;
/// The most bytes that the readings of all held writes take. They stand in the mesh as well.
const MOST_BYTES: usize = 8 << 20;

/// Admitted writes, by the object as each of them leaves it.
#[derive(Default)]
pub(super) struct Holds {
    held: BTreeMap<Arc<ObjectRef>, Hold>,
    by_user: HashMap<Arc<str>, usize>,
    bytes: usize,
}

/// One admitted write.
pub(super) struct Hold {
    /// What the object says after it.
    pub(super) reading: Reading,
    pub(super) write: Arc<PendingWrite>,
    pub(super) until: Instant,
}

impl Hold {
    /// The object as the write leaves it.
    fn object(&self) -> Arc<ObjectRef> {
        Arc::new(self.reading.object.pending(Arc::clone(&self.write)))
    }
}

impl Holds {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn find(&self, pending: &ObjectRef) -> Option<&Hold> {
        self.held.get(pending)
    }

    /// The held writes of an object.
    pub(super) fn of(&self, object: &ObjectRef) -> impl Iterator<Item = &Arc<ObjectRef>> {
        let from = (Bound::Included(object), Bound::Unbounded);
        let following = self.held.range::<ObjectRef, _>(from).map(|(pending, _)| pending);
        following.take_while(|pending| pending.is_write_of(object))
    }

    /// Which attempt at a write this is: of one key, the same may be asked about again, which
    /// changes nothing, and so may be something else, of which either may be stored.
    pub(super) fn next_attempt(
        &self,
        id: &WriteId,
        user: &Arc<str>,
        says: &Reading,
    ) -> Option<u32> {
        let held = self.of(&says.object).filter_map(|pending| self.find(pending));
        let mut attempt = 0;
        for Hold { reading, write, .. } in held {
            if (&write.id, &write.user) == (id, user) {
                if reading.statements == says.statements {
                    return None;
                }
                attempt = attempt.max(write.attempt + 1);
            }
        }
        Some(attempt)
    }

    /// Whether there is room for a write.
    pub(super) fn has_room(&self, hold: &Hold) -> bool {
        let of_user = self.by_user.get(&hold.write.user).copied().unwrap_or(0);
        self.held.len() < MOST
            && of_user < MOST_OF_USER
            && self.bytes + hold.reading.bytes() <= MOST_BYTES
    }

    /// A verdict that says how long the writes last that it waits for.
    pub(super) fn timed(&self, mut verdict: Verdict) -> Verdict {
        if verdict.waits() {
            let places = verdict.wait.iter().flat_map(|finding| {
                [Some(&finding.place), finding.against.as_ref(), finding.because.as_ref()]
            });
            let waited = places.flatten().filter_map(|place| self.held.get(&place.object));
            let last = waited.map(|hold| hold.until).max();
            // A clash may come about through a write that it does not name.
            let last = last.or_else(|| self.held.values().map(|hold| hold.until).max());
            let left = last.map(|last| last.saturating_duration_since(Instant::now()));
            verdict.settled_in = left.unwrap_or_default();
        }
        verdict
    }

    /// Holds a write.
    pub(super) fn insert(&mut self, hold: Hold) {
        let object = hold.object();
        self.remove(&object);
        self.bytes += hold.reading.bytes();
        *self.by_user.entry(Arc::clone(&hold.write.user)).or_default() += 1;
        self.held.insert(object, hold);
    }

    pub(super) fn remove(&mut self, pending: &ObjectRef) {
        let Some(Hold { reading, write, .. }) = self.held.remove(pending) else { return };
        self.bytes -= reading.bytes();
        if let Some(count) = self.by_user.get_mut(&write.user) {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(&write.user);
            }
        }
    }

    /// The writes that have been held for too long.
    pub(super) fn expired(&self, now: Instant) -> Vec<Arc<ObjectRef>> {
        let late = self.held.iter().filter(|(_, hold)| hold.until <= now);
        late.map(|(object, _)| Arc::clone(object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mesh::{Fact, WriteId};

    fn hold(name: &str, user: &str, text: usize) -> Hold {
        let object = ObjectRef::new("Kind", None, name);
        let mut reading = Reading::new(object);
        let advice = Fact::Advice("x".repeat(text).into());
        reading.claim(&"member".into(), &["spec", "field"], advice);
        let write =
            PendingWrite { id: WriteId::Create(name.into()), user: user.into(), attempt: 0 };
        let until = Instant::now() + Duration::from_secs(10);
        Hold { reading, write: Arc::new(write), until }
    }

    fn insert(holds: &mut Holds, hold: Hold) -> bool {
        let fits = holds.has_room(&hold);
        if fits {
            holds.insert(hold);
        }
        fits
    }

    #[test]
    fn a_user_fills_no_more_than_its_share() {
        let mut holds = Holds::default();
        let names: Vec<_> = (0..=MOST_OF_USER).map(|number| format!("of-a-{number}")).collect();
        let (last, first) = names.split_last().unwrap();
        for name in first {
            assert!(insert(&mut holds, hold(name, "a", 1)));
        }
        assert!(!insert(&mut holds, hold(last, "a", 1)));
        assert!(insert(&mut holds, hold(last, "b", 1)));
        holds.remove(&hold(&first[1], "a", 1).object());
        assert!(insert(&mut holds, hold("another", "a", 1)));
    }

    #[test]
    fn held_writes_are_bounded_in_number_and_bytes() {
        let mut holds = Holds::default();
        let mut many = (0..).map(|number| hold(&format!("n{number}"), &format!("u{number}"), 1));
        assert!(many.any(|hold| !insert(&mut holds, hold)));
        assert_eq!(holds.len(), MOST);

        let mut holds = Holds::default();
        let mut large =
            (0..).map(|number| hold(&format!("n{number}"), &format!("u{number}"), MOST_BYTES / 8));
        assert!(large.any(|hold| !insert(&mut holds, hold)));
        assert_eq!(holds.len(), 7);
        let objects: Vec<_> = holds.held.keys().cloned().collect();
        for object in &objects {
            holds.remove(object);
        }
        assert_eq!((holds.bytes, holds.by_user.len()), (0, 0));
    }
}
