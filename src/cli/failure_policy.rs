//! What becomes of writes while isthmus does not answer, by what is written.

use crate::document::{Document, Select};

/// A policy, and the group of webhooks that it is for; all of them where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    group: Option<&'static str>,
    policy: &'static str,
}

/// The webhook that puts right what is written. The other one refuses what must not pass.
pub(super) const MUTATING: &str = "mutating";
/// Each group with its policy, unless another one is chosen.
const GROUPS: [(&str, &str); 5] = [
    (MUTATING, IGNORE),
    (CUSTOM_RESOURCES, FAIL),
    (CONFIG_MAPS, FAIL),
    (KUBE_SYSTEM, IGNORE),
    (ENDPOINTS, IGNORE),
];
const CUSTOM_RESOURCES: &str = "customResources";
const CONFIG_MAPS: &str = "configMaps";
const KUBE_SYSTEM: &str = "kubeSystem";
const ENDPOINTS: &str = "endpoints";
/// Writes are refused.
const FAIL: &str = "Fail";
/// Writes are stored unseen.
const IGNORE: &str = "Ignore";

/// Reads `POLICY` or `GROUP=POLICY`.
pub(super) fn parse(text: &str) -> Result<Choice, String> {
    let (group, policy) = match text.split_once('=') {
        Some((group, policy)) => (Some(group), policy),
        None => (None, text),
    };
    let Some(policy) = [FAIL, IGNORE].into_iter().find(|known| *known == policy) else {
        return Err(format!("{policy:?} is not one of {FAIL}, {IGNORE}"));
    };
    let known = |group: &str| {
        let mut names = GROUPS.iter().map(|(name, _)| *name);
        names.find(|name| *name == group).ok_or_else(|| {
            let names = GROUPS.map(|(name, _)| name).join(", ");
            format!("{group:?} is not one of {names}")
        })
    };
    Ok(Choice { group: group.map(known).transpose()?, policy })
}

/// The group that the webhook of a document belongs to.
pub(super) fn group(document: &Document) -> &'static str {
    match (document.select, document.resource) {
        // A cluster's upgrade writes these, and must not wait for anybody.
        (Select::Namespaced("kube-system", _), _) => KUBE_SYSTEM,
        // Controllers write these, again and again.
        (_, "endpoints" | "endpointslices") => ENDPOINTS,
        (_, "configmaps") => CONFIG_MAPS,
        _ => CUSTOM_RESOURCES,
    }
}

/// The policy of a group, the last that is chosen for it.
pub(super) fn policy(group: &str, choices: &[Choice]) -> &'static str {
    let chosen = choices.iter().rev().find(|choice| choice.group.is_none_or(|of| of == group));
    let usual = || GROUPS.iter().find(|(name, _)| *name == group).map_or(FAIL, |(_, usual)| usual);
    chosen.map_or_else(usual, |choice| choice.policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_choice_counts() {
        let choices = ["Fail", "kubeSystem=Ignore", "mutating=Ignore", "mutating=Fail"];
        let choices: Vec<_> = choices.into_iter().map(|text| parse(text).unwrap()).collect();
        for (group, expected) in [
            (MUTATING, FAIL),
            (CUSTOM_RESOURCES, FAIL),
            (CONFIG_MAPS, FAIL),
            (KUBE_SYSTEM, IGNORE),
            (ENDPOINTS, FAIL),
        ] {
            assert_eq!(policy(group, &choices), expected, "{group}");
        }
        assert_eq!(policy(ENDPOINTS, &[]), IGNORE);
    }

    #[test]
    fn what_is_no_choice_is_told() {
        assert_eq!(parse("fail").unwrap_err(), r#""fail" is not one of Fail, Ignore"#);
        assert_eq!(
            parse("secrets=Fail").unwrap_err(),
            r#""secrets" is not one of mutating, customResources, configMaps, kubeSystem, endpoints"#
        );
    }
}
