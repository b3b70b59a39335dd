use super::*;
use crate::budget::Budget;
use crate::document;
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
    Write { old: None, new, is_update: true, is_stored: true, user: "admin".into(), budget }
}

fn snapshot() -> Snapshot {
    Snapshot::new(Mesh::new(Arc::new(Settings::default())))
}

fn claims(snapshot: &Snapshot, name: &str) -> usize {
    snapshot.read(|mesh| mesh.member(name).map_or(0, |member| member.claims().len()))
}

#[test]
fn what_was_admitted_counts_until_it_is_observed() {
    let snapshot = snapshot();
    let a = reading("a", "a.example.com");
    snapshot.admit(change(a.clone()), HOLD).unwrap();
    let each = claims(&snapshot, "a");
    assert!(each > 0);
    assert_eq!(snapshot.counts(), (0, 1));
    snapshot.observe(a.clone());
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((1, 0), each));
    snapshot.forget(&a.object);
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((0, 0), 0));
}

#[test]
fn it_counts_beside_what_stands_and_an_older_event_does_not_end_that() {
    let snapshot = snapshot();
    let (old, new) = (reading("a", "old.example.com"), reading("a", "new.example.com"));
    snapshot.observe(old.clone());
    let each = claims(&snapshot, "a");
    snapshot.admit(change(new.clone()), HOLD).unwrap();
    assert_eq!(claims(&snapshot, "a"), 2 * each);
    snapshot.observe(old);
    assert_eq!(claims(&snapshot, "a"), 2 * each);
    snapshot.observe(new.clone());
    assert_eq!(claims(&snapshot, "a"), each);
    // What says nothing new is not held.
    snapshot.admit(change(new.clone()), HOLD).unwrap();
    assert_eq!(snapshot.counts(), (1, 0));
}

#[test]
fn what_is_never_observed_is_given_up() {
    let snapshot = snapshot();
    snapshot.admit(change(reading("a", "a.example.com")), HOLD).unwrap();
    snapshot.expire(Instant::now());
    assert_eq!(snapshot.counts(), (0, 1));
    snapshot.expire(Instant::now() + HOLD);
    assert_eq!((snapshot.counts(), claims(&snapshot, "a")), ((0, 0), 0));
}

#[test]
fn of_writes_that_clash_at_the_same_moment_one_is_admitted() {
    for _ in 0..100 {
        let snapshot = snapshot();
        let admit = |name: &str| {
            let verdict = snapshot.admit(change(reading(name, "one.example.com")), HOLD).unwrap();
            i32::from(verdict.denials.is_empty())
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
    snapshot.replace_files([file.clone(), reading("b", "b.example.com")]);
    snapshot.observe(cluster.clone());
    assert!(endpoint(&snapshot).contains("cluster.example.com"));
    snapshot.replace_files([file]);
    assert!(endpoint(&snapshot).contains("cluster.example.com"));
    assert_eq!(claims(&snapshot, "b"), 0);
    snapshot.forget(&cluster.object);
    assert!(endpoint(&snapshot).contains("file.example.com"));
}

#[test]
fn an_old_object_is_believed_unless_the_watch_knows_better() {
    let snapshot = snapshot();
    let versioned = |host: &str, version| {
        let mut reading = reading("a", host);
        reading.version = Some(version);
        reading
    };
    snapshot.observe(reading("b", "b.example.com"));
    snapshot.observe(versioned("a.example.com", 5));
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
fn what_there_is_no_room_to_hold_is_not_admitted() {
    let snapshot = snapshot();
    let admit = |number: u32, user: &'static str| {
        let new = reading(&format!("n{number}"), &format!("n{number}.example.com"));
        let change = Write { user: user.into(), ..change(new) };
        snapshot.admit(change, HOLD).map(|verdict| verdict.denials.len())
    };
    let admitted = (0..1_000).take_while(|number| admit(*number, "a").is_ok()).count();
    assert_eq!(snapshot.counts(), (0, admitted));
    assert_eq!(admit(1_000, "b"), Ok(0), "another user is not held up");
    snapshot.expire(Instant::now() + HOLD);
    assert_eq!(admit(1_001, "a"), Ok(0));
}

#[test]
#[allow(clippy::panic, reason = "it is what is tested")]
fn a_fault_in_judging_leaves_the_mesh_as_it_was() {
    let snapshot = snapshot();
    snapshot.observe(reading("a", "a.example.com"));
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
fn a_mesh_that_is_half_changed_is_looked_at_by_nobody() {
    let snapshot = snapshot();
    snapshot.observe(reading("a", "a.example.com"));
    assert!(snapshot.is_sound());
    catch_unwind(AssertUnwindSafe(|| snapshot.break_off())).unwrap_err();
    assert!(!snapshot.is_sound());
    let new = reading("b", "b.example.com");
    catch_unwind(AssertUnwindSafe(|| snapshot.judge(change(new.clone())))).unwrap_err();
    catch_unwind(AssertUnwindSafe(|| snapshot.admit(change(new), HOLD))).unwrap_err();
    catch_unwind(AssertUnwindSafe(|| snapshot.counts())).unwrap_err();
}
