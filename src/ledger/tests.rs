use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::mesh::{ObjectRef, WriteId};

/// Watches that have told of everything, and of no object.
struct Nothing;

impl Cache for Nothing {
    fn stored(&self, _: &ObjectRef) -> Option<Stored<'_>> {
        None
    }

    fn watch(&self, _: &str) -> Watched {
        Watched::At { version: 100, listed: Duration::from_hours(1) }
    }
}

/// The same, of which one tells of one object.
struct One<'a>(Stored<'a>);

impl Cache for One<'_> {
    fn stored(&self, _: &ObjectRef) -> Option<Stored<'_>> {
        Some(self.0)
    }

    fn watch(&self, name: &str) -> Watched {
        Nothing.watch(name)
    }
}

/// Nothing clashes, but for what is pending with a write that says 0.
struct Bench<'a>(&'a u8);

impl Judge<u8> for Bench<'_> {
    fn related<'e>(&self, entries: Vec<&'e Entry<u8>>) -> Vec<&'e Entry<u8>> {
        let is_related = |entry: &&Entry<u8>| *self.0 == 0 || entry.reading.is_none();
        entries.into_iter().filter(is_related).collect()
    }

    fn found(&mut self, stored: &[&Entry<u8>]) -> Found {
        if stored.is_empty() { Found::Nothing } else { Found::Clash }
    }
}

const MINUTE: Duration = Duration::from_mins(1);
const LONGEST: Duration = crate::pending::LONGEST;

fn setup(digest: &str) -> Setup {
    let watches = vec!["peers".into()];
    Setup {
        digest: digest.into(),
        longest: LONGEST,
        watches,
        most_bytes: MOST_BYTES,
        without: None,
    }
}

fn sight(page: Option<Page<u8>>) -> Sight<u8> {
    Sight { uid: "lease".into(), version: "7".into(), page }
}

/// A clerk of a page that is proven, two minutes after its start.
fn clerk() -> (Clerk<u8>, Duration) {
    let mut clerk = Clerk::new(setup("a"));
    clerk.read(Duration::ZERO, sight(None));
    let now = 2 * MINUTE;
    for (at, nonce) in [(Duration::ZERO, 1), (now, 2)] {
        assert!(clerk.swap(at, nonce, &Nothing).is_some());
        clerk.swapped(at, Outcome::Committed("8".into()));
    }
    assert!(clerk.page().unwrap().is_proven);
    (clerk, now)
}

fn ask(
    clerk: &mut Clerk<u8>,
    now: Duration,
    name: &str,
    user: &str,
    says: u8,
    bytes: usize,
) -> Step {
    ask_for(clerk, now, name, user, says, bytes, true)
}

fn ask_for(
    clerk: &mut Clerk<u8>,
    now: Duration,
    name: &str,
    user: &str,
    says: u8,
    bytes: usize,
    is_entered: bool,
) -> Step {
    let ask = Ask {
        object: &Arc::new(ObjectRef::new("Kind", None, name)),
        id: &WriteId::Create(name.into()),
        watches: &["peers".into()],
        user: &user.into(),
        reading: Some(&says),
        bytes,
        is_entered,
        confirmed: None,
    };
    clerk.admit(now, &Nothing, &ask, &mut Bench(&says))
}

fn commit(clerk: &mut Clerk<u8>, now: Duration) -> Swap<u8> {
    let nonce = clerk.page().unwrap().nonce + 1;
    let swap = clerk.swap(now, nonce, &Nothing).unwrap();
    clerk.swapped(now, Outcome::Committed("9".into()));
    swap
}

fn why(step: &Step) -> Why {
    match step {
        Step::Wait(wait) => wait.why,
        step => unreachable!("{step:?}"),
    }
}

#[test]
fn one_swap_enters_all_that_were_admitted_meanwhile() {
    let (mut clerk, now) = clerk();
    for name in ["a", "b", "c"] {
        assert!(matches!(ask(&mut clerk, now, name, "user", 1, 1), Step::Enter(_)));
    }
    let swap = commit(&mut clerk, now);
    assert_eq!(swap.page.entries.len(), 3);
    assert_eq!(clerk.pending(), 3);
    assert!(clerk.due(now, &Nothing).is_none(), "nothing more is to be done");
}

#[test]
fn a_repeated_write_is_entered_once_and_lasts_from_its_last_review() {
    let (mut clerk, now) = clerk();
    ask(&mut clerk, now, "a", "user", 1, 1);
    let first = commit(&mut clerk, now).page.entries;
    ask(&mut clerk, now + MINUTE / 2, "a", "user", 1, 1);
    let second = commit(&mut clerk, now + MINUTE / 2).page.entries;
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(clerk.due(now + MINUTE, &Nothing).is_none(), "it is not late yet");
}

#[test]
fn an_entry_is_given_up_after_a_swap_and_a_look() {
    let (mut clerk, now) = clerk();
    ask(&mut clerk, now, "a", "user", 1, 1);
    commit(&mut clerk, now);
    let late = now + LONGEST;
    assert!(clerk.due(late.saturating_sub(Duration::from_millis(1)), &Nothing).is_none());
    assert!(matches!(clerk.due(late, &Nothing), Some(Due::Swap)), "etcd is seen to go on");
    assert_eq!(commit(&mut clerk, late).page.entries.len(), 1);
    let Some(Due::Look(objects)) = clerk.due(late, &Nothing) else { unreachable!("no look") };
    assert_eq!(&*objects[0].1.name, "a");
    clerk.looked(objects[0].0, None);
    assert!(matches!(clerk.due(late, &Nothing), Some(Due::Swap)));
    assert_eq!(commit(&mut clerk, late).page.entries.len(), 0);
    assert!(clerk.due(late, &Nothing).is_none());
}

