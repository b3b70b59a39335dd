//! What the status of a MeshMember is to say next. No I/O.

use jiff::{SignedDuration, Timestamp};

use crate::cluster::Shown;
use crate::meshmember::{
    Condition, Fact, Joined, MOST_FINDINGS, Observed, Spec, StandingFinding, Status, Summary,
};

/// Facts that are this old are written anew though they are the same: their age counts.
const REFRESHED: SignedDuration = SignedDuration::from_mins(5);
/// How long a fact stands that a later visit was not allowed to read: as long as it can deny.
const STANDS: SignedDuration = SignedDuration::from_hours(1);
/// The longest message, in characters.
const LONGEST: usize = 1024;

/// How the last visit went.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Visit {
    /// The cluster showed this.
    Shown(Box<Shown>),
    /// It could not be read: the class in one word, and in a sentence.
    Failed(&'static str, String),
    /// It was not tried: why, likewise.
    NotTried(&'static str, &'static str),
}

/// Nothing tells how the cluster can be reached.
pub(super) const NO_SECRET: Visit =
    Visit::NotTried("NoRemoteSecret", "no remote Secret is known that leads to the cluster");
/// The class of a visit that showed a part of what it usually does.
pub(super) const IN_PART: &str = "ReadInPart";
/// It was not visited yet.
pub(super) const NOT_YET: Visit = Visit::NotTried("NotVisited", "it has not been visited yet");

/// All that a status is made of.
pub(super) struct Known<'a> {
    /// What people state.
    pub(super) spec: &'a Spec,
    /// The generation of that.
    pub(super) generation: Option<i64>,
    /// What stands.
    pub(super) status: Option<&'a Status>,
    /// What joins the member.
    pub(super) joined_by: &'a [Joined],
    /// How the last visit went.
    pub(super) visit: &'a Visit,
    /// What is wrong with the member as it stands, the worst first; nothing where that has not been
    /// judged.
    pub(super) findings: Option<&'a [StandingFinding]>,
    pub(super) now: Timestamp,
}

