use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::layout::{Item, pictures};
use super::space::bars;
use super::*;
use crate::mesh::{Fact, Network, ObjectRef, Reading};
use crate::settings::Settings;
use crate::syntax::Path;
use crate::value::Subnet;

fn subnet(text: &str) -> Subnet {
    Subnet::parse(text).unwrap()
}

/// An object that says this of a member.
fn said(object: &str, member: &str, facts: impl IntoIterator<Item = Fact>) -> Reading {
    let mut reading = Reading::new(ObjectRef::new("Test", None, object));
    for fact in facts {
        reading.claim(&member.into(), Path::NAME, fact);
    }
    reading
}

fn pods(text: &str) -> Fact {
    Fact::Subnet(Role::Pod, subnet(text))
}

fn mesh(local: &str, readings: impl IntoIterator<Item = Reading>) -> Mesh {
    let settings = Settings { local_member: local.to_owned(), ..Settings::default() };
    Mesh::of(Arc::new(settings), readings)
}

/// A mesh of so many members that share subnets now and then, of which every name has this in it.
fn many(count: usize, name: &str) -> Mesh {
    let readings = (0..count).map(|at| {
        let member = format!("{at}{name}");
        let network = match at % 3 {
            0 => Network::Named(name.into()),
            1 => Network::Local,
            _ => Network::Own,
        };
        let pods = pods(&format!("10.{}.0.0/16", at % 200));
        let services = Fact::Subnet(Role::Service, subnet(&format!("fd00:10:{at:x}::/112")));
        said(&member, &member, [Fact::Peer, Fact::Network(network), pods, services])
    });
    mesh(&format!("0{name}"), readings)
}

#[test]
fn a_member_has_what_is_known_of_it_and_by_whom() {
    let map = Map::of(
        [mesh(
            "a",
            [
                said("config", "a", [pods("10.1.0.0/16")]),
                said(
                    "peer",
                    "b",
                    [Fact::Peer, pods("10.1.128.0/17"), Fact::Network(Network::Local)],
                ),
            ],
        )],
        None,
    );
    let names: Vec<_> = map.members.iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(map.members[0].lists, BTreeSet::from([1]));
    assert_eq!(map.members[1].listed_by, BTreeSet::from([0]));
    assert!(map.members[0].is_own && !map.members[1].is_own);
    let facts =
        map.members[1].facts.iter().map(|it| format!("{} {} {}", it.what, it.value, it.from));
    let facts: Vec<_> = facts.collect();
    assert_eq!(
        facts,
        [
            "joined by an IstioMulticluster Test peer",
            "network reached directly Test peer",
            "pod subnet 10.1.128.0/17 Test peer"
        ]
    );
    let told: Vec<_> =
        map.clashes.iter().map(|it| (it.rule, it.severity, it.members.len())).collect();
    assert!(told.contains(&("SubnetOverlap", Severity::Deny, 2)), "{told:?}");
    assert_eq!(map.networks.len(), 1);
    assert_eq!(map.networks[0].members, [0, 1]);
}

#[test]
fn what_several_clusters_see_is_one_map() {
    let own = |name: &str, pods: Fact| said(&format!("config-{name}"), name, [pods]);
    let at = |name: &str, text: &str| own(name, pods(text));
    let lists = |name: &str, network| said(name, name, [Fact::Peer, Fact::Network(network)]);
    let foreign = |reading: Reading, name: &str| reading.of_cluster(&name.into());
    let [a, b, c] = [at("a", "10.1.0.0/16"), at("b", "10.1.0.0/16"), at("c", "10.3.0.0/16")];
    let views = [
        mesh(
            "a",
            [
                a.clone(),
                foreign(b.clone(), "b"),
                foreign(c.clone(), "c"),
                lists("b", Network::Local),
                lists("c", Network::Own),
            ],
        ),
        mesh(
            "b",
            [b, foreign(a.clone(), "a"), foreign(c.clone(), "c"), lists("a", Network::Local)],
        ),
        mesh("c", [c, foreign(a, "a"), lists("b", Network::Own)]),
    ];
    let map = Map::of(&views, None);
    let lists: Vec<_> = map.members.iter().map(|node| node.lists.clone()).collect();
    assert_eq!(lists, [BTreeSet::from([1, 2]), BTreeSet::from([0]), BTreeSet::from([1])]);
    let overlaps: Vec<_> = map.clashes.iter().filter(|it| it.rule == "SubnetOverlap").collect();
    assert_eq!(overlaps.len(), 1, "seen from both sides, it is one clash");
    assert_eq!(overlaps[0].members, BTreeSet::from([0, 1]));
    let networks: Vec<_> = map.networks.iter().map(|net| net.members.clone()).collect();
    assert_eq!(networks, [vec![0, 1], vec![2]]);
    let from: BTreeSet<_> = map.members[1].facts.iter().map(|known| &*known.from).collect();
    assert_eq!(
        from,
        BTreeSet::from([
            "Test b of cluster a",
            "Test b of cluster c",
            "Test config-b of cluster b"
        ])
    );
    // One arrow does not lead back.
    let shown = pictures(&map);
    let listing = shown.iter().find(|picture| picture.name == "Who lists whom").unwrap();
    let one_way = listing.items.iter().filter(
        |item| matches!(item, Item::Box { title, .. } if title.contains("is not listed by")),
    );
    assert_eq!(one_way.count(), 2);
}

