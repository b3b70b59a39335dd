use std::collections::BTreeSet;

use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::budget::Budget;
use crate::document;
use crate::ledger::{MOST_OF_USER, Swap, Why};
use crate::mesh::{Basis, Fact, WriteId};
use crate::settings::Settings;
use crate::syntax::Object;

const HOLD: Duration = Duration::from_secs(10);

fn reading(name: &str, host: &str) -> Reading {
    let json = format!(
        r#"{{"apiVersion":"deckhouse.io/v1alpha1","kind":"IstioMulticluster","metadata":{{"name":"{name}"}},"spec":{{"metadataEndpoint":"https://{host}/metadata/"}}}}"#
    );
    document::read(&Object::parse(&json).unwrap(), &Settings::default())
}

/// The change that creates an object, or updates it to say this.
fn change(new: Reading) -> Write<'static> {
    let budget = Budget::of(usize::MAX);
    let id = WriteId::Update(None);
    Write { old: None, new, id, is_stored: true, user: "admin".into(), budget, now: None }
}

fn snapshot() -> Snapshot {
    let snapshot = Snapshot::holding(Mesh::new(Arc::new(Settings::default())), HOLD);
    snapshot.serve_peers(true);
    snapshot
}

fn claims(snapshot: &Snapshot, name: &str) -> usize {
    snapshot.read(|mesh| mesh.member(name).map_or(0, |member| member.claims().len()))
}

fn versioned(name: &str, host: &str, uid: &str, version: u64) -> Reading {
    let mut reading = reading(name, host);
    (reading.uid, reading.version) = (uid.into(), Some(version));
    reading
}

/// The change that creates an object of this uid.
fn creation(new: Reading, uid: &str) -> Write<'static> {
    Write { id: WriteId::Create(uid.into()), ..change(new) }
}

/// The change that replaces an object of this version.
fn update(new: Reading, old: u64) -> Write<'static> {
    Write { id: WriteId::Update(Some(old)), ..change(new) }
}

fn admit(snapshot: &Snapshot, write: Write<'_>) -> Verdict {
    match snapshot.admit(write, None, false) {
        Admission::Judged(verdict) => *verdict,
        admission => unreachable!("{admission:?}"),
    }
}

/// Goes on after what was admitted is overdue and not found stored.
fn expire(snapshot: &mut Snapshot) {
    snapshot.begun -= HOLD;
    for (stamp, _) in snapshot.overdue() {
        snapshot.looked(stamp, None);
    }
}

#[test]
fn an_admitted_write_counts_until_it_is_observed() {
    let snapshot = snapshot();
    let rival = || change(reading("rival", "a.example.com"));
    admit(&snapshot, creation(reading("a", "a.example.com"), "u"));
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((0, 1), 0));
    assert!(snapshot.judge(rival()).delay.is_some(), "it may be stored or not");
    let stored = versioned("a", "a.example.com", "u", 5);
    snapshot.put(Source::Cluster, stored.clone());
    assert_eq!(snapshot.counts(), (1, 0));
    assert_eq!(snapshot.judge(rival()).denials.len(), 1);
    snapshot.remove(Source::Cluster, &stored.object);
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((0, 0), 0));
    assert!(snapshot.judge(rival()).is_admitted());
}

#[test]
fn a_pending_update_counts_beside_what_it_replaces() {
    let snapshot = snapshot();
    snapshot.put(Source::Cluster, versioned("a", "old.example.com", "u", 5));
    admit(&snapshot, update(reading("a", "new.example.com"), 5));
    let rival = |host: &str| snapshot.judge(change(reading("rival", host)));
    for host in ["old.example.com", "new.example.com"] {
        assert!(rival(host).delay.is_some(), "{host}: it may be stored or not");
    }
    snapshot.put(Source::Cluster, versioned("a", "old.example.com", "u", 5));
    assert_eq!(snapshot.counts(), (1, 1), "that version proves nothing");
    snapshot.put(Source::Cluster, versioned("a", "new.example.com", "u", 6));
    assert_eq!(snapshot.counts(), (1, 0));
    assert!(rival("old.example.com").is_admitted());
    assert_eq!(rival("new.example.com").denials.len(), 1);
    // What says nothing new is not entered.
    admit(&snapshot, update(reading("a", "new.example.com"), 6));
    assert_eq!(snapshot.counts(), (1, 0));
}

