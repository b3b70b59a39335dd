//! What an operator decides for the whole mesh.

use std::fmt;
use std::str::FromStr;

/// The settings of isthmus that change a verdict. Each is a flag, an environment variable
/// `ISTHMUS_…` and a Helm value of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name of the member that isthmus guards.
    pub local_member: String,
    /// Namespaces that hold Istio's own ConfigMaps.
    pub istio_namespaces: Vec<String>,
    /// Namespaces whose ConfigMaps labelled `isthmus.dev/member` describe members. Anywhere else
    /// the label means nothing: a tenant must not speak for a cluster.
    pub member_namespaces: Vec<String>,
    /// What an overlap between members on different networks is.
    pub multi_network_overlap: Policy,
    /// What an IstioMulticluster that leads to the local member itself is.
    pub self_reference: Policy,
    /// Whether an Istio 0.8 descriptor whose `spec` is lost under `metadata` is denied.
    pub strict_descriptors: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            local_member: "local".to_owned(),
            istio_namespaces: vec!["istio-system".to_owned(), "d8-istio".to_owned()],
            member_namespaces: vec!["isthmus".to_owned()],
            multi_network_overlap: Policy::Warn,
            self_reference: Policy::Deny,
            strict_descriptors: false,
        }
    }
}

/// How seriously a rule is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The write is refused.
    Deny,
    /// The write passes, with a warning.
    Warn,
    /// Nothing is said.
    Ignore,
}

impl Policy {
    /// Every policy, in falling seriousness.
    pub const ALL: [Self; 3] = [Self::Deny, Self::Warn, Self::Ignore];

    /// The name operators write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
            Self::Ignore => "Ignore",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("{text:?} is not one of Deny, Warn, Ignore"))
    }
}
