//! Helm itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use isthmus::syntax::yaml_documents;
use serde_json::Value as Json;

use crate::support::TempDir;
use crate::support::plane::command;

/// Both lines that are in use.
pub(crate) const HELMS: [&str; 2] = ["helm", "helm3"];
/// What every installation must say.
pub(crate) const IMAGE: &str = "image.repository=registry.example.com/isthmus";

/// The chart.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/isthmus")
}

/// A file of the chart.
pub(crate) fn file(name: &str) -> String {
    std::fs::read_to_string(chart().join(name)).unwrap()
}

/// One of [`HELMS`], knowing nothing of this environment, with a home of its own.
pub(crate) fn helm(name: &str, home: &TempDir) -> Command {
    let mut command = command(name);
    for (variable, _) in std::env::vars_os() {
        let variable = variable.to_string_lossy();
        if variable.starts_with("HELM_") || variable.starts_with("KUBE") {
            command.env_remove(&*variable);
        }
    }
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, home.path());
    }
    command.current_dir(home.path()).stdin(Stdio::null());
    command
}

/// What `helm template` prints of release `isthmus` in namespace `isthmus`, or why it does not.
pub(crate) fn rendered(name: &str, values: &[&str]) -> Result<String, String> {
    let home = TempDir::new();
    let mut command = helm(name, &home);
    command.args(["template", "isthmus"]).arg(chart()).arg("--namespace=isthmus");
    let output = command.args(["--set", IMAGE]).args(values).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The objects of a text.
#[track_caller]
pub(crate) fn objects(text: &str) -> Vec<Json> {
    let documents = yaml_documents(text).unwrap_or_else(|error| panic!("{error:?} in\n{text}"));
    let objects = documents.iter().map(isthmus::syntax::Node::to_json);
    objects.filter(|object| !object.is_null()).collect()
}

/// The objects that `helm template` prints.
#[track_caller]
pub(crate) fn template(name: &str, values: &[&str]) -> Vec<Json> {
    objects(&rendered(name, values).unwrap_or_else(|error| panic!("{error}")))
}

/// The one object of this kind.
#[track_caller]
pub(crate) fn only<'a>(objects: &'a [Json], kind: &str) -> &'a Json {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there is more than one {kind}");
    object
}
