//! The next step: a function of the Secret's content, of what is published, and of the time. One
//! step is one write, so when replicas act at the same time, the first write decides.

use std::time::Duration;

use rcgen::Error;

use super::kept::{Authority, Kept, Leaf, Signer};
use super::paths::SecretPath;

/// Requirements for certificates and paths.
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
    /// How long a path is called before the next one takes over.
    pub path_life: Duration,
}

/// What is known besides the Secret.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    /// The time, in seconds since 1970.
    pub(super) now: i64,
    /// What this replica shows.
    pub(super) held: Option<&'a Kept>,
    /// The CAs that are published, as far as that is known.
    pub(super) published: &'a [Authority],
    /// For how long the next CA has been in every `caBundle`; `None` if it is not in all.
    pub(super) published_for: Option<Duration>,
    /// Whether there may be a replica that remembers what the Secret has lost.
    pub(super) others_may_know: bool,
    /// Whether every replica has had the time to say that it shows a certificate of an authority
    /// that the Secret knows no use of.
    pub(super) all_have_looked: bool,
    /// For how long the path has been in every webhook; `None` if it is not in all.
    pub(super) path_published_for: Option<Duration>,
    /// Whether the path may have been disclosed.
    pub(super) path_is_suspect: bool,
}

/// One change to the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is nothing to continue from: create a CA, and a certificate signed by it.
    Begin,
    /// The certificate or its authority is lost: put back what is shown.
    PutBack,
    /// The Secret does not know what is shown: have callers trust that, too.
    Vouch,
    /// Have callers trust the next authority.
    Prepare,
    /// Sign by the next authority from now on.
    ChangeOver,
    /// Make a new certificate by the authority that signs.
    Renew,
    /// Have callers no longer trust authorities that nothing is shown of.
    Forget,
    /// Have callers call another path.
    ChangePath,
}

/// The next step; nothing if all is as it should be, or time has to pass.
pub(super) fn next(kept: &Kept, situation: Situation<'_>, terms: &Terms) -> Option<Step> {
    let Situation { now, held, .. } = situation;
    let (signer, coming) = (kept.signer(now), kept.next(now));
    let Some(leaf) = kept.leaf.as_ref().filter(|_| kept.is_usable(now)) else {
        // Callers cannot trust what there is, so nothing is lost by any change.
        return match (signer, coming) {
            _ if held.is_some_and(|held| held.is_usable(now)) => Some(Step::PutBack),
            (Some(_), _) => Some(Step::Renew),
            (None, Some(_)) => Some(Step::ChangeOver),
            (None, None) => (!situation.others_may_know).then_some(Step::Begin),
        };
    };
    if held.is_some_and(|held| held.is_usable(now) && !knows(kept, held, now)) {
        return Some(Step::Vouch);
    }
    if coming.is_some() && situation.published_for.is_some_and(|time| time >= terms.settle) {
        return Some(Step::ChangeOver);
    }
    if coming.is_none() && signer.as_ref().is_none_or(|s| terms.is_due(&s.authority, now)) {
        return Some(Step::Prepare);
    }
    if let Some(signer) = signer {
        let lives_on = leaf.loaded.validity.until < signer.authority.validity.until;
        if (leaf.loaded.validity.is_due(now) && lives_on) || !terms.are_met_by(&leaf.names) {
            return Some(Step::Renew);
        }
    }
    if terms.is_path_due(kept, situation) {
        return Some(Step::ChangePath);
    }
    (situation.all_have_looked && !kept.unneeded(now).is_empty()).then_some(Step::Forget)
}

/// Whether to serve the certificate in the Secret instead of the current one, given whether callers
/// trust each; while that cannot be read, they are not known to trust anything.
pub(super) fn is_to_be_shown(kept_is_trusted: bool, held_is_trusted: bool) -> bool {
    kept_is_trusted || !held_is_trusted
}

