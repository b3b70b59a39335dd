//! Files of which some documents are not YAML: what can be read of them all the same.

use std::ops::Range;

use crate::document::DOCUMENTS;
use crate::syntax::{YamlError, yaml_documents};

/// A document of a file that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenDocument {
    /// Why, with its place in the whole text.
    pub error: YamlError,
    /// Whether it holds template actions, so that its author never meant it to be YAML.
    pub is_template: bool,
    /// Whether by its looks it is one of those that isthmus judges.
    pub is_of_mesh: bool,
    /// Whether by its looks it is a Secret, of which nothing may be shown.
    pub is_secret: bool,
}

/// A text with its broken documents blanked out, so that the others stand where they stood, and
/// the broken ones.
pub fn set_broken_aside(text: &str) -> (String, Vec<BrokenDocument>) {
    let mut readable = String::with_capacity(text.len());
    let mut broken = Vec::new();
    let mut line = 0;
    for range in documents(text) {
        let part = text.get(range.clone()).unwrap_or_default();
        if let Err(mut error) = yaml_documents(part) {
            error.span.line += line;
            error.span.bytes =
                error.span.bytes.start + range.start..error.span.bytes.end + range.start;
            let is_template = part.contains("{{");
            let is_secret = squeezed(part).contains("kind:Secret");
            if is_secret {
                // The parser's error may repeat what it has read.
                "is not YAML".clone_into(&mut error.what);
            }
            let is_of_mesh = is_of_mesh(part);
            broken.push(BrokenDocument { error, is_template, is_of_mesh, is_secret });
            readable.extend(part.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            readable.push_str(part);
        }
        let lines = part.bytes().filter(|byte| *byte == b'\n').count();
        line += u32::try_from(lines).unwrap_or(u32::MAX);
    }
    (readable, broken)
}

/// Whether a text that cannot be read as an object is by its looks one that isthmus judges.
pub fn is_of_mesh(text: &str) -> bool {
    let squeezed = squeezed(text);
    let is_named = |name: &&str| {
        let start = name.strip_suffix('*').unwrap_or(name);
        squeezed.contains(&format!("name:{start}"))
    };
    DOCUMENTS.iter().any(|document| {
        let (group, select) = (document.group, &document.select);
        squeezed.contains(&format!("kind:{}", document.kind))
            && (group.is_empty() || squeezed.contains(&format!("apiVersion:{group}/")))
            && (select.names.is_empty() || select.names.iter().any(is_named))
            && select.label.is_none_or(|label| squeezed.contains(label.key))
    })
}

/// A text without what may stand anywhere between its words.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'')).collect()
}

/// The documents of a text: a line that begins with `---` begins one wherever it stands.
fn documents(text: &str) -> Vec<Range<usize>> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let marks = line.strip_prefix("---");
        if marks.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            documents.push(start..at);
            start = at;
        }
        at += line.len();
    }
    documents.push(start..at);
    documents.retain(|document| !document.is_empty());
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_only_the_broken_documents_aside() {
        let text = "kind: A\n---\nkind: {{ .Values.kind }}\n--- # c\nkind: IstioMulticluster\napiVersion: deckhouse.io/v1alpha1\na: b: ü\n---\nkind: B\n";
        let (readable, broken) = set_broken_aside(text);
        assert_eq!(readable.len(), text.len());
        assert_eq!(readable.find("kind: B"), text.find("kind: B"));
        assert_eq!(
            yaml_documents(&readable).unwrap().iter().filter(|d| d.get("kind").is_some()).count(),
            2
        );
        let told: Vec<_> = broken
            .iter()
            .map(|b| (b.error.span.line, b.error.span.column, b.is_template, b.is_of_mesh))
            .collect();
        assert_eq!(told, [(3, 8, true, false), (7, 5, false, true)]);
    }

    #[test]
    fn recognizes_mesh_resources() {
        for (text, expected) in [
            ("apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nx: [", true),
            ("{\"kind\": \"IstioMulticluster\", \"apiVersion\": \"deckhouse.io/v1alpha1\", ", true),
            ("kind: Secret\nmetadata:\n  name: d8-cluster-configuration\n", true),
            ("kind: Secret\nmetadata:\n  name: other\n", false),
            ("kind: ConfigMap\nmetadata: {labels: {isthmus.dev/member: a}", true),
            ("apiVersion: example.com/v1\nkind: ClusterConfiguration\n", false),
        ] {
            assert_eq!(is_of_mesh(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn documents_are_the_text(text in "(---|[a: \\n\\r-]){0,30}") {
            let parts: String = documents(&text).into_iter().map(|range| &text[range]).collect();
            proptest::prop_assert_eq!(&parts, &text);
            let (readable, _) = set_broken_aside(&text);
            proptest::prop_assert_eq!(readable.len(), text.len());
            proptest::prop_assert!(yaml_documents(&readable).is_ok());
        }
    }
}
