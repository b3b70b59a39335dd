//! What is told of a clash, whichever of its objects is written last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use isthmus::admission::Hook;
use isthmus::budget::Budget;
use isthmus::mesh::{Mesh, Reading, WriteId};
use isthmus::review::{Verdict, Write, review, review_all, standing_findings};
use isthmus::rule::{Finding, Severity};
use isthmus::settings::{Policy, Settings};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::reading;
use crate::golden::{Outcome, call, now, outcomes};
use crate::support::objects::{annotated, configuration, stated};

/// The rules that tell of a step and not of a state: no two objects clash.
const STEPS: &[&str] = &["PinnedMemberMoved"];

/// The cases in which no two objects clash, and what is told of instead.
const NO_CLASH: &[(&str, &str)] = &[
    ("warned-first-networks", "a step: the first networks"),
    (
        "warned-registry-that-no-cluster-has",
        "what is missing: a remote Secret, which may still come",
    ),
];

impl Outcome {
    /// The rules that any write is told of if the objects are written in this order. They are stored
    /// whatever is said, for they may have been there before.
    fn told(&self, ordered: &[&Value]) -> Vec<&'static str> {
        let mut mesh = Mesh::new(Arc::clone(&self.settings));
        let mut told = String::new();
        for object in ordered {
            told += &call(&mesh, Hook::Validate, None, object)["response"].to_string();
            mesh.apply(reading(object, &self.settings));
        }
        let is_told = |rule: &&'static str| told.contains(&format!("[{rule}"));
        self.rules.iter().copied().filter(is_told).collect()
    }
}