#[test]
fn what_was_stored_and_is_gone_is_told_to_those_who_come_later() {
    let (mut clerk, now) = clerk();
    ask(&mut clerk, now, "a", "user", 1, 1);
    commit(&mut clerk, now);
    let stored = One(Stored { uid: "a", version: 50 });
    clerk.observe(&stored);
    assert!(clerk.due(now, &stored).is_none(), "everybody sees that it is stored");
    let another = One(Stored { uid: "b", version: 60 });
    assert!(matches!(clerk.due(now, &another), Some(Due::Swap)), "it is another one");
    assert!(matches!(clerk.due(now, &Nothing), Some(Due::Swap)), "it is gone");
    let page = commit(&mut clerk, now).page;
    assert_eq!((page.entries.len(), page.floors["peers"]), (0, 50));
    assert!(clerk.due(now, &Nothing).is_none());
}

#[test]
fn what_one_user_and_all_together_may_enter_is_bounded() {
    let (mut clerk, now) = clerk();
    for name in 0..MOST_OF_USER {
        assert!(matches!(ask(&mut clerk, now, &name.to_string(), "a", 1, 1), Step::Enter(_)));
    }
    assert_eq!(why(&ask(&mut clerk, now, "another", "a", 1, 1)), Why::Crowded);
    assert_eq!(ask_for(&mut clerk, now, "another", "a", 1, 1, false), Step::Allow);
    assert!(matches!(ask(&mut clerk, now, "another", "b", 1, 1), Step::Enter(_)));
    assert_eq!(why(&ask(&mut clerk, now, "large", "b", 1, MOST_BYTES)), Why::Full);
}

#[test]
fn a_user_who_takes_all_room_leaves_some_to_others() {
    let (mut clerk, now) = clerk();
    let fill = |user: &str| {
        let is_entered = |name: &usize| {
            let name = format!("{user}{name}");
            matches!(ask(&mut clerk, now, &name, user, 1, MOST_BYTES / 16), Step::Enter(_))
        };
        (0..16).take_while(is_entered).count()
    };
    assert_eq!(["a", "b", "c"].map(fill), [8, 4, 2]);
}

#[test]
fn what_cannot_be_told_is_waited_for_and_not_for_ever() {
    let (mut clerk, now) = clerk();
    ask(&mut clerk, now, "a", "user", 1, 1);
    let mut page = commit(&mut clerk, now).page;
    page.entries[0].reading = None;
    (page.nonce, page.generation) = (99, page.generation + 1);
    clerk.read(now, sight(Some(page)));
    assert_eq!(why(&ask(&mut clerk, now, "b", "user", 1, 1)), Why::Opaque);
    let Step::Wait(wait) = ask(&mut clerk, now, "b", "user", 1, 1) else { unreachable!() };
    assert!(wait.remaining <= LONGEST + Duration::from_secs(5));
}

#[test]
fn more_entries_than_can_be_combined_are_waited_for() {
    let (mut clerk, now) = clerk();
    for name in 0..=MOST_RELATED {
        ask(&mut clerk, now, &name.to_string(), "user", 1, 1);
    }
    assert_eq!(why(&ask(&mut clerk, now, "b", "user", 0, 1)), Why::Many);
}

#[test]
fn a_page_that_is_gone_or_copied_is_begun_anew_and_admits_nothing_meanwhile() {
    let (mut clerk, now) = clerk();
    let page = clerk.page().cloned();
    for sight in [sight(None), Sight { uid: "copy".into(), ..sight(page) }] {
        clerk.read(now, sight);
        let swap = clerk.swap(now, 5, &Nothing).unwrap();
        assert!(!swap.page.is_proven);
        clerk.swapped(now, Outcome::Committed("9".into()));
        assert_eq!(why(&ask(&mut clerk, now, "a", "user", 1, 1)), Why::Quarantine);
        let later = now + LONGEST;
        assert!(matches!(ask(&mut clerk, later, "a", "user", 1, 1), Step::Enter(_)));
        let swap = commit(&mut clerk, later);
        assert!(swap.page.is_proven, "whoever starts later need not wait");
    }
}

#[test]
fn replicas_of_another_kind_take_over_once_and_the_old_ones_only_when_they_are_left_alone() {
    let (mut old, now) = clerk();
    ask(&mut old, now, "a", "user", 1, 1);
    let page = commit(&mut old, now).page;
    let mut new = Clerk::new(setup("b"));
    new.read(now, sight(Some(page)));
    assert_eq!(ask(&mut new, now, "b", "user", 1, 1), Step::Superseded);
    let taken = commit(&mut new, now).page;
    assert_eq!((&*taken.digest, &taken.entries[0].reading), ("b", &None));
    old.read(now, sight(Some(taken)));
    assert_eq!(ask(&mut old, now, "b", "user", 1, 1), Step::Superseded);
    assert!(old.due(now, &Nothing).is_none());
    assert!(matches!(old.due(now + LONGEST, &Nothing), Some(Due::Swap)));
}