#[test]
fn an_update_is_over_once_its_object_is_gone_as_every_watch_tells() {
    let snapshot = snapshot().known_by(Box::new(|_| vec!["one".into(), "other".into()]));
    snapshot.put(Source::Cluster, versioned("a", "old.example.com", "u", 5));
    admit(&snapshot, update(reading("a", "new.example.com"), 5));
    snapshot.remove(Source::Cluster, &reading("a", "").object);
    for (watch, version, pending) in [("one", 7, 1), ("other", 5, 1), ("other", 6, 0)] {
        snapshot.come(&watch.into(), Watched::At { version, listed: Duration::ZERO });
        assert_eq!(snapshot.counts(), (0, pending), "{watch} {version}");
    }
}

#[test]
fn a_write_counts_until_its_own_identity_is_settled() {
    let snapshot = snapshot();
    // Two creations of one name: the first may be stored and deleted before the second is.
    for uid in ["u1", "u2", "u2"] {
        let new = reading("a", &format!("{uid}.example.com"));
        admit(&snapshot, creation(new, uid));
    }
    assert_eq!(snapshot.counts(), (0, 2), "repeating one changes nothing");
    snapshot.put(Source::Cluster, versioned("a", "u1.example.com", "u1", 5));
    assert_eq!(snapshot.counts(), (1, 1));
    snapshot.remove(Source::Cluster, &reading("a", "").object);
    assert_eq!(snapshot.counts(), (0, 1), "a name that is gone may be created yet");
    snapshot.put(Source::Cluster, versioned("a", "u2.example.com", "u2", 7));
    assert_eq!(snapshot.counts(), (1, 0));
    // Of updates that replace the same version, one is stored.
    for host in ["v1.example.com", "v2.example.com"] {
        let user = host.to_owned().into();
        admit(&snapshot, Write { user, ..update(reading("a", host), 7) });
    }
    assert_eq!(snapshot.counts(), (1, 2));
    snapshot.put(Source::Cluster, versioned("a", "u2.example.com", "u2", 7));
    assert_eq!(snapshot.counts(), (1, 2), "an old event proves nothing");
    snapshot.put(Source::Cluster, versioned("a", "v1.example.com", "u2", 8));
    assert_eq!(snapshot.counts(), (1, 0));
}

#[test]
fn a_write_that_is_never_observed_is_given_up_once_it_was_looked_for() {
    let mut snapshot = snapshot();
    admit(&snapshot, creation(reading("a", "a.example.com"), "u"));
    assert_eq!(snapshot.overdue(), []);
    snapshot.begun -= HOLD;
    let overdue = snapshot.overdue();
    assert_eq!(overdue.len(), 1);
    assert_eq!(snapshot.counts(), (0, 1), "it is never given up on a guess");
    snapshot.looked(overdue[0].0, None);
    assert_eq!(snapshot.counts(), (0, 0));
    assert_eq!(snapshot.overdue(), []);
}

#[test]
fn of_simultaneous_clashing_writes_one_is_admitted() {
    for _ in 0..100 {
        let snapshot = snapshot();
        let create = |name: &str| {
            let verdict = admit(&snapshot, creation(reading(name, "one.example.com"), name));
            i32::from(verdict.is_admitted())
        };
        let admitted: i32 = std::thread::scope(|scope| {
            let writers = ["a", "b", "c"].map(|name| scope.spawn(move || create(name)));
            writers.map(|writer| writer.join().unwrap()).iter().sum()
        });
        assert_eq!(admitted, 1);
    }
}

