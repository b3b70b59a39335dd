//! Lives of certificates, by a clock that the tests turn.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::HeaderValue;
use k8s_openapi::ByteString;
use proptest::prelude::*;

use super::kept::{Authority, Data, Kept};
use super::step::{Situation, Step, Terms, is_to_be_shown, next};
use super::timed;
use crate::server::tls::validity::Clock;

const DAY: i64 = 24 * 3600;
const START: i64 = 1_800_000_000;
const HOURS_OFF: [i64; 5] = [-14, -1, 0, 1, 14];

fn terms() -> Terms {
    Terms {
        names: vec!["isthmus.isthmus.svc".to_owned(), "10.0.0.1".to_owned()],
        authority_life: Duration::from_hours(3650 * 24),
        life: Duration::from_hours(90 * 24),
        settle: Duration::from_mins(1),
        path_life: Duration::from_hours(1),
    }
}

fn situation(now: i64, held: Option<&Kept>) -> Situation<'_> {
    Situation {
        now,
        held,
        published: &[],
        published_for: None,
        others_may_know: false,
        all_have_looked: true,
        path_published_for: None,
        path_is_suspect: false,
    }
}

/// All steps that are due, each authority being published for long enough at once.
#[track_caller]
fn settled(mut kept: Kept, held: Option<&Kept>, now: i64, terms: &Terms) -> (Kept, Vec<Step>) {
    let mut steps = Vec::new();
    loop {
        let published_for = kept.next(now).map(|_| terms.settle);
        let situation = Situation { published_for, ..situation(now, held) };
        let Some(step) = next(&kept, situation, terms) else {
            return (kept, steps);
        };
        steps.push(step);
        assert!(steps.len() < 10, "{steps:?}");
        kept = step.apply(kept, situation, terms).unwrap();
    }
}

fn begun(now: i64) -> Kept {
    settled(Kept::default(), None, now, &terms()).0
}

fn data(kept: &Kept) -> Data {
    let mut data = Data::new();
    kept.write(&mut data);
    data
}

fn leaf_until(kept: &Kept) -> i64 {
    kept.leaf.as_ref().unwrap().loaded.validity.until
}

#[test]
fn an_empty_secret_gets_a_ca_unless_another_replica_may_know_one() {
    let situation = Situation { others_may_know: true, ..situation(START, None) };
    assert_eq!(next(&Kept::default(), situation, &terms()), None);
    let (kept, steps) = settled(Kept::default(), None, START, &terms());
    assert_eq!(steps, [Step::Begin]);
    assert!(kept.is_usable(START));
    assert_eq!(kept.leaf.as_ref().unwrap().names, ["isthmus.isthmus.svc", "10.0.0.1"]);
}

#[test]
fn what_is_serialized_is_parsed() {
    let mut kept = begun(START);
    let two_thirds = START + 3650 * DAY * 2 / 3;
    kept = settled(kept, None, two_thirds - DAY, &terms()).0;
    kept = Step::Prepare.apply(kept, situation(two_thirds, None), &terms()).unwrap();
    let next = |kept: &Kept| kept.next(two_thirds).unwrap().authority;
    let read = Kept::read(&data(&kept));
    assert!(read.authorities == kept.authorities && next(&read) == next(&kept));
    assert!(read.is_usable(two_thirds));
    let changed = Step::ChangeOver.apply(read, situation(two_thirds, None), &terms()).unwrap();
    let read = Kept::read(&data(&changed));
    assert!(read.old == changed.old && read.old.len() == 1);
    assert!(read.signer(two_thirds).unwrap().authority == next(&kept));
}

#[test]
fn clocks_that_are_off_neither_renew_nor_distrust() {
    let kept = begun(START);
    for hours in HOURS_OFF {
        let now = START + hours * 3600;
        assert!(kept.is_usable(now), "{hours} h");
        assert_eq!(next(&kept, situation(now, None), &terms()), None, "{hours} h");
    }
}

