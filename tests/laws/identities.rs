//! What holds of documents that speak of one member under several names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isthmus::budget::Budget;
use isthmus::ledger::{Entry, Found, Judge};
use isthmus::mesh::{
    Basis, Configuration, Fact, Member, Mesh, Network, ObjectRef, Observation, Place, Reading,
    Role, WriteId, by_cluster_id,
};
use isthmus::review::{Trial, Write, review, review_all, standing_findings};
use isthmus::settings::{Policy, Settings};
use isthmus::value::{ClusterDomain, ClusterUuid, Moment, Subnet};
use proptest::prelude::*;

/// What was observed wholly, at a time that nobody tells apart from now.
const SEEN: Basis = Basis::Observed(Observation { at: Moment::EPOCH, is_exact: true });
const NAMES: [&str; 4] = ["a", "b", "x", "local"];
const IDS: [&str; 4] = ["x", "y", "z", "a"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn id() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&IDS[..])
}

/// Facts that clash as often as not.
fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let pods = prop::sample::select(&["10.1.0.0/16", "10.1.128.0/17", "10.2.0.0/16"][..]);
    let pods = pods.prop_map(|text| Fact::Subnet(Role::Pod, Subnet::parse(text).unwrap()));
    let domain = prop::sample::select(&["cluster.local", "other.local"][..]);
    let domain = domain.prop_map(|text| Fact::ClusterDomain(ClusterDomain::parse(text).unwrap()));
    let network =
        prop_oneof![Just(Network::Local), Just(Network::Own), Just(Network::Named("edge".into()))];
    let all = prop_oneof![3 => pods, 1 => domain, 1 => network.prop_map(Fact::Network)];
    prop::collection::vec(all, 0..3)
}

/// What a cluster tells of itself.
fn told() -> impl Strategy<Value = Vec<Fact>> {
    let uuid = (0u128..3).prop_map(ClusterUuid::from_u128);
    let all = prop_oneof![
        id().prop_map(|id| Fact::ClusterId(id.into())),
        uuid.clone().prop_map(Fact::Uuid),
        uuid.prop_map(Fact::Uid),
    ];
    prop::collection::vec(all, 0..3)
}

const FIELDS: [&[&str]; 6] = [&["a"], &["b"], &["c"], &["d"], &["e"], &["f"]];
const STATUS: [&[&str]; 2] = [&["status", "a"], &["status", "b"]];

/// What says nothing of a member but that there is a document of it.
fn there() -> Fact {
    Fact::Advice("it is there".into())
}

/// An object, what it says of whom, and what is told there of itself.
fn reading() -> impl Strategy<Value = Reading> {
    let stated_id = prop::option::of(id());
    let alias = prop::option::of(name());
    let observed = any::<bool>();
    (0u8..5, name(), id(), stated_id, alias, facts(), told(), observed).prop_map(
        |(kind, name, id, stated_id, alias, facts, told, observed)| {
            let stated_id = stated_id.map(|id| Fact::ClusterId(id.into()));
            let (kind, object, member, first) = match kind {
                0 => ("IstioMulticluster", name, name.into(), vec![Fact::Peer]),
                1 => {
                    let facts = [there()].into_iter().chain(stated_id);
                    ("MeshMember", name, name.into(), facts.collect())
                }
                2 => {
                    let alias = alias.map(|alias| Fact::Alias(alias.into()));
                    let facts = [Fact::Remote].into_iter().chain(alias);
                    ("Secret", id, by_cluster_id(id), facts.collect())
                }
                3 => ("ConfigMap", name, name.into(), vec![there()]),
                _ => {
                    let facts = [there()].into_iter().chain(stated_id);
                    ("Configuration", "local", "local".into(), facts.collect())
                }
            };
            let mut reading = Reading::new(ObjectRef::new(kind, None, object));
            if kind == "Configuration" {
                reading.basis = Basis::Own(Configuration::Deckhouse);
            }
            // Each fact has a field of its own.
            for (field, fact) in FIELDS.iter().zip(first.into_iter().chain(facts)) {
                reading.claim(&member, *field, fact);
            }
            reading.basis = if observed { SEEN } else { Basis::Discovered };
            for (field, fact) in STATUS.iter().zip(told) {
                reading.claim(&member, *field, fact);
            }
            reading
        },
    )
}

/// The entry of a write in the ledger.
fn entry(reading: &Reading) -> Entry<Arc<Reading>> {
    Entry {
        stamp: 0,
        object: Arc::clone(&reading.object),
        id: WriteId::Create("".into()),
        watches: Vec::new(),
        user: "admin".into(),
        reading: Some(Arc::new(reading.clone().pending())),
        bytes: 0,
    }
}