#[test]
fn the_cluster_counts_before_files_and_files_remain_when_it_forgets() {
    let snapshot = snapshot();
    let (file, cluster) = (reading("a", "file.example.com"), reading("a", "cluster.example.com"));
    let endpoint = |snapshot: &Snapshot| {
        snapshot.read(|mesh| format!("{:?}", mesh.member("a").unwrap().claims()))
    };
    snapshot.replace(Source::Files, &[file.clone(), reading("b", "b.example.com")]);
    snapshot.put(Source::Cluster, cluster.clone());
    assert!(endpoint(&snapshot).contains("cluster.example.com"));
    snapshot.replace(Source::Files, &[file]);
    assert!(endpoint(&snapshot).contains("cluster.example.com"));
    assert_eq!(claims(&snapshot, "b"), 0);
    snapshot.remove(Source::Cluster, &cluster.object);
    assert!(endpoint(&snapshot).contains("file.example.com"));
}

#[test]
fn an_old_object_is_trusted_unless_the_watch_knows_better() {
    let snapshot = snapshot();
    let versioned = |host: &str, version| versioned("a", host, "u", version);
    snapshot.put(Source::Cluster, reading("b", "b.example.com"));
    snapshot.put(Source::Cluster, versioned("a.example.com", 5));
    // It claims that its object has said all along what clashes with another member.
    let denied = |old: Reading| {
        let new = reading("a", "b.example.com");
        let change = Write { old: Some(old), ..change(new) };
        !snapshot.judge(change).denials.is_empty()
    };
    assert!(denied(versioned("b.example.com", 4)), "an older one");
    assert!(denied(versioned("b.example.com", 5)), "another one of the same version");
    assert!(denied(versioned("a.example.com", 5)), "the one that is known");
    assert!(!denied(versioned("b.example.com", 6)), "a newer one: the watch may lag");
}

#[test]
fn what_one_user_and_all_together_may_have_pending_is_bounded() {
    let mut snapshot = snapshot();
    let create = |snapshot: &Snapshot, number: usize, user: &'static str| {
        let name = format!("n{number}");
        let new = creation(reading(&name, &format!("{name}.example.com")), &name);
        let verdict = admit(snapshot, Write { user: user.into(), ..new });
        verdict.delay.map(|delay| delay.wait.why)
    };
    let admitted = (0..1_000).take_while(|at| create(&snapshot, *at, "a").is_none()).count();
    assert_eq!((snapshot.counts(), admitted), ((0, MOST_OF_USER), MOST_OF_USER));
    assert_eq!(create(&snapshot, admitted, "a"), Some(Why::Crowded));
    assert_eq!(create(&snapshot, 0, "a"), None, "its own repetition is there already");
    assert_eq!(create(&snapshot, 1_000, "b"), None, "another user does not wait for it");
    expire(&mut snapshot);
    assert_eq!(create(&snapshot, 1_001, "a"), None);
    let large = |number: usize| {
        let mut new = reading(&format!("l{number}"), &format!("l{number}.example.com"));
        let advice = "x".repeat(MOST_BYTES / 4).into();
        new.claim(&"large".into(), &["spec", "field"], Fact::Advice(advice));
        let user = format!("user{number}");
        let write = Write { user: user.as_str().into(), ..creation(new, &format!("l{number}")) };
        let verdict = admit(&snapshot, write);
        verdict.delay.map(|delay| delay.wait.why)
    };
    assert_eq!((0..4).map(large).collect::<Vec<_>>(), [None, None, None, Some(Why::Full)]);
}

#[test]
#[allow(clippy::panic, reason = "it is what is tested")]
fn a_fault_in_judging_leaves_the_mesh_as_it_was() {
    let snapshot = snapshot();
    snapshot.put(Source::Cluster, reading("a", "a.example.com"));
    let faulty = || -> bool { panic!("on purpose") };
    let budget = Budget::of(usize::MAX).until(Some(&faulty));
    // The next look at what stands looks at the clock, too.
    budget.spend(256).unwrap();
    let write = Write { budget, ..creation(reading("b", "a.example.com"), "u") };
    catch_unwind(AssertUnwindSafe(|| snapshot.admit(write, None, false))).unwrap_err();
    assert!(snapshot.is_sound());
    assert_eq!(snapshot.counts(), (1, 0));
}