#[test]
fn for_a_hundred_years_callers_always_trust_the_served_certificate() {
    let terms = terms();
    let mut kept = Kept::default();
    let (mut published, mut next_since) = (Vec::new(), None);
    let mut counts = [0; 4];
    // Looks are rarer than they are, and every other publication fails.
    for (look, now) in (START..START + 36_500 * DAY).step_by(5 * 86_400).enumerate() {
        let told = kept.next(now).is_some_and(|next| published.contains(&next.authority));
        next_since = told.then(|| next_since.unwrap_or(now));
        let since = next_since.map(|since| Duration::from_secs((now - since).unsigned_abs()));
        let situation = Situation { published_for: since, ..situation(now, None) };
        if let Some(step) = next(&kept, situation, &terms) {
            let shown = kept.leaf.clone();
            kept = step.apply(kept, situation, &terms).unwrap();
            kept = Kept::read(&data(&kept));
            let steps = [Step::Renew, Step::Prepare, Step::ChangeOver, Step::Forget];
            if let Some(at) = steps.iter().position(|known| *known == step) {
                counts[at] += 1;
            }
            // A replica that is late shows what was there until it expires.
            if let Some(shown) = shown {
                let its_end = shown.loaded.validity.until.min(now + 30 * DAY);
                assert!(shown.is_trusted(&kept.authorities, its_end), "{step:?}");
            }
        }
        if look == 0 || look % 2 == 1 {
            published.clone_from(&kept.authorities);
        }
        assert!(kept.leaf.as_ref().unwrap().is_trusted(&published, now), "day {}", look * 5);
        assert!(leaf_until(&kept) <= kept.signer(now).unwrap().authority.validity.until);
        assert!(kept.authorities.len() <= 2 && kept.old.len() <= 1);
    }
    let [renewed, prepared, changed, forgotten] = counts;
    assert!(prepared == changed && forgotten >= changed && changed >= 14, "{counts:?}");
    assert!(renewed > 500, "{counts:?}");
}

#[test]
fn a_lost_secret_is_restored_and_its_ca_replaced() {
    let held = begun(START).without_signers();
    let mut steps = Vec::new();
    let kept = settled(Kept::default(), Some(&held), START, &terms());
    steps.extend(kept.1);
    assert_eq!(steps, [Step::PutBack, Step::Prepare, Step::ChangeOver]);
    let shown = held.leaf.as_ref().unwrap();
    assert!(shown.is_trusted(&kept.0.authorities, START));
    let (later, steps) = settled(kept.0, None, leaf_until(&held) + 1, &terms());
    assert_eq!(steps, [Step::Renew, Step::Forget]);
    assert_eq!(later.authorities.len(), 1, "the lost key signs nothing any more");
}

#[test]
fn whatever_is_corrupted_callers_keep_trusting_the_served_certificate() {
    let mut kept = begun(START);
    let now = START + 3650 * DAY / 2;
    kept = settled(kept, None, now, &terms()).0;
    kept = Step::Prepare.apply(kept, situation(now, None), &terms()).unwrap();
    let (held, whole) = (kept.without_signers(), data(&kept));
    assert_eq!(whole.len(), 6);
    let other = data(&begun(START));
    for key in whole.keys() {
        for spoilt in [None, Some(&b"no PEM"[..]), Some(&[0xff]), Some(&other["ca.key"].0)] {
            let mut data = whole.clone();
            match spoilt {
                Some(bytes) => drop(data.insert(key.clone(), ByteString(bytes.to_owned()))),
                None => drop(data.remove(key)),
            }
            let (mended, steps) = settled(Kept::read(&data), Some(&held), now, &terms());
            assert!(held.leaf.as_ref().unwrap().is_trusted(&mended.authorities, now), "{key}");
            assert!(mended.is_usable(now) && mended.signer(now).is_some(), "{key}: {steps:?}");
            assert_eq!(settled(mended, Some(&held), now, &terms()).1, [], "{key}");
            // Without memory of it there is a usable state all the same.
            let (mended, _) = settled(Kept::read(&data), None, now, &terms());
            assert!(mended.is_usable(now) && mended.signer(now).is_some(), "{key}");
        }
    }
}

#[test]
fn lost_cas_are_restored_without_any_other_change() {
    let kept = begun(START);
    let mut data = data(&kept);
    data.remove("ca.crt");
    let held = kept.without_signers();
    let (mended, steps) = settled(Kept::read(&data), Some(&held), START, &terms());
    assert_eq!(steps, [Step::PutBack]);
    assert!(mended.authorities == kept.authorities && mended.signer(START).is_some());
}

#[test]
fn after_a_pause_beyond_every_expiry_everything_is_recreated() {
    let kept = begun(START);
    let held = kept.without_signers();
    for (slept, expected) in [(91 * DAY, &[Step::Renew][..]), (3651 * DAY, &[Step::Begin][..])] {
        let (kept, steps) = settled(kept.clone(), Some(&held), START + slept, &terms());
        assert_eq!(steps, expected);
        assert!(kept.is_usable(START + slept));
    }
}

