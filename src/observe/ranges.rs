//! Subnets of a cluster, out of what it says of them.

use std::net::IpAddr;

use crate::value::Subnet;

/// The most subnets that are told of one role: any number of them can be at least what it uses.
const MOST_SUBNETS: usize = 32;

/// The subnets of a comma list, if all of it can be read.
pub(super) fn listed(text: &str) -> Option<Vec<Subnet>> {
    parsed(text.split(',').map(str::trim))
}

/// These subnets, if there are some and all of them can be read.
pub(super) fn parsed<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Vec<Subnet>> {
    let subnets: Option<Vec<_>> = texts.into_iter().map(|text| Subnet::parse(text).ok()).collect();
    subnets.filter(|subnets| !subnets.is_empty() && subnets.len() <= MOST_SUBNETS)
}

/// The subnets of those texts that are some, in as few as hold the same addresses and no other.
pub(super) fn merged<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Subnet> {
    let subnets = texts.into_iter().filter_map(|text| Subnet::parse(text).ok());
    let mut merged = Subnet::merged(subnets);
    // The largest are the likeliest to show an overlap.
    merged.sort_by_key(|subnet| (!subnet.is_ipv4(), subnet.prefix_len(), *subnet));
    merged.truncate(MOST_SUBNETS);
    merged.sort_unstable();
    merged
}

/// An address as a subnet of its own: it is never widened, since nobody says what is beside it.
pub(super) fn alone(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// The addresses among these texts.
pub(super) fn addresses<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<IpAddr> {
    let addresses = texts.into_iter().filter_map(|text| text.parse::<IpAddr>().ok());
    addresses.map(|address| address.to_canonical()).collect()
}

/// How many of these addresses some subnets hold.
pub(super) fn held(subnets: &[Subnet], addresses: &[IpAddr]) -> usize {
    let is_held = |address: &&IpAddr| subnets.iter().any(|subnet| subnet.holds(**address));
    addresses.iter().filter(is_held).count()
}
