//! Lives of certificates, by a clock that the tests turn.

use std::time::Duration;

use k8s_openapi::ByteString;

use super::kept::{Data, Kept};
use super::step::{Sight, Step, Terms, next};

const DAY: i64 = 24 * 3600;
const START: i64 = 1_800_000_000;
const HOURS_OFF: [i64; 5] = [-14, -1, 0, 1, 14];

fn terms() -> Terms {
    Terms {
        names: vec!["isthmus.isthmus.svc".to_owned(), "10.0.0.1".to_owned()],
        authority_life: Duration::from_hours(3650 * 24),
        life: Duration::from_hours(90 * 24),
        settle: Duration::from_mins(1),
    }
}

fn sight(now: i64) -> Sight {
    Sight { now, published_for: None, others_may_know: false }
}

/// All steps that are due, each authority being published for long enough at once.
#[track_caller]
fn settled(mut kept: Kept, held: Option<&Kept>, now: i64, terms: &Terms) -> (Kept, Vec<Step>) {
    let mut steps = Vec::new();
    loop {
        let published_for = kept.next.as_ref().map(|_| terms.settle);
        let Some(step) = next(&kept, held, Sight { published_for, ..sight(now) }, terms) else {
            return (kept, steps);
        };
        steps.push(step);
        assert!(steps.len() < 10, "{steps:?}");
        kept = step.apply(kept, held, now, terms).unwrap();
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
fn from_nothing_comes_an_authority_unless_another_replica_may_know_of_one() {
    let sight = Sight { others_may_know: true, ..sight(START) };
    assert_eq!(next(&Kept::default(), None, sight, &terms()), None);
    let (kept, steps) = settled(Kept::default(), None, START, &terms());
    assert_eq!(steps, [Step::Begin]);
    assert!(kept.is_usable(START));
    assert_eq!(kept.leaf.as_ref().unwrap().names, ["isthmus.isthmus.svc", "10.0.0.1"]);
}

#[test]
fn what_is_written_is_read() {
    let mut kept = begun(START);
    let two_thirds = START + 3650 * DAY * 2 / 3;
    kept = settled(kept, None, two_thirds - DAY, &terms()).0;
    kept = Step::Prepare.apply(kept, None, two_thirds, &terms()).unwrap();
    let next = |kept: &Kept| kept.next.as_ref().unwrap().authority.clone();
    let read = Kept::read(&data(&kept));
    assert!(read.authorities == kept.authorities && next(&read) == next(&kept));
    assert!(read.is_usable(two_thirds));
    let changed = Step::ChangeOver.apply(read, None, two_thirds, &terms()).unwrap();
    let read = Kept::read(&data(&changed));
    assert!(read.old == changed.old && read.old.len() == 1);
    assert!(read.signer.unwrap().authority == next(&kept));
}

#[test]
fn clocks_that_are_off_neither_renew_nor_distrust() {
    let kept = begun(START);
    for hours in HOURS_OFF {
        let now = START + hours * 3600;
        assert!(kept.is_usable(now), "{hours} h");
        assert_eq!(next(&kept, None, sight(now), &terms()), None, "{hours} h");
    }
}

#[test]
fn in_a_hundred_years_callers_always_trust_what_is_shown() {
    let terms = terms();
    let mut kept = Kept::default();
    let (mut published, mut next_since) = (Vec::new(), None);
    let mut counts = [0; 4];
    // Looks are rarer than they are, and every other publication fails.
    for (look, now) in (START..START + 36_500 * DAY).step_by(5 * 86_400).enumerate() {
        let told = kept.next.as_ref().is_some_and(|next| published.contains(&next.authority));
        next_since = told.then(|| next_since.unwrap_or(now));
        let since = next_since.map(|since| Duration::from_secs((now - since).unsigned_abs()));
        let sight = Sight { published_for: since, ..sight(now) };
        if let Some(step) = next(&kept, None, sight, &terms) {
            let shown = kept.leaf.clone();
            kept = step.apply(kept, None, now, &terms).unwrap();
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
        assert!(leaf_until(&kept) <= kept.signer.as_ref().unwrap().authority.validity.until);
        assert!(kept.authorities.len() <= 2 && kept.old.len() <= 1);
    }
    let [renewed, prepared, changed, forgotten] = counts;
    assert!(prepared == changed && forgotten >= changed && changed >= 14, "{counts:?}");
    assert!(renewed > 500, "{counts:?}");
}

#[test]
fn a_lost_secret_is_put_back_and_its_authority_replaced() {
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
fn whatever_is_spoilt_callers_go_on_trusting_what_is_shown() {
    let mut kept = begun(START);
    let now = START + 3650 * DAY / 2;
    kept = settled(kept, None, now, &terms()).0;
    kept = Step::Prepare.apply(kept, None, now, &terms()).unwrap();
    let (held, whole) = (kept.without_signers(), data(&kept));
    assert_eq!(whole.len(), 5);
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
            assert!(mended.is_usable(now) && mended.signer.is_some(), "{key}: {steps:?}");
            assert_eq!(settled(mended, Some(&held), now, &terms()).1, [], "{key}");
            // Without memory of it there is a usable state all the same.
            let (mended, _) = settled(Kept::read(&data), None, now, &terms());
            assert!(mended.is_usable(now) && mended.signer.is_some(), "{key}");
        }
    }
}

#[test]
fn after_a_pause_beyond_every_end_all_is_made_anew() {
    let kept = begun(START);
    let held = kept.without_signers();
    for (slept, expected) in [(91 * DAY, &[Step::Renew][..]), (3651 * DAY, &[Step::Begin][..])] {
        let (kept, steps) = settled(kept.clone(), Some(&held), START + slept, &terms());
        assert_eq!(steps, expected);
        assert!(kept.is_usable(START + slept));
    }
}

#[test]
fn an_unpublished_authority_signs_nothing_while_the_last_one_can() {
    let kept = begun(START);
    let now = START + 3650 * DAY - 80 * DAY;
    let kept = Step::Renew.apply(kept, None, now, &terms()).unwrap();
    let kept = Step::Prepare.apply(kept, None, now, &terms()).unwrap();
    let last = leaf_until(&kept);
    for now in (now..=last).step_by(86_400) {
        assert_eq!(next(&kept, None, sight(now), &terms()), None, "no churn either");
    }
    assert_eq!(next(&kept, None, sight(last + 1), &terms()), Some(Step::ChangeOver));
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