#[test]
fn an_unpublished_ca_signs_nothing_while_the_previous_one_can() {
    let kept = begun(START);
    let now = START + 3650 * DAY - 80 * DAY;
    let kept = Step::Renew.apply(kept, situation(now, None), &terms()).unwrap();
    let kept = Step::Prepare.apply(kept, situation(now, None), &terms()).unwrap();
    let last = leaf_until(&kept);
    for now in (now..=last).step_by(86_400) {
        assert_eq!(next(&kept, situation(now, None), &terms()), None, "no churn either");
    }
    assert_eq!(next(&kept, situation(last + 1, None), &terms()), Some(Step::ChangeOver));
}

#[test]
fn replicas_that_ask_for_other_names_are_all_served() {
    let (mut older, mut newer) = (terms(), terms());
    older.names = vec!["old.isthmus.svc".to_owned()];
    newer.names = vec!["new.isthmus.svc".to_owned()];
    let kept = settled(Kept::default(), None, START, &older).0;
    let (kept, steps) = settled(kept, None, START, &newer);
    assert_eq!(steps, [Step::Renew]);
    assert_eq!(kept.leaf.as_ref().unwrap().names, ["new.isthmus.svc", "old.isthmus.svc"]);
    assert_eq!(settled(kept.clone(), None, START, &older).1, []);
    let (kept, steps) = settled(kept, None, START + 61 * DAY, &newer);
    assert_eq!(steps, [Step::Renew]);
    assert_eq!(kept.leaf.unwrap().names, ["new.isthmus.svc"], "what nobody asks for is dropped");
}

#[test]
fn a_path_changes_when_it_is_old_or_suspect_and_all_know_it() {
    let (kept, terms) = (begun(START), terms());
    let path = kept.path.unwrap();
    assert_eq!(kept.last_path, None);
    let minute = Duration::from_mins(1);
    for (published_for, suspect, expected) in [
        (None, true, None),
        (Some(minute / 2), true, None),
        (Some(minute), true, Some(Step::ChangePath)),
        (Some(59 * minute), false, None),
        (Some(60 * minute), false, Some(Step::ChangePath)),
    ] {
        let situation = Situation {
            path_published_for: published_for,
            path_is_suspect: suspect,
            ..situation(START, None)
        };
        assert_eq!(next(&kept, situation, &terms), expected, "{published_for:?}, {suspect}");
    }
    let changed = Step::ChangePath.apply(kept, situation(START, None), &terms).unwrap();
    let read = Kept::read(&data(&changed));
    assert!(read.last_path == Some(path) && read.path == changed.path && read.path != Some(path));
}

#[test]
fn a_lost_path_is_restored_or_replaced() {
    let held = begun(START).without_signers();
    let (kept, _) = settled(Kept::default(), Some(&held), START, &terms());
    assert!(kept.path == held.path, "with all else it is put back");
    for spoilt in ["", "no path", "00112233445566778899AABBCCDDEEFF"] {
        let mut data = data(&kept);
        data.insert("path".to_owned(), ByteString(spoilt.as_bytes().to_vec()));
        let (mended, steps) = settled(Kept::read(&data), Some(&held), START, &terms());
        assert_eq!(steps, [Step::ChangePath]);
        assert!(mended.last_path == held.path && mended.path.is_some());
    }
}

/// What may happen to a few replicas that share a Secret.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// One of them looks.
    Look(usize),
    /// One of them starts anew.
    Restart(usize),
    Delete,
    Spoil(&'static str),
    /// The clock of one of them steps to so far from what it is.
    Step(usize, i64),
}

const KEYS: [&str; 6] = ["ca.crt", "ca.key", "next-ca.key", "tls.crt", "tls.key", "old.crt"];
const REPLICAS: usize = 3;
/// How far clocks are off: days, more than the life of a certificate, and back to 1970.
const STEPS: [i64; 6] = [0, 2 * DAY, -2 * DAY, 120 * DAY, -120 * DAY, -START];
/// How many events there are to one look of all.
const ROUND: usize = 4;

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..REPLICAS).prop_map(Event::Look),
        1 => (0..REPLICAS).prop_map(Event::Restart),
        1 => Just(Event::Delete),
        4 => prop::sample::select(&KEYS[..]).prop_map(Event::Spoil),
        1 => (0..REPLICAS, prop::sample::select(&STEPS[..]))
            .prop_map(|(at, off)| Event::Step(at, off)),
    ]
}

/// Replicas, the Secret, and what the API server trusts; its time counts rounds.
#[derive(Default)]
struct World {
    round: i64,
    secret: Data,
    published: Vec<Authority>,
    replicas: [Replica; REPLICAS],
}

#[derive(Clone, Default)]
struct Replica {
    held: Option<Kept>,
    next: Option<(Authority, i64)>,
    unneeded: Option<(Vec<Authority>, i64)>,
    missed: Option<i64>,
    clock: Arc<Clock>,
    /// How far the clock on its wall is off.
    off: i64,
}

