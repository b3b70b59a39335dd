//! A map as a flowchart of Mermaid, which many pages of Git hosts draw.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Map, state};
use crate::rule::Severity;

/// How many members are drawn at most: Mermaid gives up on 500 edges.
const MOST_MEMBERS: usize = 60;
/// How many arrows between them.
const MOST_EDGES: usize = 400;

/// The map as a flowchart: networks with their members, who lists whom, and what clashes.
pub fn mermaid(map: &Map) -> String {
    let mut text = "flowchart LR\n".to_owned();
    let (mut drawn, mut left_out) = (0, 0);
    // Writing to a String cannot fail.
    for (number, net) in map.networks.iter().enumerate() {
        let _ = writeln!(text, "  subgraph n{number}[\"{}\"]", escaped(&net.name));
        for at in &net.members {
            if drawn == MOST_MEMBERS {
                left_out += 1;
                continue;
            }
            drawn += 1;
            let node = &map.members[*at];
            let subnets: Vec<_> = node.subnets.iter().map(|(_, it)| it.to_string()).collect();
            let state = state(node.worst);
            let label = escaped(&node.name) + "<br>" + &escaped(&subnets.join(", "));
            let _ = writeln!(text, "    m{at}[\"{label}\"]:::{state}");
        }
        text.push_str("  end\n");
    }
    left_out += map.left_out;
    if left_out > 0 {
        let _ = writeln!(text, "  more[\"and {left_out} more members\"]");
    }
    let drawn: Vec<usize> =
        map.networks.iter().flat_map(|net| &net.members).take(MOST_MEMBERS).copied().collect();
    let is_drawn = |at: &usize| drawn.contains(at);
    let mut edges = Vec::new();
    for (at, node) in map.members.iter().enumerate().filter(|(at, _)| is_drawn(at)) {
        for other in node.lists.iter().filter(|other| is_drawn(other)) {
            let is_mutual = map.members[*other].lists.contains(&at);
            if !is_mutual {
                edges.push(format!("m{at} --> m{other}"));
            } else if at < *other {
                edges.push(format!("m{at} <--> m{other}"));
            }
        }
    }
    let mut clashes: BTreeMap<(usize, usize), (Severity, &str)> = BTreeMap::new();
    for clash in &map.clashes {
        let members: Vec<_> = clash.members.iter().filter(|at| is_drawn(at)).collect();
        if let [a, b] = members.as_slice() {
            clashes.entry((**a, **b)).or_insert((clash.severity, clash.rule));
        }
    }
    for ((a, b), (severity, rule)) in clashes {
        edges.push(format!("m{a} -. \"{rule}, {}\" .- m{b}", state(Some(severity))));
    }
    for edge in edges.iter().take(MOST_EDGES) {
        let _ = writeln!(text, "  {edge}");
    }
    text.push_str("  classDef denied stroke:#b3261e,stroke-width:3px\n");
    text.push_str("  classDef warned stroke:#8a5a00,stroke-width:3px\n");
    text.push_str("  classDef sound stroke:#59636e\n");
    text
}

/// A text within quotation marks of which Mermaid and the page around it obey nothing.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " .-_/,:".contains(c) => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "#{};", u32::from(c));
            }
        }
    }
    escaped
}
