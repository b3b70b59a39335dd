use super::*;
use crate::syntax::yaml_documents;

/// The line and column of a byte, counted from the beginning.
fn position(text: &str, byte: usize) -> Position {
    let before = text.get(..floor(text, byte.min(text.len()))).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    Position { line: number(lines + 1), column: number(column + 1) }
}

/// A path of keys that no slash is in; a name in angle brackets is that of a document.
fn path(keys: &str, line: u32) -> Path {
    let segment = |key: &str| match key.strip_prefix('<').and_then(|key| key.strip_suffix('>')) {
        Some(name) => Segment::Document(name.to_owned().into()),
        None => key.parse().map_or_else(|_| Segment::Key(key.to_owned().into()), Segment::Item),
    };
    Path::new(keys.split('/').map(segment).collect(), Position { line, column: 1 })
}

/// The text found, and whether inside a carried text.
fn found(text: &str, keys: &str, line: u32) -> (String, Position, bool) {
    let documents = yaml_documents(text).unwrap();
    let source = SourceFile::new(String::new(), text.to_owned());
    let found = CarriedTexts::default().find(&source, &documents[0], &path(keys, line));
    let location = source.location(0, found.bytes);
    (text[location.bytes].to_owned(), location.start, found.is_inside)
}

#[test]
fn finds_values_and_what_would_hold_them() {
    const TEXT: &str =
        "kind: A\nmetadata:\n  name: ü\n  annotations: {zzzz: \"1\"}\nspec:\n  é: é  # c\nnone:\n";
    const CASES: &[(&str, &str, u32, u32)] = &[
        ("spec/é", "é", 6, 6),
        ("spec/absent", "spec", 5, 1),
        ("spec", "spec", 5, 1),
        ("metadata/annotations/zzzz", "\"1\"", 4, 23),
        ("status/absent", "ü", 3, 9),
        ("none", "none", 7, 1),
        ("kind", "A", 1, 7),
    ];
    for (keys, expected, line, column) in CASES {
        let (text, at, inside) = found(TEXT, keys, 0);
        assert_eq!((&*text, at.line, at.column), (*expected, *line, *column), "{keys}");
        assert!(!inside);
    }
}

#[test]
fn finds_fields_of_literal_texts() {
    let text = "kind: ConfigMap\ndata:\n  other: |\n    a: b\n  C: |-  # as is\n\n    # comment\n    networking:\n      podSubnet: 10.0.0.0/8\n  D: x\n";
    let keys = "data/C/networking/podSubnet";
    for line in [0, 4] {
        let (text, at, inside) = found(text, keys, line);
        assert_eq!((&*text, at.line, at.column, inside), ("10.0.0.0/8", 9, 18, true));
    }
    let crlf = text.replace('\n', "\r\n");
    let (found_text, at, inside) = found(&crlf, keys, 4);
    assert_eq!((&*found_text, at.line, at.column, inside), ("10.0.0.0/8", 9, 18, true));
    let (found_text, at, _) = found(text, "data/C/networking/dnsDomain", 0);
    assert_eq!((&*found_text, at.line), ("networking", 8));
}

#[test]
fn finds_the_document_that_a_path_names() {
    let text = "kind: ConfigMap\ndata:\n  a.yaml: |\n    metadata: {name: a, x: 1}\n    ---\n    metadata:\n      name: b\n      x: 2\n    ---\n    metadata: {x: 3}\n";
    for (keys, line, expected) in [
        ("data/a.yaml/<a>/metadata/x", 1, "1"),
        ("data/a.yaml/<b>/metadata/x", 5, "2"),
        ("data/a.yaml/<b>/metadata/x", 0, "2"),
        ("data/a.yaml/<b>/metadata/y", 3, "metadata"),
        ("data/a.yaml/<2>/metadata/x", 7, "3"),
    ] {
        let (found, _, is_inside) = found(text, keys, line);
        assert_eq!((&*found, is_inside), (expected, true), "{keys}");
    }
}

#[test]
fn reads_each_text_once() {
    let text = "kind: ConfigMap\ndata:\n  a: |\n    x: 1\n    y: 2\n  b: |\n    x: 3\n";
    let source = SourceFile::new(String::new(), text.to_owned());
    let documents = yaml_documents(text).unwrap();
    let mut carried = CarriedTexts::default();
    for (keys, expected) in
        [("data/a/x", "1"), ("data/b/x", "3"), ("data/a/y", "2"), ("data/b/x", "3")]
    {
        let found = carried.find(&source, &documents[0], &path(keys, 0));
        assert_eq!((&text[found.bytes], found.is_inside), (expected, true), "{keys}");
    }
    assert_eq!(carried.0.len(), 2);
}

#[test]
fn points_at_the_key_of_a_whole_text() {
    let text = "kind: ConfigMap\ndata:\n  a.conf: |\n    token: x\n";
    assert_eq!(found(text, "data/a.conf", 0).0, "a.conf");
}

#[test]
fn points_at_the_place_where_a_literal_text_breaks() {
    let text = "kind: ConfigMap\ndata:\n  C: |\n    a: b\n    a: c\n";
    let (text, at, inside) = found(text, "data/C", 2);
    assert_eq!((&*text, at.line, at.column, inside), ("a", 5, 5, true));
}

#[test]
fn points_at_the_key_of_every_other_text() {
    for value in [">\n    a: b\n", "\"a: b\\n\"\n", "YTogYgo=\n", "'a: b'\n"] {
        let text = format!("kind: Secret\ndata:\n  key: {value}");
        let (text, at, inside) = found(&text, "data/key/a", 1);
        assert_eq!((&*text, at.line, at.column, inside), ("key", 3, 3, false), "{value}");
    }
}

#[test]
fn prefers_string_data() {
    let text = "kind: Secret\ndata: {k: YTogYgo=}\nstringData:\n  k: |\n    a: b\n";
    let (text, at, inside) = found(text, "data/k/a", 1);
    assert_eq!((&*text, at.line, inside), ("b", 5, true));
}

proptest::proptest! {
    #[test]
    fn never_leaves_the_text(text in "[a-c:|\\n é\\r-]{0,60}", keys in "[a-c/<>0]{0,9}", line in 0u32..9) {
        let source = SourceFile::new(String::new(), text.clone());
        for document in yaml_documents(&text).unwrap_or_default() {
            let found = CarriedTexts::default().find(&source, &document, &path(&keys, line));
            let location = source.location(0, found.bytes);
            proptest::prop_assert_eq!(location.start, position(&text, location.bytes.start));
            proptest::prop_assert!(text.get(location.bytes.clone()).is_some());
            let columns = location.start.column..=location.end.column;
            proptest::prop_assert!(location.start.line == location.end.line && !columns.is_empty());
        }
    }
}
