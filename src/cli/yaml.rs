//! Manifests as YAML, from the same values as JSON.

use std::fmt::Write;

use serde_json::Value as Json;

/// Several manifests as one text.
pub(super) fn stream(manifests: &[Json]) -> String {
    let mut text = String::new();
    for manifest in manifests {
        text.push_str("---\n");
        text.push_str(&document(manifest));
    }
    text
}

/// One manifest.
pub(super) fn document(manifest: &Json) -> String {
    let mut text = String::new();
    write(&mut text, manifest, 0);
    text
}

fn write(text: &mut String, value: &Json, depth: usize) {
    // Writing to a String cannot fail.
    match value {
        Json::Object(fields) => {
            for (at, (key, value)) in fields.iter().enumerate() {
                indent(text, at, depth);
                let _ = write!(text, "{}:", scalar(&key.as_str().into()));
                entry(text, value, depth + 1);
            }
        }
        Json::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                indent(text, at, depth);
                text.push('-');
                if is_leaf(item) {
                    let _ = writeln!(text, " {}", scalar(item));
                } else {
                    text.push(' ');
                    write(text, item, depth + 1);
                }
            }
        }
        leaf => {
            let _ = writeln!(text, "{}", scalar(leaf));
        }
    }
}

fn entry(text: &mut String, value: &Json, depth: usize) {
    if is_leaf(value) {
        let _ = writeln!(text, " {}", scalar(value));
    } else {
        text.push('\n');
        for _ in 0..depth {
            text.push_str("  ");
        }
        write(text, value, depth);
    }
}

/// Indents all but the first line, which continues one that is begun.
fn indent(text: &mut String, at: usize, depth: usize) {
    if at > 0 {
        for _ in 0..depth {
            text.push_str("  ");
        }
    }
}

fn is_leaf(value: &Json) -> bool {
    match value {
        Json::Object(fields) => fields.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => true,
    }
}

/// A value on one line. JSON is YAML; only words that can be nothing else go without quotes.
fn scalar(value: &Json) -> String {
    match value {
        Json::String(word) if is_plain(word) => word.clone(),
        value => value.to_string(),
    }
}

fn is_plain(word: &str) -> bool {
    let reads_otherwise = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-./".contains(c))
        && !reads_otherwise.iter().any(|other| word.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_yaml() {
        let value = json!({
            "a": {"b": ["x", "true", "", {"c": 1, "d": []}], "empty": {}},
            "z": "two words", "zz": "*",
        });
        let text = "---\na:\n  b:\n    - x\n    - \"true\"\n    - \"\"\n    - c: 1\n      d: []\n  empty: {}\nz: \"two words\"\nzz: \"*\"\n";
        assert_eq!(stream(&[value]), text);
    }
}