#[test]
fn the_order_of_what_is_read_shows_nowhere() {
    let readings = |reversed: bool| {
        let mut readings: Vec<_> = (0..40)
            .map(|at| {
                let name = format!("m{at}");
                said(&name, &name, [Fact::Peer, pods(&format!("10.{}.0.0/16", at / 2))])
            })
            .collect();
        if reversed {
            readings.reverse();
        }
        Map::of([mesh("m0", readings)], Some(Moment::of_unix(1_800_000_000)))
    };
    for form in [html, svg, text, mermaid] {
        assert_eq!(form(&readings(false)), form(&readings(true)));
    }
}

#[test]
fn a_map_is_bounded_and_says_what_it_leaves_out() {
    let map = Map::of([many(2_100, "m")], None);
    assert_eq!((map.members.len(), map.left_out), (2_000, 100));
    assert!(text(&map).starts_with("2000 members (the first by name; 100 more are not shown), "));
    let chart = mermaid(&map);
    assert!(chart.contains("and 2040 more members"), "{chart}");
    assert!(chart.len() < 50_000, "Mermaid reads no more than that");
}

/// The tags of a page with the names of their attributes: what it is, whatever its texts are.
fn skeleton(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..at + end];
        rest = &rest[at + end + 1..];
        let mut parts = tag.split('"');
        let mut names: Vec<_> = parts.clone().step_by(2).map(str::trim).collect();
        assert_eq!(parts.clone().count() % 2, 1, "quotation marks come in pairs: {tag}");
        let head = parts.next().unwrap_or_default();
        let name = head.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
        match name {
            "!doctype" | "meta" => {}
            _ if name.starts_with('/') => assert_eq!(open.pop().as_deref(), Some(&name[1..])),
            _ if tag.ends_with('/') => {}
            name => open.push(name.to_owned()),
        }
        names.retain(|name| !name.is_empty());
        tags.push(names.join(" "));
        // What a style has is not markup.
        if name == "style" {
            rest = &rest[rest.find("</style").expect("a style ends")..];
        }
    }
    assert_eq!(open, Vec::<String>::new(), "every element ends");
    tags
}

#[test]
fn no_name_adds_anything_to_a_page_or_a_picture() {
    let hostile = [
        "\"><script>alert(1)</script>",
        "</title></svg><img src=x onerror=alert(1)>",
        "' onload='alert(1)' style='x",
        "<!--",
        "]]>&amp;&lt;&#60;",
        "\u{202e}\u{2066}\u{0}\u{1b}[31m",
        "a b\nc\td",
    ];
    for name in hostile {
        let harmless = "x".repeat(name.chars().count());
        for form in [html, svg] {
            let [bad, good] =
                [name, &harmless].map(|name| skeleton(&form(&Map::of([many(30, name)], None))));
            let kinds = |tags: &[String]| tags.iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(kinds(&bad), kinds(&good), "{name:?}");
        }
        let map = Map::of([many(30, name)], None);
        let page = html(&map);
        for never in ["<script", "<img", "<!--", "\u{202e}", "\u{0}", "\u{1b}"] {
            assert!(!page.contains(never), "{name:?}: {never:?}");
        }
        let chart = mermaid(&map);
        let labels = chart.lines().filter_map(|line| line.split_once("[\"")?.1.split_once("\"]"));
        for (label, _) in labels {
            let bare = label.replace("<br>", "");
            assert!(!bare.contains(['<', '>', '"', '[', ']', '{', '\u{1b}']), "{name:?}: {label}");
        }
        let chars = text(&map);
        assert!(!chars.contains(['\u{1b}', '\u{0}']), "{name:?}");
    }
}