#[test]
fn a_half_changed_mesh_is_never_read() {
    let snapshot = snapshot();
    snapshot.put(Source::Cluster, reading("a", "a.example.com"));
    assert!(snapshot.is_sound());
    catch_unwind(AssertUnwindSafe(|| snapshot.break_off())).unwrap_err();
    assert!(!snapshot.is_sound());
    let new = reading("b", "b.example.com");
    catch_unwind(AssertUnwindSafe(|| snapshot.judge(change(new.clone())))).unwrap_err();
    catch_unwind(AssertUnwindSafe(|| snapshot.admit(change(new), None, false))).unwrap_err();
    catch_unwind(AssertUnwindSafe(|| snapshot.counts())).unwrap_err();
}

#[test]
fn a_clash_with_only_a_pending_write_waits_for_it() {
    let snapshot = snapshot();
    let verdict = |new: Reading| snapshot.judge(change(new));
    admit(&snapshot, creation(reading("a", "one.example.com"), "u"));
    snapshot.put(Source::Cluster, reading("b", "two.example.com"));
    let waits = verdict(reading("c", "one.example.com"));
    let delay = waits.delay.as_ref().unwrap();
    assert_eq!((waits.denials.len(), delay.findings.len()), (0, 1));
    assert!(delay.findings[0].message.contains("IstioMulticluster a, just admitted"));
    assert!(!waits.is_admitted());
    let denied = verdict(reading("c", "two.example.com"));
    assert_eq!((denied.denials.len(), denied.delay), (1, None), "it has nothing to do with that");
    snapshot.put(Source::Cluster, versioned("a", "one.example.com", "u", 5));
    assert_eq!(verdict(reading("c", "one.example.com")).denials.len(), 1, "it is stored");
}

#[test]
fn a_clash_that_a_pending_write_may_end_waits_for_it() {
    let snapshot = snapshot();
    let verdict = |new: Reading| snapshot.judge(change(new));
    snapshot.put(Source::Cluster, versioned("a", "one.example.com", "u", 5));
    admit(&snapshot, update(reading("a", "two.example.com"), 5));
    let waits = verdict(reading("c", "one.example.com"));
    let delay = waits.delay.as_ref().unwrap();
    assert_eq!((waits.denials.len(), delay.wait.why), (0, Why::Pending));
    assert!(delay.findings[0].message.contains("(IstioMulticluster a)"));
    snapshot.put(Source::Cluster, versioned("a", "two.example.com", "u", 6));
    assert!(verdict(reading("c", "one.example.com")).is_admitted());
}

#[test]
fn every_creation_is_entered_even_if_the_name_exists_with_the_same_claims() {
    let mut snapshot = snapshot();
    snapshot.put(Source::Cluster, versioned("a", "one.example.com", "u", 5));
    let create = creation(reading("a", "one.example.com"), "u1");
    assert!(admit(&snapshot, create).is_admitted());
    assert_eq!(snapshot.counts(), (1, 1));
    // What exists is deleted before the creation is stored.
    snapshot.remove(Source::Cluster, &reading("a", "").object);
    let rival = || change(reading("b", "one.example.com"));
    let delay = snapshot.judge(rival()).delay.unwrap();
    assert!(delay.wait.remaining > Duration::ZERO && delay.wait.remaining <= HOLD + HOLD / 2);
    expire(&mut snapshot);
    assert!(snapshot.judge(rival()).is_admitted());
}

#[test]
fn a_repeated_write_counts_from_its_last_review_and_another_of_the_same_key_counts_too() {
    let mut snapshot = snapshot();
    let write = |host: &str| update(reading("a", host), 7);
    admit(&snapshot, write("one.example.com"));
    snapshot.begun -= HOLD / 2;
    admit(&snapshot, write("one.example.com"));
    assert_eq!(snapshot.counts(), (0, 1));
    // Either of the two may be stored, so that both count.
    admit(&snapshot, write("two.example.com"));
    assert_eq!(snapshot.counts(), (0, 2));
    for host in ["one.example.com", "two.example.com"] {
        assert!(snapshot.judge(change(reading("b", host))).delay.is_some(), "{host}");
    }
    snapshot.begun -= HOLD / 2;
    assert_eq!(snapshot.overdue(), [], "its last review is not so long ago");
    expire(&mut snapshot);
    assert_eq!(snapshot.counts(), (0, 0));
    assert!(snapshot.judge(change(reading("b", "one.example.com"))).is_admitted());
}

