//! The subnet that a remedy offers in place of one that is taken.

use crate::mesh::{Member, Role, View};
use crate::value::Subnet;

/// By how many bits at most a subnet that is offered is smaller than the one that is taken.
const MOST_BITS: usize = 8;

/// A remedy, where its examples are subnets, with such as nobody has. Services get others than pods:
/// both may be missing.
pub(super) fn exemplified(mesh: &View<'_>, member: &Member, role: Role, remedy: &str) -> String {
    let mut remedy = remedy.to_owned();
    if !remedy.contains("such as") {
        return remedy;
    }
    for (text, mut example) in Subnet::EXAMPLES {
        if !remedy.contains(text) {
            continue;
        }
        let own = || member.subnets().any(|(_, own, _)| own.overlaps(example));
        let is_taken = own() || mesh.others_overlapping(member, example).next().is_some();
        if is_taken && let Some(free) = mesh.next_free(example, member) {
            example = free;
        }
        if role == Role::Service
            && let Some(next) = mesh.next_free(example, member)
        {
            example = next;
        }
        remedy = remedy.replace(text, &example.to_string());
    }
    remedy
}

/// The next free subnet of the same size, in its own private range or else in another one; where
/// none has room, the largest smaller one.
pub(super) fn offer(mesh: &View<'_>, member: &Member, taken: Subnet) -> String {
    let free = |size: Subnet| {
        let elsewhere = || {
            let mut others = size.in_other_ranges();
            others.find_map(|end| mesh.next_free(end, member))
        };
        mesh.next_free(size, member).or_else(elsewhere)
    };
    let length = taken.prefix_len();
    if let Some(free) = free(taken) {
        return format!("next free /{length}: {free}");
    }
    let mut smaller = std::iter::successors(taken.half(), |size| size.half()).take(MOST_BITS);
    let none =
        format!("no /{length} is free in {} or another private range", taken.private_range());
    match smaller.find_map(free) {
        Some(free) => format!("{none}; free and smaller: {free}"),
        None => none,
    }
}
