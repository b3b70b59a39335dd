//! A set of files as one mesh, or as the clusters of one: each guards itself, and knows of the others
//! what their own files tell. No I/O.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disagreements::disagreements;
use super::files::{Found, Inputs};
use super::report::{Checking, Files};
use super::unjudged::{self, Unjudged};
use super::write::NotFixed;
use crate::cluster::Contents;
use crate::document;
use crate::manifest::broken::{BrokenDocument, set_broken_aside};
use crate::manifest::{Manifest, read, read_as};
use crate::mesh::{MemberName, Mesh};
use crate::report::diagnostic::{CheckReport, Counts, Diagnostic, Level, OTHER_SIDE, PassedOver};
use crate::report::locate::{Location, SourceFile};
use crate::settings::Settings;

/// How many members a message proposes by name.
const MOST_PROPOSED: usize = 4;

/// How a set of files is to be read.
#[derive(Default)]
pub(super) struct How<'a> {
    /// Of which kind each of its files is one object.
    pub(super) kind: Option<&'static str>,
    /// Which objects could not be written back, if that was tried.
    pub(super) not_fixed: Option<&'a NotFixed>,
    /// The revision that it is held against.
    pub(super) reference: Option<&'a str>,
}

/// Judges a set of files as a change to those it is held against, and to what a cluster has, which
/// counts before what those files say of the same object.
///
/// Each of the `views` guards one cluster. Files that belong to a member are that cluster's own in
/// its view, and in any other view they tell what that cluster is. `show` is given the mesh of each.
pub(super) fn report(
    set: Inputs,
    against: Inputs,
    mut cluster: Option<Contents>,
    views: &[Arc<Settings>],
    how: &How<'_>,
    mut show: impl FnMut(&Mesh),
) -> CheckReport {
    let count = set.files.len();
    let mut counts = Counts {
        files: count + set.passed_over.len() + set.other_files,
        files_passed_over: set.passed_over.len() + set.other_files,
        in_cluster: cluster.as_ref().map(|contents| contents.readings.len()),
        ..Counts::default()
    };
    let mut passed_over = set.passed_over;
    let (mut sources, mut owners) = (Vec::new(), Vec::new());
    let (mut replaced, mut found, mut made) = (Vec::new(), Vec::new(), Vec::new());
    for input in set.files.into_iter().chain(against.files) {
        made.push(input.built_of.is_some());
        sources.push(SourceFile::new(input.name, input.text));
        owners.push(input.owner);
        replaced.push(input.is_replaced);
        found.push(input.found);
    }
    let names = names(&sources, &owners, count);
    let asides: Vec<_> = sources.iter().map(|_| OnceCell::new()).collect();
    let kind = |source| how.kind.filter(|_| source < count);
    let manifests: Vec<_> = (0..sources.len())
        .map(|at| objects(sources[at].text(), &names[at], kind(at), &asides[at]))
        .collect();

    let set = sources.iter().take(count).map(|source| (&*source.name, source.text()));
    let patches = unjudged::patches(set, owners.iter().any(Option::is_some));
    let is_patch = |source: usize| {
        let name = unjudged::plain(Path::new(&sources[source].name));
        (found[source] != Found::Named).then(|| patches.get(&name)).flatten()
    };
    let mut ignored = Vec::new();
    let files = Files {
        sources: &sources,
        owners: &owners,
        replaced: &replaced,
        made: &made,
        count,
        views,
    };
    let mut checked = Vec::with_capacity(views.len());
    for settings in views {
        let mut checking = Checking::new(settings, files, cluster.take());
        for (source, (aside, manifests)) in asides.iter().zip(&manifests).enumerate() {
            let is_counted = source < count && checking.is_own(source);
            let file = &sources[source].name;
            if found[source] == Found::Material {
                let added = checking.material(source, manifests);
                counts.objects += if is_counted { added } else { 0 };
                continue;
            }
            if let Some(reason) = is_patch(source) {
                if is_counted {
                    counts.files_passed_over += 1;
                    passed_over.push(PassedOver { file: file.clone(), reason: reason.clone() });
                }
                continue;
            }
            if is_counted {
                counts.files_passed_over +=
                    usize::from(aside.get().is_some() && manifests.is_empty());
                passed_over
                    .extend(checking.broken(source, aside.get().map_or(&[][..], |aside| &aside.1)));
            }
            for (index, manifest) in manifests.iter().enumerate() {
                let is_judged = checking.object(source, index, manifest);
                if is_counted {
                    counts.objects += usize::from(is_judged);
                    if !is_judged {
                        let (list, reason) = match unjudged::reason(manifest, settings) {
                            Unjudged::Foreign(reason) => (&mut ignored, reason),
                            Unjudged::Unready(reason) => (&mut passed_over, reason),
                        };
                        list.push(PassedOver { file: file.clone(), reason });
                    }
                }
            }
        }
        passed_over.append(&mut checking.passed_over);
        checking.stand_for_bare_files();
        checking.defined_twice();
        show(&checking.verdict());
        checking.rewrites(how.not_fixed);
        checked.push(checking);
    }
    counts.objects_passed_over = ignored.len();
    let unclear =
        checked.iter().find_map(|checking| unclear(checking, how.reference, checked.len()));
    let mut diagnostics = disagreements(&checked);
    diagnostics.extend(merged(checked, &sources));
    diagnostics.sort_by_key(place);
    CheckReport {
        sources,
        judged_sources: count,
        diagnostics,
        changes: Vec::new(),
        passed_over,
        ignored,
        counts,
        unclear,
    }
}

