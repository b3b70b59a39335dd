//! The mesh as it stands in the cluster, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kube::Client;
use tokio::task::{JoinSet, spawn_blocking};

use crate::cluster::{Told, known_by, watches};
use crate::mesh::{Mesh, ObjectRef};
use crate::meshmember::KIND;
use crate::review::standing_findings;
use crate::rule::{Finding, Severity};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::sources::{Need, Sources};

/// How often the mesh is judged where nothing has changed: what was seen ages.
const AUDIT: Duration = Duration::from_secs(30);
/// The shortest time between two judgements, and how much longer than one takes.
const REST: (Duration, u32) = (Duration::from_millis(500), 20);
/// How many members are judged while the mesh stands still: whoever changes it waits that long.
const AT_ONCE: usize = 32;

/// What stands wrong, by member, the worst first.
pub(super) type Standing = BTreeMap<String, Vec<(Finding, Severity)>>;

/// Judges the mesh that watches keep.
pub(super) struct Judge {
    snapshot: Arc<Snapshot>,
    sources: Arc<Sources>,
    /// In which state the mesh was judged last, and when it is judged next.
    judged: Option<(u64, Instant)>,
}

impl Judge {
    /// Begins the watches, which never end.
    pub(super) fn new(client: &Client, settings: &Settings, tasks: &mut JoinSet<()>) -> Self {
        let watches = watches(settings);
        let mesh = Mesh::of(Arc::new(settings.clone()), Vec::new());
        let snapshot = Arc::new(Snapshot::new(mesh).known_by(known_by(&watches)));
        let required = watches.iter().map(|watch| (watch.to_string(), Need::Required));
        let sources = Arc::new(Sources::new(required));
        let told = Arc::new(Told::new(Arc::clone(&snapshot), &watches));
        for watch in watches {
            let mut watching = watch.over(client.clone(), Arc::clone(&told), Arc::clone(&sources));
            tasks.spawn(async move { watching.run().await });
        }
        Self { snapshot, sources, judged: None }
    }

    /// Whether it is time to judge: the mesh is known, and has changed or aged.
    pub(super) fn is_due(&self) -> bool {
        let is_time = self.judged.is_none_or(|(revision, next)| {
            let now = Instant::now();
            now >= next && revision != self.snapshot.revision() || now >= next + AUDIT
        });
        is_time && self.sources.missing().is_empty()
    }

    /// What stands wrong with these members, each of which is a MeshMember in this version, and
    /// with all others; nothing of one that is not known in that version yet.
    pub(super) async fn judge(&mut self, members: &BTreeMap<String, Option<u64>>) -> Standing {
        let (begun, revision) = (Instant::now(), self.snapshot.revision());
        let (snapshot, members) = (Arc::clone(&self.snapshot), members.clone());
        let standing = spawn_blocking(move || judge(&snapshot, &members)).await;
        let rest = REST.0.max(begun.elapsed() * REST.1);
        self.judged = Some((revision, Instant::now() + rest));
        standing.unwrap_or_default()
    }

    /// The `metadata.uid` of an object as the cluster has it.
    pub(super) fn uid_of(&self, object: &ObjectRef) -> Box<str> {
        self.snapshot.uid_of(object).unwrap_or_default()
    }
}

fn judge(snapshot: &Snapshot, members: &BTreeMap<String, Option<u64>>) -> Standing {
    let is_known = |name: &&String| {
        let object = ObjectRef::new(KIND, None, name.as_str());
        members.get(*name).is_none_or(|version| snapshot.version_of(&object) >= *version)
    };
    let names: BTreeSet<String> = snapshot.read(|mesh| {
        let of_mesh = mesh.members().into_iter().map(|member| member.name().to_string());
        of_mesh.chain(members.keys().cloned()).collect()
    });
    let names: Vec<_> = names.iter().filter(is_known).collect();
    let mut standing = Standing::new();
    for names in names.chunks(AT_ONCE) {
        let now = Some(SystemTime::now().into());
        snapshot.read(|mesh| {
            for name in names {
                let mut findings = standing_findings(mesh, name, now);
                // A clash with a peer is told at the peer.
                findings.retain(|(finding, _)| {
                    !(mesh.settings().is_local(&finding.member) && finding.other.is_some())
                });
                findings.sort_by_key(|(finding, severity)| {
                    (std::cmp::Reverse(*severity), finding.rule)
                });
                standing.insert((*name).clone(), findings);
            }
        });
    }
    standing
}