impl Known<'_> {
    /// What the status is to say, if that is anything else than what stands.
    pub(super) fn news(&self) -> Option<Status> {
        let status = self.status();
        let Some(old) = self.status else { return Some(status) };
        let aged = |observed: &Option<Observed>| {
            observed.as_ref().map_or(self.now, |observed| observed.uid.at)
        };
        let is_old = aged(&status.observed).duration_since(aged(&old.observed)) >= REFRESHED;
        let mut same_age = status.clone();
        if let (Some(new), Some(old)) = (&mut same_age.observed, &old.observed) {
            new.uid.at = old.uid.at;
            each(new, old, &Times);
        }
        (is_old || same_age != *old).then_some(status)
    }

    fn status(&self) -> Status {
        let old = self.status.cloned().unwrap_or_default();
        // What was seen last stands, with its age, until something else is seen.
        let observed = match self.visit {
            Visit::Shown(shown) => Some(self.completed(shown, old.observed.as_ref())),
            Visit::Failed(..) | Visit::NotTried(..) => old.observed.clone(),
        };
        let findings = self.findings.map_or(old.findings, <[_]>::to_vec);
        let mut status = Status {
            observed_generation: self.generation,
            joined_by: self.joined_by.to_vec(),
            // Where all of an object's fields are taken back, server-side apply makes null of it.
            summary: Some(self.summary(observed.as_ref())).filter(|it| *it != Summary::default()),
            conditions: Vec::new(),
            findings: findings.into_iter().take(MOST_FINDINGS).collect(),
            observed,
        };
        let conditions = [
            self.reachable(),
            self.known(status.observed.as_ref()),
            sound(self.findings, &old.conditions),
        ];
        status.conditions = conditions
            .into_iter()
            .map(|(kind, is, reason, message)| {
                let before = old.conditions.iter().find(|before| before.kind == kind);
                let is_same = before.filter(|before| before.status == is);
                Condition {
                    kind: kind.to_owned(),
                    status: is.to_owned(),
                    reason,
                    message: message.chars().take(LONGEST).collect(),
                    last_transition_time: is_same
                        .map_or(self.now, |before| before.last_transition_time),
                    observed_generation: self.generation,
                }
            })
            .collect();
        status
    }

    /// What the cluster shows, and of what it does not let be read now, what it showed before: that
    /// it is refused, or that nobody tells it for the moment, does not mean that it has changed.
    fn completed(&self, shown: &Shown, before: Option<&Observed>) -> Observed {
        let mut observed = shown.observed.clone();
        let same = before.filter(|before| before.uid.value == observed.uid.value);
        let stands = Stands(self.now);
        match same {
            Some(before) if !shown.refused.is_empty() => each(&mut observed, before, &stands),
            Some(before) => {
                // No cluster is without these: who tells them may be starting anew.
                let Observed { cluster_domain, pod_subnets, service_subnets, .. } = &mut observed;
                if cluster_domain.is_none() {
                    stands.one(cluster_domain, before.cluster_domain.as_ref());
                }
                if pod_subnets.is_none() {
                    stands.one(pod_subnets, before.pod_subnets.as_ref());
                }
                if service_subnets.is_none() {
                    stands.one(service_subnets, before.service_subnets.as_ref());
                }
            }
            None => {}
        }
        observed
    }

    fn reachable(&self) -> (&'static str, &'static str, String, String) {
        let (is, reason, message) = match self.visit {
            Visit::Shown(shown) if shown.refused.is_empty() => {
                ("True", "Read", "the cluster was read".to_owned())
            }
            Visit::Shown(shown) => (
                "True",
                IN_PART,
                format!(
                    "the cluster was read, but not its {}: it does not allow that, or they are too many; what was seen of them before stands for an hour",
                    shown.refused.join(", ")
                ),
            ),
            Visit::Failed(reason, message) => ("False", *reason, message.clone()),
            Visit::NotTried(reason, message) => ("Unknown", *reason, (*message).to_owned()),
        };
        ("Reachable", is, reason.to_owned(), message)
    }

    fn known(&self, observed: Option<&Observed>) -> (&'static str, &'static str, String, String) {
        let is_exact = |is_stated: bool, fact: Option<bool>| is_stated || fact == Some(true);
        let spec = self.spec;
        let domain = observed.and_then(|it| it.cluster_domain.as_ref()).map(|fact| fact.exact);
        let pods = observed.and_then(|it| it.pod_subnets.as_ref()).map(|fact| fact.exact);
        let services = observed.and_then(|it| it.service_subnets.as_ref()).map(|fact| fact.exact);
        let facts = [
            ("clusterDomain", is_exact(spec.cluster_domain.is_some(), domain)),
            ("podSubnets", is_exact(!spec.pod_subnets.is_empty(), pods)),
            ("serviceSubnets", is_exact(!spec.service_subnets.is_empty(), services)),
        ];
        let missing: Vec<_> =
            facts.iter().filter(|(_, is_known)| !is_known).map(|(name, _)| *name).collect();
        if missing.is_empty() {
            let message = "domain and subnets are stated or observed".to_owned();
            return ("Known", "True", "Known".to_owned(), message);
        }
        let message = format!("not known as a whole: {}; state it in spec", missing.join(", "));
        ("Known", "False", "UnknownFacts".to_owned(), message)
    }

    fn summary(&self, observed: Option<&Observed>) -> Summary {
        let one = |stated: &Option<String>, fact: Option<&Fact<String>>| {
            let observed = fact.map(|fact| fact.value.clone());
            stated.clone().or(observed).unwrap_or_default()
        };
        let all = |stated: &[String], fact: Option<&Fact<Vec<String>>>| match fact {
            _ if !stated.is_empty() => stated.join(","),
            Some(fact) if fact.exact => fact.value.join(","),
            Some(fact) => format!("at least {}", fact.value.join(",")),
            None => String::new(),
        };
        let mut kinds: Vec<_> = self.joined_by.iter().map(|joined| joined.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let spec = self.spec;
        Summary {
            cluster_domain: one(
                &spec.cluster_domain,
                observed.and_then(|it| it.cluster_domain.as_ref()),
            ),
            pods: all(&spec.pod_subnets, observed.and_then(|it| it.pod_subnets.as_ref())),
            services: all(
                &spec.service_subnets,
                observed.and_then(|it| it.service_subnets.as_ref()),
            ),
            network: one(&spec.network, observed.and_then(|it| it.network.as_ref())),
            joined_by: kinds.join(","),
        }
    }
}

