//! What claims are made of: values that are parsed once and valid from then on.
//!
//! Each type refuses what Kubernetes, Istio or Deckhouse could not use, and says what to write
//! instead.

mod address;
mod domain;
pub mod duration;
mod endpoint;
mod endpoint_host;
mod endpoint_parts;
mod host_port;
mod moment;
mod pem;
mod similar;
mod subnet;

use std::borrow::Cow;
use std::fmt;

pub use address::RemoteAddress;
pub(crate) use address::unusable as unusable_address;
pub use domain::{ClusterDomain, NetworkName, PublicDomainTemplate};
pub use endpoint::MetadataEndpoint;
pub(crate) use endpoint_host::EndpointHost;
pub use host_port::{check_host, check_host_and_port};
pub use moment::Moment;
pub use pem::check_certificates;
pub use similar::similar;
pub use subnet::Subnet;
pub use uuid::Uuid as ClusterUuid;

/// Why a text is not the value it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong, with the text as it was found.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl Invalid {
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// The longest text of a document, in characters, that a message repeats.
const LONGEST_TOLD: usize = 1000;

/// A text short enough for a message: what is wrong may be megabytes long.
pub(crate) fn clipped(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST_TOLD) {
        Some((end, _)) => Cow::Owned(format!("{}\u{2026}", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for Invalid {}