#[test]
fn an_update_that_changes_no_claim_is_not_entered() {
    let snapshot = snapshot();
    let old = Some(reading("a", "one.example.com"));
    admit(&snapshot, Write { old, ..update(reading("a", "one.example.com"), 7) });
    assert_eq!(snapshot.counts(), (0, 0));
}

#[test]
fn a_verdict_that_rests_on_other_objects_is_confirmed_first() {
    let snapshot = snapshot();
    snapshot.put(Source::Cluster, versioned("a", "one.example.com", "u", 5));
    let objects = |write: Write<'_>| match snapshot.admit(write, Some(&BTreeSet::new()), false) {
        Admission::Confirm(confirm) => {
            confirm.objects.iter().map(|it| it.name.to_string()).collect()
        }
        _ => Vec::new(),
    };
    assert_eq!(objects(creation(reading("b", "one.example.com"), "v")), ["a"]);
    assert_eq!(objects(creation(reading("b", "two.example.com"), "v")), [""; 0]);
    snapshot.put(Source::Cluster, versioned("c", "one.example.com", "w", 6));
    // That it stood before counts only if it stands now, and so do both sides of it.
    let old = Some(versioned("c", "one.example.com", "w", 6));
    let mut new = reading("c", "one.example.com");
    new.basis = Basis::Stated;
    new.claim(&"c".into(), &["metadata", "labels"], Fact::NodePrefix(24));
    assert_eq!(objects(Write { old, ..update(new.clone(), 6) }), ["c", "a"]);
    // It has been changed since.
    snapshot.put(Source::Cluster, versioned("c", "three.example.com", "w", 8));
    let why = admit(&snapshot, update(reading("c", "one.example.com"), 6)).delay.unwrap().wait.why;
    assert_eq!(why, Why::Outdated);
}

/// A snapshot that shares a page, which is proven, with others.
fn sharing() -> Snapshot {
    let snapshot = snapshot();
    let (digest, watches) = (Arc::from("kind"), vec![Arc::from("peers")]);
    let most_bytes = crate::ledger::MOST_BYTES;
    snapshot.share(Setup { digest, longest: HOLD, watches, most_bytes, without: None });
    read(&snapshot, Page { is_proven: true, ..Page::new(1, &"kind".into()) });
    let listed = snapshot.now() + HOLD;
    snapshot.come(&"peers".into(), Watched::At { version: 100, listed });
    snapshot
}

fn read(snapshot: &Snapshot, page: Page<Arc<Reading>>) {
    let sight = Sight { uid: "u".into(), version: "1".into(), page: Some(page) };
    snapshot.with_page(|mut page| page.read(sight));
    snapshot.with_page(|mut page| page.fails(None));
}

fn due(snapshot: &Snapshot) -> Option<Due> {
    snapshot.with_page(|page| page.due()).unwrap()
}

fn swap(snapshot: &Snapshot) -> Swap<Arc<Reading>> {
    snapshot.with_page(|mut page| page.swap(2)).unwrap().unwrap()
}

fn entering(snapshot: &Snapshot, name: &str) -> tokio::sync::oneshot::Receiver<()> {
    let write = creation(reading(name, &format!("{name}.example.com")), name);
    match snapshot.admit(write, None, false) {
        Admission::Entering(verdict, entered) if verdict.is_admitted() => entered,
        admission => unreachable!("{admission:?}"),
    }
}

