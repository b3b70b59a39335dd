//! `isthmus crd`: the CustomResourceDefinition of MeshMember, made of its types.

use std::process::ExitCode;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value as Json, json};

use super::yaml;
use crate::meshmember::{GROUP, KIND, RESOURCE, Spec, Status, VERSION};

/// The columns of `kubectl get`, apart from the name and age.
const COLUMNS: &[(&str, &str)] = &[
    ("Domain", ".status.summary.clusterDomain"),
    ("Pods", ".status.summary.pods"),
    ("Services", ".status.summary.services"),
    ("Network", ".status.summary.network"),
    ("Joined by", ".status.summary.joinedBy"),
    ("Known", ".status.conditions[?(@.type==\"Known\")].status"),
    ("Sound", ".status.conditions[?(@.type==\"Sound\")].status"),
];

pub(super) fn run() -> ExitCode {
    anstream::print!("{}", yaml::stream(&[definition()]));
    ExitCode::SUCCESS
}

/// The file `manifests/isthmus/files/meshmembers.yaml`.
pub fn chart_file() -> String {
    let text = yaml::stream(&[definition()]);
    let text = text.trim_start_matches("---\n");
    format!("# Written by `make golden`: what `isthmus crd` prints. A test holds it equal.\n{text}")
}

fn definition() -> Json {
    let column =
        |(name, path): &(&str, &str)| json!({"name": name, "type": "string", "jsonPath": path});
    let mut columns: Vec<_> = COLUMNS.iter().map(column).collect();
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{RESOURCE}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": RESOURCE,
                "singular": KIND.to_lowercase(),
            },
            "scope": "Cluster",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "A member of the mesh: one cluster, by its name in the mesh.",
                    "properties": {"spec": schema::<Spec>(), "status": schema::<Status>()},
                }},
            }],
        },
    })
}

/// The structural schema of a type, which names no other.
fn schema<T: JsonSchema>() -> Json {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

/// Takes away the names of Rust's types, the breaks of lines, and that a field may be null: it is
/// left out instead.
fn tidy(schema: &mut Json) {
    match schema {
        Json::Object(fields) => {
            fields.retain(|key, value| !(key == "title" && value.is_string() || key == "nullable"));
            fields.values_mut().for_each(tidy);
        }
        Json::Array(items) => items.iter_mut().for_each(tidy),
        Json::String(text) => *text = text.replace('\n', " "),
        _ => {}
    }
}
