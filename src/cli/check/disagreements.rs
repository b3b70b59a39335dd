//! Where the clusters of a repository do not see each other alike.

use std::collections::BTreeMap;

use super::report::{Checking, Judged, diagnostic_at};
use crate::mesh::{Fact, Network, ObjectRef};
use crate::report::diagnostic::{Diagnostic, Level, NOT_MUTUAL, OTHER_SIDE, VIEWS_DIFFER};
use crate::report::locate::{CarriedTexts, Location};
use crate::rule::leads_to;
use crate::syntax::Path;
use crate::value::{MetadataEndpoint, PublicDomainTemplate};

/// What an IstioMulticluster in one cluster says of another one.
struct Listing<'j, 'a> {
    by: &'j Checking<'a>,
    judged: &'j Judged<'a>,
    endpoint: Option<(&'j MetadataEndpoint, &'j Path)>,
    network: Option<(&'j Network, &'j Path)>,
}

/// Tells where two clusters do not see each other alike.
pub(super) fn disagreements(checked: &[Checking<'_>]) -> Vec<Diagnostic> {
    if checked.len() < 2 {
        return Vec::new();
    }
    let listings = listings(checked);
    let templates = templates(checked);
    let mut diagnostics = Vec::new();
    let mut endpoints: BTreeMap<&str, (&str, &MetadataEndpoint)> = BTreeMap::new();
    for ((here, there), listing) in &listings {
        let back = listings.get(&(*there, *here));
        if back.is_none() {
            diagnostics.push(Diagnostic {
                message: format!("{here} lists {there}, but {there} does not list {here}"),
                remedy: format!(
                    "apply an IstioMulticluster for {here} in {there} too: a mesh needs both directions"
                ),
                ..listing.diagnostic(NOT_MUTUAL, &Path::NAME)
            });
        }
        if let Some((endpoint, path)) = listing.endpoint {
            let own = templates.get(there).filter(|own| !leads_to(endpoint, own));
            let other = *endpoints.entry(there).or_insert((here, endpoint));
            let message = match own {
                Some(template) => Some((
                    format!(
                        "{endpoint} is not a metadata endpoint of {there}, whose publicDomainTemplate is {template}"
                    ),
                    format!("write https://{}/metadata/", template.host("istio-metadata")),
                )),
                None if other.1.identity() != endpoint.identity() => Some((
                    format!("{here} finds {there} at {endpoint}, but {} at {}", other.0, other.1),
                    "write the endpoint that the cluster has".to_owned(),
                )),
                None => None,
            };
            diagnostics.extend(message.map(|(message, remedy)| Diagnostic {
                message,
                remedy,
                ..listing.diagnostic(VIEWS_DIFFER, path)
            }));
        }
        // Told of the side that expects to reach the other directly.
        if let (Some((Network::Local, path)), Some(back)) = (listing.network, back)
            && matches!(back.network, Some((Network::Own, _)))
        {
            let mut diagnostic = listing.diagnostic(VIEWS_DIFFER, path);
            let (_, theirs) = back.network.unzip();
            let at = theirs.map(|path| (OTHER_SIDE, back.locate(path)));
            diagnostic.related.extend(at);
            diagnostics.push(Diagnostic {
                message: format!(
                    "{here} expects to reach {there} directly, but {there} reaches {here} through a gateway"
                ),
                remedy: "set enableIngressGateway to the same value on both sides".to_owned(),
                ..diagnostic
            });
        }
    }
    diagnostics
}

impl Listing<'_, '_> {
    fn locate(&self, path: &Path) -> Location {
        self.by.locate(&mut CarriedTexts::default(), self.judged, path).0
    }

    fn diagnostic(&self, code: &'static str, path: &Path) -> Diagnostic {
        Diagnostic {
            object: Some(ObjectRef::clone(&self.judged.reading.object)),
            field: path.to_string(),
            ..diagnostic_at(Level::Warning, code, self.locate(path))
        }
    }
}

/// Which member lists which other one of those whose files are known.
fn listings<'j, 'a>(checked: &'j [Checking<'a>]) -> BTreeMap<(&'j str, &'j str), Listing<'j, 'a>> {
    let mut listings = BTreeMap::new();
    for by in checked {
        for judged in by.objects.iter().filter(|judged| by.is_counted(judged)) {
            for (member, claims) in &judged.reading.statements {
                let is_peer = claims.iter().any(|claim| claim.fact == Fact::Peer);
                let is_known = checked.iter().any(|other| other.settings.is_local(member));
                if !is_peer || !is_known || by.settings.is_local(member) {
                    continue;
                }
                let endpoint = claims
                    .iter()
                    .find_map(|claim| Some((claim.fact.endpoint()?, claim.place.path())));
                let network = claims.iter().find_map(|claim| match &claim.fact {
                    Fact::Network(network) => Some((network, claim.place.path())),
                    _ => None,
                });
                let here = by.settings.local_member.as_str();
                listings.insert((here, &**member), Listing { by, judged, endpoint, network });
            }
        }
    }
    listings
}

/// The names of the public services of each cluster, as its own files tell.
fn templates<'j>(checked: &'j [Checking<'_>]) -> BTreeMap<&'j str, &'j PublicDomainTemplate> {
    let mut templates = BTreeMap::new();
    for by in checked {
        let own = by.objects.iter().filter(|judged| by.is_counted(judged));
        for claim in own.flat_map(|judged| judged.reading.claims_of(&by.settings.local_member)) {
            if let Fact::PublicDomain(template) = &claim.fact {
                templates.insert(by.settings.local_member.as_str(), template);
            }
        }
    }
    templates
}
