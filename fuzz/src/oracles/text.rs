//! The laws of texts: how YAML is read, and what `check --fix` makes of it.

use isthmus::document::VALUES_KIND;
use isthmus::manifest::fix::fix as fix_text;
use isthmus::manifest::{self, Manifest};
use isthmus::settings::Settings;
use isthmus::syntax::{Node, Value, yaml_documents};
use serde_json::Value as Json;

/// Reading is deterministic, every place is one of the text, and what was read says the same as
/// JSON, which is YAML too.
pub fn yaml(data: &[u8]) -> usize {
    let Ok(text) = std::str::from_utf8(data) else { return data.len() };
    let documents = yaml_documents(text);
    assert_eq!(yaml_documents(text), documents);
    match &documents {
        Ok(documents) => {
            let shown = text.strip_prefix('\u{feff}').unwrap_or(text);
            for document in documents {
                has_its_place(document, shown);
                let json = document.to_json();
                let text = json.to_string();
                // A float of many digits may differ from itself in the last place, once printed.
                let json: Json = serde_json::from_str(&text).unwrap();
                let again = yaml_documents(&text).map(|again| again.first().map(Node::to_json));
                assert_eq!(again, Ok(Some(json)));
            }
        }
        Err(why) => assert!(!why.what.is_empty() && why.what.len() <= 512 + 12 * text.len()),
    }
    objects(text);
    if let Ok(values) = manifest::read_as(text, "values.yaml", VALUES_KIND) {
        is_read_alike(&values);
    }
    4 * data.len()
}

fn has_its_place(node: &Node<'_>, text: &str) {
    let within = |bytes: &std::ops::Range<usize>| text.get(bytes.clone()).is_some();
    assert!(within(&node.span.bytes), "{:?}", node.span);
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| has_its_place(item, text)),
        Value::Map(entries) => {
            for (key, node) in entries {
                assert!(within(&key.span.bytes), "{:?}", key.span);
                has_its_place(node, text);
            }
        }
        _ => {}
    }
}

fn objects(text: &str) {
    let Ok(objects) = manifest::read(text, "file.yaml") else { return };
    objects.iter().for_each(is_read_alike);
}

fn is_read_alike(manifest: &Manifest<'_>) {
    let settings = Settings::default();
    assert!(serde_json::from_str::<Json>(&manifest.json).is_ok());
    let reading = manifest.reading(&settings).ok();
    assert_eq!(manifest.reading(&settings).ok(), reading);
    assert_eq!(reading.is_some(), manifest.object().is_ok());
}

/// What may stand before an input, so that it need not say again what an object begins with.
const FRAMES: &[&str] = &[
    "",
    "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata: {name: a}\nspec:\n  ",
    "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata: {name: a}\nspec: {",
    "{\"apiVersion\": \"deckhouse.io/v1alpha1\", \"kind\": \"IstioMulticluster\", \"spec\": {",
    "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nmetadata: {name: a}\n",
    "kind: List\nitems:\n- apiVersion: deckhouse.io/v1alpha1\n  kind: IstioMulticluster\n  spec:\n    ",
];

/// What is fixed is canonical when it is read again, all else says what it said, comments stay, and
/// a second time there is nothing to do. The first byte chooses what stands before the input.
pub fn fix(data: &[u8]) -> usize {
    let (frame, rest) = data.split_first().map_or((0, data), |(first, rest)| match first {
        // So that a file of YAML is an input as it is.
        b' '..=b'~' => (0, data),
        frame => (usize::from(*frame) % FRAMES.len(), rest),
    });
    let Ok(rest) = std::str::from_utf8(rest) else { return data.len() };
    let text = format!("{}{rest}", FRAMES[frame]);
    let settings = Settings::default();
    let Ok(before) = manifest::read(&text, "f") else {
        assert!(fix_text(&text, "f", &settings).is_err());
        return text.len();
    };
    let fixed = fix_text(&text, "f", &settings).unwrap();
    let after = manifest::read(&fixed.text, "f").unwrap();
    assert_eq!(before.len(), after.len());
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        let mut expected: Json = serde_json::from_str(&before.json).unwrap();
        if fixed.left.iter().all(|left| left.index != index)
            && let Some(document) = before.document(&settings)
        {
            document.canonicalize(&mut expected);
            let once = expected.clone();
            document.canonicalize(&mut expected);
            assert_eq!(expected, once, "the canonical form is its own");
        }
        assert_eq!(serde_json::from_str::<Json>(&after.json).unwrap(), expected);
    }
    for change in &fixed.changes {
        assert!(fixed.text.is_char_boundary(change.at), "{change:?}");
    }
    assert_eq!(fixed.changes.is_empty(), fixed.text == text);
    keeps_comments(&text, &fixed.text);
    let again = fix_text(&fixed.text, "f", &settings).unwrap();
    assert_eq!(again.text, fixed.text);
    assert!(again.changes.is_empty(), "{:?}", again.changes);
    4 * text.len()
}

/// Every comment of a text stands in the other as often. On a line with quotes or brackets, only a
/// parser could tell whether a `#` begins one.
fn keeps_comments(before: &str, after: &str) {
    for line in lines(before) {
        let Some(at) = line.find('#') else { continue };
        let (head, comment) = line.split_at(at);
        let is_comment = head.is_empty() || head.ends_with([' ', '\t']);
        if is_comment && !line.contains(['"', '\'', '{', '}', '[', ']']) {
            let count = |text| lines(text).filter(|line| line.ends_with(comment)).count();
            assert!(count(after) >= count(before), "{comment:?} is lost");
        }
    }
}

/// The lines of YAML, of which a lone carriage return ends one too.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r'])
}
