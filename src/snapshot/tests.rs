use super::*;
use crate::budget::Budget;
use crate::document;
use crate::mesh::WriteId;
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
    Snapshot::new(Mesh::new(Arc::new(Settings::default())))
}

fn claims(snapshot: &Snapshot, name: &str) -> usize {
    snapshot.read(|mesh| mesh.member(name).map_or(0, |member| member.claims().len()))
}

#[test]
fn an_admitted_write_counts_until_it_is_observed() {
    let snapshot = snapshot();
    let a = reading("a", "a.example.com");
    snapshot.admit(change(a.clone()), HOLD);
    let each = claims(&snapshot, "a");
    assert!(each > 0);
    assert_eq!(snapshot.counts(), (0, 1));
    snapshot.put(Source::Cluster, a.clone());
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((1, 0), each));
    snapshot.remove(Source::Cluster, &a.object);
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((0, 0), 0));
}

#[test]
fn it_counts_besides_the_stored_state_until_a_newer_event() {
    let snapshot = snapshot();
    let (old, new) = (reading("a", "old.example.com"), reading("a", "new.example.com"));
    snapshot.put(Source::Cluster, old.clone());
    let each = claims(&snapshot, "a");
    snapshot.admit(change(new.clone()), HOLD);
    assert_eq!(claims(&snapshot, "a"), 2 * each);
    snapshot.put(Source::Cluster, old);
    assert_eq!(claims(&snapshot, "a"), 2 * each);
    snapshot.put(Source::Cluster, new.clone());
    assert_eq!(claims(&snapshot, "a"), each);
    // What says nothing new is not held.
    snapshot.admit(change(new.clone()), HOLD);
    assert_eq!(snapshot.counts(), (1, 0));
}

#[test]
fn a_write_is_held_until_its_own_identity_is_settled() {
    let snapshot = snapshot();
    let versioned = |host: &str, uid: &str, version| {
        let mut reading = reading("a", host);
        (reading.uid, reading.version) = (uid.into(), Some(version));
        reading
    };
    let admit = |id, new| snapshot.admit(Write { id, ..change(new) }, HOLD);
    // Two creations of one name: the first may be stored and deleted before the second is.
    for uid in ["u1", "u2", "u2"] {
        admit(WriteId::Create(uid.into()), reading("a", &format!("{uid}.example.com")));
    }
    assert_eq!(snapshot.counts(), (0, 2), "repeating one changes nothing");
    snapshot.put(Source::Cluster, versioned("u1.example.com", "u1", 5));
    assert_eq!(snapshot.counts(), (1, 1));
    snapshot.remove(Source::Cluster, &reading("a", "").object);
    assert_eq!(snapshot.counts(), (0, 1), "a name that is gone may be created yet");
    snapshot.put(Source::Cluster, versioned("u2.example.com", "u2", 7));
    assert_eq!(snapshot.counts(), (1, 0));
    // Of updates that replace the same version, one is stored.
    for host in ["v1.example.com", "v2.example.com"] {
        let id = WriteId::Update(Some(7));
        let user = host.to_owned();
        let new = reading("a", host);
        snapshot.admit(Write { id, user: user.into(), ..change(new) }, HOLD);
    }
    assert_eq!(snapshot.counts(), (1, 2));
    snapshot.put(Source::Cluster, versioned("u2.example.com", "u2", 7));
    assert_eq!(snapshot.counts(), (1, 2), "an old event proves nothing");
    snapshot.put(Source::Cluster, versioned("v1.example.com", "u2", 8));
    assert_eq!(snapshot.counts(), (1, 0));
}

#[test]
fn a_write_that_is_never_observed_is_dropped() {
    let snapshot = snapshot();
    snapshot.admit(change(reading("a", "a.example.com")), HOLD);
    snapshot.expire(Instant::now());
    assert_eq!(snapshot.counts(), (0, 1));
    snapshot.expire(Instant::now() + HOLD);
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((0, 0), 0));
}

