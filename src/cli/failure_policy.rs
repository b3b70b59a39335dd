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

/// Groups of validating webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Groups(pub(super) Vec<&'static str>);

impl Default for Groups {
    /// Those whose writes are stored unseen while isthmus does not answer.
    fn default() -> Self {
        let ignored = validating().filter(|(_, policy)| *policy == IGNORE);
        Self(ignored.map(|(name, _)| name).collect())
    }
}

fn validating() -> impl Iterator<Item = (&'static str, &'static str)> {
    groups().into_iter().filter(|(name, _)| *name != MUTATING)
}

/// Reads the names of groups of validating webhooks, separated by commas; `all` or `none` of them.
pub(super) fn groups_of(text: &str) -> Result<Groups, String> {
    let known: Vec<_> = validating().map(|(name, _)| name).collect();
    let named = |text: &str| {
        let found = known.iter().copied().find(|name| *name == text);
        found.ok_or_else(|| format!("{text:?} is not one of {}, all, none", known.join(", ")))
    };
    match text {
        "all" => Ok(Groups(known)),
        "none" | "" => Ok(Groups(Vec::new())),
        _ => text.split(',').map(named).collect::<Result<_, _>>().map(Groups),
    }
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
    fn groups_are_named_or_all_or_none() {
        let names = |groups: Groups| groups.0;
        assert_eq!(names(Groups::default()), ["kubeSystem", "endpoints", "remoteSecrets"]);
        assert_eq!(names(groups_of("endpoints,configMaps").unwrap()), ["endpoints", "configMaps"]);
        assert_eq!(names(groups_of("all").unwrap()).len(), 5);
        assert!(names(groups_of("none").unwrap()).is_empty());
        assert_eq!(
            groups_of("mutating").unwrap_err(),
            r#""mutating" is not one of customResources, kubeSystem, configMaps, endpoints, remoteSecrets, all, none"#
        );
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