impl World {
    fn happens(&mut self, event: Event) {
        match event {
            Event::Look(at) => self.look(at),
            Event::Restart(at) => {
                let others = self.replicas.iter().enumerate().filter(|(other, _)| *other != at);
                // If no replica remembers it, what is lost stays lost.
                if others.into_iter().any(|(_, other)| other.held.is_some()) {
                    self.replicas[at] = Replica::default();
                }
            }
            Event::Delete => self.secret.clear(),
            Event::Step(at, off) => self.replicas[at].off = off,
            Event::Spoil(key) => {
                if let Some(value) = self.secret.get_mut(key) {
                    value.0 = b"spoilt".to_vec();
                }
            }
        }
    }

    fn look(&mut self, at: usize) {
        let (round, terms) = (self.round, round_terms());
        let replica = &mut self.replicas[at];
        let (true_time, begun) = (at_second(START + round), Instant::now());
        // The API server answers, as before every decision.
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(true_time)).unwrap();
        replica.clock.tell(&date);
        let now = replica.clock.at(at_second(START + round + replica.off), begun);
        for _ in 0..10 {
            let kept = Kept::read(&self.secret);
            let told = kept.next(now).map(|next| next.authority);
            let told = told.filter(|next| self.published.contains(next));
            replica.next = told.map(|next| timed(replica.next.take(), next, round));
            let unneeded = kept.unneeded(now).into_iter().cloned().collect();
            replica.unneeded = Some(timed(replica.unneeded.take(), unneeded, round));
            let misses =
                replica.held.is_none() && !kept.is_usable(now) && !self.published.is_empty();
            replica.missed = misses.then(|| replica.missed.unwrap_or(round));
            let since = |from: i64| Duration::from_secs((round - from).unsigned_abs());
            let situation = Situation {
                now,
                held: replica.held.as_ref(),
                published: &self.published,
                published_for: replica.next.as_ref().map(|(_, from)| since(*from)),
                others_may_know: replica.missed.is_some_and(|from| round - from < 2),
                all_have_looked: replica
                    .unneeded
                    .as_ref()
                    .is_some_and(|(_, from)| round - from > 3),
                path_published_for: None,
                path_is_suspect: false,
            };
            if let Some(step) = next(&kept, situation, &terms) {
                let kept = step.apply(kept, situation, &terms).unwrap();
                kept.write(&mut self.secret);
                continue;
            }
            if kept.is_usable(now) {
                self.published.clone_from(&kept.authorities);
                let is_trusted = |kept: &Kept| {
                    kept.leaf.as_ref().is_some_and(|leaf| leaf.is_trusted(&self.published, now))
                };
                if is_to_be_shown(is_trusted(&kept), replica.held.as_ref().is_some_and(is_trusted))
                {
                    replica.held = Some(kept.without_signers());
                }
            }
            return;
        }
        panic!("a look finds no end");
    }

    fn trusts_all(&self) -> bool {
        let mut held = self.replicas.iter().filter_map(|replica| replica.held.as_ref());
        held.all(|held| held.leaf.as_ref().unwrap().is_trusted(&self.published, START + self.round))
    }
}

fn at_second(second: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second.try_into().unwrap())
}

fn round_terms() -> Terms {
    Terms { settle: Duration::from_secs(4), ..terms() }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 32, ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_to_the_secret_callers_trust_every_replica(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::default();
        (0..REPLICAS).for_each(|at| world.look(at));
        for (count, event) in events.into_iter().enumerate() {
            world.happens(event);
            prop_assert!(world.trusts_all(), "{event:?}");
            if count % ROUND == 0 {
                world.round += 1;
                for at in 0..REPLICAS {
                    world.look(at);
                    prop_assert!(world.trusts_all(), "replica {at} after {event:?}");
                }
            }
        }
        for _ in 0..20 {
            world.round += 1;
            (0..REPLICAS).for_each(|at| world.look(at));
            prop_assert!(world.trusts_all());
        }
        // In the end they agree, on an authority that can sign.
        let kept = Kept::read(&world.secret);
        let now = START + world.round;
        prop_assert!(kept.signer(now).is_some() && kept.next(now).is_none());
        let shown = |replica: &Replica| replica.held.as_ref()?.leaf.clone();
        let agrees = |replica: &Replica| {
            shown(replica).is_some_and(|leaf| leaf.is(kept.leaf.as_ref().unwrap()))
        };
        prop_assert!(world.replicas.iter().all(agrees));
    }
}
