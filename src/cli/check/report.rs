//! The texts of a set of files into a report on them. No I/O.

use std::collections::HashMap;
use std::path;
use std::sync::Arc;
use std::time::SystemTime;

use super::files::{Input, Inputs, readable};
use super::write::NotFixed;
use crate::document;
use crate::manifest::broken::{BrokenDocument, is_of_mesh};
use crate::manifest::{Manifest, fix, read, read_as};
use crate::mesh::{Mesh, ObjectRef, Place, Reading};
use crate::report::diagnostic::{
    CheckReport, Counts, DEFINED_TWICE, Diagnostic, Level, NOT_FIXED, PassedOver, REWRITTEN,
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
        for broken in readable(&input.text).1 {
            let is_unusable = if in_set {
                input.is_named && !is_finding(&broken)
            } else {
                input.is_named || is_finding(&broken)
            };
            if is_unusable {
                let YamlError { what, span } = &broken.error;
                unusable.push(format!("{}:{}:{}: {what}", input.name, span.line, span.column));
            }
        }
    }
    unusable
}

/// Whether a broken document is reported as a finding: somebody meant it to be YAML of the mesh.
fn is_finding(broken: &BrokenDocument) -> bool {
    broken.is_of_mesh && !broken.is_template
}

/// Judges a set of files as a change to those it is held against, and to what a cluster has, which
/// counts before what those files say of the same object. `not_fixed` tells which objects could not
/// be written back, if that was tried. With a `kind` the set's files are each one object of it.
pub(super) fn report(
    set: Inputs,
    against: Inputs,
    cluster: Option<Vec<Reading>>,
    settings: &Arc<Settings>,
    kind: Option<&'static str>,
    not_fixed: Option<&NotFixed>,
) -> CheckReport {
    let count = set.files.len();
    let mut counts = Counts {
        files: count + set.passed_over.len() + set.other_files,
        files_passed_over: set.passed_over.len() + set.other_files,
        in_cluster: cluster.as_ref().map(Vec::len),
        ..Counts::default()
    };
    let mut passed_over = set.passed_over;
    let inputs = set.files.into_iter().chain(against.files);
    let sources: Vec<_> = inputs.map(|input| SourceFile::new(input.name, input.text)).collect();
    let texts: Vec<_> = sources.iter().map(|source| readable(source.text())).collect();

    let mut checking = Checking::new(settings, &sources, count, cluster);
    for (((text, broken), name), source) in texts.iter().zip(names(&sources, count)).zip(0..) {
        let manifests = match kind.filter(|_| source < count) {
            Some(kind) => read_as(text, &name, kind).map(|manifest| vec![manifest]),
            None => read(text, &name),
        };
        let manifests = manifests.unwrap_or_default();
        if source < count {
            counts.files_passed_over += usize::from(!broken.is_empty() && manifests.is_empty());
            passed_over.extend(checking.broken(source, broken));
        }
        for (index, manifest) in manifests.into_iter().enumerate() {
            let is_judged = checking.object(source, index, manifest);
            if source < count {
                counts.objects += usize::from(is_judged);
                counts.objects_passed_over += usize::from(!is_judged);
            }
        }
    }
    checking.stand_for_bare_files();
    checking.defined_twice();
    checking.verdict();
    checking.rewrites(not_fixed);
    let mut diagnostics = checking.diagnostics;
    diagnostics.sort_by_key(|diagnostic| {
        let at = diagnostic.at.as_ref();
        (at.is_none(), at.map(|at| (at.source, at.start.line, at.start.column)), diagnostic.level)
    });
    CheckReport { sources, diagnostics, changes: Vec::new(), passed_over, counts }
}

/// The names by which documents without a name are known: their files', and in the mesh that the
/// set is held against that of the one file of the set that has the same name.
fn names(sources: &[SourceFile], count: usize) -> Vec<String> {
    let base =
        |source: &SourceFile| path::Path::new(&source.name).file_name().map(ToOwned::to_owned);
    let (set, against) = sources.split_at(count);
    let against = against.iter().map(|source| {
        let mut same = set.iter().filter(|other| base(other) == base(source));
        match (same.next(), same.next()) {
            (Some(one), None) => one,
            _ => source,
        }
    });
    set.iter().chain(against).map(|source| source.name.clone()).collect()
}

/// An object that says something of the mesh.
struct Judged<'a> {
    source: usize,
    /// Which of its file's objects.
    index: usize,
    manifest: Manifest<'a>,
    reading: Reading,
}

