//! A directory of YAML and JSON files, kept as what its objects say.
//!
//! Files are compared by content: a mounted Secret or ConfigMap swaps a symlink, which neither
//! sizes nor times tell for sure. A file that turns bad keeps its last good state, and a file that
//! is gone is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document;
use crate::manifest;
use crate::mesh::{Mesh, Reading};
use crate::settings::Settings;

/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 256 << 20;
/// How deep directories may nest, which also ends a circle of symlinks.
const DEEPEST: usize = 16;
/// How the names of files end that are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A directory of manifests.
pub struct Inventory {
    directory: PathBuf,
    settings: Arc<Settings>,
    files: BTreeMap<PathBuf, File>,
    /// Why the directory itself could not be listed.
    unlisted: Option<String>,
    listed: bool,
}

/// What a look at the directory found.
#[derive(Debug, Default)]
pub struct Refresh {
    /// Whether the objects are others than before.
    pub changed: bool,
    /// What has gone wrong that was well, or differently wrong, before.
    pub errors: Vec<String>,
    /// What was wrong and is well again.
    pub recovered: Vec<PathBuf>,
}

/// What is known of one file.
#[derive(Default)]
struct File {
    /// The hash of the bytes that were last looked at.
    seen: Option<u64>,
    /// What its objects say, as of the last time it was good.
    readings: Option<Vec<Reading>>,
    /// What is wrong with it now.
    error: Option<String>,
}

impl Inventory {
    /// An inventory of which nothing is read yet.
    pub fn new(directory: PathBuf, settings: Arc<Settings>) -> Self {
        Self { directory, settings, files: BTreeMap::new(), unlisted: None, listed: false }
    }

    /// Reads what has changed since the last time.
    pub fn refresh(&mut self) -> Refresh {
        let mut refresh = Refresh::default();
        let paths = match list(&self.directory) {
            Ok(paths) => paths,
            Err(error) => {
                let error = format!("{}: {error}", self.directory.display());
                note(&mut self.unlisted, error, &mut refresh.errors);
                return refresh;
            }
        };
        self.listed = true;
        if self.unlisted.take().is_some() {
            refresh.recovered.push(self.directory.clone());
        }
        let known = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        refresh.changed |= self.files.len() != known;
        for path in paths {
            self.refresh_file(path, &mut refresh);
        }
        refresh
    }

    /// What every object says; of an object that two files hold, what the later file says.
    pub fn mesh(&self) -> Mesh {
        Mesh::of(Arc::clone(&self.settings), self.readings().cloned())
    }

    /// Objects that more than one file holds.
    pub fn doubles(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let again = self.readings().filter(|reading| !seen.insert(Arc::clone(&reading.object)));
        again.map(|reading| reading.object.to_string()).collect()
    }

    /// How many objects say something.
    pub fn objects(&self) -> usize {
        self.readings().count()
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// What is wrong now.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        let files = self.files.values().filter_map(|file| file.error.as_deref());
        self.unlisted.as_deref().into_iter().chain(files)
    }

    /// Why part of the mesh is not known at all, if so: a file was never good since the start.
    pub fn missing(&self) -> Option<String> {
        if !self.listed {
            return Some(self.unlisted.clone().unwrap_or_else(|| "not read yet".to_owned()));
        }
        let mut never_good = self.files.values().filter(|file| file.readings.is_none());
        never_good.next().and_then(|file| file.error.clone())
    }

    /// What every object says, the files in the order of their paths.
    pub fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.files.values().filter_map(|file| file.readings.as_deref()).flatten()
    }

    fn refresh_file(&mut self, path: PathBuf, refresh: &mut Refresh) {
        let bytes = match load(&self.directory.join(&path)) {
            Ok(bytes) => bytes,
            // It was removed meanwhile, which the next listing will tell.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let error = format!("{}: {error}", path.display());
                let file = self.files.entry(path).or_default();
                file.seen = None;
                return note(&mut file.error, error, &mut refresh.errors);
            }
        };
        let seen = Some(hash(&bytes));
        let file = self.files.entry(path.clone()).or_default();
        if file.seen == seen {
            return;
        }
        file.seen = seen;
        let read = || read(&bytes, &path.to_string_lossy(), &self.settings);
        // A fault of ours costs one file, not the inventory.
        let read = catch_unwind(AssertUnwindSafe(read));
        match read.unwrap_or_else(|_| Err("a bug in isthmus".to_owned())) {
            Ok(readings) => {
                // Lines move even where nothing else is said.
                refresh.changed = true;
                file.readings = Some(readings);
                if file.error.take().is_some() {
                    refresh.recovered.push(path);
                }
            }
            Err(error) => {
                let error = format!("{}: {error}", path.display());
                note(&mut file.error, error, &mut refresh.errors);
            }
        }
    }
}

/// Keeps an error, and tells it unless it is the one that stood.
fn note(standing: &mut Option<String>, error: String, told: &mut Vec<String>) {
    if standing.as_ref() != Some(&error) {
        told.push(error.clone());
        *standing = Some(error);
    }
}

fn read(bytes: &[u8], file: &str, settings: &Settings) -> Result<Vec<Reading>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let manifests = manifest::read(text, file).map_err(|error| error.to_string())?;
    let mut readings = Vec::new();
    for manifest in &manifests {
        let object = manifest.object().map_err(|_| {
            let line = manifest.node.span.line;
            format!("the object at line {line} is not a Kubernetes object")
        })?;
        if document::of(&object, settings).is_some() {
            readings.push(document::read(&object, settings));
        }
    }
    readings.shrink_to_fit();
    Ok(readings)
}

fn load(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > LARGEST_FILE {
        let error = format!("{length} bytes exceed the limit of {LARGEST_FILE}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    fs::read(path)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The manifests below a directory, by their paths within it. Hidden ones are passed over: in a
/// mounted ConfigMap they are the files' other names.
fn list(directory: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::new();
    list_into(directory, Path::new(""), 0, &mut paths)?;
    Ok(paths)
}

fn list_into(
    root: &Path,
    within: &Path,
    depth: usize,
    paths: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(root.join(within))? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = within.join(&name);
        // Follows symlinks; one that leads nowhere is not a file.
        let Ok(metadata) = fs::metadata(root.join(&path)) else { continue };
        if metadata.is_dir() && depth < DEEPEST {
            list_into(root, &path, depth + 1, paths)?;
        } else if metadata.is_file() && is_manifest(&path) {
            paths.insert(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(e)))
}
