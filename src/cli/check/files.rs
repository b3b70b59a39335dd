//! The files that are named on a command line, and what cannot be read of them.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kustomize;
use crate::manifest::broken::{BrokenDocument, set_broken_aside};
use crate::mesh::MemberName;
use crate::report::diagnostic::PassedOver;
use crate::syntax::yaml_documents;

/// The name of standard input.
pub(super) const STDIN: &str = "<stdin>";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 20;
/// The endings of manifests.
const ENDINGS: &[&str] = &["yaml", "yml", "json"];

/// A file that was read.
#[derive(Debug)]
pub(super) struct Input {
    /// The path as it was given; [`STDIN`] for standard input.
    pub(super) name: String,
    /// The file itself, links followed; nothing for standard input and for what a program made.
    pub(super) real: Option<PathBuf>,
    /// The directory that kustomize made it of.
    pub(super) built_of: Option<PathBuf>,
    /// The member whose cluster it describes, where members are named.
    pub(super) owner: Option<MemberName>,
    /// Whether what it is held against has another text now, so that this one stood before only.
    pub(super) is_replaced: bool,
    pub(super) found: Found,
    /// Whether it begins with a byte order mark.
    pub(super) has_bom: bool,
    /// The text without that mark.
    pub(super) text: String,
}

/// How a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It was named itself.
    Named,
    /// It is in a directory.
    Listed,
    /// It is in a directory that was built, so that what is made of it is judged in its place.
    Material,
}

impl Input {
    fn new(name: String, (has_bom, text): (bool, String)) -> Self {
        let (real, built_of, owner) = (None, None, None);
        let (is_replaced, found) = (false, Found::Listed);
        Self { name, real, built_of, owner, is_replaced, found, has_bom, text }
    }

    /// The text as it stands in the file.
    pub(super) fn whole_text(&self) -> String {
        format!("{}{}", if self.has_bom { "\u{feff}" } else { "" }, self.text)
    }
}

/// A text of which only YAML is left, and the documents that are none.
pub(super) fn readable(text: &str) -> (String, Vec<BrokenDocument>) {
    match yaml_documents(text) {
        Ok(_) => (text.to_owned(), Vec::new()),
        Err(_) => set_broken_aside(text),
    }
}

/// The files of a command line.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Those that were read, in the order in which kubectl would apply them.
    pub(super) files: Vec<Input>,
    /// Those found in a directory that hold no text.
    pub(super) passed_over: Vec<PassedOver>,
    /// How many in directories have other endings.
    pub(super) other_files: usize,
    /// What cannot be read, and why.
    pub(super) errors: Vec<String>,
    /// Whether directories are built that have a kustomization.
    builds: bool,
    /// Whether the directory that is being read has been built.
    is_built: bool,
    /// Which files and directories were seen, so that none is read twice and no link leads round
    /// in circles.
    seen: HashMap<PathBuf, Seen>,
}

#[derive(Clone, Copy, Debug)]
enum Seen {
    File(usize),
    Other,
}

impl Inputs {
    /// Reads these paths, except for these files and directories. If told so, it also builds the
    /// directories that have a kustomization, except those below another one.
    pub(super) fn read(
        paths: &[PathBuf],
        but: impl IntoIterator<Item = PathBuf>,
        builds: bool,
    ) -> Self {
        let mut inputs = Self { builds, ..Self::default() };
        inputs.seen.extend(but.into_iter().map(|real| (real, Seen::Other)));
        for path in paths {
            if path.as_os_str() == "-" {
                inputs.stdin();
            } else {
                inputs.path(path, true);
            }
        }
        inputs
    }

    /// Takes in what kustomize makes of a directory, as one file.
    pub(super) fn build(&mut self, directory: &Path) {
        let shown = directory.strip_prefix("./").unwrap_or(directory).display();
        let built = kustomize::build(directory);
        let text = built.and_then(|built| Ok(text_of(&mut built.as_slice())?));
        match text {
            Ok(text) => {
                let built_of = fs::canonicalize(directory).ok();
                let input = Input::new(format!("{shown} (built)"), text);
                self.files.push(Input { built_of, ..input });
            }
            Err(why) => self.errors.push(format!("--kustomize {shown}: {why:#}")),
        }
    }

    /// Makes all that was read a member's.
    pub(super) fn owned_by(mut self, owner: &MemberName) -> Self {
        for file in &mut self.files {
            file.owner = Some(Arc::clone(owner));
        }
        self
    }

