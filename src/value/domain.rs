//! Cluster domains, and the two texts of a cluster that hold one.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The DNS domain of a cluster (`cluster.local`): lower case, without a trailing dot, which is how
/// DNS compares names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterDomain(Arc<str>);

/// The longest DNS name in bytes (RFC 1035, section 2.3.4, less the root label and length byte).
const LONGEST_NAME: usize = 253;
/// The longest label of a DNS name in bytes.
const LONGEST_LABEL: usize = 63;

impl ClusterDomain {
    /// Reads a DNS name of RFC 1123 labels; case and one trailing dot do not matter.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let error = |why: String| {
            Invalid::new(
                format!("{text:?} is not a DNS name: {why}"),
                "write one such as cluster.local",
            )
        };
        if name.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        if name.len() > LONGEST_NAME {
            return Err(error(format!("it is longer than {LONGEST_NAME} characters")));
        }
        for label in name.as_bytes().split(|byte| *byte == b'.') {
            if let Some(why) = label_fault(label) {
                return Err(error(why));
            }
        }
        Ok(Self(name.into()))
    }

    /// The domain as Deckhouse writes it into a network name, dots as dashes.
    pub fn dashed(&self) -> String {
        self.0.replace('.', "-")
    }

    /// Whether a host is a name in this domain, or the domain itself.
    pub fn holds(&self, host: &str) -> bool {
        let rest = host.strip_suffix(self.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network name that Deckhouse made: `network-<cluster domain, dots as dashes>-<adler32>`.
///
/// The form is lossy: `a.b` and `a-b` give the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkName(Arc<str>);

impl NetworkName {
    /// Reads a network name of Deckhouse's form; any other name tells nothing of the domain.
    pub fn parse(text: &str) -> Option<Self> {
        let (dashed, checksum) = parts(text)?;
        checksum.parse::<u32>().ok()?;
        (!dashed.is_empty()).then(|| Self(text.into()))
    }

    /// The one that a cluster of this domain has, but for the checksum.
    pub fn of(domain: &ClusterDomain) -> Self {
        Self(format!("network-{}-0", domain.dashed()).into())
    }

    /// The peer's cluster domain, dots as dashes.
    pub fn dashed_domain(&self) -> &str {
        parts(&self.0).map_or("", |(dashed, _)| dashed)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The domain and the checksum of a network name.
fn parts(network_name: &str) -> Option<(&str, &str)> {
    network_name.strip_prefix("network-")?.rsplit_once('-')
}

/// Deckhouse's `publicDomainTemplate`, such as `%s.example.com`: the name of each public service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicDomainTemplate(Arc<str>);

impl PublicDomainTemplate {
    /// Reads a template; it must hold `%s` once.
    pub fn parse(text: &str) -> Option<Self> {
        let template = text.to_ascii_lowercase();
        // `%S` is not a placeholder, and would look like one from now on.
        let is_one = text.contains("%s") && template.matches("%s").count() == 1;
        is_one.then(|| Self(template.into()))
    }

    /// The public host of one service.
    pub fn host(&self, service: &str) -> String {
        self.0.replacen("%s", service, 1)
    }

    /// What stands behind the label that holds `%s`: the domain that must not be the cluster's own.
    pub fn domain(&self) -> Option<ClusterDomain> {
        let (_, rest) = self.0.split_once("%s")?;
        let (_, domain) = rest.split_once('.')?;
        ClusterDomain::parse(domain).ok()
    }
}

impl fmt::Display for PublicDomainTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn label_fault(label: &[u8]) -> Option<String> {
    let allowed = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let text = || String::from_utf8_lossy(label);
    if label.is_empty() {
        Some("it has a leading dot or two dots in a row".to_owned())
    } else if label.len() > LONGEST_LABEL {
        Some(format!("a label is longer than {LONGEST_LABEL} characters"))
    } else if label.starts_with(b"-") || label.ends_with(b"-") {
        Some(format!("label {:?} starts or ends with a dash", text()))
    } else if label.iter().all(allowed) {
        None
    } else {
        Some(format!("label {:?} has characters other than letters, digits and dashes", text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_as_dns_does() {
        assert_eq!(ClusterDomain::parse("Cluster.Local."), ClusterDomain::parse("cluster.local"));
        assert_ne!(ClusterDomain::parse("cluster.local"), ClusterDomain::parse("cluster-local"));
    }

    #[test]
    fn rejects_what_is_not_a_dns_name() {
        let long_label = "a".repeat(64);
        let long_name = ["a"; 128].join(".");
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a.-b",
            "a_b",
            "-",
            "a b",
            "\u{e9}.local",
            "a.b..",
            &long_label,
            &long_name,
        ] {
            assert!(ClusterDomain::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_network_name_holds_the_dashed_domain() {
        let read = |text| NetworkName::parse(text).map(|name| name.dashed_domain().to_owned());
        assert_eq!(read("network-cluster-local-834012345"), Some("cluster-local".to_owned()));
        assert_eq!(read("network-k8s-5"), Some("k8s".to_owned()));
        for text in ["network1", "network-x", "network--5", "network-cluster-local-x", ""] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_template_names_hosts_and_their_domain() {
        let template = PublicDomainTemplate::parse("%s.kube.Example.com").unwrap();
        assert_eq!(template.host("istio"), "istio.kube.example.com");
        assert_eq!(template.domain().unwrap().as_str(), "kube.example.com");
        let prefixed = PublicDomainTemplate::parse("prod-%s.example.com").unwrap();
        assert_eq!(prefixed.host("istio"), "prod-istio.example.com");
        for text in ["example.com", "%S.example.com", "%s.example%S.com"] {
            assert_eq!(PublicDomainTemplate::parse(text), None, "{text}");
        }
    }
}
