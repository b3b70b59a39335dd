//! What happens to writes while isthmus does not answer, by group of webhooks.

use crate::document::DOCUMENTS;

/// A policy, and the group of webhooks that it is for; all of them where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    group: Option<&'static str>,
    policy: &'static str,
}

/// The group of the mutating webhooks. Those of the validating ones are in the documents' entries.
pub(super) const MUTATING: &str = "mutating";
/// Writes are refused.
const FAIL: &str = "Fail";
/// Writes are stored unseen.
const IGNORE: &str = "Ignore";

/// Each group with its default policy.
fn groups() -> Vec<(&'static str, &'static str)> {
    let mut groups = vec![(MUTATING, IGNORE)];
    for webhook in DOCUMENTS.iter().filter_map(|document| document.webhook) {
        let group = (webhook.group, webhook.failure_policy);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

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
        let names: Vec<_> = groups().into_iter().map(|(name, _)| name).collect();
        let found = names.iter().copied().find(|name| *name == group);
        found.ok_or_else(|| format!("{group:?} is not one of {}", names.join(", ")))
    };
    Ok(Choice { group: group.map(known).transpose()?, policy })
}

/// The policy of a group, the last that is chosen for it.
pub(super) fn policy(group: &str, choices: &[Choice]) -> &'static str {
    let chosen = choices.iter().rev().find(|choice| choice.group.is_none_or(|of| of == group));
    let default =
        || groups().into_iter().find(|(name, _)| *name == group).map_or(FAIL, |(_, policy)| policy);
    chosen.map_or_else(default, |choice| choice.policy)
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
            ("customResources", FAIL),
            ("configMaps", FAIL),
            ("kubeSystem", IGNORE),
            ("endpoints", FAIL),
        ] {
            assert_eq!(policy(group, &choices), expected, "{group}");
        }
        assert_eq!(policy("endpoints", &[]), IGNORE);
    }

    #[test]
    fn an_unknown_choice_is_rejected() {
        assert_eq!(parse("fail").unwrap_err(), r#""fail" is not one of Fail, Ignore"#);
        assert_eq!(
            parse("secrets=Fail").unwrap_err(),
            r#""secrets" is not one of mutating, customResources, kubeSystem, configMaps, endpoints, remoteSecrets"#
        );
    }
}
