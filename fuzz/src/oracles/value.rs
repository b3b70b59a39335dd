//! The laws of values: what is parsed prints as it parses, and what is not has a remedy.

use std::net::IpAddr;

use isthmus::value::{
    ClusterDomain, Invalid, MetadataEndpoint, NetworkName, PublicDomainTemplate, RemoteAddress,
    Subnet, check_host, check_host_and_port, similar,
};
use url::Url;

/// Subnets: each line is one, and the first two are held against one another.
pub fn subnet(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let first = one_subnet(first);
    if let (Some(a), Some(b)) = (first, second.and_then(one_subnet)) {
        two_subnets(a, b);
    }
    data.len()
}

fn one_subnet(text: &str) -> Option<Subnet> {
    let parsed = Subnet::parse(text);
    match &parsed {
        Ok(subnet) => {
            assert_eq!(Subnet::parse(&subnet.to_string()).as_ref(), Ok(subnet));
            assert_eq!(Subnet::meant(text), Some(*subnet));
            assert_eq!(Subnet::parse_range(text), Ok((*subnet, None)));
            let (_, length, host) = bits(*subnet);
            assert!(length > 0 && host == 0, "{subnet}: host bits");
            assert_eq!(subnet.private_range().is_ipv4(), subnet.is_ipv4());
        }
        Err(why) => {
            says(why, text);
            if let Some(meant) = Subnet::meant(text) {
                assert_eq!(Subnet::parse(&meant.to_string()), Ok(meant));
                assert_eq!(why.remedy, format!("write {meant}"));
            }
        }
    }
    match Subnet::parse_range(text) {
        Ok((range, doubt)) => {
            let (again, still) = Subnet::parse_range(&range.to_string()).unwrap();
            assert_eq!(again, range);
            assert_eq!(still.is_some(), range.prefix_len() == 0);
            if let Some(doubt) = doubt {
                says(&doubt, text);
            }
        }
        Err(why) => says(&why, text),
    }
    parsed.ok()
}

/// Overlap as the bits have it.
fn two_subnets(a: Subnet, b: Subnet) {
    assert_eq!(a.intersection(b), b.intersection(a));
    let ((a_bits, a_length, _), (b_bits, b_length, _)) = (bits(a), bits(b));
    let width = if a.is_ipv4() { 32 } else { 128 };
    let shared = a_length.min(b_length);
    let meet = a.is_ipv4() == b.is_ipv4() && (a_bits ^ b_bits) >> (width - shared) == 0;
    assert_eq!(a.overlaps(b), meet, "{a} {b}");
    assert_eq!(a.contains(b), meet && a_length <= b_length, "{a} {b}");
    let address: IpAddr = b.to_string().split('/').next().unwrap_or_default().parse().unwrap();
    let holds = a.is_ipv4() == b.is_ipv4() && (a_bits ^ b_bits) >> (width - a_length) == 0;
    assert_eq!(a.holds(address), holds, "{a} {address}");
}

/// The address as a number, the length of the prefix, and what stands behind it.
fn bits(subnet: Subnet) -> (u128, u32, u128) {
    let text = subnet.to_string();
    let (address, length) = text.split_once('/').unwrap();
    let (bits, width) = match address.parse().unwrap() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let length: u32 = length.parse().unwrap();
    assert!(length <= width && u32::from(subnet.prefix_len()) == length);
    let host = bits & (u128::MAX >> (128 - width)).checked_shr(length).unwrap_or(0);
    (bits, length, host)
}

/// Domains: of clusters, in names of networks, and in templates.
pub fn domain(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    match ClusterDomain::parse(&text) {
        Ok(domain) => {
            let name = domain.as_str();
            assert!(!name.is_empty() && name.len() <= 253 && !name.ends_with('.'));
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
            for same in [name.to_owned(), name.to_ascii_uppercase(), format!("{name}.")] {
                assert_eq!(ClusterDomain::parse(&same).as_ref(), Ok(&domain));
            }
            let network = NetworkName::parse(&format!("network-{}-7", domain.dashed())).unwrap();
            assert_eq!(network.dashed_domain(), domain.dashed());
            assert_eq!(check_host(name).is_ok(), check_host(&name.to_ascii_uppercase()).is_ok());
        }
        Err(why) => says(&why, &text),
    }
    if let Some(network) = NetworkName::parse(&text) {
        assert_eq!(network.as_str(), text);
        assert!(text.contains(network.dashed_domain()) && !network.dashed_domain().is_empty());
    }
    if let Some(template) = PublicDomainTemplate::parse(&text) {
        assert_eq!(PublicDomainTemplate::parse(&template.to_string()).as_ref(), Some(&template));
        assert_eq!(template.host("istio").len() + 2, text.len() + "istio".len());
        if let Some(domain) = template.domain() {
            assert!(template.to_string().trim_end_matches('.').ends_with(domain.as_str()));
        }
    }
    let (word, other) = text.split_once('\n').unwrap_or((&text, "pilotEndpoint"));
    let known = [other, "platform"];
    if let Some(found) = similar(word, &known) {
        assert!(known.contains(&found));
    }
    if word.len() <= 63 && !word.is_empty() {
        assert_eq!(similar(word, &[word]), Some(word));
    }
    data.len()
}