fn sound(
    findings: Option<&[StandingFinding]>,
    before: &[Condition],
) -> (&'static str, &'static str, String, String) {
    let Some(findings) = findings else {
        let before = before.iter().find(|before| before.kind == "Sound");
        return match before {
            Some(before) => {
                let is = ["True", "False"].into_iter().find(|is| *is == before.status);
                ("Sound", is.unwrap_or("Unknown"), before.reason.clone(), before.message.clone())
            }
            None => ("Sound", "Unknown", "NotJudged".to_owned(), "not judged yet".to_owned()),
        };
    };
    match findings.iter().find(|finding| finding.severity == "Deny") {
        Some(denial) => ("Sound", "False", denial.rule.clone(), denial.message.clone()),
        None => ("Sound", "True", "NoDenials".to_owned(), "no rule denies it".to_owned()),
    }
}

/// Does something to each fact, beside what was seen of it before.
fn each(new: &mut Observed, old: &Observed, with: &impl Beside) {
    with.one(&mut new.cluster_domain, old.cluster_domain.as_ref());
    with.one(&mut new.pod_subnets, old.pod_subnets.as_ref());
    with.one(&mut new.service_subnets, old.service_subnets.as_ref());
    with.one(&mut new.network, old.network.as_ref());
    with.one(&mut new.gateways, old.gateways.as_ref());
    with.one(&mut new.trust_domain, old.trust_domain.as_ref());
    with.one(&mut new.mesh_id, old.mesh_id.as_ref());
    with.one(&mut new.cluster_id, old.cluster_id.as_ref());
    with.one(&mut new.cluster_uuid, old.cluster_uuid.as_ref());
}

/// What is done to a fact, beside what was seen of it before.
trait Beside {
    fn one<T: Clone + PartialEq>(&self, new: &mut Option<Fact<T>>, old: Option<&Fact<T>>);
}

/// Gives facts the times of what stands, so that what is the same can be told.
struct Times;

impl Beside for Times {
    fn one<T: Clone + PartialEq>(&self, new: &mut Option<Fact<T>>, old: Option<&Fact<T>>) {
        if let (Some(new), Some(old)) = (new, old) {
            new.at = old.at;
        }
    }
}

/// Leaves in place what was seen of a fact, unless more is known now, or at this time it is too old.
struct Stands(Timestamp);