#[test]
fn a_page_names_no_other_place() {
    for form in [html, svg] {
        let page = form(&Map::of([many(30, "m")], None));
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for never in ["http:", "https:", "src=", "@import", "url(h", "href=\"/", "<link", "<script"]
        {
            assert!(!page.contains(never), "{never}");
        }
    }
}

#[test]
fn what_an_observation_tells_has_its_age() {
    let observed = |seconds, is_exact| Known {
        what: "pod subnet",
        value: String::new(),
        from: String::new(),
        basis: Basis::Observed(crate::mesh::Observation { at: Moment::of_unix(seconds), is_exact }),
    };
    let now = Some(Moment::of_unix(1_000_000_000));
    for (seconds, is_exact, expected) in [
        (
            999_999_990,
            true,
            "observed at 2001-09-09T01:46:30Z (less than a minute ago), as told by",
        ),
        (999_999_700, false, "observed in part at 2001-09-09T01:41:40Z (5 min ago), as told by"),
        (999_900_000, true, "observed at 2001-09-07T22:00:00Z (27 h ago), as told by"),
    ] {
        assert_eq!(observed(seconds, is_exact).how(now), expected);
    }
    assert_eq!(observed(0, true).how(None), "observed at 1970-01-01T00:00:00Z, as told by");
}

#[test]
fn an_address_is_found_as_in_a_text() {
    let readings = ["10.0.0.0/16", "10.18.0.0/16", "10.240.0.0/12", "10.18.64.0/18"];
    let readings = readings.map(|text| said(text, text, [Fact::Peer, pods(text)]));
    let bars = bars(&Map::of([mesh("", readings)], None));
    let [bar] = bars.as_slice() else { panic!("{bars:?}") };
    assert_eq!((bar.row_bits, bar.column_bits), (4, 4));
    let places = bar.plots.iter().map(|plot| {
        let area = bar.area(plot.subnet.unwrap());
        ([area.x * 64.0, area.y * 64.0, area.width * 64.0, area.height * 64.0], plot.depth)
    });
    assert_eq!(
        places.collect::<Vec<_>>(),
        [
            ([0.0, 0.0, 4.0, 4.0], 0),
            ([8.0, 4.0, 4.0, 4.0], 0),
            ([8.0, 5.0, 4.0, 1.0], 1),
            ([0.0, 60.0, 64.0, 4.0], 0),
        ]
    );
}

proptest! {
    #[test]
    fn areas_are_as_large_as_subnets_and_apart_or_within_each_other_as_they_are(
        parts in prop::collection::vec((any::<u16>(), any::<u8>(), 9u8..=28), 2..12),
    ) {
        let texts = parts.iter().map(|(a, b, length)| {
            format!("10.{}.{}.{b}/{length}", a >> 8, a & 255)
        });
        let subnets: BTreeSet<_> = texts.filter_map(|text| Subnet::meant(&text)).collect();
        let readings = subnets.iter().map(|it| {
            let name = it.to_string();
            said(&name, &name, [Fact::Peer, pods(&name)])
        });
        let bars = bars(&Map::of([mesh("", readings)], None));
        prop_assert_eq!(bars.len(), 1);
        let bar = &bars[0];
        prop_assert_eq!(bar.plots.len(), subnets.len());
        for one in &subnets {
            let a = bar.area(*one);
            let addresses = a.width * a.height * f64::from(1 << 24);
            prop_assert!((addresses - f64::from(1_u32 << (32 - one.prefix_len()))).abs() < 0.5);
            for other in subnets.iter().filter(|other| *other != one) {
                let b = bar.area(*other);
                let apart = a.x + a.width <= b.x || b.x + b.width <= a.x
                    || a.y + a.height <= b.y || b.y + b.height <= a.y;
                prop_assert_eq!(apart, !one.overlaps(*other), "{} {}", one, other);
            }
        }
    }
}