/// Endpoints and addresses: the canonical form is its own, and a remedy can be taken at its word.
pub fn endpoint(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    match MetadataEndpoint::parse(&text) {
        Ok(endpoint) => canonical(&endpoint),
        Err(why) => {
            says(&why, &text);
            tells_no_password(&why, &text);
            let url = why.remedy.split(' ').find(|word| word.starts_with("https:"));
            let url = url.map(|url| url.strip_suffix('?').unwrap_or(url));
            assert!(url.is_none_or(|url| MetadataEndpoint::parse(url).is_ok()), "{why}");
        }
    }
    match RemoteAddress::parse(&text) {
        Ok(address) => {
            assert_eq!(RemoteAddress::parse(&address.to_string()), Ok(address));
            assert_eq!(RemoteAddress::parse_or_host(&text), Ok(Some(address)));
        }
        Err(why) => says(&why, &text),
    }
    let address = |text: &str| RemoteAddress::parse_or_host(text).err();
    let dialled = |text: &str| check_host_and_port(text, "10.23.230.11:15010").err();
    let host = |text: &str| check_host(text).err();
    takes_its_own_remedy(&text, &address);
    takes_its_own_remedy(&text, &dialled);
    takes_its_own_remedy(&text, &host);
    data.len()
}

fn canonical(endpoint: &MetadataEndpoint) {
    let text = endpoint.as_str();
    assert_eq!(MetadataEndpoint::parse(text).as_ref(), Ok(endpoint));
    let url = Url::parse(text).unwrap();
    assert_eq!((url.as_str(), url.scheme()), (text, "https"));
    assert_eq!(url.host_str(), Some(endpoint.host()));
    assert!(text.ends_with('/') && !text.ends_with("//") && text.is_ascii());
    assert!(!text.contains(char::is_control));
    assert!(endpoint.identity().starts_with(&*endpoint.host_identity()));
    if !endpoint.has_standard_path() {
        let standard = MetadataEndpoint::parse(&endpoint.with_standard_path());
        // What is too long for a URL may become so by this.
        assert!(standard.is_ok_and(|e| e.has_standard_path()) || text.len() > 2000);
    }
}

/// What a remedy says to write is right.
fn takes_its_own_remedy(text: &str, fault: &dyn Fn(&str) -> Option<Invalid>) {
    let Some(why) = fault(text) else { return };
    says(&why, text);
    let meant = why.remedy.strip_prefix("write ").filter(|meant| !meant.contains(' '));
    let meant = meant.or_else(|| why.remedy.strip_prefix("write one, as in "));
    if let Some(meant) = meant {
        assert_eq!(fault(meant), None, "{text:?}: {why}");
    }
}

/// A password in a URL, or before the last `@` of what is not one, is not told.
fn tells_no_password(why: &Invalid, text: &str) {
    let url = Url::parse(text.trim()).ok().filter(Url::has_host);
    let password = match &url {
        Some(url) => url.password(),
        None => text.rsplit_once('@').and_then(|(before, _)| {
            let authority = before.split_once("://").map_or(before, |(_, rest)| rest);
            authority.split_once(':').map(|(_, password)| password)
        }),
    };
    let Some(password) = password else { return };
    // What stands behind a slash is the path, if it is a URL.
    let is_told_apart = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/';
    let is_word = password.len() >= 6 && password.bytes().all(is_told_apart);
    if is_word && text.matches(password).count() == 1 {
        // Words of the message itself may be anybody's password.
        let other = MetadataEndpoint::parse(&text.replace(password, "q7w8e9r0t1y2"));
        let anyway = other.is_err_and(|other| other.to_string().contains(password));
        assert!(!why.to_string().contains(password) || anyway, "{text:?}: {why}");
    }
}

/// A reason has both its parts, and is no longer than what it is about asks for.
fn says(why: &Invalid, text: &str) {
    assert!(!why.problem.is_empty() && !why.remedy.is_empty());
    let length = why.problem.len() + why.remedy.len();
    assert!(length <= 512 + 24 * text.len(), "{length} bytes about {}", text.len());
}
