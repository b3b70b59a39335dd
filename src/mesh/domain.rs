//! Cluster domains as documents state them.

use super::claim::Fact;
use crate::value::{ClusterDomain, NetworkName};

/// A cluster domain as a document states it: written out, or in the lossy form of a network name.
/// Network names of one domain state the same.
#[derive(Clone, Debug)]
pub enum StatedDomain {
    /// Written out.
    Exact(ClusterDomain),
    /// As part of a network name, dots as dashes.
    Dashed(NetworkName),
}

impl StatedDomain {
    /// The domain a fact states, if it states one.
    pub fn of(fact: &Fact) -> Option<Self> {
        match fact {
            Fact::ClusterDomain(domain) => Some(Self::Exact(domain.clone())),
            Fact::NetworkName(name) => Some(Self::Dashed(name.clone())),
            _ => None,
        }
    }

    /// Whether it is written out. Those that are come before all others.
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Whether both may be the same domain; a lossy form is compared in its own form.
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(domain), Self::Dashed(name))
            | (Self::Dashed(name), Self::Exact(domain)) => domain.dashed() == name.dashed_domain(),
            (a, b) => a == b,
        }
    }

    /// Whether it is lossy, and its text.
    fn key(&self) -> (bool, &str) {
        match self {
            Self::Exact(domain) => (false, domain.as_str()),
            Self::Dashed(name) => (true, name.dashed_domain()),
        }
    }
}

impl PartialEq for StatedDomain {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for StatedDomain {}

impl PartialOrd for StatedDomain {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StatedDomain {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl std::fmt::Display for StatedDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(domain) => domain.fmt(f),
            Self::Dashed(name) => {
                write!(
                    f,
                    "{} (from its network name, in which dashes may stand for dots)",
                    name.dashed_domain()
                )
            }
        }
    }
}
