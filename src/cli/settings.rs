//! The settings that change a verdict, as flags and environment variables.

use clap::Args;

use crate::settings::{Policy, Settings};

/// Flags that every judging command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings of the mesh")]
pub(super) struct SettingsArgs {
    /// The name of the member that isthmus guards.
    #[arg(long, env = "ISTHMUS_LOCAL_MEMBER", default_value = "local", value_name = "NAME")]
    local_member: String,
    /// Namespaces that hold Istio's own ConfigMaps.
    #[arg(
        long,
        env = "ISTHMUS_ISTIO_NAMESPACES",
        default_value = "istio-system,d8-istio",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    istio_namespaces: Vec<String>,
    /// Namespaces whose ConfigMaps labelled isthmus.dev/member describe members.
    #[arg(
        long,
        env = "ISTHMUS_MEMBER_NAMESPACES",
        default_value = "isthmus",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    member_namespaces: Vec<String>,
    /// What an overlap between members on different networks is: Deny, Warn or Ignore.
    #[arg(
        long,
        env = "ISTHMUS_MULTI_NETWORK_OVERLAP",
        default_value = "Warn",
        value_name = "POLICY"
    )]
    multi_network_overlap: Policy,
    /// What an IstioMulticluster that leads to the local member itself is: Deny or Warn.
    #[arg(
        long,
        env = "ISTHMUS_SELF_REFERENCE",
        default_value = "Deny",
        value_parser = deny_or_warn,
        value_name = "POLICY"
    )]
    self_reference: Policy,
    /// Deny an Istio 0.8 descriptor whose spec is lost under metadata, instead of warning.
    #[arg(long, env = "ISTHMUS_STRICT_DESCRIPTORS")]
    strict_descriptors: bool,
}

impl SettingsArgs {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            local_member: self.local_member.clone(),
            istio_namespaces: named(&self.istio_namespaces),
            member_namespaces: named(&self.member_namespaces),
            multi_network_overlap: self.multi_network_overlap,
            self_reference: self.self_reference,
            strict_descriptors: self.strict_descriptors,
        }
    }
}

/// The names that are any: an empty list is read as one that holds an empty name.
fn named(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.is_empty()).cloned().collect()
}

fn deny_or_warn(text: &str) -> Result<Policy, String> {
    match text.parse() {
        Ok(policy @ (Policy::Deny | Policy::Warn)) => Ok(policy),
        _ => Err(format!("{text:?} is not one of Deny, Warn")),
    }
}
