//! A value as one line of YAML, so that a message can tell what to write.

use crate::budget::Budget;
use crate::syntax::yaml_document;
use crate::syntax::{Key, Node, Value};

/// A value in YAML's flow style, unless it is longer than this many bytes.
pub(super) fn flow(node: &Node<'_>, most: usize) -> Option<String> {
    let text = match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => node.scalar()?.to_owned(),
        Value::Text(text) => quoted(text),
        Value::List(items) => {
            let items = items.iter().map(|item| flow(item, most)).collect::<Option<Vec<_>>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entry = |(key, node): &(Key<'_>, Node<'_>)| {
                Some(format!("{}: {}", quoted(&key.text), flow(node, most)?))
            };
            let entries = entries.iter().map(entry).collect::<Option<Vec<_>>>()?;
            format!("{{{}}}", entries.join(", "))
        }
    };
    (text.len() <= most).then_some(text)
}

/// A text as it stands in flow style: in quotes unless it is plainly nothing but a text.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '_');
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain);
    let reads_as_text = || {
        let node = yaml_document(text, &Budget::of(text.len()));
        node.is_ok_and(|node| matches!(node.value, Value::Text(_)))
    };
    if plain && reads_as_text() {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node<'_> {
        yaml_document(text, &Budget::of(1000)).unwrap()
    }

    #[test]
    fn what_it_writes_parses_as_the_original() {
        for text in [
            "a: [b, c.d/e-f_g]",
            "{'::/0': ':', b: {}}",
            "[1, '1', true, \"\\u0007\\u00e9\", 'yes', ~, '', \"\\n'\"]",
        ] {
            let node = read(text);
            let written = flow(&node, 1000).unwrap();
            assert_eq!(read(&written).to_json(), node.to_json(), "{written}");
        }
        assert_eq!(flow(&read("[aaaa]"), 5), None);
    }
}
