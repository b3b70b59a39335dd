//! Other clusters that a write leads to, and what is seen there as part of that write.

use std::sync::Arc;

use crate::document::{Destination, Sight, Way, destinations};
use crate::mesh::{About, Claim, Fact, Fault, Member, MemberName, Mesh, Reading, cluster_id};
use crate::meshmember::Observed;
use crate::review::Write;
use crate::settings::{Policy, Settings};
use crate::syntax::Object;
use crate::value::{ClusterUuid, Invalid};

/// Another cluster, to be read before a write is judged.
pub struct Leads {
    /// Where it is.
    pub to: Destination,
    /// Whether the object led there before: that only tells whether the write moves a member.
    pub before: bool,
}

/// What was seen of it; why nothing was, otherwise.
pub struct Look {
    /// Where it was.
    pub at: Leads,
    /// What it showed.
    pub seen: Result<Sight, String>,
}

/// Where a write leads that the object did not lead before. What is wrong by itself leads nowhere.
pub(super) fn leads(
    write: &Write<'_>,
    object: &Object<'_>,
    old: Option<&Object<'_>>,
    settings: &Settings,
) -> Vec<Leads> {
    let mut found = Vec::new();
    let now = destinations(object, settings);
    if now.is_empty() {
        return found;
    }
    let old = old.map(|old| destinations(old, settings)).unwrap_or_default();
    for to in now {
        let is_wrong = |claim: &Claim| {
            let is_fault = matches!(&claim.fact, Fact::Fault(fault) if !fault.harmless);
            is_fault
                && (*claim.place.path() == to.path || claim.place.path().below(&to.path).is_some())
        };
        let before = old.iter().find(|before| before.subject == to.subject);
        if before.is_some_and(|before| before.way == to.way)
            || write.new.claims_of(&to.subject).iter().any(is_wrong)
        {
            continue;
        }
        // Other credentials lead to the same cluster; another server may be that as well.
        let moved = before.filter(|before| before.server != to.server);
        let moved = moved.filter(|before| matches!(before.way, Way::Kubeconfig(_)));
        found.extend(moved.map(|before| Leads { to: before.clone(), before: true }));
        found.push(Leads { to, before: false });
    }
    found
}

/// What was seen where a write leads, and of the guarded cluster itself.
#[derive(Default)]
pub struct Looks {
    /// What was seen, for each of what the write leads to.
    pub elsewhere: Vec<Look>,
    /// The guarded cluster, by its namespaces.
    pub here: Here,
}

/// What the guarded cluster shows by its namespaces.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// The UID of `kube-system`.
    pub uid: Option<ClusterUuid>,
    /// The networks that Istio's namespaces are labelled with.
    pub networks: Vec<String>,
}

/// Has a write say what was seen where it leads, and what it led to before as well: facts are held
/// against a write that joins a member or moves it to another cluster, and against no other.
pub(super) fn having_looked(mesh: &Mesh, write: &mut Write<'_>, looks: &Looks) {
    let Looks { elsewhere: looks, here } = looks;
    for look in looks.iter().filter(|look| !look.at.before) {
        let Leads { to, .. } = &look.at;
        let sight = match &look.seen {
            Ok(sight) => sight,
            Err(why) => {
                let why = Fact::Unread(why.as_str().into());
                write.new.claim(&to.subject, to.path.clone(), why);
                continue;
            }
        };
        let joins: Vec<_> =
            write.new.claims_of(&to.subject).iter().filter(|it| is_joining(it)).cloned().collect();
        let stood = stood(mesh, write, to, sight, looks);
        if let (Sight::Facts(observed), Some(identity)) = (sight, sight.identity())
            && (here.uid.map(Fact::Uid).as_ref() == Some(&identity) || is_local(mesh, &identity))
        {
            note_home(&mut write.new, to, observed, mesh.settings());
            continue;
        }
        sight.note(&mut write.new, to, &here.networks);
        if !stood {
            continue;
        }
        if write.old.is_none() {
            let mut old = Reading::of(Arc::clone(&write.new.object));
            for Claim { fact, place } in joins {
                old.claim_at(&to.subject, place, fact);
            }
            write.old = Some(old);
        }
        if let Some(old) = &mut write.old {
            sight.note(old, to, &here.networks);
        }
    }
}

/// Notes that a Secret leads to the guarded cluster, which never clashes with itself. Under the
/// cluster's own ID Istio ignores it: one set of Secrets applied everywhere is usual.
fn note_home(reading: &mut Reading, to: &Destination, observed: &Observed, settings: &Settings) {
    let own = observed.cluster_id.as_ref().map(|id| &*id.value);
    let is_ignored = own.is_none() || own == cluster_id(&to.subject);
    let problem = "leads to this cluster itself, by the UID of its namespace kube-system";
    let consequence = if is_ignored { "" } else { ", so Istio finds each of its endpoints twice" };
    let remedy = "apply the Secret in the other clusters only";
    let why = Invalid::new(format!("{problem}{consequence}"), remedy);
    let harmless = is_ignored || settings.self_reference != Policy::Deny;
    let fault = Fault { harmless, ..Fault::new(About::RemoteSecret, "", why) };
    reading.fault(&to.subject, to.path.clone(), fault);
}

/// Whether the local member is known by this identity.
fn is_local(mesh: &Mesh, identity: &Fact) -> bool {
    let local = mesh.view().local();
    local.is_some_and(|local| local.claims().iter().any(|claim| claim.fact == *identity))
}

/// What joins a member, and by what it is known.
fn is_joining(claim: &Claim) -> bool {
    matches!(claim.fact, Fact::RemoteSecret(_) | Fact::Alias(_) | Fact::ClusterId(_))
}

/// Whether the member was this very cluster before, as far as that is known.
fn stood(mesh: &Mesh, write: &Write<'_>, to: &Destination, sight: &Sight, looks: &[Look]) -> bool {
    let identity = sight.identity();
    let known = known_identities(mesh, &write.new, &to.subject, sight);
    if !known.is_empty() {
        return identity.is_some_and(|identity| known.contains(&identity));
    }
    if matches!(sight, Sight::Uuid(..)) {
        return false;
    }
    let before = looks.iter().find(|look| look.at.before && look.at.to.subject == to.subject);
    if let Some(Ok(before)) = before.map(|look| &look.seen) {
        return before.identity() == identity;
    }
    // Nobody can tell, so what joined it before is believed to have led there.
    let old = write.old.as_ref().map_or(&[][..], |old| old.claims_of(&to.subject));
    old.iter().any(|claim| matches!(claim.fact, Fact::RemoteSecret(_)))
}

/// By what the member is known that is spoken of, apart from what is written.
fn known_identities(
    mesh: &Mesh,
    written: &Reading,
    subject: &MemberName,
    sight: &Sight,
) -> Vec<Fact> {
    let mut spoken_of =
        mesh.subject(subject).cloned().unwrap_or_else(|| Member::new(Arc::clone(subject)));
    spoken_of.replace(&written.object, written.claims_of(subject).to_vec());
    let changed = mesh.changed(vec![spoken_of]);
    let Some(member) = mesh.with(&changed).member(subject) else { return Vec::new() };
    let is_known = |claim: &&Claim| {
        let is_of_kind = match sight {
            Sight::Facts(_) => matches!(claim.fact, Fact::Uid(_)),
            Sight::Uuid(..) => matches!(claim.fact, Fact::Uuid(_)),
        };
        is_of_kind && claim.place.is_status()
    };
    // What was pinned in its own status stays there.
    member.claims().iter().filter(is_known).map(|claim| claim.fact.clone()).collect()
}