impl Beside for Stands {
    fn one<T: Clone + PartialEq>(&self, new: &mut Option<Fact<T>>, old: Option<&Fact<T>>) {
        let told_more = |old: &Fact<T>| new.as_ref().is_none_or(|new| old.exact && !new.exact);
        let stands = |old: &Fact<T>| self.0.duration_since(old.at) < STANDS;
        if let Some(old) = old.filter(|old| told_more(old) && stands(old)) {
            *new = Some(old.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn observed(minute: i64, pods: &str, exact: bool) -> Observed {
        let fact = |value: &str| Fact {
            value: value.to_owned(),
            from: "x".to_owned(),
            exact: true,
            at: at(minute),
        };
        let subnets = |subnet: &str, exact| Fact {
            value: vec![subnet.to_owned()],
            from: "x".to_owned(),
            exact,
            at: at(minute),
        };
        Observed {
            uid: fact("u"),
            cluster_domain: Some(fact("cluster.local")),
            pod_subnets: Some(subnets(pods, exact)),
            service_subnets: Some(subnets("10.222.0.0/16", true)),
            network: None,
            gateways: None,
            trust_domain: None,
            mesh_id: None,
            cluster_id: None,
            cluster_uuid: None,
        }
    }

    fn shown(minute: i64, pods: &str) -> Visit {
        showing(observed(minute, pods, true), &[])
    }

    fn showing(observed: Observed, refused: &[&'static str]) -> Visit {
        Visit::Shown(Box::new(Shown { observed, refused: refused.to_vec() }))
    }

    fn joined() -> Vec<Joined> {
        vec![Joined { kind: "Secret".to_owned(), name: "s".to_owned(), ..Joined::default() }]
    }

    fn next(minute: i64, status: Option<&Status>, visit: &Visit) -> Option<Status> {
        let (spec, joined_by) = (Spec::default(), joined());
        Known {
            spec: &spec,
            generation: Some(1),
            status,
            joined_by: &joined_by,
            visit,
            findings: Some(&[]),
            now: at(minute),
        }
        .news()
    }

    fn conditions(status: &Status) -> Vec<String> {
        let told = status.conditions.iter().map(|it| {
            let since = it.last_transition_time.as_second() / 60;
            format!("{}={} {} since {since}", it.kind, it.status, it.reason)
        });
        told.collect()
    }

    #[test]
    fn what_a_visit_shows_is_written_once_until_it_changes_or_ages() {
        let first = next(10, None, &shown(10, "10.1.0.0/16")).unwrap();
        let expected = [
            "Reachable=True Read since 10",
            "Known=True Known since 10",
            "Sound=True NoDenials since 10",
        ];
        assert_eq!(conditions(&first), expected);
        let summary = first.summary.clone().unwrap();
        assert_eq!((&*summary.pods, &*summary.joined_by), ("10.1.0.0/16", "Secret"));
        assert_eq!(next(11, Some(&first), &shown(11, "10.1.0.0/16")), None, "a second scout");
        let changed = next(12, Some(&first), &shown(12, "10.2.0.0/16")).unwrap();
        assert_eq!(changed.summary.unwrap().pods, "10.2.0.0/16");
        let aged = next(20, Some(&first), &shown(20, "10.1.0.0/16")).unwrap();
        assert_eq!(aged.observed.as_ref().unwrap().uid.at, at(20));
        assert_eq!(conditions(&aged), expected, "nothing has turned");
    }

    #[test]
    fn what_was_seen_stands_with_its_age_while_a_cluster_cannot_be_read() {
        let first = next(10, None, &shown(10, "10.1.0.0/16")).unwrap();
        let failed = Visit::Failed("Timeout", "it does not answer in time".to_owned());
        let lost = next(20, Some(&first), &failed).unwrap();
        assert_eq!(lost.observed, first.observed);
        assert_eq!(conditions(&lost)[0], "Reachable=False Timeout since 20");
        assert_eq!(conditions(&lost)[1], "Known=True Known since 10");
        assert_eq!(next(300, Some(&lost), &failed), None, "there is nothing new to tell");
        let back = next(301, Some(&lost), &shown(301, "10.1.0.0/16")).unwrap();
        assert_eq!(conditions(&back)[0], "Reachable=True Read since 301");
        let none = next(302, Some(&back), &NO_SECRET).unwrap();
        assert_eq!(none.observed, back.observed);
        assert_eq!(conditions(&none)[0], "Reachable=Unknown NoRemoteSecret since 302");
    }

    #[test]
    fn what_a_cluster_does_not_let_be_read_any_more_is_not_forgotten_for_an_hour() {
        let bare = |minute| Observed {
            cluster_domain: None,
            service_subnets: None,
            ..observed(minute, "10.1.2.0/24", false)
        };
        let pods = |status: &Status| status.summary.clone().unwrap().pods;
        let first = next(10, None, &shown(10, "10.1.0.0/16")).unwrap();
        let part = next(20, Some(&first), &showing(bare(20), &["pods"])).unwrap();
        let reachable = &part.conditions[0];
        assert_eq!((&*reachable.status, &*reachable.reason), ("True", "ReadInPart"));
        assert!(reachable.message.contains("not its pods:"), "{}", reachable.message);
        assert_eq!(conditions(&part)[1], "Known=True Known since 10");
        let (before, after) = (first.observed.clone().unwrap(), part.observed.clone().unwrap());
        assert_eq!((&after.cluster_domain, after.uid.at), (&before.cluster_domain, at(20)));
        assert_eq!(after.pod_subnets, before.pod_subnets);
        assert_eq!(pods(&part), "10.1.0.0/16");
        // What it lets be read is as it is now, but for what it cannot be without.
        let gone = next(20, Some(&first), &showing(bare(20), &[])).unwrap();
        assert_eq!(pods(&gone), "at least 10.1.2.0/24");
        assert_eq!(gone.observed.unwrap().cluster_domain, before.cluster_domain);
        let mut another = bare(20);
        another.uid.value = "v".to_owned();
        let another = next(20, Some(&first), &showing(another, &["pods"])).unwrap();
        assert_eq!(another.observed.unwrap().cluster_domain, None);
        // It has been an hour.
        let late = next(70, Some(&part), &showing(bare(70), &["pods"])).unwrap();
        assert_eq!(conditions(&late)[1], "Known=False UnknownFacts since 70");
        assert_eq!(late.observed.unwrap().cluster_domain, None);
    }

    #[test]
    fn what_is_known_in_part_is_not_known() {
        let visit = showing(observed(1, "10.1.2.0/24", false), &[]);
        let status = next(1, None, &visit).unwrap();
        assert_eq!(conditions(&status)[1], "Known=False UnknownFacts since 1");
        assert_eq!(status.summary.unwrap().pods, "at least 10.1.2.0/24");
        let spec = Spec { pod_subnets: vec!["10.1.0.0/16".to_owned()], ..Spec::default() };
        let known = Known {
            spec: &spec,
            generation: None,
            status: None,
            joined_by: &[],
            visit: &visit,
            findings: None,
            now: at(1),
        };
        let status = known.news().unwrap();
        assert_eq!(conditions(&status)[1], "Known=True Known since 1");
        assert_eq!(conditions(&status)[2], "Sound=Unknown NotJudged since 1");
        assert_eq!(status.summary.unwrap().pods, "10.1.0.0/16");
    }

    #[test]
    fn a_denial_that_stands_is_not_sound_and_findings_are_bounded() {
        let finding = |severity: &str| StandingFinding {
            rule: "SubnetOverlap".to_owned(),
            severity: severity.to_owned(),
            object: "MeshMember b".to_owned(),
            field: "status.observed.podSubnets".to_owned(),
            message: "x".repeat(2 * LONGEST),
        };
        let spec = Spec::default();
        let of = |findings: &[StandingFinding], status: Option<&Status>| {
            let known = Known {
                spec: &spec,
                generation: None,
                status,
                joined_by: &[],
                visit: &NOT_YET,
                findings: Some(findings),
                now: at(1),
            };
            known.news().unwrap()
        };
        let warned = of(&[finding("Warn")], None);
        assert_eq!(conditions(&warned)[2], "Sound=True NoDenials since 1");
        let denied = of(&vec![finding("Deny"); 2 * MOST_FINDINGS], None);
        assert_eq!(conditions(&denied)[2], "Sound=False SubnetOverlap since 1");
        assert_eq!(denied.findings.len(), MOST_FINDINGS);
        assert_eq!(denied.conditions[2].message.chars().count(), LONGEST);
    }
}
