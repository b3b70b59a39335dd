//! A map as text for a terminal.

use std::fmt::Write;

use super::space::bars;
use super::{Map, state};
use crate::mesh::Role;

/// Up to how many members a line names.
const MOST_NAMES: usize = 8;
/// How many findings are shown.
const MOST_CLASHES: usize = 50;

/// The map as text.
pub fn text(map: &Map) -> String {
    let mut text = format!("{}\n", map.summary());
    for net in &map.networks {
        let gateways: Vec<_> = net.gateways.iter().map(String::as_str).collect();
        let gateways = match gateways.as_slice() {
            [] => String::new(),
            gateways => format!(", reached through {}", gateways.join(", ")),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{}{gateways}", net.name);
        let mut rows = Vec::new();
        for node in net.members.iter().map(|at| &map.members[*at]) {
            let mut domains: Vec<_> = node.domains.iter().map(String::as_str).collect();
            domains.truncate(MOST_NAMES);
            let lists = match node.lists.len() {
                0 => String::new(),
                _ => format!("lists {}", map.names(&node.lists, MOST_NAMES)),
            };
            rows.push([
                node.name.to_string(),
                if node.is_joined { state(node.worst) } else { "described" }.to_owned(),
                domains.join(", "),
                node.subnets_of(Role::Pod),
                node.subnets_of(Role::Service),
                lists,
            ]);
        }
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        for row in &rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("  {cell:width$}"));
            let _ = writeln!(text, "{}", cells.collect::<String>().trim_end());
        }
    }
    for bar in bars(map) {
        let _ = writeln!(text, "\n{}", bar.range);
        for plot in &bar.plots {
            let Some(subnet) = plot.subnet else { continue };
            let users = plot.claimants.iter().take(MOST_NAMES).map(|(at, role)| {
                let what = if *role == Role::Pod { "pods" } else { "services" };
                format!("{what} of {}", map.members[*at].name)
            });
            let users = users.collect::<Vec<_>>().join(", ");
            let more = match plot.claimants.len().saturating_sub(MOST_NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let indent = 2 + 2 * usize::from(plot.depth);
            let mark = if plot.worst.is_some() {
                format!(" ({})", state(plot.worst))
            } else {
                String::new()
            };
            let _ = writeln!(text, "{:indent$}{subnet}: {users}{more}{mark}", "");
        }
    }
    if !map.clashes.is_empty() {
        text.push('\n');
    }
    for clash in map.clashes.iter().take(MOST_CLASHES) {
        let _ = writeln!(
            text,
            "{}: {}: {}; {} [{}]",
            state(Some(clash.severity)),
            clash.place,
            clash.message,
            clash.remedy,
            clash.rule
        );
    }
    if let Some(more) = map.clashes.len().checked_sub(MOST_CLASHES + 1) {
        let _ = writeln!(text, "and {} more", more + 1);
    }
    // A terminal obeys control characters.
    text.lines().map(crate::report::printable).fold(String::new(), |all, line| all + &line + "\n")
}
