//! Subnets: IPv4 and IPv6 CIDRs, read as the API server reads them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Invalid;

/// A CIDR whose host bits are zero. An IPv4 range written as IPv6 (`::ffff:10.0.0.0/104`) is the
/// IPv4 range it means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subnet(IpNet);

/// What remedies show where the text does not tell what was meant.
const EXAMPLE: &str = "10.111.0.0/16";
const EXAMPLE_V6: &str = "fd00:10:111::/48";

const PRIVATE_V4: &[Subnet] = &[
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
];
const PRIVATE_V6: &[Subnet] = &[v6(0xfd00, 8), v6(0xfc00, 8)];
const UNUSABLE_V4: &[(Subnet, &str)] = &[
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([224, 0, 0, 0], 4), "multicast"),
];
const UNUSABLE_V6: &[(Subnet, &str)] = &[
    (Subnet(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))), "loopback"),
    (v6(0xfe80, 10), "link-local"),
    (v6(0xff00, 8), "multicast"),
];

const fn v4(octets: [u8; 4], length: u8) -> Subnet {
    let [a, b, c, d] = octets;
    Subnet(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)))
}

const fn v6(first: u16, length: u8) -> Subnet {
    Subnet(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length)))
}

impl Subnet {
    /// Reads a CIDR that pods or services can live in.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let net = read(text)?;
        let subnet = Self(net.trunc());
        if let Some(why) = subnet.unusable() {
            return Err(Invalid::new(
                format!("{subnet} {why}"),
                format!("write a private range such as {EXAMPLE}"),
            ));
        }
        if net.addr() != subnet.0.addr() {
            return Err(Invalid::new(
                format!("{text} has host bits set"),
                format!("write {subnet}"),
            ));
        }
        Ok(subnet)
    }

    /// Reads the range of an Istio network's endpoints, with what about it is hardly meant: Istio
    /// clears host bits, and takes every address there is.
    pub fn parse_range(text: &str) -> Result<(Self, Option<Invalid>), Invalid> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let length = if address.is_ipv4() { 32 } else { 128 };
            return Err(Invalid::new(
                format!("{address} is an address, not a CIDR: Istio accepts it but never uses it"),
                format!("write {address}/{length}"),
            ));
        }
        let net = read(text)?;
        let subnet = Self(net.trunc());
        if let Some(class) = subnet.class() {
            let remedy = "write a range that contains the addresses of pods or machines";
            return Err(Invalid::new(format!("{subnet} is in the {class} range"), remedy));
        }
        let doubt = if net.addr() != subnet.0.addr() {
            let problem = format!("{text} has host bits set, and Istio reads it as {subnet}");
            Some(Invalid::new(problem, format!("write {subnet}")))
        } else if subnet.prefix_len() == 0 {
            let problem = format!("{subnet} covers every address");
            Some(Invalid::new(problem, "write only the ranges of this network"))
        } else {
            None
        };
        Ok((subnet, doubt))
    }

    /// The range a text certainly means although [`Subnet::parse`] refuses it for its host bits,
    /// so that it can still be compared with others.
    pub fn meant(text: &str) -> Option<Self> {
        let subnet = Self(read(text).ok()?.trunc());
        subnet.unusable().is_none().then_some(subnet)
    }

    /// One address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(address.into())
    }

    /// The number of leading bits that all addresses share: 0 to 32, or to 128 in IPv6.
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// The subnets that remedies show where the text does not tell what was meant, as written.
    pub const EXAMPLES: [(&str, Self); 2] = [
        (EXAMPLE, v4([10, 111, 0, 0], 16)),
        (
            EXAMPLE_V6,
            Self(IpNet::V6(Ipv6Net::new_assert(
                Ipv6Addr::new(0xfd00, 0x10, 0x111, 0, 0, 0, 0, 0),
                48,
            ))),
        ),
    ];

    /// Whether this is an IPv4 range.
    pub fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// Whether every address of `other` is in this subnet.
    pub fn contains(self, other: Self) -> bool {
        if self.prefix_len() > other.prefix_len() {
            return false;
        }
        let shared = match (self.0, other.0) {
            (IpNet::V4(a), IpNet::V4(b)) => {
                (a.addr().to_bits() ^ b.addr().to_bits()).leading_zeros()
            }
            (IpNet::V6(a), IpNet::V6(b)) => {
                (a.addr().to_bits() ^ b.addr().to_bits()).leading_zeros()
            }
            _ => return false,
        };
        shared >= u32::from(self.prefix_len())
    }

    /// Whether an address is in this subnet.
    pub fn holds(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// The addresses two subnets share: CIDRs nest or are disjoint, so it is the smaller of them.
    pub fn intersection(self, other: Self) -> Option<Self> {
        if self.contains(other) {
            Some(other)
        } else if other.contains(self) {
            Some(self)
        } else {
            None
        }
    }

    /// Whether some address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.intersection(other).is_some()
    }

    /// As few subnets as hold all addresses of these, and no other.
    pub fn merged(subnets: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let nets: Vec<_> = subnets.into_iter().map(|Self(net)| net).collect();
        IpNet::aggregate(&nets).into_iter().map(Self).collect()
    }

    /// Whether it is in a private range: RFC 1918, RFC 6598 or ULA.
    pub fn is_private(self) -> bool {
        self.private_ranges().iter().any(|range| range.contains(self))
    }

    /// The private ranges of its family, the largest first.
    fn private_ranges(self) -> &'static [Self] {
        if self.is_ipv4() { PRIVATE_V4 } else { PRIVATE_V6 }
    }

    /// The subnets of this one's size at the end of each private range other than its own, above
    /// which a search for a free one begins there.
    pub fn in_other_ranges(self) -> impl Iterator<Item = Self> {
        let own = self.private_range();
        let ranges = self.private_ranges().iter().filter(move |range| **range != own);
        let ranges = ranges.filter(move |range| range.prefix_len() <= self.prefix_len());
        ranges.filter_map(move |range| {
            let (first, last) = self.bounds();
            self.sibling_at(range.bounds().1 - (last - first))
        })
    }

    /// The first half of this subnet; nothing where it is one address.
    pub fn half(self) -> Option<Self> {
        let longest = if self.is_ipv4() { 32 } else { 128 };
        let length = self.prefix_len() + 1;
        (length <= longest).then(|| IpNet::new(self.0.addr(), length).ok().map(Self)).flatten()
    }

    /// The private range a replacement is looked for in: the one that holds this subnet, else the
    /// largest one of its family.
    #[must_use]
    pub fn private_range(self) -> Self {
        let ranges = self.private_ranges();
        *ranges.iter().find(|range| range.contains(self)).unwrap_or(&ranges[0])
    }

    /// The first subnet of this length within this one, if it is no larger.
    pub fn first_of(self, length: u8) -> Option<Self> {
        let fits = length >= self.prefix_len();
        fits.then(|| IpNet::new(self.0.network(), length).ok().map(Self)).flatten()
    }

    /// First and last address as numbers, in the family's own width.
    pub(crate) fn bounds(self) -> (u128, u128) {
        match self.0 {
            IpNet::V4(net) => (net.network().to_bits().into(), net.broadcast().to_bits().into()),
            IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
        }
    }

    /// The subnet of this one's family and size that starts at `first`, which must be aligned.
    pub(crate) fn sibling_at(self, first: u128) -> Option<Self> {
        let net = match self.0 {
            IpNet::V4(net) => {
                let address = u32::try_from(first).ok()?.into();
                IpNet::V4(Ipv4Net::new(address, net.prefix_len()).ok()?)
            }
            IpNet::V6(net) => IpNet::V6(Ipv6Net::new(first.into(), net.prefix_len()).ok()?),
        };
        Some(Self(net))
    }

    /// The last subnet of this one's size within a larger one; this one itself if that is not
    /// larger.
    pub(crate) fn last_within(self, larger: Self) -> Self {
        let (first, last) = self.bounds();
        let size = last - first;
        self.sibling_at(last.max(larger.bounds().1) - size).unwrap_or(self)
    }

    /// The subnet of this shorter length that holds this one; this one itself if it is not shorter.
    pub(crate) fn widened(self, length: u8) -> Self {
        let length = length.min(self.prefix_len());
        IpNet::new(self.0.addr(), length).map_or(self, |net| Self(net.trunc()))
    }

    /// The last address of this subnet, as a subnet of one: the last in order of all within it.
    pub(crate) fn last_address(self) -> Self {
        Self(self.0.broadcast().into())
    }

    /// The class of addresses, of no use to pods, that all of this range belongs to.
    fn class(self) -> Option<&'static str> {
        let classes = if self.is_ipv4() { UNUSABLE_V4 } else { UNUSABLE_V6 };
        classes.iter().find(|(range, _)| range.contains(self)).map(|(_, class)| *class)
    }

    fn unusable(self) -> Option<String> {
        if self.prefix_len() == 0 {
            return Some("covers every address".to_owned());
        }
        let classes = if self.is_ipv4() { UNUSABLE_V4 } else { UNUSABLE_V6 };
        let (range, class) = classes.iter().find(|(range, _)| self.overlaps(*range))?;
        let how = if range.contains(self) { "is in" } else { "contains" };
        Some(format!("{how} the {class} range"))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subnet of the usual size that holds an address.
fn around(address: IpAddr) -> Subnet {
    let length = if address.is_ipv4() { 16 } else { 64 };
    Subnet(IpNet::new_assert(address, length).trunc())
}

/// Reads a CIDR as Go's `netip.ParsePrefix` does: no leading zeros, no zone, no blanks.
fn read(text: &str) -> Result<IpNet, Invalid> {
    if text.is_empty() {
        // An empty subnet overlaps nothing, so it must not pass as "no finding".
        return Err(Invalid::new("the subnet is empty", format!("write one such as {EXAMPLE}")));
    }
    let not_cidr = || {
        Invalid::new(
            format!("{text:?} is not a CIDR"),
            format!("write one such as {EXAMPLE} or {EXAMPLE_V6}"),
        )
    };
    let Some((address, length)) = text.split_once('/') else {
        return Err(text.parse::<IpAddr>().map_or_else(
            |_| not_cidr(),
            |address| {
                Invalid::new(
                    format!("{address} is an address, not a subnet"),
                    format!("add a prefix length, as in {}", around(address)),
                )
            },
        ));
    };
    let canonical = length.len() == 1 || !length.starts_with('0');
    if !canonical || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_cidr());
    }
    let address: IpAddr = address.parse().map_err(|_| not_cidr())?;
    let length: u8 = length.parse().map_err(|_| not_cidr())?;
    let (address, length) = match (address.to_canonical(), address) {
        (mapped @ IpAddr::V4(_), IpAddr::V6(_)) if (96..=128).contains(&length) => {
            (mapped, length - 96)
        }
        _ => (address, length),
    };
    IpNet::new(address, length).map_err(|_| not_cidr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_api_server_reads() {
        const CASES: &[(&str, &str)] = &[
            ("10.0.0.0/8", "10.0.0.0/8"),
            (
                "0.0.0.0/1",
                "0.0.0.0/1 contains the loopback range; write a private range such as 10.111.0.0/16",
            ),
            ("fd00:10::/32", "fd00:10::/32"),
            ("FD00:10:0:0::/32", "fd00:10::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("", "the subnet is empty; write one such as 10.111.0.0/16"),
            ("10.111.5.0/16", "10.111.5.0/16 has host bits set; write 10.111.0.0/16"),
            (
                "10.0.0.1",
                "10.0.0.1 is an address, not a subnet; add a prefix length, as in 10.0.0.0/16",
            ),
            (
                "0.0.0.0/0",
                "0.0.0.0/0 covers every address; write a private range such as 10.111.0.0/16",
            ),
            ("::/0", "::/0 covers every address; write a private range such as 10.111.0.0/16"),
            (
                "169.0.0.0/8",
                "169.0.0.0/8 contains the link-local range; write a private range such as 10.111.0.0/16",
            ),
            (
                "fe80::/64",
                "fe80::/64 is in the link-local range; write a private range such as 10.111.0.0/16",
            ),
        ];
        for (text, expected) in CASES {
            let read =
                Subnet::parse(text).map_or_else(|error| error.to_string(), |s| s.to_string());
            assert_eq!(read, *expected, "{text:?}");
        }
    }

    #[test]
    fn reads_the_ranges_of_networks() {
        const CASES: &[(&str, &str)] = &[
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/1", "0.0.0.0/1"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            (
                "10.1.2.3/16",
                "10.1.0.0/16, but 10.1.2.3/16 has host bits set, and Istio reads it as 10.1.0.0/16; write 10.1.0.0/16",
            ),
            ("::/0", "::/0, but ::/0 covers every address; write only the ranges of this network"),
            (
                "fd00::1",
                "fd00::1 is an address, not a CIDR: Istio accepts it but never uses it; write fd00::1/128",
            ),
            (
                "127.0.0.0/8",
                "127.0.0.0/8 is in the loopback range; write a range that contains the addresses of pods or machines",
            ),
        ];
        for (text, expected) in CASES {
            let read = match Subnet::parse_range(text) {
                Ok((subnet, None)) => subnet.to_string(),
                Ok((subnet, Some(doubt))) => format!("{subnet}, but {doubt}"),
                Err(error) => error.to_string(),
            };
            assert_eq!(read, *expected, "{text:?}");
        }
    }

    #[test]
    fn refuses_what_the_api_server_refuses() {
        const CASES: &[&str] = &[
            "010.0.0.0/8",
            "10.0.0.0/08",
            "10.0.0.0/33",
            "fd00::/129",
            "fe80::1%eth0/64",
            " 10.0.0.0/8",
            "10.0.0.0/ 8",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "x",
            "10.0.0.0-10.1.0.0",
        ];
        for text in CASES {
            let error = Subnet::parse(text).unwrap_err();
            assert!(error.problem.ends_with("is not a CIDR"), "{text:?}: {error}");
        }
    }
}
