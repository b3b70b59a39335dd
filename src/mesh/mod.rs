//! The mesh: its members, and indexes so that a review looks up instead of searching.

mod claim;
mod domain;
mod identity;
mod index;
mod member;
mod origin;
mod place;
mod reading;
mod small_set;
mod subnets;
mod tally;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use claim::{
    About, Allow, Claim, EndpointSource, Fact, Fault, Federation, Identity, MemberName, Network,
    NetworkEndpoints, Replaced, Role, SecretKey,
};
pub use domain::StatedDomain;
pub use identity::{DEFAULT_CLUSTER_ID, by_cluster_id, cluster_id, names};
pub use member::Member;
pub use origin::{Basis, Configuration, ObjectRef, Observation, Origin, WriteId};
pub use place::Place;
pub use reading::Reading;
pub use view::{Changed, LOCAL_NETWORK, View};

pub use crate::syntax::Position;

use crate::settings::Settings;
use crate::value::Subnet;
use foldhash::{HashMap, HashMapExt};
use identity::Identities;
use index::Index;
use member::Said;
use small_set::SmallSet;
use subnets::Spot;

/// Every member of the mesh, as the documents that stand describe them.
pub struct Mesh {
    settings: Arc<Settings>,
    members: HashMap<MemberName, Member>,
    /// Which subjects are known by what.
    identities: Identities,
    /// Which subjects each object speaks of.
    spoken_of: HashMap<Arc<ObjectRef>, SmallSet<MemberName>>,
    index: Index,
    /// Whether the cluster knows IstioMulticlusters, though there may be none.
    serves_peers: bool,
}