/// The objects of a text, or the one that it is as a whole. Where not all of it is YAML, the rest is
/// kept with what is none.
fn objects<'a>(
    text: &'a str,
    name: &str,
    kind: Option<&'static str>,
    aside: &'a OnceCell<(String, Vec<BrokenDocument>)>,
) -> Vec<Manifest<'a>> {
    let objects = |text| match kind {
        Some(kind) => read_as(text, name, kind).map(|manifest| vec![manifest]),
        None => read(text, name),
    };
    objects(text).unwrap_or_else(|_| {
        let (rest, _) = aside.get_or_init(|| set_broken_aside(text));
        objects(rest).unwrap_or_default()
    })
}

/// The names by which documents without a name are known: their files', and in the mesh that the
/// set is held against that of the one file of the set that has the same name and owner.
fn names(sources: &[SourceFile], owners: &[Option<MemberName>], count: usize) -> Vec<String> {
    let base = |source: &SourceFile| Path::new(&source.name).file_name().map(ToOwned::to_owned);
    let mut set: HashMap<_, Vec<&SourceFile>> = HashMap::new();
    for (source, owner) in sources.iter().zip(owners).take(count) {
        set.entry((base(source), owner)).or_default().push(source);
    }
    let named = sources.iter().zip(owners).enumerate().map(|(at, (source, owner))| {
        match set.get(&(base(source), owner)).map(Vec::as_slice) {
            Some([one]) if at >= count => one,
            _ => source,
        }
    });
    named.map(|source| source.name.clone()).collect()
}

/// Merges what all views report: what several of them find is reported once, at the strictest
/// level.
fn merged(checked: Vec<Checking<'_>>, sources: &[SourceFile]) -> Vec<Diagnostic> {
    let several = checked.len() > 1;
    let mut merged: Vec<Diagnostic> = Vec::new();
    let mut known = HashMap::new();
    for checking in checked {
        let view: MemberName = checking.settings.local_member.as_str().into();
        for mut diagnostic in checking.diagnostics {
            if !several {
                merged.push(diagnostic);
                continue;
            }
            let at = *known.entry(cause(&diagnostic, sources)).or_insert(merged.len());
            match merged.get_mut(at) {
                None => {
                    diagnostic.views.push(Arc::clone(&view));
                    merged.push(diagnostic);
                }
                Some(told) => {
                    if diagnostic.level < told.level {
                        std::mem::swap(told, &mut diagnostic);
                        told.views = diagnostic.views;
                    }
                    if told.views.last() != Some(&view) {
                        told.views.push(Arc::clone(&view));
                    }
                }
            }
        }
    }
    merged
}

