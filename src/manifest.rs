//! Manifests: the text of a file into the objects it holds.

pub mod broken;
mod edit;
pub mod fix;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use crate::budget::Budget;
use crate::document::{self, Document};
use crate::mesh::Reading;
use crate::settings::Settings;
use crate::syntax::{MOST_VALUES, Node, Object, Value, YamlError, yaml_document, yaml_documents};

/// One object of a file.
#[derive(Debug)]
pub struct Manifest<'a> {
    /// The object with its places in the text.
    pub node: Node<'a>,
    /// The same as the API server would be given it: JSON, a Secret's `stringData` within `data`.
    pub json: String,
    file: String,
}

/// Reads every object of a text: several documents, `List`s opened, YAML or JSON. Documents that
/// are empty, or no mapping with a `kind`, are not objects and left out.
///
/// `file` is the name that a document without metadata is known by.
pub fn read<'a>(text: &'a str, file: &str) -> Result<Vec<Manifest<'a>>, YamlError> {
    let mut manifests = Vec::new();
    for node in yaml_documents(text)? {
        open(node, file, &mut manifests);
    }
    Ok(manifests)
}

/// Reads a text that is one mapping without a kind, such as the values of a Helm chart, as an
/// object of this kind.
pub fn read_as<'a>(
    text: &'a str,
    file: &str,
    kind: &'static str,
) -> Result<Manifest<'a>, YamlError> {
    let node = yaml_document(text, &Budget::of(MOST_VALUES))?;
    let mut json = match node.to_json() {
        Json::Null => Json::Object(Map::new()),
        Json::Object(entries) => Json::Object(entries),
        _ => {
            let what = format!("must be a mapping, not {}", node.kind());
            return Err(YamlError { what, span: node.span });
        }
    };
    // Whatever the text calls so is none of Kubernetes' own.
    for (key, value) in [("apiVersion", ""), ("kind", kind)] {
        json[key] = value.into();
    }
    json["metadata"] = Json::Null;
    Ok(Manifest { json: json.to_string(), file: file.to_owned(), node })
}

fn open<'a>(node: Node<'a>, file: &str, manifests: &mut Vec<Manifest<'a>>) {
    let Some(kind) = node.get("kind").and_then(|kind| kind.text()) else { return };
    if kind.ends_with("List") && matches!(node.get("items").map(|i| &i.value), Some(Value::List(_)))
    {
        let Value::Map(entries) = node.value else { return };
        let items = entries.into_iter().find(|(key, _)| key.text == "items");
        if let Some((_, Node { value: Value::List(items), .. })) = items {
            for item in items {
                open(item, file, manifests);
            }
        }
        return;
    }
    let mut json = node.to_json();
    if kind == "Secret" {
        unwrap_data(&mut json);
        encode_string_data(&mut json);
    }
    manifests.push(Manifest { json: json.to_string(), file: file.to_owned(), node });
}

impl Manifest<'_> {
    /// The object.
    pub fn object(&self) -> Result<Object<'_>, serde_json::Error> {
        let mut object = Object::parse(&self.json)?;
        object.file = Some(self.file.as_str().into());
        Ok(object)
    }

    /// The kind of document it carries, if it carries one.
    pub fn document(&self, settings: &Settings) -> Option<&'static Document> {
        document::of(&self.object().ok()?, settings)
    }

    /// What it says; nothing if it carries no document, unless it seems to be meant as one.
    pub fn reading(&self, settings: &Settings) -> Result<Reading, serde_json::Error> {
        Ok(document::read(&self.object()?, settings))
    }
}

/// Joins the lines of wrapped base64, which the API server takes and stores as one.
fn unwrap_data(secret: &mut Json) {
    let Some(Json::Object(data)) = secret.get_mut("data") else { return };
    for (_, text) in data.iter_mut() {
        if let Json::String(text) = text {
            text.retain(|c| c != '\n' && c != '\r');
        }
    }
}

/// Does what the API server does with `stringData`: its texts replace those of `data`.
fn encode_string_data(secret: &mut Json) {
    let Some(Json::Object(texts)) = secret.as_object_mut().and_then(|s| s.remove("stringData"))
    else {
        return;
    };
    let Some(secret) = secret.as_object_mut() else { return };
    let data = secret.entry("data").or_insert_with(|| Json::Object(Map::new()));
    if data.is_null() {
        *data = Json::Object(Map::new());
    }
    let Some(data) = data.as_object_mut() else { return };
    for (key, text) in texts {
        let text = match text {
            Json::String(text) => Json::String(STANDARD.encode(text)),
            other => other,
        };
        data.insert(key, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Vec<String> {
        let manifests = read(text, "file.yaml").unwrap();
        manifests.iter().map(|m| document::reference(&m.object().unwrap()).to_string()).collect()
    }

    #[test]
    fn opens_documents_and_lists() {
        let text = "---\nkind: A\nmetadata: {name: x}\n---\n# empty\n---\nkind: List\nitems:\n- kind: B\n  metadata: {name: y, namespace: n}\n- kind: CList\n  items: [{kind: C, metadata: {name: z}}]\n--- just text\n";
        assert_eq!(objects(text), ["A x", "B n/y", "C z"]);
        assert_eq!(objects("{\"kind\":\"A\",\t\"metadata\":{\"name\":\"x\"}}\n"), ["A x"]);
        assert_eq!(objects("\u{feff}kind: A\r\nmetadata:\r\n  name: x\r\n"), ["A x"]);
        assert_eq!(
            objects("apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\n"),
            ["ClusterConfiguration file.yaml"]
        );
    }

    #[test]
    fn turns_string_data_into_data() {
        let text = "kind: Secret\nmetadata: {name: s}\ndata: {a: b2xk, b: \"Y\\ng==\\n\"}\nstringData: {a: new}\n";
        let manifests = read(text, "f").unwrap();
        assert_eq!(
            manifests[0].json,
            r#"{"data":{"a":"bmV3","b":"Yg=="},"kind":"Secret","metadata":{"name":"s"}}"#
        );
    }
}
