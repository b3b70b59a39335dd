//! A map as one page that asks nothing of anybody: no script, no font, no picture from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::layout::pictures;
use super::svg::{STYLE, escaped, legend, part, patterns};
use super::{Clash, Map, Net, Node, counted, state};
use crate::mesh::Role;
use crate::rule::Severity;

/// What the page may do: show itself, with the one style whose hash this is.
pub const POLICY: &str = "default-src 'none'; style-src 'sha256-3fAPs+27nrjHD23pTfnx/YboxeLrSa+K+enY3v6uAC8='; base-uri 'none'; form-action 'none'";

const PAGE_STYLE: &str = include_str!("page.css");
/// Up to how many members a cell names.
const MOST_NAMES: usize = 8;
/// From how many clashes of one rule on they are folded.
const FOLDED: usize = 8;

/// The map as a page.
pub fn html(map: &Map) -> String {
    let title = match own(map).as_slice() {
        [] => "Mesh".to_owned(),
        [one] => format!("Mesh of {}", one.name),
        many => format!("Mesh of {}", counted(many.len(), "cluster")),
    };
    let title = escaped(&title);
    let seen = map.now.map(|now| format!(", as of <time datetime=\"{now}\">{now}</time>"));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#content\">Skip to the content</a>\n<header>\n<h1>{title}</h1>\n<p>{}{}</p>\n</header>\n",
        escaped(&map.summary()),
        seen.unwrap_or_default()
    );
    let pictures = pictures(map);
    let mut sections = vec![("problems".to_owned(), "Problems".to_owned(), problems(map))];
    for (at, picture) in pictures.iter().enumerate() {
        let name = escaped(&picture.name);
        let key = if at == 0 { scroll("Legend", &part(&legend())) } else { String::new() };
        let shown = key + &scroll(&name, &part(picture));
        sections.push((format!("picture-{at}"), name, shown));
    }
    sections.push(("members".to_owned(), "Members".to_owned(), members(map)));
    page.push_str("<nav aria-label=\"Sections\">\n<ul>\n");
    for (id, name, _) in &sections {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<li><a href=\"#{id}\">{name}</a></li>");
    }
    let _ = writeln!(page, "</ul>\n</nav>\n{}\n<main id=\"content\">", patterns());
    for (id, name, shown) in &sections {
        let _ = writeln!(page, "<section>\n<h2 id=\"{id}\">{name}</h2>\n{shown}</section>");
    }
    page + "</main>\n</body>\n</html>\n"
}

fn own(map: &Map) -> Vec<&Node> {
    map.members.iter().filter(|node| node.is_own).collect()
}

/// What may be wider than the window, and can be scrolled by keyboard.
fn scroll(name: &str, shown: &str) -> String {
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\">\n{shown}\n</div>\n"
    )
}

fn word(worst: Option<Severity>) -> String {
    let state = state(worst);
    format!("<span class=\"{state}-word\">{state}</span>")
}

/// What is wrong, rule by rule.
fn problems(map: &Map) -> String {
    if map.clashes.is_empty() {
        return "<p>None.</p>\n".to_owned();
    }
    let mut rules: BTreeMap<_, Vec<&Clash>> = BTreeMap::new();
    for clash in &map.clashes {
        rules.entry((std::cmp::Reverse(clash.severity), clash.rule)).or_default().push(clash);
    }
    let mut text = String::new();
    for ((std::cmp::Reverse(severity), rule), clashes) in rules {
        let members: BTreeSet<_> = clashes.iter().flat_map(|it| &it.members).copied().collect();
        let head = format!(
            "{rule}, {}: {} of {}",
            word(Some(severity)),
            counted(clashes.len(), "finding"),
            escaped(&map.names(&members, MOST_NAMES))
        );
        let items = clashes.iter().fold(String::new(), |mut items, clash| {
            let [place, message, remedy] =
                [&clash.place, &clash.message, &clash.remedy].map(|text| escaped(text));
            // Writing to a String cannot fail.
            let _ = writeln!(
                items,
                "<li><span class=\"faint\">{place}</span>: {message}; {remedy}</li>"
            );
            items
        });
        let open = if clashes.len() < FOLDED { " open" } else { "" };
        let _ = writeln!(
            text,
            "<details{open}><summary>{head}</summary>\n<ul class=\"clashes\">\n{items}</ul></details>"
        );
    }
    text
}

fn members(map: &Map) -> String {
    let mut networks: Vec<(&Net, bool)> = Vec::new();
    let mut on = vec![0; map.members.len()];
    for net in &map.networks {
        for member in &net.members {
            on[*member] = networks.len();
        }
        networks.push((net, net.are_apart));
    }
    let heads = ["Member", "State", "Network", "Domain", "Pods", "Services", "Lists", "Listed by"];
    let heads = heads.map(|head| format!("<th scope=\"col\">{head}</th>")).concat();
    let mut text = format!("<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n");
    for (node, on) in map.members.iter().zip(on) {
        let facts = node.facts.iter().fold(String::new(), |mut facts, known| {
            let told = format!("{}: {}", known.what, known.value);
            let from = format!("{} {}", known.how(map.now), known.from);
            // Writing to a String cannot fail.
            let _ = write!(
                facts,
                "<li>{} <span class=\"faint\">{}</span></li>",
                escaped(&told),
                escaped(&from)
            );
            facts
        });
        let kind = if node.is_joined {
            ""
        } else {
            " <span class=\"faint\">(described, not joined)</span>"
        };
        let name = escaped(&node.name);
        let network = match networks.get(on) {
            Some((_, true)) | None => "its own".to_owned(),
            Some((net, false)) => escaped(&net.name),
        };
        let domains: Vec<_> = node.domains.iter().map(String::as_str).collect();
        let cells = [
            word(node.worst),
            network,
            escaped(&domains.join(", ")),
            escaped(&node.subnets_of(Role::Pod)),
            escaped(&node.subnets_of(Role::Service)),
            escaped(&map.listed(&node.lists)),
            escaped(&map.listed(&node.listed_by)),
        ];
        let cells = cells.map(|cell| format!("<td>{cell}</td>")).concat();
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\"><bdi>{name}</bdi>{kind}<details><summary aria-label=\"Facts of {name}\">facts</summary><ul class=\"facts\">{facts}</ul></details></th>{cells}</tr>"
        );
    }
    scroll("Members", &(text + "</tbody>\n</table>"))
}

impl Map {
    /// Members by name, or all others but a few.
    fn listed(&self, members: &BTreeSet<usize>) -> String {
        let others: BTreeSet<_> =
            (0..self.members.len()).filter(|at| !members.contains(at)).collect();
        match (members.len(), others.len()) {
            (0..=MOST_NAMES, _) => self.names(members, MOST_NAMES),
            (_, 0..=1) => "all others".to_owned(),
            _ => self.names(members, MOST_NAMES),
        }
    }
}