impl Mesh {
    /// A mesh of which nothing is known yet.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            members: HashMap::new(),
            identities: Identities::default(),
            spoken_of: HashMap::new(),
            index: Index::default(),
            serves_peers: false,
        }
    }

    /// A mesh of what these documents say, whatever their order.
    pub fn of(settings: Arc<Settings>, readings: impl IntoIterator<Item = Reading>) -> Self {
        let mut mesh = Self::new(settings);
        mesh.apply_all(readings);
        mesh
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The mesh as it stands.
    pub fn view(&self) -> View<'_> {
        View::new(self, Changed::NONE)
    }

    /// The mesh with some of its members replaced, without touching the rest.
    pub fn with<'a>(&'a self, changed: &'a Changed) -> View<'a> {
        View::new(self, changed)
    }

    /// The mesh with some subjects replaced, of which each comes once.
    pub fn changed(&self, subjects: Vec<Member>) -> Changed {
        Changed::new(self, self.regrouped(subjects))
    }

    /// The members that change if these subjects are replaced.
    fn regrouped(&self, subjects: Vec<Member>) -> Vec<Member> {
        let standing = |name: &str| self.subject(name);
        identity::regrouped(&self.identities, standing, &self.settings.local_member, subjects)
    }

    /// One member, by its name or by that of one of its subjects.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(self.identities.home(name))
    }

    /// What documents say that speak of a member in one way.
    pub fn subject(&self, name: &str) -> Option<&Member> {
        self.member(name)?.subjects().iter().find(|subject| **subject.name() == *name)
    }

    /// Other subjects that may be part of one member with a subject, whichever stands.
    pub fn akin(&self, subject: &str) -> impl Iterator<Item = &MemberName> {
        let stating = cluster_id(subject).into_iter().flat_map(|id| self.identities.stating(id));
        stating.chain(self.identities.called(subject))
    }

    /// All members, by name.
    pub fn members(&self) -> Vec<&Member> {
        #[allow(clippy::iter_over_hash_type, reason = "sorted right below")]
        let mut members: Vec<_> = self.members.values().collect();
        members.sort_unstable_by_key(|member| member.name());
        members
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nothing is known of any member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The subjects an object speaks of as it stands.
    pub fn spoken_of(&self, object: &ObjectRef) -> impl Iterator<Item = &MemberName> {
        self.spoken_of.get(object).into_iter().flat_map(SmallSet::all)
    }

    /// All that an object says as it stands, whichever member it says it of.
    pub fn said_by(&self, object: &ObjectRef) -> impl Iterator<Item = &Claim> {
        let subjects = self.spoken_of(object).filter_map(|name| self.subject(name));
        subjects.flat_map(|subject| subject.said_by(object))
    }

    /// What an object says as it stands.
    pub fn reading_of(&self, object: &Arc<ObjectRef>) -> Reading {
        let subjects = self.spoken_of(object).filter_map(|name| self.subject(name));
        let statements =
            subjects.map(|subject| (Arc::clone(subject.name()), subject.said_by(object).to_vec()));
        let mut reading = Reading::of(Arc::clone(object));
        reading.statements = statements.collect();
        reading
    }

    /// Whether this is what an object says as it stands.
    pub fn says(&self, reading: &Reading) -> bool {
        let said = reading.statements.iter().filter(|(_, claims)| !claims.is_empty());
        self.spoken_of(&reading.object).count() == said.clone().count()
            && said.clone().all(|(name, claims)| {
                self.subject(name).is_some_and(|it| it.said_by(&reading.object) == *claims)
            })
    }

    /// Whether the cluster knows IstioMulticlusters, as far as was told.
    pub fn serves_peers(&self) -> bool {
        self.serves_peers
    }

    /// Notes whether the cluster knows IstioMulticlusters, though there may be none.
    pub fn serve_peers(&mut self, serves: bool) {
        self.serves_peers = serves;
    }

    /// The first subnet of this length within a range that no member claims.
    pub fn first_free(&self, range: Subnet, length: u8) -> Option<Subnet> {
        self.index.subnets.first_free(range, length)
    }

    /// Takes in what an object says now, in place of all it said before.
    pub fn apply(&mut self, reading: Reading) {
        self.apply_all([reading]);
    }

    /// Takes in what objects say now; of an object that comes twice, the last one counts. A member
    /// that many of them speak of is indexed once.
    pub fn apply_all(&mut self, readings: impl IntoIterator<Item = Reading>) {
        let mut said: BTreeMap<MemberName, Vec<Said>> = BTreeMap::new();
        for Reading { object, statements, .. } in readings {
            let spoken_of = self.spoken_of.remove(&object);
            let mut names: Option<SmallSet<MemberName>> = None;
            for (name, claims) in statements {
                match &mut names {
                    Some(names) => names.insert(Arc::clone(&name)),
                    None => names = Some(SmallSet::One(Arc::clone(&name))),
                }
                said.entry(name).or_default().push((Arc::clone(&object), claims));
            }
            for name in spoken_of.iter().flat_map(SmallSet::all) {
                if !names.as_ref().is_some_and(|names| names.contains(name)) {
                    let nothing = (Arc::clone(&object), Vec::new());
                    said.entry(Arc::clone(name)).or_default().push(nothing);
                }
            }
            if let Some(names) = names {
                self.spoken_of.insert(object, names);
            }
        }
        let subjects = said.into_iter().map(|(name, said)| {
            let mut subject = self.subject(&name).cloned().unwrap_or_else(|| Member::new(name));
            subject.replace_all(said);
            subject
        });
        let members = self.regrouped(subjects.collect());
        for member in &members {
            if let Some(before) = self.members.remove(member.name()) {
                self.identities.remove(&before);
                self.index.remove(&before, self.spot(&before));
            }
        }
        for member in members {
            self.insert(member);
        }
    }

    /// Forgets what an object said.
    pub fn remove(&mut self, object: &ObjectRef) {
        if let Some((object, _)) = self.spoken_of.get_key_value(object) {
            self.apply(Reading::of(Arc::clone(object)));
        }
    }

    /// Lets all who state one domain share its text.
    fn share_domain(&self, claims: &mut [Claim]) {
        for claim in claims {
            if let Some(domain) = StatedDomain::of(&claim.fact)
                && let Some(StatedDomain::Exact(shared)) = self.index.domains.kept(&domain)
            {
                claim.fact = Fact::ClusterDomain(shared.clone());
            }
        }
    }

    /// Takes in a member of which nothing is known.
    fn insert(&mut self, mut member: Member) {
        if !member.is_empty() {
            self.share_domain(member.claims_mut());
            self.identities.insert(&member);
            self.index.insert(&member, self.spot(&member));
            self.members.insert(Arc::clone(member.name()), member);
        }
    }

    /// Where a member's subnets are.
    fn spot(&self, member: &Member) -> Spot {
        let view = self.view();
        let is_uncertain = view.is_described(member) || view.lacks_network(member);
        Spot { network: self.raw_network(member), is_uncertain }
    }

    /// The network a member states, whatever the local member's is called.
    fn raw_network(&self, member: &Member) -> Network {
        let is_local = self.settings.is_local(member.name());
        match member.network_claim() {
            // The local member is on the local network whatever gateway it has.
            Some((Network::Own, _)) if is_local => Network::Local,
            Some((network, _)) => network.clone(),
            None => Network::Local,
        }
    }
}