/// An object that states these facts.
fn stating(kind: &'static str, object: &str, member: &str, facts: &[Fact]) -> Reading {
    let mut reading = Reading::new(ObjectRef::new(kind, None, object));
    if kind == "Configuration" {
        reading.basis = Basis::Own(Configuration::Deckhouse);
    }
    for (field, fact) in FIELDS.iter().zip(facts) {
        reading.claim(&member.into(), *field, fact.clone());
    }
    reading
}

/// The members that some objects make up, in whichever order they come: each by its name, and by
/// what documents call it.
fn grouped(readings: &[Reading]) -> String {
    let mut readings = readings.to_vec();
    let mut found = BTreeSet::new();
    for _ in 0..readings.len() {
        readings.rotate_left(1);
        for readings in [readings.clone(), readings.iter().rev().cloned().collect()] {
            let mut mesh = empty();
            for reading in readings {
                mesh.apply(reading);
            }
            let members = mesh.members().into_iter().map(|member| {
                let subjects: Vec<_> = member.subjects().iter().map(|it| &**it.name()).collect();
                format!("{}: {}", member.name(), subjects.join(" + "))
            });
            found.insert(members.collect::<Vec<_>>().join("; "));
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop_first().unwrap()
}

#[test]
fn documents_speak_of_one_member_by_its_cluster_id_or_else_its_name() {
    let id = |id: &str| Fact::ClusterId(id.into());
    let peer = |name| stating("IstioMulticluster", name, name, &[Fact::Peer]);
    let states = |name, of| stating("MeshMember", name, name, &[there(), id(of)]);
    let described = |name| stating("ConfigMap", name, name, &[there()]);
    let secret = |of, alias: Option<&str>| {
        let alias = alias.map(|name| Fact::Alias(name.into()));
        let facts: Vec<_> = [Fact::Remote].into_iter().chain(alias).collect();
        stating("Secret", of, &by_cluster_id(of), &facts)
    };
    let own = |of| stating("Configuration", "local", "local", &[there(), id(of)]);
    let told = |name, basis| {
        let mut reading = peer(name);
        reading.basis = basis;
        reading.claim(&name.into(), STATUS[0], id("x"));
        reading
    };
    let cases = [
        (vec![peer("east"), states("east", "x"), secret("x", None)], "east: east + cluster ID x"),
        // Where nobody states its cluster ID, it goes by its names.
        (vec![peer("east"), secret("x", Some("east"))], "east: east + cluster ID x"),
        (vec![described("x"), secret("x", None)], "x: x + cluster ID x"),
        (vec![secret("x", None)], "x: cluster ID x"),
        (vec![secret("x", Some("east"))], "east: cluster ID x"),
        // A cluster ID counts before a name.
        (
            vec![peer("east"), states("west", "x"), secret("x", Some("east"))],
            "east: east; west: west + cluster ID x",
        ),
        (vec![states("east", "y"), secret("x", Some("east"))], "east: east; x: cluster ID x"),
        (vec![states("x", "y"), secret("x", None)], "cluster ID x: cluster ID x; x: x"),
        (vec![own("x"), states("a", "x"), secret("x", None)], "a: a; local: local + cluster ID x"),
        // What a cluster tells of itself takes nobody over.
        (vec![told("east", Basis::Discovered), secret("x", None)], "east: east; x: cluster ID x"),
        (
            vec![told("a", SEEN), states("west", "x"), secret("x", None)],
            "a: a; west: west + cluster ID x",
        ),
    ];
    for (readings, expected) in cases {
        assert_eq!(grouped(&readings), expected);
    }
}

#[test]
fn aliases_of_either_side_make_trust_domains_one() {
    let domain = |text| ClusterDomain::parse(text).unwrap();
    let (ours, theirs) = (domain("cluster.local"), domain("corp.example"));
    let is_told = |of_local: Option<Fact>, of_member: Option<Fact>| {
        let of_local = [Fact::ClusterDomain(ours.clone())].into_iter().chain(of_local);
        let of_member = [Fact::TrustDomain(theirs.clone())].into_iter().chain(of_member);
        let local = stating("Configuration", "local", "local", &of_local.collect::<Vec<_>>());
        let member = stating("MeshMember", "a", "a", &of_member.collect::<Vec<_>>());
        let mesh = Mesh::of(settings(), [local, member]);
        let found = standing_findings(&mesh, "a", None).into_iter();
        found.filter(|(it, _)| it.rule == "TrustDomainMismatch").count() > 0
    };
    let alias = |of: &ClusterDomain| Some(Fact::TrustDomainAlias(of.clone()));
    assert!(is_told(None, None));
    assert!(is_told(alias(&ours), alias(&theirs)));
    assert!(!is_told(alias(&theirs), None));
    assert!(!is_told(None, alias(&ours)));
}

/// Objects that come, and go again if they say nothing.
fn changes() -> impl Strategy<Value = Vec<(bool, Reading)>> {
    prop::collection::vec((prop::bool::weighted(0.25), reading()), 1..12)
}

fn apply(mesh: &mut Mesh, goes: bool, reading: &Reading) {
    if goes {
        mesh.remove(&reading.object);
    } else {
        mesh.apply(reading.clone());
    }
}

/// Where overlaps only warn, a few are told of many, and which is not said.
fn settings() -> Arc<Settings> {
    let multi_network_overlap = Policy::Deny;
    Arc::new(Settings { multi_network_overlap, ..Settings::default() })
}

fn empty() -> Mesh {
    Mesh::new(settings())
}

fn of(readings: &BTreeMap<Arc<ObjectRef>, Reading>) -> Mesh {
    Mesh::of(settings(), readings.values().rev().cloned())
}

fn names(mesh: &Mesh) -> Vec<&str> {
    mesh.members().iter().map(|member| &**member.name()).collect()
}

/// The same without what clusters tell of themselves.
fn silent(reading: &Reading) -> Reading {
    let mut silent = reading.clone();
    let is_told = |place: &Place| matches!(place.basis, Basis::Observed(_) | Basis::Discovered);
    for (_, claims) in &mut silent.statements {
        claims.retain(|claim| !is_told(&claim.place));
    }
    silent.statements.retain(|(_, claims)| !claims.is_empty());
    silent
}

/// A write is judged by the pending ones as if they were stored, and by those that are related to it
/// as by all of them.
fn agree(stands: Vec<Reading>, pending: Vec<Reading>, new: &Reading) {
    let mesh = Mesh::of(Arc::default(), stands);
    let by_object = |reading: Reading| (Arc::clone(&reading.object), reading);
    let pending: BTreeMap<_, _> = pending.into_iter().map(by_object).collect();
    let pending: Vec<_> = pending.into_values().filter(|it| it.object != new.object).collect();
    let entries: Vec<_> = pending.iter().map(entry).collect();
    let known = mesh.reading_of(&new.object);
    let old = Some(known).filter(|known| !known.statements.is_empty());
    let id = if old.is_some() { WriteId::Update(None) } else { WriteId::Create("".into()) };
    let write = || Write {
        old: old.clone(),
        new: new.clone(),
        id: id.clone(),
        is_stored: true,
        user: "admin".into(),
        budget: Budget::of(usize::MAX),
        now: None,
    };
    let mut trial = Trial::new(&mesh, write());
    let related: Vec<_> = {
        let related = trial.related(entries.iter().collect());
        let is_related = |entry: &Entry<_>| related.iter().any(|it| std::ptr::eq(*it, entry));
        entries.iter().map(is_related).collect()
    };
    for mask in 0..1_usize << entries.len() {
        let is_in = |at: &usize| mask >> at & 1 == 1;
        let stored = || (0..entries.len()).filter(is_in);
        let mut after = Mesh::of(Arc::default(), self::stored(&mesh));
        stored().for_each(|at| after.apply(pending[at].clone()));
        let really = !review(&after, write()).denials.is_empty();
        let all: Vec<_> = stored().map(|at| &entries[at]).collect();
        assert_eq!(trial.found(&all) == Found::Clash, really, "{:?}", all);
        let few: Vec<_> = stored().filter(|at| related[*at]).map(|at| &entries[at]).collect();
        assert_eq!(trial.found(&few) == Found::Clash, really, "{:?} of {:?}", few, all);
    }
}

#[test]
fn a_write_is_related_to_what_others_make_it_say() {
    let [pods, other] = ["10.1.0.0/16", "10.2.0.0/16"]
        .map(|text| Fact::Subnet(Role::Pod, Subnet::parse(text).unwrap()));
    let domain = |text| Fact::ClusterDomain(ClusterDomain::parse(text).unwrap());
    // The Secret joins the local member, of which another document says what a third one takes.
    let own = stating("Configuration", "local", "local", &[there(), Fact::ClusterId("z".into())]);
    let says = |name, fact: &Fact| stating("ConfigMap", name, name, &[there(), fact.clone()]);
    let secret = stating("Secret", "z", &by_cluster_id("z"), &[Fact::Remote]);
    agree(vec![], vec![own, says("a", &pods), says("local", &pods), says("b", &other)], &secret);
    // The majority is of those that agree as well.
    let [a, b] = ["a.local", "b.local"].map(domain);
    agree(vec![], vec![says("p", &a), says("q", &b)], &says("x", &a));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_are_the_same_whatever_came_and_went_before(changes in changes()) {
        let (mut mesh, mut stands) = (empty(), BTreeMap::new());
        for (goes, reading) in &changes {
            apply(&mut mesh, *goes, reading);
            stands.remove(&reading.object);
            if !goes && !reading.statements.is_empty() {
                stands.insert(Arc::clone(&reading.object), reading.clone());
            }
            let scratch = of(&stands);
            prop_assert_eq!(mesh.members(), scratch.members());
            for member in scratch.members() {
                prop_assert_eq!(standing_findings(&mesh, member.name(), None), standing_findings(&scratch, member.name(), None));
                for subject in member.subjects() {
                    prop_assert_eq!(mesh.member(subject.name()).map(Member::name), Some(member.name()));
                    prop_assert_eq!(mesh.subject(subject.name()), Some(subject));
                }
            }
            for (object, reading) in &stands {
                prop_assert_eq!(&mesh.reading_of(object).statements, &reading.statements);
                prop_assert!(mesh.says(reading));
            }
        }
    }

    #[test]
    fn a_view_agrees_with_the_mesh_that_it_shows(changes in changes()) {
        let mut mesh = empty();
        for (goes, reading) in &changes {
            let mut after = Mesh::of(Arc::clone(mesh.settings()), stored(&mesh));
            let new = if *goes { Reading::of(Arc::clone(&reading.object)) } else { reading.clone() };
            apply(&mut after, *goes, reading);
            let known = mesh.reading_of(&reading.object);
            let old = Some(known).filter(|known| !known.statements.is_empty());
            let id = if old.is_some() { WriteId::Update(None) } else { WriteId::Create("".into()) };
            let budget = Budget::of(usize::MAX);
            let write = Write { old, new: new.clone(), id, is_stored: true, user: "admin".into(), budget, now: None };
            let of_call = review(&mesh, write);
            let of_files = review_all(&mesh, &after, &[new], None);
            let told = |verdict: &isthmus::review::Verdict| {
                let denials = verdict.denials.iter().map(|denial| (None, denial));
                let warnings = verdict.warnings.iter().map(|it| (Some(it.because), &it.finding));
                let told = denials.chain(warnings).map(|(because, it)| {
                    format!("{because:?} {} {}: {}", it.member, it.place.path(), it.message)
                });
                told.collect::<BTreeSet<_>>()
            };
            prop_assert_eq!(told(&of_call), told(&of_files));
            mesh = after;
        }
    }

    #[test]
    fn a_write_is_judged_as_if_pending_ones_were_stored_and_unrelated_ones_change_nothing(
        stands in prop::collection::vec(reading(), 0..6),
        pending in prop::collection::vec(reading(), 1..4),
        new in reading(),
    ) {
        agree(stands, pending, &new);
    }

    #[test]
    fn what_clusters_tell_of_themselves_makes_no_two_of_them_one(changes in changes()) {
        let (mut mesh, mut silence) = (empty(), empty());
        for (goes, reading) in &changes {
            apply(&mut mesh, *goes, reading);
            apply(&mut silence, *goes, &silent(reading));
            let said = names(&mesh);
            prop_assert!(names(&silence).iter().all(|name| said.contains(name)), "{said:?}");
            for name in names(&silence) {
                let told = standing_findings(&mesh, name, None);
                for (finding, severity) in standing_findings(&silence, name, None) {
                    let is_same = |(it, how): &&(isthmus::rule::Finding, _)| {
                        finding.stood_as(it) && *how >= severity
                    };
                    prop_assert!(
                        finding.rule == "ConflictingClaims" || told.iter().any(|it| is_same(&it)),
                        "{finding:?} is gone: {told:?}"
                    );
                }
            }
        }
    }
}

/// What stands in a mesh, object by object.
fn stored(mesh: &Mesh) -> Vec<Reading> {
    let members = mesh.members().into_iter();
    let objects = members.flat_map(|member| member.claims().iter().map(|it| &it.place.object));
    let objects: BTreeSet<_> = objects.collect();
    objects.into_iter().map(|object| mesh.reading_of(object)).collect()
}