#[test]
fn a_write_is_admitted_once_the_page_has_it() {
    let snapshot = sharing();
    let mut writes = ["a", "b"].map(|name| entering(&snapshot, name));
    assert!(matches!(due(&snapshot), Some(Due::Swap)));
    let swap = swap(&snapshot);
    assert_eq!(swap.page.entries.len(), 2, "one swap has both");
    assert!(writes.iter_mut().all(|entered| entered.try_recv().is_err()));
    // What is admitted meanwhile is judged against those, and has to wait for the next swap.
    let rival = creation(reading("rival", "a.example.com"), "r");
    assert!(admit(&snapshot, rival).delay.is_some());
    let mut late = entering(&snapshot, "late");
    snapshot.with_page(|mut page| page.swapped(Outcome::Committed("2".into())));
    assert_eq!(writes.map(|mut entered| entered.try_recv()), [Ok(()), Ok(())]);
    assert!(late.try_recv().is_err());
    assert_eq!(snapshot.counts().1, 2);
}

#[test]
fn a_write_that_loses_its_place_is_judged_against_what_was_entered_first() {
    let snapshot = sharing();
    let mut lost = entering(&snapshot, "a");
    let mut other = swap(&snapshot).page;
    // Another replica was faster, with a rival.
    let rival = Arc::new(reading("rival", "a.example.com").pending());
    other.entries[0].object = Arc::new(ObjectRef::new("IstioMulticluster", None, "rival"));
    (other.entries[0].reading, other.nonce) = (Some(rival), 3);
    read(&snapshot, other);
    assert_eq!(lost.try_recv(), Err(TryRecvError::Closed));
    let verdict = admit(&snapshot, creation(reading("a", "a.example.com"), "a"));
    assert_eq!(verdict.delay.unwrap().wait.why, Why::Pending);
}

#[test]
fn a_page_that_cannot_be_used_admits_nothing_but_what_need_not_be_entered() {
    let snapshot = sharing();
    let mut waits = entering(&snapshot, "waits");
    snapshot.with_page(|mut page| page.fails(Some("it is gone".into())));
    assert_eq!(waits.try_recv(), Err(TryRecvError::Closed));
    assert!(due(&snapshot).is_none(), "nobody waits any more");
    let write = || creation(reading("b", "b.example.com"), "b");
    let unready = snapshot.admit(write(), None, false);
    assert!(matches!(unready, Admission::Unready(why) if &*why == "it is gone"));
    for write in [
        Write { is_stored: false, ..write() },
        Write {
            old: Some(reading("b", "b.example.com")),
            ..update(reading("b", "b.example.com"), 5)
        },
        creation(Reading::new(ObjectRef::new("ConfigMap", Some("isthmus"), "c")), "c"),
    ] {
        assert!(admit(&snapshot, write).is_admitted());
    }
    // As by a single replica, which remembers what it has admitted.
    let alone = |write| snapshot.admit(write, None, true);
    assert!(matches!(alone(write()), Admission::Judged(verdict) if verdict.is_admitted()));
    let rival = creation(reading("rival", "b.example.com"), "r");
    assert!(matches!(alone(rival), Admission::Judged(verdict) if verdict.delay.is_some()));
}

#[test]
fn a_replica_lists_what_is_behind_and_gives_way_to_another_kind() {
    let snapshot = sharing();
    let write = || creation(reading("b", "b.example.com"), "b");
    let mut page = swap(&snapshot).page;
    page.floors.insert("peers".into(), 101);
    read(&snapshot, page.clone());
    assert!(matches!(snapshot.admit(write(), None, false), Admission::List));
    assert_eq!(snapshot.behind(), ["peers".into()]);
    let listed = snapshot.now() + HOLD;
    snapshot.come(&"peers".into(), Watched::At { version: 101, listed });
    assert!(snapshot.behind().is_empty());
    let mut waits = entering(&snapshot, "b");
    // An older list than what was known tells of a restored etcd.
    let (begun, now) = (snapshot.now(), snapshot.now());
    snapshot.listed(&Listed { watch: "peers", begun, now, version: 90, before: 101 });
    assert_eq!(waits.try_recv(), Err(TryRecvError::Closed));
    let wait = admit(&snapshot, write()).delay.unwrap().wait;
    assert_eq!(wait.why, Why::Quarantine);
    let other = Page { digest: "newer".into(), nonce: 7, generation: 9, era: 7, ..page };
    read(&snapshot, other);
    assert!(matches!(snapshot.admit(write(), None, false), Admission::Superseded));
    assert!(snapshot.page().unwrap().unready().is_some());
}