    /// Adds what was read elsewhere; a file of two members is an error.
    pub(super) fn append(&mut self, other: Self) {
        let owner = |file: &'_ Input| Some((file.real.clone()?, file.owner.clone()?));
        let known: HashMap<_, _> = self.files.iter().filter_map(owner).collect();
        let of_others = other.files.iter().filter_map(|file| {
            let (real, second) = owner(file)?;
            Some((&file.name, known.get(&real)?, second))
        });
        if let Some((name, first, second)) = of_others.into_iter().next() {
            self.errors.push(format!(
                "{name}: is a file of member {first:?} and of member {second:?}, but describes one cluster"
            ));
        }
        self.files.extend(other.files);
        self.passed_over.extend(other.passed_over);
        self.other_files += other.other_files;
        self.errors.extend(other.errors);
    }

    fn stdin(&mut self) {
        if self.files.iter().any(|file| file.name == STDIN) {
            return;
        }
        match text_of(&mut io::stdin().lock()) {
            Ok(text) => {
                let input = Input::new(STDIN.to_owned(), text);
                self.files.push(Input { found: Found::Named, ..input });
            }
            Err(why) => self.errors.push(format!("{STDIN}: {why}")),
        }
    }

    fn path(&mut self, path: &Path, is_named: bool) {
        let name = path.strip_prefix(".").unwrap_or(path).display().to_string();
        let found = fs::canonicalize(path).and_then(|real| Ok((fs::metadata(&real)?, real)));
        let (metadata, real) = match found {
            Ok(found) => found,
            Err(error) => return self.errors.push(format!("{name}: {error}")),
        };
        if metadata.is_dir() {
            if self.seen.insert(real, Seen::Other).is_none() {
                self.directory(path, &name);
            }
            return;
        }
        if !is_named && !metadata.is_file() {
            self.other_files += 1;
            return;
        }
        // A pipe is read as often as it is named; a file is not.
        if let Some(seen) = self.seen.get(&real).filter(|_| metadata.is_file()) {
            if let Seen::File(index) = *seen
                && let Some(file) = self.files.get_mut(index).filter(|_| is_named)
            {
                file.found = Found::Named;
            }
            return;
        }
        let read = fs::File::open(path).map_err(|error| Unread::Fails(error.to_string()));
        match read.and_then(|mut file| text_of(&mut file)) {
            Ok(text) => {
                self.seen.insert(real.clone(), Seen::File(self.files.len()));
                let real = Some(real).filter(|_| metadata.is_file());
                let found = match (is_named, self.is_built) {
                    (true, _) => Found::Named,
                    (false, true) => Found::Material,
                    (false, false) => Found::Listed,
                };
                self.files.push(Input { real, found, ..Input::new(name, text) });
            }
            Err(Unread::NoText(reason)) if !is_named => {
                self.seen.insert(real, Seen::Other);
                self.passed_over.push(PassedOver { file: name, reason });
            }
            Err(why) => self.errors.push(format!("{name}: {why}")),
        }
    }

    fn directory(&mut self, path: &Path, name: &str) {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.errors.push(format!("{name}: {error}")),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        let was_built = self.is_built;
        if self.builds && !was_built && kustomize::is_kustomization(path) {
            self.build(path);
            self.is_built = true;
        }
        for entry in entries {
            // What editors, version control and Secret mounts keep for themselves.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if path.is_dir() || is_manifest(&path) {
                self.path(&path, false);
            } else {
                self.other_files += 1;
            }
        }
        self.is_built = was_built;
    }
}

/// Whether a file is a manifest by its ending.
pub(super) fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("{0}")]
    Fails(String),
    #[error("{0}")]
    NoText(String),
}

/// The text, and whether a byte order mark stood before it.
fn text_of(reader: &mut dyn Read) -> Result<(bool, String), Unread> {
    let mut bytes = Vec::new();
    let read = reader.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Unread::Fails(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        let why = format!("is larger than {} MiB; split it", LARGEST >> 20);
        return Err(Unread::Fails(why));
    }
    let no_text = |why: String| Err(Unread::NoText(why));
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return no_text("is UTF-16; save it as UTF-8".to_owned());
    }
    if bytes.contains(&0) {
        return no_text("is binary, not text".to_owned());
    }
    match String::from_utf8(bytes) {
        Ok(text) => match text.strip_prefix('\u{feff}') {
            Some(rest) => Ok((true, rest.to_owned())),
            None => Ok((false, text)),
        },
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
            no_text(format!("is not UTF-8 (line {line})"))
        }
    }
}
