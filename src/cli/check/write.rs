//! `check --fix`: defaults written back into files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::files::{Found, Input, readable};
use super::unjudged;
use crate::document;
use crate::manifest::fix::{Change, Fixed, fix};
use crate::manifest::read;
use crate::report::diagnostic::FileChange;
use crate::report::locate::SourceFile;
use crate::settings::Settings;

/// Why objects were left alone, by file and object.
pub(super) type NotFixed = HashMap<(usize, usize), &'static str>;

/// What came of fixing a set of files.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The fields that were written.
    pub(super) changes: Vec<FileChange>,
    /// The objects that were left alone.
    pub(super) not_fixed: NotFixed,
}

/// Fixes the texts of these files and writes them back. Standard input is fixed only as a text.
pub(super) fn fix_all(files: &mut [Input], settings: &Arc<Settings>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let texts = files.iter().map(|file| (&*file.name, &*file.text));
    let patches = unjudged::patches(texts, false);
    for (index, file) in files.iter_mut().enumerate() {
        // What is absent in a patch is in the object that it patches.
        if file.found != Found::Named
            && patches.contains_key(&unjudged::plain(Path::new(&file.name)))
        {
            continue;
        }
        let fixed = match fix(&file.text, &file.name, settings) {
            Ok(fixed) => fixed,
            Err(_) => left_alone(file),
        };
        for left in fixed.left {
            outcome.not_fixed.insert((index, left.index), left.why);
        }
        if fixed.changes.is_empty() {
            continue;
        }
        file.text = fixed.text;
        if let Some(real) = &file.real {
            replace(real, file.whole_text().as_bytes())
                .with_context(|| format!("{} cannot be written", file.name))?;
        }
        let source = SourceFile::new(file.name.clone(), file.text.clone());
        outcome.changes.extend(fixed.changes.into_iter().map(|change| told(&source, change)));
    }
    Ok(outcome)
}

/// A file that holds more than YAML is not edited at all.
fn left_alone(file: &Input) -> Fixed {
    let (text, _) = readable(&file.text);
    let objects = read(&text, &file.name).unwrap_or_default();
    let why = "other documents in its file are not valid YAML";
    let left = objects.iter().enumerate().filter_map(|(index, manifest)| {
        let object = document::reference(&manifest.object().ok()?);
        Some(crate::manifest::fix::Left { index, object, why })
    });
    Fixed { text: file.text.clone(), changes: Vec::new(), left: left.collect() }
}

fn told(source: &SourceFile, change: Change) -> FileChange {
    let Change { object, field, from, to, at } = change;
    FileChange {
        file: source.name.clone(),
        line: source.position(at).line,
        object,
        field,
        from: from.map(|from| from.to_string()),
        to: to.to_string(),
    }
}

/// Puts a file in the place of another at once: whoever reads it sees the old or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let permissions = metadata.permissions();
    if permissions.readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".isthmus-{}", std::process::id()));
    // A leading dot keeps it from those who read the directory meanwhile.
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let new = path.with_file_name(hidden);
    let written = File::options()
        .write(true)
        .create_new(true)
        .open(&new)
        .and_then(|mut file| {
            // Only root may give files away; anyone else's new file is their own.
            #[cfg(unix)]
            let _ = std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid()));
            file.set_permissions(permissions)?;
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written
}
