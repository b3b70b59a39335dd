//! Addresses: of a control plane that other clusters reach.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ClusterDomain, Invalid, Subnet};

/// An IP address that pods of a cluster can reach a control plane by. An IPv4 address written as
/// IPv6 is the IPv4 address it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteAddress(IpAddr);

impl RemoteAddress {
    /// Reads a literal address. A host name is none: Kubernetes' Endpoints hold addresses only.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::read(text, false)
    }

    /// Reads what may also be a host name, which is not an address but just as good.
    pub fn parse_or_host(text: &str) -> Result<Option<Self>, Invalid> {
        if is_host(text) { Ok(None) } else { Self::read(text, true).map(Some) }
    }

    /// Whether a subnet holds it.
    pub fn is_in(self, subnet: Subnet) -> bool {
        subnet.holds(self.0)
    }

    fn read(text: &str, may_be_host: bool) -> Result<Self, Invalid> {
        let Ok(address) = text.parse::<IpAddr>() else {
            return Err(no_literal(text, may_be_host));
        };
        match unusable(address) {
            Some(class) => Err(Invalid::new(
                format!("{text} is {class}, which a remote control plane cannot have"),
                "write the address at which this cluster reaches it",
            )),
            None => Ok(Self(address.to_canonical())),
        }
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an address cannot be reached from elsewhere, with an article.
pub(crate) fn unusable(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unspecified() {
        Some("the unspecified address")
    } else if link_local {
        Some("a link-local address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if broadcast {
        Some("the broadcast address")
    } else {
        None
    }
}

fn is_host(text: &str) -> bool {
    let is_named = text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':');
    is_named && ClusterDomain::parse(text).is_ok()
}

/// Why a text is not a literal address, or host name: often it is one with something around it.
fn no_literal(text: &str, may_be_host: bool) -> Invalid {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Invalid::new("the address is empty", "write an IP address such as 10.0.0.5");
    }
    let bare = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest);
    let bare = bare.split(['/', '%']).next().unwrap_or(bare);
    let without_port = bare.rsplit_once(':').map_or(bare, |(host, _)| host);
    let unbracketed = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
    let meant = [unbracketed(bare), unbracketed(without_port)];
    let mut literals = meant.iter().filter_map(|meant| meant.parse::<IpAddr>().ok());
    if let Some(address) = literals.find(|address| unusable(*address).is_none()) {
        let problem = format!("{text:?} is not a bare IP address");
        return Invalid::new(problem, format!("write {address}"));
    }
    if !may_be_host {
        return Invalid::new(
            format!("{text:?} is not an IP address, and Endpoints can only contain IP addresses"),
            "write the IP address at which this cluster reaches the control plane",
        );
    }
    match meant.iter().find(|meant| is_host(meant)) {
        Some(host) => {
            Invalid::new(format!("{text:?} is not a bare host name"), format!("write {host}"))
        }
        None => Invalid::new(
            format!("{text:?} is neither an IP address nor a host name"),
            "write the address at which this cluster reaches the control plane",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (text, expected) in
            [("10.0.0.5", "10.0.0.5"), ("fd00::1", "fd00::1"), ("::ffff:10.0.0.5", "10.0.0.5")]
        {
            assert_eq!(RemoteAddress::parse(text).unwrap().to_string(), expected);
        }
        assert_eq!(RemoteAddress::parse_or_host("pilot.example.com"), Ok(None));
        assert_eq!(
            RemoteAddress::parse_or_host("fd00::a").unwrap().unwrap().to_string(),
            "fd00::a"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let write = "write the address at which this cluster reaches it";
        let cases = [
            ("", "the address is empty; write an IP address such as 10.0.0.5".to_owned()),
            (
                "127.0.0.1",
                format!("127.0.0.1 is a loopback address, which a remote control plane cannot have; {write}"),
            ),
            ("::", format!(":: is the unspecified address, which a remote control plane cannot have; {write}")),
            (
                "169.254.1.1",
                format!("169.254.1.1 is a link-local address, which a remote control plane cannot have; {write}"),
            ),
            (
                "::ffff:127.0.0.1",
                format!("::ffff:127.0.0.1 is a loopback address, which a remote control plane cannot have; {write}"),
            ),
            (
                "224.0.0.1",
                format!("224.0.0.1 is a multicast address, which a remote control plane cannot have; {write}"),
            ),
            (
                "255.255.255.255",
                format!("255.255.255.255 is the broadcast address, which a remote control plane cannot have; {write}"),
            ),
            ("10.0.0.5:15010", "\"10.0.0.5:15010\" is not a bare IP address; write 10.0.0.5".to_owned()),
            ("[fd00::1]:15010", "\"[fd00::1]:15010\" is not a bare IP address; write fd00::1".to_owned()),
            ("http://10.0.0.5/", "\"http://10.0.0.5/\" is not a bare IP address; write 10.0.0.5".to_owned()),
            (" 10.0.0.5 ", "\" 10.0.0.5 \" is not a bare IP address; write 10.0.0.5".to_owned()),
            (
                "pilot.example.com",
                "\"pilot.example.com\" is not an IP address, and Endpoints can only contain IP addresses; write the IP address at which this cluster reaches the control plane".to_owned(),
            ),
            (
                "010.0.0.5",
                "\"010.0.0.5\" is not an IP address, and Endpoints can only contain IP addresses; write the IP address at which this cluster reaches the control plane".to_owned(),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(RemoteAddress::parse(text).unwrap_err().to_string(), expected, "{text:?}");
        }
        assert!(RemoteAddress::parse_or_host("10.0.0.300").is_err());
        assert!(RemoteAddress::parse_or_host("pilot_1").is_err());
    }
}