struct Checking<'a> {
    settings: &'a Arc<Settings>,
    sources: &'a [SourceFile],
    /// How many of the sources are the set; those after them are what it is held against.
    count: usize,
    /// What a cluster has, if the set is held against one.
    cluster: Option<HashMap<Arc<ObjectRef>, Reading>>,
    objects: Vec<Judged<'a>>,
    /// For each object the last definition, which counts, as it does for kubectl; one of the set
    /// before any other.
    counts: HashMap<ObjectRef, usize>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Checking<'a> {
    fn new(
        settings: &'a Arc<Settings>,
        sources: &'a [SourceFile],
        count: usize,
        cluster: Option<Vec<Reading>>,
    ) -> Self {
        let by_object = |reading: Reading| (Arc::clone(&reading.object), reading);
        let cluster = cluster.map(|readings| readings.into_iter().map(by_object).collect());
        let (objects, counts, diagnostics) = (Vec::new(), HashMap::new(), Vec::new());
        Self { settings, sources, count, cluster, objects, counts, diagnostics }
    }

    /// Tells of documents that are not YAML, and gives back those that are passed over.
    fn broken(&mut self, source: usize, broken: &[BrokenDocument]) -> Vec<PassedOver> {
        let (findings, passed): (Vec<_>, Vec<_>) = broken.iter().partition(|b| is_finding(b));
        for broken in findings {
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

    /// Takes an object in; gives back whether it says something of the mesh.
    fn object(&mut self, source: usize, index: usize, manifest: Manifest<'a>) -> bool {
        let reading = match manifest.reading(self.settings) {
            Ok(reading) if manifest.document(self.settings).is_some() => reading,
            Err(error) if source < self.count && is_of_mesh(&manifest.json) => {
                self.unreadable(source, &manifest, &error);
                return true;
            }
            Ok(_) | Err(_) => return false,
        };
        let object = ObjectRef::clone(&reading.object);
        let in_cluster = self.cluster.as_ref().is_some_and(|found| found.contains_key(&object));
        if source >= self.count && in_cluster {
            return false;
        }
        self.objects.push(Judged { source, index, manifest, reading });
        let newest = self.objects.len() - 1;
        let stands = self.counts.get(&object).and_then(|index| self.objects.get(*index));
        // What the set is held against comes after it, and never replaces it.
        if source < self.count || stands.is_none_or(|stands| stands.source >= self.count) {
            self.counts.insert(object, newest);
        }
        true
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
    fn stand_for_bare_files(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        for judged in self.objects.iter().filter(|judged| judged.source < self.count) {
            let document = judged.manifest.document(self.settings);
            let Some((object, field)) = document.and_then(document::kept_in) else { continue };
            let Some(standing) = cluster.get_mut(&object) else { continue };
            let bare = Arc::clone(&judged.reading.object);
            let said = standing.split_off(&field, Arc::clone(&bare));
            cluster.entry(bare).or_insert(said);
        }
    }

    /// Tells of objects that stand more than once in the set.
    fn defined_twice(&mut self) {
        let (mut diagnostics, mut carried) = (Vec::new(), CarriedTexts::default());
        for (index, judged) in self.objects.iter().enumerate() {
            let object = &judged.reading.object;
            let Some(counting) = self.counts.get(&**object).filter(|counts| **counts != index)
            else {
                continue;
            };
            let Some(counting) = self.objects.get(*counting) else { continue };
            if judged.source >= self.count {
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

    /// Tells what the set brings.
    fn verdict(&mut self) {
        let counted = |index: usize, judged: &Judged<'_>| {
            self.counts.get(&*judged.reading.object) == Some(&index)
        };
        let written: Vec<_> = self
            .objects
            .iter()
            .enumerate()
            .filter(|(index, judged)| judged.source < self.count && counted(*index, judged))
            .map(|(_, judged)| match &self.cluster {
                Some(cluster) => {
                    let stands = cluster.get(&judged.reading.object);
                    judged.reading.clone().with_status_of(stands)
                }
                None => judged.reading.clone(),
            })
            .collect();
        let stands = || {
            let stands = self.objects.iter().filter(|judged| judged.source >= self.count);
            let in_cluster = self.cluster.iter().flat_map(HashMap::values).cloned();
            stands.map(|judged| judged.reading.clone()).chain(in_cluster)
        };
        let before = Mesh::of(Arc::clone(self.settings), stands());
        let after = Mesh::of(Arc::clone(self.settings), stands().chain(written.iter().cloned()));
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
            ("the other side", finding.against.as_ref()),
            ("this puts it on the network", finding.because.as_ref()),
        ];
        let others = others.into_iter().filter_map(|(what, place)| Some((what, place?)));
        let mut related: Vec<_> = others
            .filter_map(|(what, place)| Some((what, self.place(carried, place).0?)))
            .collect();
        // A reader of the set looks for what the set can change.
        let in_set = |at: &Location| at.source < self.count;
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
    fn rewrites(&mut self, not_fixed: Option<&NotFixed>) {
        let (mut diagnostics, mut carried) = (Vec::new(), CarriedTexts::default());
        for judged in self.objects.iter().filter(|judged| judged.source < self.count) {
            for rewrite in fix::rewrites(&judged.manifest, self.settings) {
                let path = Path::fixed(rewrite.keys);
                let at = self.locate(&mut carried, judged, &path).0;
                let to = rewrite.to;
                let what = match rewrite.from {
                    None => format!("not set; the mutating webhook sets {to}"),
                    Some(from) => format!("{from}, which the mutating webhook changes to {to}"),
                };
                let (level, code, remedy) = match not_fixed {
                    None => (Level::Note, REWRITTEN, "`isthmus check --fix` changes it".to_owned()),
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

    fn locate<'n>(
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

    fn source(&self, source: usize) -> &'a SourceFile {
        &self.sources[source]
    }
}

fn diagnostic_at(level: Level, code: &'static str, at: Location) -> Diagnostic {
    Diagnostic { at: Some(at), ..Diagnostic::new(level, code) }
}