#[test]
fn what_a_case_is_told_of_is_told_whichever_of_its_objects_comes_last() {
    let mut failures = Vec::new();
    let mut tried = 0;
    for outcome in outcomes() {
        let name = &outcome.name;
        if NO_CLASH.iter().any(|(case, _)| name.starts_with(case)) {
            continue;
        }
        for last in 0..outcome.objects.len() {
            let mut ordered: Vec<&Value> = outcome.objects.iter().collect();
            let one = ordered.remove(last);
            ordered.push(one);
            let told = outcome.told(&ordered);
            for rule in outcome.rules.iter().filter(|rule| !STEPS.contains(rule)) {
                tried += 1;
                if !told.contains(rule) {
                    failures.push(format!("{name}: {} last: no {rule}", one["metadata"]["name"]));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
    assert!(tried > 1000, "{tried} are tried");
}

#[test]
fn what_a_case_is_denied_for_stands_in_the_mesh_that_results() {
    let mut tried = 0;
    for outcome in outcomes().into_iter().filter(|it| it.name.starts_with("denied-")) {
        let settings = &outcome.settings;
        let readings = outcome.objects.iter().map(|object| reading(object, settings));
        let mesh = Mesh::of(Arc::clone(settings), readings);
        let stands = wrong_with(&mesh);
        for rule in &outcome.rules {
            tried += 1;
            assert!(stands.iter().any(|it| it.rule == *rule), "{}: {rule}", outcome.name);
        }
    }
    assert!(tried > 300, "{tried} are tried");
}

/// A hub whose members state these domains.
fn hub(domains: &[&str]) -> (Arc<Settings>, Vec<Reading>) {
    let settings = Arc::new(Settings { local_member: String::new(), ..Settings::default() });
    let members = domains.iter().enumerate().map(|(n, domain)| {
        let (pods, services) = (format!("10.{n}.0.0/16"), format!("172.16.{n}.0/24"));
        let object = stated(&format!("m{n}"), true, &pods, &services);
        reading(&annotated(object, "isthmus.dev/cluster-domain", domain), &settings)
    });
    let members = members.collect();
    (settings, members)
}

#[test]
fn of_a_split_hub_nobody_is_to_blame_and_of_a_majority_only_the_others() {
    use Severity::{Deny, Warn};
    for (domains, expected) in [
        (&["a.local", "b.local"][..], &[Some(Warn), Some(Warn)][..]),
        (&["a.local", "a.local", "b.local"], &[None, None, Some(Deny)]),
        (&["a.local", "a.local", "b.local", "b.local"], &[Some(Warn); 4]),
        (
            &["a.local", "a.local", "b.local", "b.local", "c.local"],
            &[Some(Warn), Some(Warn), Some(Warn), Some(Warn), Some(Deny)],
        ),
        (&["a.local", "a.local"], &[None, None]),
        (&["a.local"], &[None]),
    ] {
        let (settings, members) = hub(domains);
        let mesh = Mesh::of(Arc::clone(&settings), members.iter().cloned());
        // As they stand, to an audit.
        let audited = (0..domains.len()).map(|n| {
            let found = standing_findings(&mesh, &format!("m{n}"), None);
            found.into_iter().map(|(_, severity)| severity).max()
        });
        assert_eq!(audited.collect::<Vec<_>>(), expected, "{domains:?}");
        // All at once, as files.
        let verdict = review_all(&Mesh::new(settings), &mesh, &members, None);
        let denied = expected.iter().filter(|it| **it == Some(Deny)).count();
        assert_eq!(verdict.denials.len(), denied, "{domains:?}: {verdict:?}");
    }
}

/// What is said of a write to a mesh.
fn asked(mesh: &Mesh, new: &Reading) -> Verdict {
    let known = mesh.reading_of(&new.object);
    let old = Some(known).filter(|known| !known.statements.is_empty());
    let id = if old.is_some() { WriteId::Update(None) } else { WriteId::Create("".into()) };
    let budget = Budget::of(usize::MAX);
    let user = "jane".into();
    review(
        mesh,
        Write { old, new: new.clone(), id, is_stored: true, user, budget, now: Some(now()) },
    )
}

/// All that is wrong with a mesh.
fn wrong_with(mesh: &Mesh) -> Vec<Finding> {
    let members = mesh.members().into_iter();
    let found = members.flat_map(|it| standing_findings(mesh, it.name(), Some(now())));
    found.map(|(finding, _)| finding).collect()
}

/// What a write makes wrong with a mesh that nobody is told of, and the rules that somebody was told
/// of before.
fn untold(mesh: &mut Mesh, new: &Reading, told: &mut BTreeSet<&str>) -> Vec<Finding> {
    // Where no domain is known to be the local one, a split is told when it comes about; on which
    // side of it the majority is may change with members that agree with others.
    const OF_ALL: &str = "ClusterDomainMismatch";
    const OF_DOCUMENTS: &str = "InvalidDocument";
    let before = wrong_with(mesh);
    told.retain(|rule| *rule == OF_ALL);
    told.extend(asked(mesh, new).rules());
    mesh.apply(new.clone());
    // Of what cannot be read nothing is known but that, and what is written instead is judged.
    if told.contains(OF_DOCUMENTS) {
        return Vec::new();
    }
    let after = wrong_with(mesh).into_iter();
    let is_new = |it: &Finding| {
        let at = |of: &Finding| (of.rule, of.member.clone(), of.place.clone());
        !before.iter().any(|before| at(before) == at(it))
    };
    // The Secret of a registry may still come.
    let may_come = |it: &Finding| it.message.ends_with("is not the ID of a known cluster");
    after.filter(|it| is_new(it) && !may_come(it) && !told.contains(it.rule)).collect()
}

/// The objects of all cases, as a cluster with the default settings reads them.
static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let usual = outcomes().into_iter().filter(|it| *it.settings == Settings::default());
    let objects = usual.flat_map(|it| it.objects).map(|it| (it.to_string(), it));
    objects.collect::<BTreeMap<_, _>>().into_values().collect()
});

/// An object of some case, on some network.
fn object() -> impl Strategy<Value = Value> {
    let network = prop_oneof![
        3 => Just(None), 1 => prop::sample::select(&["local", "vpc", "network-1"][..]).prop_map(Some)
    ];
    (any::<prop::sample::Index>(), network).prop_map(|(at, network)| {
        let object = OBJECTS[at.index(OBJECTS.len())].clone();
        match network {
            Some(network) if !object["metadata"]["annotations"].is_string() => {
                annotated(object, "isthmus.dev/network", network)
            }
            _ => object,
        }
    })
}

#[test]
fn whoever_renames_the_local_network_is_told_whom_that_leaves_behind() {
    let local = |network| {
        let object = configuration("local", "10.111.0.0/16", "10.222.0.0/16");
        annotated(object, "isthmus.dev/network", network)
    };
    let on = |network, gateway| {
        let object = stated("b", gateway, "10.112.0.0/16", "10.223.0.0/16");
        annotated(object, "isthmus.dev/network", network)
    };
    let settings = Arc::new(Settings::default());
    for (member, from, words) in [
        (on("local", true), "local", "a network called \"local\", which is not the network"),
        (on("vpc", false), "vpc", "contradicts spec.enableIngressGateway: false"),
    ] {
        // Others are many where they stay, and none at all.
        for others in [0, 40] {
            let others = (0..others).map(|n| {
                let (pods, services) = (format!("10.1.{n}.0/24"), format!("10.2.{n}.0/24"));
                annotated(
                    stated(&format!("m{n}"), true, &pods, &services),
                    "isthmus.dev/network",
                    from,
                )
            });
            let standing = others.chain([local(from), member.clone()]);
            let readings: Vec<_> = standing.map(|it| reading(&it, &settings)).collect();
            let mesh = Mesh::of(Arc::clone(&settings), readings);
            let verdict = asked(&mesh, &reading(&local("elsewhere"), &settings));
            let warned = verdict.warnings.iter().map(|it| &it.finding);
            let is_told = |it: &Finding| it.message.contains(words);
            assert!(warned.filter(|it| is_told(it)).count() > 0, "{words}: {verdict:?}");
        }
    }
}

#[test]
fn an_overlap_without_a_gateway_is_found_behind_any_number_of_ignored_ones() {
    let multi_network_overlap = Policy::Ignore;
    let settings = Arc::new(Settings { multi_network_overlap, ..Settings::default() });
    let behind = (0..1_500).map(|n| {
        let member = stated(&format!("m{n}"), true, "10.112.0.0/16", "10.223.0.0/16");
        annotated(member, "isthmus.dev/network", &format!("a{n}"))
    });
    let seen = |value: Value| json!({"value": value, "exact": true, "from": "Nodes", "at": "2026-11-01T11:30:00Z"});
    let direct = json!({
        "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshMember",
        "metadata": {"name": "z"}, "spec": {},
        "status": {
            "joinedBy": [{"kind": "Secret", "namespace": "istio-system", "name": "z", "key": "z"}],
            "observed": {
                "uid": seen("3b1c2d4e-0000-4000-8000-000000000001".into()),
                "network": seen("z".into()), "gateways": seen(json!([])),
                "podSubnets": seen(json!(["10.112.0.0/16"])),
            },
        },
    });
    let behind = behind.chain([direct]);
    let readings: Vec<_> = behind.map(|it| reading(&it, &settings)).collect();
    let mesh = Mesh::of(Arc::clone(&settings), readings);
    let new = stated("new", true, "10.112.0.0/16", "10.223.0.0/16");
    let verdict = asked(&mesh, &reading(&new, &settings));
    assert!(verdict.rules().contains("SubnetOverlap"), "{verdict:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_write_makes_wrong_is_told_to_whoever_writes(
        objects in prop::collection::vec(object(), 2..9),
    ) {
        let settings = Arc::new(Settings::default());
        let (mut mesh, mut told) = (Mesh::new(Arc::clone(&settings)), BTreeSet::new());
        for object in &objects {
            let untold = untold(&mut mesh, &reading(object, &settings), &mut told);
            prop_assert!(untold.is_empty(), "{object}\nmakes wrong, silently, {untold:#?}");
        }
    }
}
