//! The keys of ConfigMap `multicluster`, which Pilot has before it as the files of one directory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::stream::Stream;
use crate::document::kind::kubeconfig::Access;
use crate::document::toolkit::{EXITS, decoded};
use crate::syntax::{Node, Path, Value, YamlError};
use crate::value::{Invalid, similar};

/// The endings of the files that Pilot reads descriptors from; in lower case only.
const ENDINGS: &[&str] = &[".yaml", ".yml"];

/// With how many files a name that is none of them is compared; each descriptor may have one.
const MOST_COMPARED: usize = 16;

/// One file.
pub(super) struct File<'a> {
    pub(super) key: &'a str,
    /// The field that holds the key: `data` or `binaryData`.
    pub(super) field: &'static str,
    /// Its text, or why there is none.
    pub(super) text: Result<Cow<'a, str>, Invalid>,
}

impl<'a> File<'a> {
    /// The files of a field, whatever their order in it.
    pub(super) fn all_of(field: &'static str, data: &'a Node<'_>) -> Vec<Self> {
        let Value::Map(entries) = &data.value else { return Vec::new() };
        let text = |node: &'a Node<'_>| {
            let Some(text) = node.text() else {
                let problem = format!("must be a string, not {}", node.kind());
                return Err(Invalid { problem, remedy: "write a string".to_owned() });
            };
            if field == "data" { Ok(Cow::Borrowed(text)) } else { decoded(text) }
        };
        let file = |(key, node)| (key, text(node));
        let files = entries.iter().map(|(key, node)| file((key.text.as_ref(), node)));
        let mut files: Vec<_> = files.map(|(key, text)| Self { key, field, text }).collect();
        files.sort_by_key(|file| file.key);
        files
    }

    /// Whether Pilot reads it as descriptors.
    pub(super) fn holds_descriptors(&self) -> bool {
        ENDINGS.iter().any(|ending| self.key.ends_with(ending))
    }

    /// Where it is.
    pub(super) fn path(&self) -> Path {
        Path::of_key(self.field, self.key)
    }

    /// The same name without its ending.
    pub(super) fn stem(&self) -> &'a str {
        self.key.rsplit_once('.').map_or(self.key, |(stem, _)| stem)
    }
}

/// What the files hold.
pub(super) struct Directory<'f> {
    files: BTreeMap<&'f str, (&'f File<'f>, Option<&'f Stream<'f>>)>,
}

impl<'f> Directory<'f> {
    /// The directory of these files, each with what it holds if that is YAML.
    pub(super) fn new(
        files: &'f [File<'f>],
        streams: &'f [Result<Stream<'f>, Option<YamlError>>],
    ) -> Self {
        let files = files.iter().zip(streams);
        let files = files.map(|(file, stream)| (file.key, (file, stream.as_ref().ok())));
        Self { files: files.collect() }
    }

    /// The files that are not descriptors and that none of these names, as far as they are looked
    /// at.
    pub(super) fn unnamed(&self, named: &BTreeSet<&str>) -> Vec<&'f str> {
        let others = self.files.iter().filter(|(key, _)| !named.contains(*key));
        let others = others.filter(|(_, (file, _))| !file.holds_descriptors());
        others.map(|(key, _)| *key).take(MOST_COMPARED).collect()
    }

    /// What must be unique to a cluster, as messages name it: its kubeconfig, and the API server in
    /// it.
    pub(super) fn contexts(&self, key: Option<&str>) -> Vec<String> {
        let Some((key, (file, _))) = key.and_then(|key| self.files.get_key_value(key)) else {
            return Vec::new();
        };
        let server = self.usable(key).and_then(|access| access.server());
        let server = server.map(|server| format!("API server {server}"));
        std::iter::once(format!("kubeconfig {}", file.path())).chain(server).collect()
    }

    /// Whether the kubeconfig that an `accessConfigFile` names is of use with a program only.
    pub(super) fn runs_a_program(&self, text: &str) -> bool {
        let access = file_name(text).ok().and_then(|key| self.usable(key));
        access.is_some_and(|access| access.runs_a_program())
    }

    fn usable(&self, key: &str) -> Option<Access<'_, '_>> {
        let (_, stream) = self.files.get(key)?;
        Access::of((*stream)?.documents.first()?).ok()
    }

    /// Finds the kubeconfig that an `accessConfigFile` names; returns its fields that refer to
    /// files outside the ConfigMap. `unnamed` are the files that no descriptor names.
    pub(super) fn access(
        &self,
        text: &str,
        unnamed: &[&str],
    ) -> Result<Vec<&'static str>, Invalid> {
        let key = file_name(text).map_err(|problem| {
            let last = text.rsplit('/').next().unwrap_or_default();
            let remedy = match self.files.get_key_value(last) {
                Some((key, _)) => format!("write {key}"),
                None => "write the key of this ConfigMap that holds the kubeconfig".to_owned(),
            };
            Invalid { problem: format!("{text:?} {problem}"), remedy }
        })?;
        let Some((file, stream)) = self.files.get(key) else {
            let problem = format!("{key:?} is not a key of this ConfigMap, and {}", EXITS);
            // A name that differs in one digit is mostly that of another cluster.
            let remedy = match similar(key, unnamed) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "put the kubeconfig under this key".to_owned(),
            };
            return Err(Invalid { problem, remedy });
        };
        let unusable = |why: Invalid| {
            let problem = format!("{} is not a usable kubeconfig: {}", file.path(), why.problem);
            Invalid { problem, remedy: why.remedy }
        };
        let root = stream.and_then(|stream| stream.documents.first()).ok_or_else(|| {
            let remedy = "write one with `kubectl config view --minify --flatten`".to_owned();
            let what = if stream.is_some() { "it is empty" } else { "it is not YAML" };
            unusable(Invalid { problem: what.to_owned(), remedy })
        })?;
        let access = Access::of(root).map_err(unusable)?;
        let absent = access.files().filter(|(_, file)| {
            let name = file_name(file);
            !name.is_ok_and(|name| self.files.contains_key(name))
        });
        Ok(absent.map(|(field, _)| field).collect())
    }
}

/// The name of the file in the directory that a path leads to, cleaned as Go cleans paths.
pub(super) fn file_name(path: &str) -> Result<&str, &'static str> {
    if path.starts_with('/') {
        return Err("is an absolute path, outside the directory of the descriptors");
    }
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part != ".." {
            parts.push(part);
        } else if parts.pop().is_none() {
            return Err("points outside the directory of the descriptors");
        }
    }
    match parts.as_slice() {
        [name] => Ok(name),
        [] => Err("is the directory of the descriptors itself"),
        _ => Err("is a path, but the keys of a ConfigMap are files in one directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned() {
        for (path, name) in [
            ("a.conf", Some("a.conf")),
            ("./a.conf", Some("a.conf")),
            ("b/../a.conf", Some("a.conf")),
            ("..a.conf", Some("..a.conf")),
            ("../a.conf", None),
            ("b/../../a.conf", None),
            ("/a.conf", None),
            ("b/a.conf", None),
            (".", None),
        ] {
            assert_eq!(file_name(path).ok(), name, "{path}");
        }
    }
}