/// Where a diagnostic is reported: by files and lines, and last what has no place.
fn place(diagnostic: &Diagnostic) -> (bool, Option<(usize, u32, u32)>, Level) {
    let at = diagnostic.at.as_ref();
    let place = at.map(|at| (at.source, at.start.line, at.start.column));
    (at.is_none(), place, diagnostic.level)
}

/// What makes two diagnostics the same: the rule and the places, whichever of them is blamed. At a
/// single place there may be several.
fn cause(
    diagnostic: &Diagnostic,
    sources: &[SourceFile],
) -> (&'static str, Vec<(String, usize)>, String) {
    let related = diagnostic.related.iter().filter(|(what, _)| *what == OTHER_SIDE);
    let related = related.map(|(_, at)| at);
    let name = |at: &Location| (sources[at.source].name.clone(), at.bytes.start);
    let mut places: Vec<_> = diagnostic.at.iter().chain(related).map(name).collect();
    places.sort_unstable();
    let words = if places.len() > 1 { String::new() } else { diagnostic.headline() };
    (diagnostic.code, places, words)
}

/// Why the files of a set cannot be those of one cluster, and how to say whose they are: the same
/// object in several directories, or several configurations of the cluster itself.
///
/// A set that is held against a revision has left there what it does not change. The directories of
/// a member that is named are what its cluster has, as long as it has one configuration.
fn unclear(checking: &Checking<'_>, reference: Option<&str>, clusters: usize) -> Option<String> {
    let mut files: BTreeMap<String, BTreeSet<&Path>> = BTreeMap::new();
    for judged in checking.objects.iter().filter(|judged| checking.is_own(judged.source)) {
        let name = &*checking.source(judged.source).name;
        let within = |reference| name.strip_prefix(reference)?.strip_prefix(':');
        let name = match reference.and_then(within) {
            Some(name) if !checking.is_of_set(judged) => name,
            _ if checking.is_of_set(judged) => name,
            _ => continue,
        };
        let file = Path::new(name);
        let document = judged.manifest.document(checking.settings);
        let (what, place) = match document.and_then(document::kept_in) {
            Some((kept_in, _)) => {
                (format!("the configuration of a cluster (as {kept_in} holds it)"), file)
            }
            None if clusters > 1 => continue,
            None => (judged.reading.object.to_string(), file.parent().unwrap_or(file)),
        };
        files.entry(what).or_default().insert(place);
    }
    files.retain(|_, places| places.len() > 1);
    let (what, places) = files.first_key_value()?;
    let named: Vec<_> =
        places.iter().take(MOST_PROPOSED).map(|place| place.display().to_string()).collect();
    let more = if places.len() > named.len() { " and others" } else { "" };
    let proposals = proposals(&files.values().flatten().copied().collect());
    Some(format!(
        "{what} is defined in {}{more}, so these are not the manifests of one cluster; name the cluster that each belongs to: isthmus check {proposals}",
        named.join(", "),
    ))
}

/// What to write on the command line: the first names in which the paths differ.
fn proposals(places: &BTreeSet<&Path>) -> String {
    let parts: Vec<Vec<_>> = places.iter().map(|place| place.iter().collect()).collect();
    let common = (0..).take_while(|at| {
        let first = parts.first().and_then(|parts| parts.get(*at));
        first.is_some() && parts.iter().all(|parts| parts.get(*at) == first)
    });
    let common = common.count();
    let heads: BTreeSet<_> =
        parts.iter().map(|parts| &parts[..parts.len().min(common + 1)]).collect();
    let proposed: Vec<_> = heads
        .iter()
        .take(MOST_PROPOSED)
        .map(|head| {
            let path: PathBuf = head.iter().collect();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = if name.is_empty() { "NAME".to_owned() } else { name };
            let path = if path.as_os_str().is_empty() { ".".into() } else { path };
            format!("--member {name}={}", path.display())
        })
        .collect();
    let more = if heads.len() > proposed.len() { " …" } else { "" };
    proposed.join(" ") + more
}
