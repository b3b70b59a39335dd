//! What is not judged though it is YAML, and why.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::kustomize;
use crate::document::{DOCUMENTS, of};
use crate::manifest::Manifest;
use crate::mesh::{Fact, Reading};
use crate::settings::Settings;
use crate::syntax::{Node, Value, yaml_documents};

/// What stands where a tool will put a value: Flux, Helm and other templates, and SOPS.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("${", "a variable that is substituted later"),
    ("{{", "a template"),
    ("ENC[AES256_GCM,", "encrypted with SOPS"),
];
/// How many letters of a kind may be wrong.
const MOST_MISTAKES: usize = 2;

/// Whether SOPS has encrypted an object, so that nothing of it can be judged.
pub(super) fn is_encrypted(manifest: &Manifest<'_>) -> bool {
    manifest.node.get("sops").is_some_and(|sops| matches!(sops.value, Value::Map(_)))
}

/// Why an object is not judged.
pub(super) enum Unjudged {
    /// It is none of the mesh's.
    Foreign(String),
    /// It would be judged if it were written otherwise.
    Unready(String),
}

pub(super) fn reason(manifest: &Manifest<'_>, settings: &Settings) -> Unjudged {
    let Ok(mut object) = manifest.object() else {
        return Unjudged::Foreign("is not an object".to_owned());
    };
    let name = match (object.metadata.namespace.as_ref(), object.name()) {
        ("", "") => object.kind.to_string(),
        ("", name) => format!("{} {name}", object.kind),
        (namespace, name) => format!("{} {namespace}/{name}", object.kind),
    };
    let is_document = of(&object, settings).is_some();
    if is_document && is_encrypted(manifest) {
        return Unjudged::Unready(format!("{name} is encrypted with SOPS"));
    }
    if object.metadata.namespace.is_empty() {
        let namespaces = DOCUMENTS.iter().filter_map(|it| it.select.namespaces(settings)).flatten();
        for namespace in namespaces {
            object.metadata.namespace = namespace.into();
            if let Some(document) = of(&object, settings) {
                let says = document.says;
                return Unjudged::Unready(format!(
                    "{name} has no namespace; in {namespace} it would be judged ({says})"
                ));
            }
        }
    }
    Unjudged::Foreign(format!("{name} is not a mesh resource"))
}

/// The kind that is read and that an object of another kind was most likely meant to be.
pub(super) fn meant(manifest: &Manifest<'_>) -> Option<&'static str> {
    let object = manifest.object().ok()?;
    let near = |a: &str, b: &str| strsim::levenshtein(a, b) <= MOST_MISTAKES;
    let kind = object.kind.to_ascii_lowercase();
    let meant =
        DOCUMENTS.iter().filter(|document| !document.group.is_empty()).find(|document| {
            near(&kind, &document.kind.to_ascii_lowercase()) && near(object.group(), document.group)
        })?;
    let is_meant = object.kind == meant.kind && object.group() == meant.group;
    (!is_meant).then_some(meant.kind)
}

/// Takes out of a reading what is wrong only because a tool has still to put a value there, and
/// says so.
pub(super) fn take_placeholders(reading: &mut Reading) -> Vec<String> {
    let mut taken = Vec::new();
    let object = reading.object.to_string();
    for (_, claims) in &mut reading.statements {
        claims.retain(|claim| {
            let Fact::Fault(fault) = &claim.fact else { return true };
            let Some((_, what)) = PLACEHOLDERS.iter().find(|(mark, _)| fault.text.contains(mark))
            else {
                return true;
            };
            taken.push(format!("{} of {object} is {what}: {}", claim.place.path(), fault.text));
            false
        });
    }
    taken
}

/// The files that a kustomization names as patches, with why they are not judged as objects.
///
/// Where members are named, --kustomize builds the directories of all of them.
pub(super) fn patches<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
    has_members: bool,
) -> HashMap<PathBuf, String> {
    let mut patches = HashMap::new();
    for (shown, text) in files {
        let file = Path::new(shown);
        let name = file.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| kustomize::FILES.contains(&name)) {
            continue;
        }
        let directory = file.parent().unwrap_or(file);
        for node in yaml_documents(text).unwrap_or_default() {
            for path in named_patches(&node) {
                let built = match directory {
                    _ if has_members => String::new(),
                    here if here.as_os_str().is_empty() => " .".to_owned(),
                    directory => format!(" {}", directory.display()),
                };
                let reason =
                    format!("is a patch of {shown}; judge what it makes with --kustomize{built}");
                patches.insert(plain(&directory.join(path)), reason);
            }
        }
    }
    patches
}

fn named_patches<'n>(kustomization: &'n Node<'_>) -> Vec<&'n str> {
    let lists = ["patches", "patchesStrategicMerge", "patchesJson6902"];
    let lists = lists.into_iter().filter_map(|key| match &kustomization.get(key)?.value {
        Value::List(items) => Some(items),
        _ => None,
    });
    let path = |item: &'n Node<'_>| item.text().or_else(|| item.get("path")?.text());
    lists.flatten().filter_map(path).collect()
}

/// A path without `.` and, as far as it tells, without `..`.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(plain.components().next_back(), Some(Component::Normal(_))) =>
            {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