impl Step {
    /// The state after this step.
    pub(super) fn apply(
        self,
        mut kept: Kept,
        situation: Situation<'_>,
        terms: &Terms,
    ) -> Result<Kept, Error> {
        let Situation { now, held, published, .. } = situation;
        match self {
            Self::Begin => {
                let signer = Signer::make(now, terms.authority_life)?;
                kept = Kept {
                    leaf: Some(signer.sign(terms.names.clone(), now, terms.life)?),
                    authorities: vec![signer.authority],
                    signer: Some(signer.key),
                    path: kept.path.or(SecretPath::make()),
                    last_path: kept.last_path,
                    ..Kept::default()
                };
                // Whoever shows a certificate of one of these has the time to vouch for it.
                join(&mut kept.authorities, published);
            }
            Self::PutBack => {
                if let Some(held) = held {
                    join(&mut kept.authorities, &held.authorities);
                    join(&mut kept.old, &held.old);
                    if !kept.is_usable(now) {
                        kept.leaf.clone_from(&held.leaf);
                    }
                    kept.path = kept.path.or(held.path);
                    kept.last_path = kept.last_path.or(held.last_path);
                }
            }
            Self::Vouch => {
                if let Some(held) = held {
                    let needed: Vec<_> =
                        held.authorities.iter().filter(|known| held.needs(known, now)).collect();
                    join(&mut kept.authorities, needed);
                    kept.old.extend(held.leaf.as_ref().and_then(Leaf::retired));
                }
            }
            Self::Prepare => {
                let next = Signer::make(now, terms.authority_life)?;
                kept.authorities.push(next.authority);
                kept.next = Some(next.key);
            }
            Self::ChangeOver => {
                if let Some(next) = kept.next(now) {
                    kept.old.retain(|certificate| certificate.validity.until >= now);
                    kept.old.extend(kept.leaf.as_ref().and_then(Leaf::retired));
                    kept.leaf = Some(next.sign(terms.names.clone(), now, terms.life)?);
                    kept.signer = kept.next.take();
                }
            }
            Self::Renew => {
                if let Some(signer) = kept.signer(now) {
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
                let needed = kept.authorities.iter().filter(|authority| kept.needs(authority, now));
                kept.authorities = needed.cloned().collect();
                kept.old.retain(|certificate| certificate.validity.until >= now);
            }
            Self::ChangePath => {
                let path = SecretPath::make().ok_or(Error::RingUnspecified)?;
                kept.last_path = kept.path.or(held.and_then(|held| held.path));
                kept.path = Some(path);
            }
        }
        Ok(kept)
    }

    /// The log message.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Begin => "a certificate authority (CA) and a certificate are created",
            Self::PutBack => "the Secret had lost its certificate; the one in use is restored",
            Self::Vouch => "the Secret did not contain the certificate in use; it stays trusted",
            Self::Prepare => "the next certificate authority is created, and trusted from now on",
            Self::ChangeOver => "the next certificate authority signs from now on",
            Self::Renew => "a new certificate is created",
            Self::Forget => "a previous certificate authority is no longer trusted",
            Self::ChangePath => "a new secret path is created, to be called from now on",
        }
    }
}

/// Whether what is shown stays trusted for as long as it may be shown.
fn knows(kept: &Kept, held: &Kept, now: i64) -> bool {
    let needed = kept.authorities.iter().filter(|authority| kept.needs(authority, now));
    let is_the_same = |leaf: &Leaf| kept.leaf.as_ref().is_some_and(|kept| kept.is(leaf));
    held.leaf.as_ref().is_none_or(|leaf| is_the_same(leaf) || leaf.is_trusted(needed, now))
}

impl Terms {
    /// Whether it is time for the next CA: two thirds of its lifetime are over, or the rest is
    /// shorter than the lifetime of a certificate.
    fn is_due(&self, authority: &Authority, now: i64) -> bool {
        let life = i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX);
        let validity = authority.validity;
        validity.is_due(now) || now > validity.until.saturating_sub(life)
    }

    /// Whether the path has been called for long enough, or may be known to others. One that was
    /// disclosed stays until all callers know it: so a storm of failed calls changes only one path
    /// at a time.
    fn is_path_due(&self, kept: &Kept, situation: Situation<'_>) -> bool {
        let has_lasted = |time| situation.path_published_for.is_some_and(|lasted| lasted >= time);
        kept.path.is_none()
            || has_lasted(self.path_life)
            || (situation.path_is_suspect && has_lasted(self.settle))
    }

    fn are_met_by(&self, names: &[String]) -> bool {
        self.names.iter().all(|name| names.iter().any(|n| n.eq_ignore_ascii_case(name)))
    }
}

/// Adds what is not there yet.
fn join<'a>(to: &mut Vec<Authority>, from: impl IntoIterator<Item = &'a Authority>) {
    for authority in from {
        if !to.contains(authority) {
            to.push(authority.clone());
        }
    }
}
