//! What is to be done next: a function of what the Secret holds, of what is published, and of the
//! time. One step is one write, so replicas that act at once agree by whose write comes first.

use std::time::Duration;

use rcgen::Error;

use super::kept::{Authority, Kept, Leaf, Signer};

/// What certificates are to be like.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The DNS names and IP addresses that the certificate is for, in lower case.
    pub names: Vec<String>,
    /// How long an authority lives; at least twice as long as a certificate.
    pub authority_life: Duration,
    /// How long a certificate lives.
    pub life: Duration,
    /// How long an authority is published before a certificate of it is shown.
    pub settle: Duration,
}

/// What is known besides the Secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// The time, in seconds since 1970.
    pub(super) now: i64,
    /// For how long every caller was told to trust the next authority; nothing if not all were.
    pub(super) published_for: Option<Duration>,
    /// Whether there may be a replica that remembers what the Secret has lost.
    pub(super) others_may_know: bool,
}

/// One change to the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is nothing to go on from: make an authority, and a certificate by it.
    Begin,
    /// The certificate is lost or spoilt: put back the one that is shown.
    PutBack,
    /// Have callers trust the next authority.
    Prepare,
    /// Sign by the next authority from now on.
    ChangeOver,
    /// Make a new certificate by the authority that signs.
    Renew,
    /// Have callers no longer trust authorities that nothing is shown of.
    Forget,
}

/// The next step; nothing if all is as it should be, or time has to pass. `held` is what this
/// replica shows.
pub(super) fn next(kept: &Kept, held: Option<&Kept>, sight: Sight, terms: &Terms) -> Option<Step> {
    let now = sight.now;
    let valid = |signer: &&Signer| signer.authority.validity.contains(now);
    let signer = kept.signer.as_ref().filter(valid);
    let coming = kept.next.as_ref().filter(valid);
    let Some(leaf) = kept.leaf.as_ref().filter(|_| kept.is_usable(now)) else {
        // Callers cannot trust what there is, so nothing is lost by any change.
        return match (signer, coming) {
            _ if held.is_some_and(|held| held.is_usable(now)) => Some(Step::PutBack),
            (Some(_), _) => Some(Step::Renew),
            (None, Some(_)) => Some(Step::ChangeOver),
            (None, None) => (!sight.others_may_know).then_some(Step::Begin),
        };
    };
    if coming.is_some() && sight.published_for.is_some_and(|time| time >= terms.settle) {
        return Some(Step::ChangeOver);
    }
    if coming.is_none() && signer.is_none_or(|signer| terms.is_due(&signer.authority, now)) {
        return Some(Step::Prepare);
    }
    if let Some(signer) = signer {
        let lives_on = leaf.loaded.validity.until < signer.authority.validity.until;
        if (leaf.loaded.validity.is_due(now) && lives_on) || !terms.are_met_by(&leaf.names) {
            return Some(Step::Renew);
        }
    }
    let outdated = kept.authorities.iter().any(|authority| !kept.needs(authority, now))
        || kept.old.iter().any(|certificate| certificate.validity.until < now);
    outdated.then_some(Step::Forget)
}

impl Step {
    /// The state after this step.
    pub(super) fn apply(
        self,
        mut kept: Kept,
        held: Option<&Kept>,
        now: i64,
        terms: &Terms,
    ) -> Result<Kept, Error> {
        match self {
            Self::Begin => {
                let signer = Signer::make(now, terms.authority_life)?;
                kept = Kept {
                    authorities: vec![signer.authority.clone()],
                    leaf: Some(signer.sign(terms.names.clone(), now, terms.life)?),
                    signer: Some(signer),
                    ..Kept::default()
                };
            }
            Self::PutBack => {
                if let Some(held) = held {
                    kept.leaf.clone_from(&held.leaf);
                    join(&mut kept.authorities, &held.authorities);
                    join(&mut kept.old, &held.old);
                }
            }
            Self::Prepare => {
                let next = Signer::make(now, terms.authority_life)?;
                kept.authorities.push(next.authority.clone());
                kept.next = Some(next);
            }
            Self::ChangeOver => {
                if let Some(next) = kept.next.take() {
                    kept.old.extend(kept.leaf.as_ref().and_then(Leaf::retired));
                    kept.leaf = Some(next.sign(terms.names.clone(), now, terms.life)?);
                    kept.signer = Some(next);
                }
            }
            Self::Renew => {
                if let Some(signer) = &kept.signer {
                    let mut names = terms.names.clone();
                    // Replicas of which each asks for other names, as in an upgrade, are all served.
                    let asked_for_else = kept.leaf.iter().filter(|leaf| {
                        !leaf.loaded.validity.is_due(now) && !terms.are_met_by(&leaf.names)
                    });
                    names.extend(asked_for_else.flat_map(|leaf| leaf.names.clone()));
                    names.sort_unstable();
                    names.dedup();
                    kept.leaf = Some(signer.sign(names, now, terms.life)?);
                }
            }
            Self::Forget => {
                kept.old.retain(|certificate| certificate.validity.until >= now);
                let needed = kept.authorities.iter().filter(|authority| kept.needs(authority, now));
                kept.authorities = needed.cloned().collect();
                let is_known = |signer: &Signer| kept.authorities.contains(&signer.authority);
                kept.signer = kept.signer.take().filter(is_known);
                kept.next = kept.next.take().filter(is_known);
            }
        }
        Ok(kept)
    }

    /// What is told of it in the log.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Begin => "a certificate authority is made, and a certificate by it",
            Self::PutBack => "the Secret had lost its certificate; the one in use is put back",
            Self::Prepare => "the next certificate authority is made, to be trusted from now on",
            Self::ChangeOver => "the next certificate authority signs from now on",
            Self::Renew => "a new certificate is made",
            Self::Forget => "a certificate authority of the past is trusted no more",
        }
    }
}

impl Terms {
    /// Whether an authority is to be followed by the next: two thirds of its life are over, or a
    /// whole life of a certificate does not fit into the rest.
    fn is_due(&self, authority: &Authority, now: i64) -> bool {
        let life = i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX);
        let validity = authority.validity;
        validity.is_due(now) || now > validity.until.saturating_sub(life)
    }

    fn are_met_by(&self, names: &[String]) -> bool {
        self.names.iter().all(|name| names.iter().any(|n| n.eq_ignore_ascii_case(name)))
    }
}

/// Adds what is not there yet.
fn join(to: &mut Vec<Authority>, from: &[Authority]) {
    for authority in from {
        if !to.contains(authority) {
            to.push(authority.clone());
        }
    }
}
