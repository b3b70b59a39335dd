//! The texts of a set of files into a report on them. No I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::files::{Found, Input, readable};
use super::unjudged;
use super::write::NotFixed;
use crate::cluster::Contents;
use crate::document;
use crate::manifest::broken::{BrokenDocument, is_of_mesh};
use crate::manifest::{Manifest, fix, read_as};
use crate::mesh::{MemberName, Mesh, ObjectRef, Place, Reading};
use crate::report::diagnostic::{
    DEFINED_TWICE, Diagnostic, Level, NOT_FIXED, OTHER_SIDE, PassedOver, REWRITTEN, UNKNOWN_KIND,
};
use crate::report::locate::{CarriedTexts, Location, SourceFile};
use crate::review::{Reason, review_all};
use crate::rule::Finding;
use crate::settings::Settings;
use crate::syntax::{Path, YamlError};

/// The rule of what cannot be read.
const INVALID_DOCUMENT: &str = "InvalidDocument";

/// What makes files unusable: a named one that is not YAML, or one of the mesh that it is held
/// against.
///
/// Where there is a `kind`, those of the set have none of their own and are read as that.
pub(super) fn unusable(
    set: &[Input],
    against: &[Input],
    kind: Option<&'static str>,
) -> Vec<String> {
    let mut unusable = Vec::new();
    let whole = kind.map(|kind| set.iter().map(move |input| (input, kind)));
    for (input, kind) in whole.into_iter().flatten() {
        if let Err(YamlError { what, span }) = read_as(&input.text, &input.name, kind) {
            unusable.push(format!("{}:{}:{}: {what}", input.name, span.line, span.column));
        }
    }
    let set = if kind.is_some() { &[] } else { set };
    for (input, in_set) in set.iter().map(|i| (i, true)).chain(against.iter().map(|i| (i, false))) {
        let is_named = input.found == Found::Named;
        // What is found in a directory is told as a finding, or passed over.
        if in_set && !is_named {
            continue;
        }
        for broken in readable(&input.text).1 {
            let is_unusable =
                if in_set { !is_finding(&broken) } else { is_named || is_finding(&broken) };
            if is_unusable {
                let YamlError { what, span } = &broken.error;
                unusable.push(format!("{}:{}:{}: {what}", input.name, span.line, span.column));
            }
        }
    }
    unusable
}

/// Whether a broken document is reported as a finding: it was meant to be YAML of the mesh.
fn is_finding(broken: &BrokenDocument) -> bool {
    broken.is_of_mesh && !broken.is_template
}

/// The files of all views.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) sources: &'a [SourceFile],
    /// The member that each belongs to; none if no members are named.
    pub(super) owners: &'a [Option<MemberName>],
    /// Which of them only stood before: the set has them in another form, or no longer.
    pub(super) replaced: &'a [bool],
    /// Which of them a program has made, such as kustomize.
    pub(super) made: &'a [bool],
    /// How many of the sources are the set; those after them are what it is held against.
    pub(super) count: usize,
    pub(super) views: &'a [Arc<Settings>],
}

/// An object that is a mesh resource.
pub(super) struct Judged<'a> {
    pub(super) source: usize,
    /// Which of its file's objects.
    index: usize,
    pub(super) manifest: &'a Manifest<'a>,
    pub(super) reading: Reading,
}

/// The mesh as one cluster sees it.
pub(super) struct Checking<'a> {
    pub(super) settings: &'a Arc<Settings>,
    files: Files<'a>,
    /// What a cluster has, if the set is held against one.
    cluster: Option<HashMap<Arc<ObjectRef>, Reading>>,
    /// Whether that cluster knows `IstioMulticluster` as a resource.
    serves_peers: bool,
    pub(super) objects: Vec<Judged<'a>>,
    /// For each object the last definition, which counts, as it does for kubectl; one of the set
    /// before any other.
    counts: HashMap<ObjectRef, usize>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What of the judged objects is not judged, and why.
    pub(super) passed_over: Vec<PassedOver>,
}