#[test]
fn of_simultaneous_clashing_writes_one_is_admitted() {
    for _ in 0..100 {
        let snapshot = snapshot();
        let admit = |name: &str| {
            let verdict = snapshot.admit(change(reading(name, "one.example.com")), HOLD);
            i32::from(verdict.is_admitted())
        };
        let admitted: i32 = std::thread::scope(|scope| {
            let writers = ["a", "b", "c"].map(|name| scope.spawn(move || admit(name)));
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
    let versioned = |host: &str, version| {
        let mut reading = reading("a", host);
        reading.version = Some(version);
        reading
    };
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
fn a_write_that_cannot_be_held_is_not_admitted() {
    let snapshot = snapshot();
    let admit = |number: u32, user: &'static str| {
        let new = reading(&format!("n{number}"), &format!("n{number}.example.com"));
        let change = Write { user: user.into(), ..change(new) };
        let verdict = snapshot.admit(change, HOLD);
        assert_eq!(verdict.is_crowded, verdict.waits());
        verdict.is_admitted()
    };
    let admitted = (0..1_000).take_while(|number| admit(*number, "a")).count();
    assert_eq!(snapshot.counts(), (0, admitted));
    assert!(admit(1_000, "b"), "another user is not held up");
    snapshot.expire(Instant::now() + HOLD);
    assert!(admit(1_001, "a"));
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
    let change = Write { budget, ..change(reading("b", "a.example.com")) };
    catch_unwind(AssertUnwindSafe(|| snapshot.admit(change, HOLD))).unwrap_err();
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
    catch_unwind(AssertUnwindSafe(|| snapshot.admit(change(new), HOLD))).unwrap_err();
    catch_unwind(AssertUnwindSafe(|| snapshot.counts())).unwrap_err();
}

#[test]
fn a_clash_with_only_a_pending_write_waits_for_it() {
    let snapshot = snapshot();
    let verdict = |new: Reading| snapshot.judge(change(new));
    snapshot.admit(change(reading("a", "one.example.com")), HOLD);
    snapshot.put(Source::Cluster, reading("b", "two.example.com"));
    let waits = verdict(reading("c", "one.example.com"));
    assert_eq!((waits.denials.len(), waits.wait.len(), waits.is_admitted()), (0, 1, false));
    let denied = verdict(reading("c", "two.example.com"));
    assert_eq!((denied.denials.len(), denied.wait.len()), (1, 0));
    snapshot.put(Source::Cluster, reading("a", "one.example.com"));
    assert_eq!(verdict(reading("c", "one.example.com")).denials.len(), 1, "it is stored");
}

#[test]
fn every_creation_is_held_even_if_the_name_exists_with_the_same_claims() {
    let snapshot = snapshot();
    snapshot.put(Source::Cluster, reading("a", "one.example.com"));
    let create = |uid: &str| Write {
        id: WriteId::Create(uid.into()),
        ..change(reading("a", "one.example.com"))
    };
    assert!(snapshot.admit(create("u1"), HOLD).is_admitted());
    assert_eq!(snapshot.counts(), (1, 1));
    // What exists is deleted before the creation is stored.
    snapshot.remove(Source::Cluster, &reading("a", "").object);
    let rival = || change(reading("b", "one.example.com"));
    let waits = snapshot.judge(rival());
    assert!(waits.waits() && !waits.settled_in.is_zero() && waits.settled_in <= HOLD);
    snapshot.expire(Instant::now() + HOLD);
    assert!(snapshot.judge(rival()).is_admitted());
}

#[test]
fn repeating_a_write_does_not_extend_its_hold_and_another_of_the_same_key_is_held_too() {
    let snapshot = snapshot();
    let update = |host: &str| Write { id: WriteId::Update(Some(7)), ..change(reading("a", host)) };
    snapshot.admit(update("one.example.com"), HOLD);
    let until = Instant::now() + HOLD;
    snapshot.admit(update("one.example.com"), 2 * HOLD);
    assert_eq!(snapshot.counts(), (0, 1));
    // Either of the two may be stored, so that both count.
    snapshot.admit(update("two.example.com"), 2 * HOLD);
    assert_eq!(snapshot.counts(), (0, 2));
    for host in ["one.example.com", "two.example.com"] {
        assert!(snapshot.judge(change(reading("b", host))).waits(), "{host}");
    }
    snapshot.expire(until);
    assert_eq!(snapshot.counts(), (0, 1));
    assert!(snapshot.judge(change(reading("b", "one.example.com"))).is_admitted());
}

#[test]
fn an_update_that_changes_no_claim_is_not_held() {
    let snapshot = snapshot();
    let old = Some(reading("a", "one.example.com"));
    let id = WriteId::Update(Some(7));
    snapshot.admit(Write { old, id, ..change(reading("a", "one.example.com")) }, HOLD);
    assert_eq!(snapshot.counts(), (0, 0));
}
