//! Files as another revision of a Git repository has them, by the `git` that is installed.

use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
#[cfg(unix)]
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, bail};

use super::files::{Found, Input, Inputs};
use crate::report::diagnostic::PassedOver;

/// What a branch changes: the files of a working tree next to those of the revision that it will be
/// merged into.
pub(super) struct Branch {
    top: PathBuf,
    reference: String,
    /// What it will be merged into.
    target: Checkout,
    /// What it began with, if that is something else.
    base: Option<Checkout>,
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
        let base = (base != target).then(|| Checkout::of(&top, &base)).transpose()?;
        let target = Checkout::of(&top, &target)?;
        Ok(Self { top, reference: reference.to_owned(), target, base })
    }

    /// Leaves in a set of files what the branch has changed, and returns what the target has below
    /// these paths, except for these, with those marked that the branch changes or deletes.
    pub(super) fn split(
        &self,
        set: &mut Inputs,
        paths: &[PathBuf],
        but: &[PathBuf],
        builds: bool,
    ) -> anyhow::Result<Inputs> {
        let paths: Vec<_> =
            paths.iter().map(|path| self.within(path)).collect::<anyhow::Result<_>>()?;
        let but: Vec<_> = but.iter().filter_map(|real| real.strip_prefix(&self.top).ok()).collect();
        let mut target = self.target.inputs(&paths, &but, builds);
        let base = self.base.as_ref().map(|base| (base, base.inputs(&paths, &but, builds)));
        let texts = |root: &Path, inputs: &Inputs| -> HashMap<PathBuf, String> {
            let files = inputs.files.iter();
            files.filter_map(|file| Some((within(root, file)?, file.whole_text()))).collect()
        };
        let (root, base) = base.as_ref().map_or((&self.target, &target), |(at, it)| (*at, it));
        let base = texts(&root.directory, base);
        let mut written = HashMap::new();
        set.files.retain(|file| {
            let Some(path) = within(&self.top, file) else { return true };
            let is_changed = base.get(&path) != Some(&file.whole_text());
            written.insert(path, is_changed);
            is_changed
        });
        let here = env::current_dir().ok().and_then(|here| fs::canonicalize(here).ok());
        let here = here.as_deref().and_then(|here| here.strip_prefix(&self.top).ok());
        let shown = |name: &str| {
            let path = Path::new(name);
            let path = path.strip_prefix(&self.target.directory).unwrap_or(path);
            let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
            format!("{}:{}", self.reference, path.display())
        };
        for file in &mut target.files {
            file.name = shown(&file.name);
            if file.found == Found::Named {
                file.found = Found::Listed;
            }
            let path = within(&self.target.directory, file).unwrap_or_default();
            file.is_replaced = match written.get(&path) {
                Some(is_changed) => *is_changed,
                None => base.contains_key(&path),
            };
        }
        // What cannot be read there is no fault of the branch, which may repair it.
        let unread = target.errors.drain(..).map(|reason| PassedOver {
            file: self.reference.clone(),
            reason: reason.replace(&format!("{}/", self.target.directory.display()), ""),
        });
        set.passed_over.extend(unread);
        Ok(target)
    }

    /// A path from the top of the repository.
    fn within(&self, path: &Path) -> anyhow::Result<PathBuf> {
        let shown = path.display();
        let real = fs::canonicalize(path).with_context(|| format!("{shown}"))?;
        let Ok(path) = real.strip_prefix(&self.top) else {
            bail!("{shown} is not in the Git repository {}", self.top.display())
        };
        Ok(path.to_owned())
    }
}

/// A file from this directory on, or the directory that it was made of.
fn within(root: &Path, file: &Input) -> Option<PathBuf> {
    let real = file.real.as_ref().or(file.built_of.as_ref())?;
    real.strip_prefix(root).ok().map(Path::to_owned)
}

/// The files of a commit, in a directory of their own for as long as they are needed: links lead
/// to where they should, and kustomize finds what it builds from.
struct Checkout {
    directory: PathBuf,
}

impl Checkout {
    fn of(top: &Path, commit: &str) -> anyhow::Result<Self> {
        let parent = env::temp_dir();
        let parent = fs::canonicalize(&parent)
            .with_context(|| format!("{} cannot be read", parent.display()))?;
        let directory = parent.join(format!("isthmus-{}-{commit}", process::id()));
        let mut builder = DirBuilder::new();
        // There may be Secrets in it.
        #[cfg(unix)]
        builder.mode(0o700);
        builder
            .create(&directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let checkout = Self { directory };
        let index = checkout.directory.join(".git-index");
        let mut prefix = checkout.directory.clone().into_os_string();
        prefix.push("/");
        let mut option = std::ffi::OsString::from("--prefix=");
        option.push(&prefix);
        let git = |args: &[&OsStr]| {
            run(Command::new("git").env("GIT_INDEX_FILE", &index), Some(top), args)
        };
        git(&["read-tree".as_ref(), commit.as_ref()])?;
        git(&["checkout-index".as_ref(), "--all".as_ref(), &option])?;
        Ok(checkout)
    }

    /// What the commit has of these paths. One that is not there has been added since.
    fn inputs(&self, paths: &[PathBuf], but: &[&Path], builds: bool) -> Inputs {
        let here = |path: &Path| match path {
            top if top.as_os_str().is_empty() => self.directory.clone(),
            path => self.directory.join(path),
        };
        let paths = paths.iter().map(|path| here(path)).filter(|path| path.exists());
        Inputs::read(&paths.collect::<Vec<_>>(), but.iter().map(|path| here(path)), builds)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // Whoever clears the directory of temporary files will find it.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn git(top: Option<&Path>, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    run(&mut Command::new("git"), top, args)
}

fn run(
    command: &mut Command,
    top: Option<&Path>,
    args: &[impl AsRef<OsStr>],
) -> anyhow::Result<Vec<u8>> {
    if let Some(top) = top {
        command.arg("-C").arg(top);
    }
    let output =
        command.args(args).output().context("--against-ref needs git, which cannot be run")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let what = args.first().map_or(OsStr::new(""), AsRef::as_ref).display().to_string();
        bail!("git {what}: {}", why.trim().trim_start_matches("fatal: "));
    }
    Ok(output.stdout)
}

fn one_line(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}
