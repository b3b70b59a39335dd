//! The parts of the URL of a metadata endpoint, as texts.

use std::borrow::Cow;
use std::net::IpAddr;

use url::{Host, Url};

use super::address;

/// The path under which Deckhouse serves the metadata of a cluster.
pub(super) const STANDARD_PATH: &str = "/metadata/";
/// The documents behind the endpoint, which people paste instead of it.
const PASTED_DOCUMENTS: &[&str] = &["/public/public.json", "/private/multicluster.json"];
/// The first label of the hosts Deckhouse serves metadata on: it is moving from the first to the
/// second, and both answer.
const METADATA_LABELS: (&str, &str) = ("istio-metadata", "istio");

/// A host whose first label is the one that Deckhouse moves to.
pub(super) fn fold_label(host: &str) -> Cow<'_, str> {
    let (moved, label) = METADATA_LABELS;
    let first = &host[..host.find(['.', ':']).unwrap_or(host.len())];
    // The template of public names may have more in the label: `%s-kube.example.com`.
    let is_word = |at: &usize| {
        let (before, after) = (&first[..*at], &first[at + moved.len()..]);
        (before.is_empty() || before.ends_with('-')) && (after.is_empty() || after.starts_with('-'))
    };
    match first.match_indices(moved).map(|(at, _)| at).find(is_word) {
        Some(at) => Cow::Owned(format!("{}{label}{}", &host[..at], &host[at + moved.len()..])),
        None => Cow::Borrowed(host),
    }
}

/// Whether a text is plainly in canonical form already, as what is stored always is. What this
/// leaves open, a URL parser decides.
pub(super) fn is_plainly_canonical(text: &str) -> bool {
    let Some(host) =
        text.strip_prefix("https://").and_then(|rest| rest.strip_suffix(STANDARD_PATH))
    else {
        return false;
    };
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let plain_label =
        |label: &[u8]| !label.is_empty() && label.iter().all(plain) && !label.starts_with(b"xn-");
    // A last label without letters makes an IPv4 address, and `xn--` has rules of its own.
    let mut labels = host.as_bytes().split(|byte| *byte == b'.');
    let top = labels.clone().next_back();
    let is_name = |top: &[u8]| top.iter().all(u8::is_ascii_lowercase) && top != b"localhost";
    top.is_some_and(is_name) && labels.all(plain_label)
}

pub(super) fn has_authority(written: &str) -> bool {
    written.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

pub(super) fn extra_part(url: &Url) -> Option<&'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        Some("user name or password")
    } else if url.query().is_some() {
        Some("query")
    } else if url.fragment().is_some() {
        Some("fragment")
    } else {
        None
    }
}

/// The text without user name and password. A text that is not a URL may hold them anywhere before an
/// `@`.
pub(super) fn without_password(written: &str) -> String {
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let scheme = written.split_once("://").map(|(scheme, _)| scheme);
    let scheme = scheme.filter(|scheme| scheme.bytes().all(in_scheme));
    let start = scheme.map_or(0, |scheme| scheme.len() + 3);
    // Tabs and line ends count for nothing in a URL.
    let authority = written[start..].trim_start_matches(['/', '\\', '\t', '\n', '\r']);
    let start = written.len() - authority.len();
    // Only of the schemes of browsers a backslash is a slash.
    let is_url =
        scheme.is_some() && Url::parse(written).is_ok_and(|url| url.is_special() && url.has_host());
    let end = if is_url { authority.find(['/', '\\', '?', '#']) } else { None };
    match authority[..end.unwrap_or(authority.len())].rfind('@') {
        Some(at) => format!("{}...{}", &written[..start], &authority[at..]),
        None => written.to_owned(),
    }
}

pub(super) fn unusable(host: &Host<&str>) -> Option<&'static str> {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            let is_loopback = name == "localhost" || name.ends_with(".localhost");
            is_loopback.then_some("a loopback name")
        }
        Host::Ipv4(address) => address::unusable(IpAddr::V4(*address)),
        Host::Ipv6(address) => address::unusable(IpAddr::V6(*address)),
    }
}

pub(super) fn canonical_path(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut path = segments.fold(String::new(), |path, segment| path + "/" + segment);
    while let Some(document) = PASTED_DOCUMENTS.iter().find(|document| path.ends_with(*document)) {
        path.truncate(path.len() - document.len());
    }
    path.push('/');
    path
}