impl<'a> Checking<'a> {
    pub(super) fn new(
        settings: &'a Arc<Settings>,
        files: Files<'a>,
        cluster: Option<Contents>,
    ) -> Self {
        let by_object = |reading: Reading| (Arc::clone(&reading.object), reading);
        let serves_peers = cluster.as_ref().is_some_and(|contents| contents.serves_peers);
        let cluster = cluster.map(|it| it.readings.into_iter().map(by_object).collect());
        let (objects, counts, diagnostics) = (Vec::new(), HashMap::new(), Vec::new());
        let passed_over = Vec::new();
        Self { settings, files, cluster, serves_peers, objects, counts, diagnostics, passed_over }
    }

    /// The member whose cluster a file describes, if that is not the one of this view.
    fn other_cluster(&self, source: usize) -> Option<&'a MemberName> {
        let owner = self.files.owners[source].as_ref()?;
        (**owner != *self.settings.local_member).then_some(owner)
    }

    /// Whether a file is of the cluster of this view.
    pub(super) fn is_own(&self, source: usize) -> bool {
        self.other_cluster(source).is_none()
    }

    /// Whether an object is one of the set, and of the cluster of this view.
    pub(super) fn is_of_set(&self, judged: &Judged<'_>) -> bool {
        judged.source < self.files.count && self.is_own(judged.source)
    }

    /// Whether that is so, and no later definition counts.
    pub(super) fn is_counted(&self, judged: &Judged<'_>) -> bool {
        let counts = self.counts.get(&*judged.reading.object);
        let counts = counts.and_then(|index| self.objects.get(*index));
        self.is_of_set(judged) && counts.is_some_and(|counts| std::ptr::eq(counts, judged))
    }

    /// What an object says in this view.
    fn reading(
        &self,
        source: usize,
        manifest: &Manifest<'_>,
    ) -> Result<Reading, serde_json::Error> {
        let Some(cluster) = self.other_cluster(source) else {
            return manifest.reading(self.settings);
        };
        let mut views = self.files.views.iter();
        let view = views.find(|view| *view.local_member == **cluster).unwrap_or(self.settings);
        manifest.reading(view).map(|reading| reading.of_cluster(cluster))
    }

    /// Reports documents that are not YAML, and returns those that are skipped.
    pub(super) fn broken(&mut self, source: usize, broken: &[BrokenDocument]) -> Vec<PassedOver> {
        let (diagnostics, passed): (Vec<_>, Vec<_>) = broken.iter().partition(|b| is_finding(b));
        for broken in diagnostics {
            let mut at = self.source(source).location(source, broken.error.span.bytes.clone());
            at.is_hidden = broken.is_secret;
            let base = diagnostic_at(Level::Denial, INVALID_DOCUMENT, at);
            self.diagnostics.push(Diagnostic {
                message: broken.error.what.clone(),
                remedy: "write the document as YAML".to_owned(),
                ..base
            });
        }
        let file = &self.source(source).name;
        let passed = passed.into_iter().map(|broken| {
            let what = if broken.is_template { "a template: " } else { "" };
            PassedOver { file: file.clone(), reason: format!("{what}{}", broken.error) }
        });
        passed.collect()
    }

    /// Adds an object; returns whether it is a mesh resource.
    pub(super) fn object(
        &mut self,
        source: usize,
        index: usize,
        manifest: &'a Manifest<'a>,
    ) -> bool {
        let is_own = source < self.files.count && self.is_own(source);
        if unjudged::is_encrypted(manifest) {
            return false;
        }
        let mut reading = match self.reading(source, manifest) {
            Ok(reading) if !self.is_own(source) && reading.statements.is_empty() => return false,
            Ok(reading) if manifest.document(self.settings).is_some() => reading,
            // It is a document but for its label.
            Ok(reading) if is_own && !reading.statements.is_empty() => reading,
            Err(error) if is_own && is_of_mesh(&manifest.json) => {
                self.unreadable(source, manifest, &error);
                return true;
            }
            Ok(_) | Err(_) => {
                if is_own {
                    self.misspelled(source, manifest);
                }
                return false;
            }
        };
        let placeholders = unjudged::take_placeholders(&mut reading);
        if is_own {
            let file = &self.source(source).name;
            let passed = placeholders.into_iter();
            let passed = passed.map(|reason| PassedOver { file: file.clone(), reason });
            self.passed_over.extend(passed);
        }
        let object = ObjectRef::clone(&reading.object);
        let in_cluster = self.cluster.as_ref().is_some_and(|found| found.contains_key(&object));
        if source >= self.files.count && in_cluster {
            return false;
        }
        self.objects.push(Judged { source, index, manifest, reading });
        let newest = self.objects.len() - 1;
        let stands = self.counts.get(&object).and_then(|index| self.objects.get(*index));
        // What the set is held against comes after it, and never replaces it.
        if source < self.files.count
            || stands.is_none_or(|stands| stands.source >= self.files.count)
        {
            self.counts.insert(object, newest);
        }
        true
    }

    /// Adds of a file that kustomize builds from what it holds for other tools: configurations of the
    /// cluster, which have no name. Returns how many there are.
    pub(super) fn material(&mut self, source: usize, manifests: &'a [Manifest<'a>]) -> usize {
        let bare = manifests.iter().enumerate().filter(|(_, manifest)| {
            let document = manifest.document(self.settings);
            document.and_then(document::kept_in).is_some()
        });
        let bare: Vec<_> = bare.collect();
        bare.into_iter().filter(|(index, manifest)| self.object(source, *index, manifest)).count()
    }

    /// Tells of a kind that isthmus does not read and that resembles one that it reads.
    fn misspelled(&mut self, source: usize, manifest: &Manifest<'_>) {
        let Some(meant) = unjudged::meant(manifest) else { return };
        let Some((_, kind)) = manifest.node.entry("kind") else { return };
        let at = self.source(source).location(source, kind.span.bytes.clone());
        let found = kind.text().unwrap_or_default();
        let base = diagnostic_at(Level::Warning, UNKNOWN_KIND, at);
        self.diagnostics.push(Diagnostic {
            field: "kind".to_owned(),
            message: format!(
                "{found} of this apiVersion is not a kind that isthmus reads, so it is not judged"
            ),
            remedy: format!("did you mean {meant}?"),
            ..base
        });
    }

    fn unreadable(&mut self, source: usize, manifest: &Manifest<'_>, error: &serde_json::Error) {
        let text = self.source(source);
        let found = CarriedTexts::default().find(text, &manifest.node, &Path::NAME);
        let at = text.location(source, found.bytes);
        let why = error.to_string();
        // Its place is one in the JSON that was made of the object.
        let why = why.split(" at line ").next().unwrap_or_default();
        let base = diagnostic_at(Level::Denial, INVALID_DOCUMENT, at);
        self.diagnostics.push(Diagnostic {
            message: format!("the object cannot be read: {why}"),
            remedy: "write it as its kind requires".to_owned(),
            ..base
        });
    }

    /// Lets a bare file of the set stand in place of what a cluster was made of it.
    pub(super) fn stand_for_bare_files(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        for judged in self.objects.iter().filter(|judged| judged.source < self.files.count) {
            let document = judged.manifest.document(self.settings);
            let Some((object, field)) = document.and_then(document::kept_in) else { continue };
            let Some(standing) = cluster.get_mut(&object) else { continue };
            let bare = Arc::clone(&judged.reading.object);
            let said = standing.split_off(&field, Arc::clone(&bare));
            cluster.entry(bare).or_insert(said);
        }
    }

    /// Reports objects that are defined more than once in the set.
    pub(super) fn defined_twice(&mut self) {
        let (mut diagnostics, mut carried) = (Vec::new(), CarriedTexts::default());
        for (index, judged) in self.objects.iter().enumerate() {
            let object = &judged.reading.object;
            let Some(counting) = self.counts.get(&**object).filter(|counts| **counts != index)
            else {
                continue;
            };
            let Some(counting) = self.objects.get(*counting) else { continue };
            if judged.source >= self.files.count || !self.is_own(judged.source) {
                continue;
            }
            let at = self.locate(&mut carried, judged, &Path::NAME).0;
            let counts = self.locate(&mut carried, counting, &Path::NAME).0;
            let file = &self.source(counting.source).name;
            let here = &self.source(judged.source).name;
            let base = diagnostic_at(Level::Warning, DEFINED_TWICE, at);
            diagnostics.push(Diagnostic {
                object: Some(ObjectRef::clone(object)),
                field: "metadata.name".to_owned(),
                message: format!(
                    "{object} is defined twice, here in {here} and in {file} at line {}; the last one counts, this one is not judged",
                    counts.start.line
                ),
                remedy: "remove one of them".to_owned(),
                related: vec![("this one counts", counts)],
                ..base
            });
        }
        self.diagnostics.append(&mut diagnostics);
    }

    /// Reports what the set changes, and gives back the mesh that it makes.
    pub(super) fn verdict(&mut self) -> Mesh {
        let counted = |index: usize, judged: &Judged<'_>| {
            self.counts.get(&*judged.reading.object) == Some(&index)
        };
        let written: Vec<_> = self
            .objects
            .iter()
            .enumerate()
            .filter(|(index, judged)| judged.source < self.files.count && counted(*index, judged))
            .map(|(_, judged)| match &self.cluster {
                Some(cluster) => {
                    let stands = cluster.get(&judged.reading.object);
                    judged.reading.clone().with_status_of(stands)
                }
                None => judged.reading.clone(),
            })
            .collect();
        let files = self.files;
        let stands = |is_kept: fn(bool) -> bool| {
            let stands = self.objects.iter().filter(move |judged| {
                judged.source >= files.count && is_kept(files.replaced[judged.source])
            });
            let in_cluster = self.cluster.iter().flat_map(HashMap::values).cloned();
            stands.map(|judged| judged.reading.clone()).chain(in_cluster)
        };
        let mut before = Mesh::of(Arc::clone(self.settings), stands(|_| true));
        let kept = stands(|is_replaced| !is_replaced);
        let mut after = Mesh::of(Arc::clone(self.settings), kept.chain(written.iter().cloned()));
        before.serve_peers(self.serves_peers);
        after.serve_peers(self.serves_peers);
        let verdict = review_all(&before, &after, &written, Some(SystemTime::now().into()));
        let (mut diagnostics, mut carried) = (Vec::new(), CarriedTexts::default());
        for finding in &verdict.denials {
            diagnostics.push(self.finding(&mut carried, finding, None));
        }
        for warning in &verdict.warnings {
            diagnostics.push(self.finding(&mut carried, &warning.finding, Some(warning.because)));
        }
        for (place, note) in &verdict.notes {
            let (at, is_inside) = self.place(&mut carried, place);
            let mut advice = Diagnostic { at, ..Diagnostic::advice(place, note) };
            if is_inside {
                advice.message.clone_from(note);
            }
            diagnostics.push(advice);
        }
        self.diagnostics.append(&mut diagnostics);
        after
    }

    fn finding<'n>(
        &'n self,
        carried: &mut CarriedTexts<'n>,
        finding: &Finding,
        because: Option<Reason>,
    ) -> Diagnostic {
        let mut diagnostic = Diagnostic::of(finding, because);
        let (at, is_inside) = self.place(carried, &finding.place);
        if is_inside {
            // A place in the file makes the position inside the text superfluous.
            diagnostic.message.clone_from(&finding.message);
        }
        let others = [
            (OTHER_SIDE, finding.against.as_ref()),
            ("this puts it on the network", finding.because.as_ref()),
        ];
        let others = others.into_iter().filter_map(|(what, place)| Some((what, place?)));
        let mut related: Vec<_> = others
            .filter_map(|(what, place)| Some((what, self.place(carried, place).0?)))
            .collect();
        // A reader of the set looks for what the set can change.
        let in_set = |at: &Location| at.source < self.files.count;
        diagnostic.at = match (at, related.iter().position(|(_, place)| in_set(place))) {
            (Some(at), Some(other)) if !in_set(&at) => {
                diagnostic.is_elsewhere = true;
                Some(std::mem::replace(&mut related[other].1, at))
            }
            (None, Some(other)) => {
                diagnostic.is_elsewhere = true;
                Some(related.remove(other).1)
            }
            (at, _) => at,
        };
        related.retain(|(_, place)| diagnostic.at.as_ref() != Some(place));
        Diagnostic { related, ..diagnostic }
    }

    /// Tells what admission would write otherwise.
    pub(super) fn rewrites(&mut self, not_fixed: Option<&NotFixed>) {
        let (mut diagnostics, mut carried) = (Vec::new(), CarriedTexts::default());
        let set = self.objects.iter().filter(|judged| judged.source < self.files.count);
        for judged in set.filter(|judged| self.is_own(judged.source)) {
            for rewrite in fix::rewrites(judged.manifest, self.settings) {
                let path = Path::fixed(rewrite.keys);
                let at = self.locate(&mut carried, judged, &path).0;
                let to = rewrite.to;
                let what = match rewrite.from {
                    None => format!("not set; the mutating webhook sets {to}"),
                    Some(from) => format!("{from}, which the mutating webhook changes to {to}"),
                };
                let (level, code, remedy) = match not_fixed {
                    None => {
                        let remedy = if self.files.made[judged.source] {
                            "change it in the manifest or patch that this is built from"
                        } else {
                            "`isthmus check --fix` changes it"
                        };
                        (Level::Note, REWRITTEN, remedy.to_owned())
                    }
                    Some(not_fixed) => {
                        let why = not_fixed.get(&(judged.source, judged.index));
                        let why = why.copied().unwrap_or("it cannot be edited");
                        (Level::Warning, NOT_FIXED, format!("edit it by hand: {why}"))
                    }
                };
                diagnostics.push(Diagnostic {
                    object: Some(ObjectRef::clone(&judged.reading.object)),
                    field: path.to_string(),
                    message: what,
                    remedy,
                    ..diagnostic_at(level, code, at)
                });
            }
        }
        self.diagnostics.append(&mut diagnostics);
    }

    /// Where a place is, and whether that is its line inside a carried text.
    fn place<'n>(
        &'n self,
        carried: &mut CarriedTexts<'n>,
        place: &Place,
    ) -> (Option<Location>, bool) {
        // A cluster keeps a status that no file has.
        let is_of_cluster = self.cluster.is_some() && place.is_status();
        let index = self.counts.get(&*place.object).filter(|_| !is_of_cluster);
        let Some(judged) = index.and_then(|index| self.objects.get(*index)) else {
            return (None, false);
        };
        let (at, inside) = self.locate(carried, judged, place.path());
        (Some(at), inside)
    }

    pub(super) fn locate<'n>(
        &self,
        carried: &mut CarriedTexts<'n>,
        judged: &'n Judged<'_>,
        path: &Path,
    ) -> (Location, bool) {
        let source = self.source(judged.source);
        let found = carried.find(source, &judged.manifest.node, path);
        let mut at = source.location(judged.source, found.bytes);
        at.is_carrier = found.is_carrier;
        (at, found.is_inside)
    }

    pub(super) fn source(&self, source: usize) -> &'a SourceFile {
        &self.files.sources[source]
    }
}

pub(super) fn diagnostic_at(level: Level, code: &'static str, at: Location) -> Diagnostic {
    Diagnostic { at: Some(at), ..Diagnostic::new(level, code) }
}
