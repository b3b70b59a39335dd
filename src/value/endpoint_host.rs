//! Hosts of metadata endpoints, as they are compared and found.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::ClusterDomain;
use super::endpoint::MetadataEndpoint;
use super::endpoint_parts::fold_label;

/// [`MetadataEndpoint::host_identity`] as a key that shares the endpoint's text. In order, a domain is
/// followed by the hosts in it.
#[derive(Clone, Debug)]
pub(crate) struct EndpointHost(MetadataEndpoint);

impl EndpointHost {
    pub(crate) fn of(endpoint: &MetadataEndpoint) -> Self {
        match endpoint.identity() {
            Cow::Borrowed(_) => Self(endpoint.clone()),
            Cow::Owned(identity) => Self(MetadataEndpoint::at(&identity)),
        }
    }

    /// A host by its name.
    pub(crate) fn named(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        Self(MetadataEndpoint::at(&fold_label(&host)))
    }

    /// What the hosts below a domain come after, in their order.
    pub(crate) fn before_all_below(domain: &ClusterDomain) -> Self {
        Self(MetadataEndpoint::at(&format!(".{domain}")))
    }

    /// Whether it is below a domain.
    pub(crate) fn is_below(&self, domain: &ClusterDomain) -> bool {
        self.0.host().strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl PartialEq for EndpointHost {
    fn eq(&self, other: &Self) -> bool {
        self.0.host() == other.0.host()
    }
}

impl Eq for EndpointHost {}

impl PartialOrd for EndpointHost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EndpointHost {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.host().bytes().rev().cmp(other.0.host().bytes().rev())
    }
}

impl Hash for EndpointHost {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.host().hash(state);
    }
}
