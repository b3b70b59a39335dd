//! Addresses on a bar: ranges as rows of cells, like lines of text, in which every subnet is one
//! rectangle.

use std::collections::{BTreeMap, BTreeSet};

use super::Map;
use crate::mesh::Role;
use crate::rule::Severity;
use crate::value::Subnet;

/// A range of addresses: rows of 16 cells, as far as it has so many.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) range: Subnet,
    /// How many rows there are, as a power of two, and how many cells in each.
    pub(super) row_bits: u8,
    pub(super) column_bits: u8,
    /// In order, so that each comes after those that hold it.
    pub(super) plots: Vec<Plot>,
}

/// A subnet that members use.
#[derive(Debug, Default)]
pub(super) struct Plot {
    pub(super) subnet: Option<Subnet>,
    pub(super) claimants: BTreeSet<(usize, Role)>,
    /// The clash that is in it, at worst.
    pub(super) worst: Option<Severity>,
    /// In how many others it is.
    pub(super) depth: u8,
}

/// A part of a bar, whose width and height are 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// How many bars IPv6 has at most: ranges are as wide as that takes.
const MOST_V6: usize = 4;
/// The lengths of the ranges that IPv6 is seen in.
const V6_LENGTHS: [u8; 7] = [48, 40, 32, 24, 16, 8, 0];
/// How many rows and cells a bar has at most, as powers of two.
const MOST_BITS: u8 = 4;

/// The bars of all ranges that members use, by address.
pub(super) fn bars(map: &Map) -> Vec<Bar> {
    let mut plots: BTreeMap<Subnet, Plot> = BTreeMap::new();
    for (at, member) in map.members.iter().enumerate() {
        for (role, subnet) in &member.subnets {
            plots.entry(*subnet).or_default().claimants.insert((at, *role));
        }
    }
    for clash in &map.clashes {
        let Some(extent) = clash.extent else { continue };
        let subnets = clash.members.iter().flat_map(|at| &map.members[*at].subnets);
        for (_, subnet) in subnets.filter(|(_, subnet)| subnet.overlaps(extent)) {
            if let Some(plot) = plots.get_mut(subnet) {
                plot.worst = plot.worst.max(Some(clash.severity));
            }
        }
    }
    let v6: Vec<_> = plots.keys().filter(|subnet| !subnet.is_ipv4()).copied().collect();
    let ranges =
        |length: u8| -> BTreeSet<Subnet> { v6.iter().map(|it| it.widened(length)).collect() };
    let length = V6_LENGTHS.into_iter().find(|length| ranges(*length).len() <= MOST_V6);
    let mut bars: BTreeMap<Subnet, Vec<Plot>> = BTreeMap::new();
    for (subnet, plot) in plots {
        let range = match length {
            _ if subnet.is_ipv4() && subnet.is_private() => subnet.private_range(),
            _ if subnet.is_ipv4() => subnet.widened(8),
            length => subnet.widened(length.unwrap_or(0)),
        };
        bars.entry(range).or_default().push(Plot { subnet: Some(subnet), ..plot });
    }
    bars.into_iter().map(|(range, plots)| Bar::new(range, plots)).collect()
}

impl Bar {
    fn new(range: Subnet, mut plots: Vec<Plot>) -> Self {
        let mut around: Vec<Subnet> = Vec::new();
        for plot in &mut plots {
            let Some(subnet) = plot.subnet else { continue };
            around.retain(|outer| outer.contains(subnet));
            plot.depth = u8::try_from(around.len()).unwrap_or(u8::MAX);
            around.push(subnet);
        }
        let range = if range.is_ipv4() { range } else { Self::zoomed(range, &plots) };
        let bits = match range.prefix_len() {
            length @ 0..16 if range.is_ipv4() => 16 - length,
            _ if range.is_ipv4() => MOST_BITS,
            length => (128 - length).min(2 * MOST_BITS),
        };
        let column_bits = bits.min(MOST_BITS);
        Self { range, row_bits: (bits - column_bits).min(MOST_BITS), column_bits, plots }
    }

    /// The smallest range of whole hexadecimal digits that holds all of these and some room.
    fn zoomed(range: Subnet, plots: &[Plot]) -> Subnet {
        let mut subnets = plots.iter().filter_map(|plot| plot.subnet);
        let Some(first) = subnets.next() else { return range };
        let all = subnets.fold(first, |all, subnet| {
            let mut all = all;
            while !all.contains(subnet) {
                all = all.widened(all.prefix_len() - 1);
            }
            all
        });
        let is_one = plots.len() == 1;
        let length = all.prefix_len().saturating_sub(if is_one { MOST_BITS } else { 0 });
        all.widened(length.min(128 - MOST_BITS) / 4 * 4)
    }

    /// The cells, row by row.
    pub(super) fn cells(&self) -> Vec<Subnet> {
        let length = self.range.prefix_len() + self.row_bits + self.column_bits;
        let Some(first) = self.range.first_of(length) else { return Vec::new() };
        let (start, end) = first.bounds();
        let size = end - start + 1;
        let count = 1_u128 << (self.row_bits + self.column_bits);
        (0..count).filter_map(|at| first.sibling_at(start + at * size)).collect()
    }

    /// Where a subnet is. Rows fill first, then what is within a row; within a cell it goes on by
    /// fours.
    pub(super) fn area(&self, subnet: Subnet) -> Area {
        let longest = if subnet.is_ipv4() { 32 } else { 128 };
        let mut left = subnet.prefix_len().saturating_sub(self.range.prefix_len());
        let rest = subnet.bounds().0 - self.range.bounds().0;
        let mut unread = longest - self.range.prefix_len();
        let mut area = Area { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        let mut bits = (self.row_bits, self.column_bits);
        while left > 0 {
            for (bits, from, size) in
                [(bits.0, &mut area.y, &mut area.height), (bits.1, &mut area.x, &mut area.width)]
            {
                let taken = bits.min(left);
                (left, unread) = (left - taken, unread - taken);
                let value = rest >> unread & ((1 << taken) - 1);
                *size /= f64::from(1_u32 << taken);
                *from += *size * f64::from(u32::try_from(value).unwrap_or(0));
            }
            bits = (2, 2);
        }
        area
    }
}
