//! Files as another revision of a Git repository has them, by the `git` that is installed.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};

use super::files::{Inputs, is_manifest};

/// What a branch changes: the files of a working tree next to those of the revision that it will be
/// merged into.
pub(super) struct Branch {
    top: PathBuf,
    reference: String,
    /// The tree that it will be merged into.
    target: String,
    /// The tree that it began with.
    base: String,
}

impl Branch {
    /// The branch that is checked out, to be merged into this revision.
    pub(super) fn into(reference: &str) -> anyhow::Result<Self> {
        let top = one_line(&git(None, &["rev-parse", "--show-toplevel"])?);
        let top = fs::canonicalize(&top).with_context(|| format!("{top} cannot be read"))?;
        let commit = format!("{reference}^{{commit}}");
        let commit = git(Some(&top), &["rev-parse", "--verify", "--end-of-options", &commit]);
        let commit = commit.with_context(|| {
            format!("--against-ref {reference}: there is no such revision in {}", top.display())
        })?;
        let target = one_line(&commit);
        // Two histories without a common commit differ in every file.
        let base = git(Some(&top), &["merge-base", &target, "HEAD"]);
        let base = base.map_or_else(|_| target.clone(), |base| one_line(&base));
        Ok(Self { top, reference: reference.to_owned(), target, base })
    }

    /// Leaves in a set of files what the branch has changed, and returns what the target has below
    /// these paths, with those marked that the branch changes or deletes.
    pub(super) fn split(&self, set: &mut Inputs, paths: &[PathBuf]) -> anyhow::Result<Inputs> {
        let below =
            paths.iter().map(|path| self.within(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let base = self.files(&self.base, &below)?;
        let target =
            if self.base == self.target { base.clone() } else { self.files(&self.target, &below)? };
        let mut written: HashMap<String, bool> = HashMap::new();
        for file in &set.files {
            let Some(real) = &file.real else { continue };
            if let Ok(path) = real.strip_prefix(&self.top) {
                let path = path.to_string_lossy().into_owned();
                let stood = base.get(&path).map(Vec::as_slice);
                let is_changed = stood != Some(file.whole_text().as_bytes());
                written.insert(path, is_changed);
            }
        }
        set.files.retain(|file| {
            let path = file.real.as_deref().and_then(|real| real.strip_prefix(&self.top).ok());
            path.is_none_or(|path| written.get(&*path.to_string_lossy()) != Some(&false))
        });
        let here = env::current_dir().ok().and_then(|here| fs::canonicalize(here).ok());
        let here = here.as_deref().and_then(|here| here.strip_prefix(&self.top).ok());
        let mut against = Inputs::default();
        for (path, bytes) in target {
            let is_replaced = match written.get(&path) {
                Some(is_changed) => *is_changed,
                None => base.contains_key(&path),
            };
            let path = Path::new(&path);
            let shown = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
            against.add(format!("{}:{}", self.reference, shown.display()), &bytes, is_replaced);
        }
        Ok(against)
    }

    /// A path from the top of the repository.
    fn within(&self, path: &Path) -> anyhow::Result<String> {
        let shown = path.display();
        let real = fs::canonicalize(path).with_context(|| format!("{shown}"))?;
        let Ok(path) = real.strip_prefix(&self.top) else {
            bail!("{shown} is not in the Git repository {}", self.top.display())
        };
        Ok(path.to_string_lossy().into_owned())
    }

    /// The manifests of a commit below these paths.
    fn files(&self, commit: &str, below: &[String]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let mut args = vec!["ls-tree", "-r", "-z", commit, "--"];
        args.extend(below.iter().map(String::as_str).filter(|path| !path.is_empty()));
        let listed = git(Some(&self.top), &args)?;
        let mut found = Vec::new();
        for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let entry = String::from_utf8_lossy(entry);
            let Some((kind, path)) = entry.split_once('\t') else { continue };
            let mut kind = kind.split(' ');
            // Links and submodules hold no manifest.
            let is_file = kind.next().is_some_and(|mode| mode.starts_with("100"));
            let is_hidden = path.split('/').any(|part| part.starts_with('.'));
            if let (true, Some(id)) = (is_file && !is_hidden, kind.nth(1))
                && (is_manifest(Path::new(path)) || below.iter().any(|below| below == path))
            {
                found.push((path.to_owned(), id.to_owned()));
            }
        }
        let ids = found.iter().map(|(_, id)| id.as_str());
        let texts = blobs(&self.top, ids)?;
        Ok(found.into_iter().map(|(path, _)| path).zip(texts).collect())
    }
}

/// The contents of these blobs, in their order.
fn blobs<'a>(top: &Path, ids: impl Iterator<Item = &'a str>) -> anyhow::Result<Vec<Vec<u8>>> {
    let asked: String = ids.flat_map(|id| [id, "\n"]).collect();
    let mut child = Command::new("git")
        .arg("-C")
        .arg(top)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("git cannot be run")?;
    let stdin = child.stdin.take();
    // It answers while it is still asked, so neither may wait for the other.
    let asks = thread::spawn(move || stdin.map_or(Ok(()), |mut to| to.write_all(asked.as_bytes())));
    let output = child.wait_with_output().context("git cat-file")?;
    let asked = asks.join().is_ok_and(|asked| asked.is_ok());
    if !output.status.success() || !asked {
        bail!("git cat-file failed");
    }
    let (mut rest, mut texts) = (output.stdout.as_slice(), Vec::new());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size = head.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
        let text = size.and_then(|size| rest.get(end + 1..end + 1 + size));
        let Some(text) = text else { bail!("git cat-file: {head}") };
        texts.push(text.to_vec());
        // A line break follows what was asked for.
        rest = rest.get(end + 2 + text.len()..).unwrap_or_default();
    }
    Ok(texts)
}

fn git(top: Option<&Path>, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("git");
    if let Some(top) = top {
        command.arg("-C").arg(top);
    }
    let output =
        command.args(args).output().context("--against-ref needs git, which cannot be run")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", args[0], why.trim().trim_start_matches("fatal: "));
    }
    Ok(output.stdout)
}

fn one_line(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}
